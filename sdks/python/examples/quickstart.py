"""Makes an image, and saves it: `python quickstart.py "a fox in the snow" fox.png`."""

import sys

import vydra


def main() -> int:
    prompt, path = (sys.argv[1:] + ["a fox in the snow at dawn", "fox.png"][len(sys.argv) - 1 :])[:2]
    try:
        with vydra.Vydra() as client:
            job = client.generate.image({"prompt": prompt}, max_credits=10)
            client.download(job["url"], path)
    except vydra.VydraError as error:
        print(error.friendly(), f"({error})", file=sys.stderr)
        return 1
    print(f"{path}, for {job['creditsCharged']} credits")
    return 0


if __name__ == "__main__":
    sys.exit(main())

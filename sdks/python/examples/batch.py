"""A hundred prompts, some at a time, and never more credits than allowed: `python batch.py FOLDER CAP`."""

import asyncio
import sys
from pathlib import Path

import vydra

PROMPTS = [f"a lighthouse, view {number} of 100" for number in range(1, 101)]
AT_ONCE = 8
HOPELESS = (
    vydra.AuthenticationError,
    vydra.PaymentRequiredError,
    vydra.PermissionDeniedError,
    vydra.RateLimitError,
)
"""What the next one would be told, too."""


async def batch(client: vydra.AsyncVydra, prompts: list[str], folder: Path, cap: int) -> tuple[int, int]:
    """How many pictures were made, and what they cost."""
    price = (await client.quote({"prompt": prompts[0]}, workflow="generate_image"))["credits"]
    waiting = iter(enumerate(prompts))
    made = spent = 0

    async def worker() -> None:
        nonlocal made, spent
        for index, prompt in waiting:
            # Set aside before it is sent, so that workers do not together exceed what each of them saw.
            if spent + price > cap:
                return
            spent += price
            try:
                job = await client.generate.image({"prompt": prompt}, max_credits=price, cancel_on_abort=True)
                await client.download(job["url"], folder / f"{index:03}.png")
                made += 1
            except vydra.ApiError as error:
                # What was paid back, or refused before it was bought. Any other job may go on, and cost what it costs.
                if error.refund and error.refund["applied"]:
                    spent -= error.refund["creditsRefunded"]
                elif isinstance(error, vydra.BadRequestError):
                    spent -= price
                elif isinstance(error, HOPELESS):
                    raise
                print(f"{prompt}: {error.friendly()}", file=sys.stderr)

    workers = [asyncio.create_task(worker()) for _ in range(AT_ONCE)]
    try:
        await asyncio.gather(*workers)
    finally:
        for task in workers:
            task.cancel()
        await asyncio.gather(*workers, return_exceptions=True)
    return made, spent


async def main() -> None:
    folder, cap = Path(sys.argv[1]), int(sys.argv[2])
    folder.mkdir(parents=True, exist_ok=True)
    async with vydra.AsyncVydra() as client:
        made, spent = await batch(client, PROMPTS, folder, cap)
    print(f"{made} pictures for {spent} credits")


if __name__ == "__main__":
    asyncio.run(main())

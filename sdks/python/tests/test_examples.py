"""The examples, and the package that is published."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import os
import subprocess
import sys
import tarfile
import time
import venv
import zipfile
from pathlib import Path

import httpx
import pytest
from conftest import Real

import vydra

PACKAGE = Path(__file__).resolve().parents[1]
EXAMPLES = PACKAGE / "examples"


def environment(real: Real, **more: str) -> dict[str, str]:
    given = {"VYDRA_BASE_URL": real.url, "VYDRA_API_KEY": real.test, "PYTHONPATH": str(PACKAGE / "src")}
    return {**os.environ, **given, **more}


def test_a_batch_keeps_to_its_cap(real: Real, tmp_path: Path) -> None:
    command = [sys.executable, str(EXAMPLES / "batch.py"), str(tmp_path), "52"]
    with vydra.Vydra(base_url=real.url, api_key=real.test) as client:
        before = client.credits()["creditsRemaining"]
        done = subprocess.run(command, env=environment(real), check=True, capture_output=True, text=True)
        assert done.stdout == "10 pictures for 50 credits\n"
        assert before - client.credits()["creditsRemaining"] == 50
    assert len(list(tmp_path.iterdir())) == 10


def test_a_batch_of_a_hundred_goes_on_after_failures(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.syspath_prepend(str(EXAMPLES))
    import batch

    now = most = 0

    async def handler(request: httpx.Request) -> httpx.Response:
        nonlocal now, most
        path = request.url.path
        if path.endswith("/quotes"):
            return httpx.Response(200, json={"credits": 5})
        if path.startswith("/media/"):
            return httpx.Response(200, headers={"content-type": "image/png"}, content=b"png")
        if request.method == "POST":
            now += 1
            most = max(most, now)
            number = json.loads(request.content)["input"]["prompt"].split()[3]
            return httpx.Response(201, json={"id": f"job_{number}"})
        await asyncio.sleep(0)
        now -= 1
        name = path.rsplit("/", 1)[-1]
        if name.endswith("7"):
            body = {"id": name, "status": "failed", "error": "no", "code": "GENERATION_FAILED"}
        else:
            output = {"url": "https://example.com/media/a.png"}
            body = {"id": name, "status": "completed", "output": output}  # type: ignore[dict-item]
        return httpx.Response(200, json=body)

    async def main() -> tuple[int, int]:
        transport = httpx.MockTransport(handler)
        async with vydra.AsyncVydra(base_url="https://example.com", api_key="key", transport=transport) as client:
            return await batch.batch(client, batch.PROMPTS, tmp_path, 500)

    assert asyncio.run(main()) == (90, 450)
    assert 1 < most <= batch.AT_ONCE
    assert len(list(tmp_path.iterdir())) == 90


def test_the_webhook_receiver_takes_what_is_ours_once() -> None:
    key = b"a secret for the receiver"
    secret = "whsec_" + base64.b64encode(key).decode()
    program = (
        "import runpy, sys; from http.server import ThreadingHTTPServer as S; "
        "m = runpy.run_path(sys.argv[1]); s = S(('127.0.0.1', 0), m['Receiver']); "
        "print(s.server_port, flush=True); s.serve_forever()"
    )
    environment = {**os.environ, "PYTHONPATH": str(PACKAGE / "src"), "VYDRA_WEBHOOK_SECRET": secret}
    command = [sys.executable, "-c", program, str(EXAMPLES / "webhook_receiver.py")]
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as process:
        assert process.stdout
        try:
            url = f"http://127.0.0.1:{int(process.stdout.readline())}/"
            data = {"id": "job_1", "resultUrls": ["https://x/a.png"]}
            body = json.dumps({"type": "job.completed", "timestamp": "2026-03-01T12:00:00.000Z", "data": data})
            stamp = str(int(time.time()))
            signature = base64.b64encode(hmac.new(key, f"evt_1.{stamp}.{body}".encode(), hashlib.sha256).digest())
            headers = {
                "webhook-id": "evt_1",
                "webhook-timestamp": stamp,
                "webhook-signature": f"v1,{signature.decode()}",
            }
            assert httpx.post(url, content=body, headers=headers).status_code == 204
            assert httpx.post(url, content=body, headers=headers).status_code == 204
            assert httpx.post(url, content=body + " ", headers=headers).status_code == 400
        finally:
            process.terminate()
        assert process.stdout.read() == "job_1 ['https://x/a.png']\n"


def test_the_notebook_runs(real: Real, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("VYDRA_BASE_URL", real.url)
    monkeypatch.setenv("VYDRA_API_KEY", real.test)
    notebook = json.loads((EXAMPLES / "notebook.ipynb").read_text())
    assert notebook["nbformat"] == 4
    names: dict[str, object] = {}
    for cell in notebook["cells"]:
        if cell["cell_type"] == "code":
            assert cell["outputs"] == []
            exec(compile("".join(cell["source"]), cell["id"], "exec"), names)
    shown = capsys.readouterr().out
    assert "end 100" in shown
    assert "INVALID_INPUT" in shown
    assert str(names["picture"]).startswith("b'\\x89PNG")


def test_the_package_is_built_and_runs_in_an_empty_environment(real: Real, tmp_path: Path) -> None:
    build = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(tmp_path / "dist"), str(PACKAGE)]
    subprocess.run(build, check=True, capture_output=True)
    (sdist,) = (tmp_path / "dist").glob("*.tar.gz")
    (wheel,) = (tmp_path / "dist").glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        metadata = archive.read(next(name for name in names if name.endswith("/METADATA"))).decode()
    assert {"vydra/py.typed", "vydra/types.py"} <= set(names)
    assert any(name.endswith("licenses/LICENSE") for name in names)
    assert not [name for name in names if "test" in name]
    assert "# Vydra for Python" in metadata
    assert [line for line in metadata.splitlines() if line.startswith("Requires-Dist") and "extra" not in line] == [
        "Requires-Dist: httpx<1,>=0.27"
    ]
    with tarfile.open(sdist) as archive:
        assert {"README.md", "LICENSE", "pyproject.toml"} <= {Path(name).name for name in archive.getnames()}

    empty = tmp_path / "empty"
    venv.create(empty, with_pip=True)
    python = empty / "bin" / "python"
    subprocess.run([str(python), "-m", "pip", "install", "-q", str(wheel)], check=True, capture_output=True)
    plain = {name: value for name, value in environment(real).items() if name != "PYTHONPATH"}
    command = [str(python), str(EXAMPLES / "quickstart.py"), "a boat", str(tmp_path / "boat.png")]
    done = subprocess.run(command, env=plain, cwd=tmp_path, check=True, capture_output=True, text=True)
    assert done.stdout.endswith("boat.png, for 5 credits\n")
    assert (tmp_path / "boat.png").read_bytes().startswith(b"\x89PNG")
    refused = subprocess.run(command, env={**plain, "VYDRA_API_KEY": "wrong"}, capture_output=True, text=True)
    assert refused.returncode == 1
    assert refused.stderr.startswith("The API key is not complete. Please copy it again. (")

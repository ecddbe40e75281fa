"""The examples, against a real server."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest
from conftest import Real

import vydra

PACKAGE = Path(__file__).resolve().parents[1]
EXAMPLES = PACKAGE / "examples"
REFUND = {"applied": True, "creditsRefunded": 5}


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
            body = {"id": name, "status": "failed", "error": "no", "code": "GENERATION_FAILED", "refund": REFUND}
        else:
            output = {"url": "https://example.com/media/a.png"}
            body = {"id": name, "status": "completed", "output": output}
        return httpx.Response(200, json=body)

    async def main() -> tuple[int, int]:
        transport = httpx.MockTransport(handler)
        async with vydra.AsyncVydra(base_url="https://example.com", api_key="key", transport=transport) as client:
            return await batch.batch(client, batch.PROMPTS, tmp_path, 500)

    assert asyncio.run(main()) == (90, 450)
    assert 1 < most <= batch.AT_ONCE
    assert len(list(tmp_path.iterdir())) == 90


@pytest.mark.parametrize(
    ("status", "code", "spent"),
    [
        (400, "INVALID_INPUT", 0),
        (500, "INTERNAL_ERROR", 10),
        (401, "KEY_REVOKED", None),
        (402, "INSUFFICIENT_CREDITS", None),
        (403, "INSUFFICIENT_SCOPE", None),
        (429, "RATE_LIMIT_EXCEEDED", None),
    ],
)
def test_a_batch_counts_what_may_have_been_bought(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, status: int, code: str, spent: int | None
) -> None:
    monkeypatch.syspath_prepend(str(EXAMPLES))
    import batch

    def handler(request: httpx.Request) -> httpx.Response:
        if request.url.path.endswith("/quotes"):
            return httpx.Response(200, json={"credits": 5})
        return httpx.Response(status, json={"error": "no", "code": code})

    async def main() -> tuple[int, int]:
        transport = httpx.MockTransport(handler)
        async with vydra.AsyncVydra(
            base_url="https://example.com", api_key="key", max_retries=0, transport=transport
        ) as client:
            return await batch.batch(client, batch.PROMPTS[:2], tmp_path, 500)

    if spent is None:
        with pytest.raises(vydra.ApiError, match="no"):
            asyncio.run(main())
    else:
        assert asyncio.run(main()) == (0, spent)


def test_the_webhook_receiver_takes_what_is_ours_once(real: Real) -> None:
    with vydra.Vydra(base_url=real.url, api_key=real.test) as client:
        secret = client.webhooks.secret.get()["secret"]
        command = [sys.executable, str(EXAMPLES / "webhook_receiver.py"), "0"]
        given = environment(real, VYDRA_WEBHOOK_SECRET=secret)
        with subprocess.Popen(
            command, env=given, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        ) as process:
            assert process.stdout
            try:
                url = process.stdout.readline().split()[-1]
                # Of the server itself …
                done = client.generate.image({"prompt": "a boat"}, webhook_url=url)
                assert process.stdout.readline() == f"{done['id']} {done['urls']}\n"
                with pytest.raises(vydra.GenerationFailedError) as failed:
                    client.generate.image({"prompt": "a boat"}, webhook_url=url, simulate="GENERATION_FAILED")
                assert failed.value.job is not None
                assert process.stdout.readline() == f"{failed.value.job['id']} Failed to generate image\n"
                # … and what may come besides.
                assert post(url, secret, "evt_0", " ") == 400
                for name in ("evt_1", "evt_1", "evt_2"):
                    assert post(url, secret, name) == 204
                told = [process.stdout.readline(), process.stdout.readline()]
            finally:
                process.terminate()
    assert told == ["evt_1 ['https://x/a.png']\n", "evt_2 ['https://x/a.png']\n"]


def post(url: str, secret: str, name: str, more: str = "") -> int:
    """The receiver's answer to a webhook, to whose body something may have been added on the way."""
    data = {"id": name, "resultUrls": ["https://x/a.png"]}
    body = json.dumps({"type": "job.completed", "timestamp": "2026-03-01T12:00:00.000Z", "data": data})
    stamp = str(int(time.time()))
    key = base64.b64decode(secret.removeprefix("whsec_"))
    signature = base64.b64encode(hmac.new(key, f"{name}.{stamp}.{body}".encode(), hashlib.sha256).digest())
    headers = {"webhook-id": name, "webhook-timestamp": stamp, "webhook-signature": f"v1,{signature.decode()}"}
    return httpx.post(url, content=body + more, headers=headers).status_code


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

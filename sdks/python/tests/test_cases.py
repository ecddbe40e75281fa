"""The cases that all languages share, on both clients."""

from __future__ import annotations

import asyncio
import base64
import inspect
import io
import json
import re
from pathlib import Path
from typing import Any

import pytest
from support import KEY, FakeClock, date, scripted, snake

import vydra

FOLDER = Path(__file__).resolve().parents[2] / "cases"
CASES = [
    pytest.param(case, id=f"{path.stem}: {case['name']}")
    for path in sorted(FOLDER.glob("*.json"))
    for case in json.loads(path.read_text(encoding="utf-8"))
]


def test_there_are_cases() -> None:
    assert len(CASES) >= 60
    assert len({param.id for param in CASES}) == len(CASES)


def filled(value: Any, server: str, other: str) -> Any:
    """The value, with the addresses of the servers where they are asked for."""
    if isinstance(value, str):
        return value.replace("{server}", server).replace("{other}", other)
    if isinstance(value, list):
        return [filled(item, server, other) for item in value]
    if isinstance(value, dict):
        return {name: filled(item, server, other) for name, item in value.items()}
    return value


def arguments(given: dict[str, Any], folder: Path, progress: list[Any]) -> dict[str, Any]:
    args = {("from_" if name == "from" else snake(name)): value for name, value in given.items()}
    if isinstance(args.get("file"), dict):
        content = base64.b64decode(args["file"]["base64"])
        if args["file"]["as"] == "path":
            args["file"] = folder / args["file"]["name"]
            args["file"].write_bytes(content)
        else:
            args["file"] = content if args["file"]["as"] == "bytes" else io.BytesIO(content)
    if "to" in args and "url" in args:
        args["to"] = folder / args["to"]
    if "url" in args and "events" not in args:
        args["on_progress"] = lambda received, total: progress.__setitem__(slice(None), [received, total])
    return args


def subset(wanted: Any, got: Any, at: str = "result") -> None:
    """Fails unless everything that is wanted is there."""
    if isinstance(wanted, dict):
        for name, value in wanted.items():
            assert name in got, f"{at}.{name} is missing"
            subset(value, got[name], f"{at}.{name}")
    elif isinstance(wanted, list):
        assert len(got) == len(wanted), at
        for index, value in enumerate(wanted):
            subset(value, got[index], f"{at}[{index}]")
    else:
        assert got == wanted, at


def shown(value: Any, items: Any, progress: list[Any]) -> Any:
    """What a call gave, in the form of the cases."""
    if isinstance(value, (vydra.Page, vydra.AsyncPage)):
        return {"data": value.data, "items": items}
    if isinstance(value, Path):
        return {"base64": base64.b64encode(value.read_bytes()).decode(), "progress": progress}
    if isinstance(value, bytes):
        return {"base64": base64.b64encode(value).decode(), "progress": progress}
    return value


def run_sync(case: dict[str, Any], options: dict[str, Any], folder: Path) -> Any:
    with vydra.Vydra(**options) as client:
        method: Any = client
        for name in case["call"]["op"].split("."):
            method = getattr(method, snake(name))
        progress: list[Any] = []
        value = method(**arguments(case["call"].get("args", {}), folder, progress))
        if inspect.isgenerator(value):
            return {"events": list(value)}
        return shown(value, list(value) if isinstance(value, vydra.Page) else None, progress)


async def run_async(case: dict[str, Any], options: dict[str, Any], folder: Path) -> Any:
    async with vydra.AsyncVydra(**options) as client:
        method: Any = client
        for name in case["call"]["op"].split("."):
            method = getattr(method, snake(name))
        progress: list[Any] = []
        value = method(**arguments(case["call"].get("args", {}), folder, progress))
        if inspect.isasyncgen(value):
            return {"events": [event async for event in value]}
        if inspect.isawaitable(value):
            value = await value
        items = [item async for item in value] if isinstance(value, vydra.AsyncPage) else None
        return shown(value, items, progress)


def check_error(wanted: dict[str, Any], error: vydra.VydraError) -> None:
    for name in [wanted.get("class", "VydraError"), *wanted.get("classes", [])]:
        assert isinstance(error, getattr(vydra, name)), f"{type(error).__name__} is no {name}"
    for name, value in wanted.items():
        if name in ("class", "classes"):
            continue
        got = error.friendly() if name == "friendly" else getattr(error, snake(name))
        subset(value, got, name)
    assert not re.search(rf"\b{KEY}\b", f"{error} {error!r} {vars(error)}")


@pytest.mark.parametrize("way", ["sync", "async"])
@pytest.mark.parametrize("case", CASES)
def test_case(
    case: dict[str, Any],
    way: str,
    tmp_path: Path,
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    given = {snake(name): value for name, value in case.get("client", {}).items()}
    now = date(case["now"]) if "now" in case else 1767225600.0
    clock = FakeClock(now, given.pop("random", 0.5))
    with scripted([], clock) as server, scripted([], clock) as other:
        case = filled(case, server.url, other.url)
        server.exchanges, other.exchanges = case.get("exchanges", []), case.get("other", [])
        given = filled(given, server.url, other.url)
        options = {"base_url": server.url, "api_key": KEY, "clock": clock, **given}
        config = tmp_path_factory.mktemp("config")
        monkeypatch.setenv("XDG_CONFIG_HOME", str(config))
        for name in ("VYDRA_BASE_URL", "VYDRA_API_KEY"):
            monkeypatch.delenv(name, raising=False)
        for name, value in case.get("env", {}).items():
            monkeypatch.setenv(name, value)
        if "credentials" in case:
            text = case["credentials"] if isinstance(case["credentials"], str) else json.dumps(case["credentials"])
            (config / "vydra").mkdir()
            (config / "vydra" / "credentials.json").write_text(text)
        error: Any = None
        result: Any = None
        try:
            if way == "sync":
                result = run_sync(case, options, tmp_path)
            else:
                result = asyncio.run(run_async(case, options, tmp_path))
        except vydra.VydraError as raised:
            error = raised
        assert server.wrong + other.wrong == []
        if "error" in case:
            assert error is not None, f"gave {result}"
            check_error(case["error"], error)
        elif error is not None:
            raise error
        if "result" in case:
            subset(case["result"], result)
        assert len(server.requests) == len(server.exchanges)
        assert len(other.requests) == len(other.exchanges)
    if "waits" in case:
        assert clock.waits == pytest.approx(case["waits"])
    if case["call"]["op"] == "download":
        assert [path.name for path in tmp_path.iterdir()] == ([] if error else [case["call"]["args"]["to"]])

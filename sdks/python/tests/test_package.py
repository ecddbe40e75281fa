"""What is published, as somebody gets it: built, installed into an empty environment, and run."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tarfile
import textwrap
import venv
import zipfile
from dataclasses import dataclass
from email.parser import Parser
from pathlib import Path

import pytest
from conftest import Real

import vydra

PACKAGE = Path(__file__).resolve().parents[1]
ROOT = PACKAGE.parents[1]
VERSION = vydra.__version__
MODULES = [
    "__init__.py",
    "_async_client.py",
    "_catalogue.py",
    "_client.py",
    "_config.py",
    "_core.py",
    "_effects.py",
    "_inputs.py",
    "_io.py",
    "_sse.py",
    "_version.py",
    "errors.py",
    "py.typed",
    "types.py",
    "webhooks.py",
]

CONSUMER = """
from typing import Optional

import vydra


def made(client: vydra.Vydra) -> str:
    job: vydra.CompletedJob = client.generate.image({"prompt": "a boat", "aspect_ratio": "16:9"}, max_credits=10)
    client.generate.image({})  # type: ignore[typeddict-item]
    for event in client.stream(job):
        print(event["progress"] + 1)
    return job["url"]


async def as_well(client: vydra.AsyncVydra) -> Optional[int]:
    try:
        async for job in await client.jobs.list():
            print(job["status"].upper())
    except vydra.InsufficientCreditsError as error:
        return error.credits_required
    return None
"""


@dataclass
class Built:
    """The two files that are published, and an environment with nothing but them."""

    sdist: Path
    wheel: Path
    python: Path


def output(command: list[str], **options: object) -> str:
    done = subprocess.run(command, capture_output=True, text=True, **options)  # type: ignore[call-overload]
    assert done.returncode == 0, done.stdout + done.stderr
    return str(done.stdout)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    folder = tmp_path_factory.mktemp("package")
    # The wheel is built of the sdist.
    output([sys.executable, "-m", "build", "--no-isolation", "--outdir", str(folder), str(PACKAGE)])
    (sdist,) = folder.glob("*.tar.gz")
    (wheel,) = folder.glob("*.whl")
    venv.create(folder / "empty", with_pip=True)
    python = folder / "empty" / "bin" / "python"
    pinned = str(PACKAGE / "requirements.txt")
    output([str(python), "-m", "pip", "install", "-q", "--only-binary=:all:", "--constraint", pinned, str(wheel)])
    return Built(sdist, wheel, python)


def test_the_package_holds_these_files_and_no_others(built: Built) -> None:
    with zipfile.ZipFile(built.wheel) as archive:
        info = f"vydra-{VERSION}.dist-info"
        about = [f"{info}/{name}" for name in ("METADATA", "RECORD", "WHEEL", "licenses/LICENSE")]
        assert sorted(archive.namelist()) == sorted([f"vydra/{name}" for name in MODULES] + about)
        metadata = Parser().parsestr(archive.read(f"{info}/METADATA").decode())
        assert archive.read(f"{info}/licenses/LICENSE") == (ROOT / "LICENSE").read_bytes()
    assert (metadata["Name"], metadata["Version"]) == ("vydra", VERSION)
    assert metadata["License-Expression"] == "Apache-2.0"
    needed = [line for line in metadata.get_all("Requires-Dist", []) if "extra ==" not in line]
    assert needed == ["httpx<1,>=0.27"]
    assert metadata.get_payload() == (PACKAGE / "README.md").read_text()
    with tarfile.open(built.sdist) as archive_:
        # The builder adds the list of what git ignores.
        besides = ["PKG-INFO", "LICENSE", "README.md", "pyproject.toml", ".gitignore"]
        wanted = [f"vydra-{VERSION}/{name}" for name in [*besides, *(f"src/vydra/{name}" for name in MODULES)]]
        assert sorted(archive_.getnames()) == sorted(wanted)


def snippets(path: Path) -> list[str]:
    return re.findall(r"```python\n(.*?)```", path.read_text(), re.DOTALL)


def test_the_quick_starts_run(built: Built, real: Real, tmp_path: Path) -> None:
    blocking, asynchronous, *_ = snippets(PACKAGE / "README.md")
    (first,) = snippets(ROOT / "README.md")
    inner = textwrap.indent(asynchronous, "    ")
    programs = {
        "blocking": (blocking, "fox.png"),
        "asynchronous": (f"import asyncio\nimport vydra\nasync def main():\n{inner}\nasyncio.run(main())", "ready.mp3"),
        "of the whole": (first, "fox.png"),
    }
    given = {**os.environ, "VYDRA_BASE_URL": real.url, "VYDRA_API_KEY": real.test}
    for name, (program, file) in programs.items():
        folder = tmp_path / name
        folder.mkdir()
        output([str(built.python), "-c", program], env=given, cwd=folder)
        assert [path.name for path in folder.iterdir()] == [file]
        assert (folder / file).stat().st_size > 1000
    command = [str(built.python), str(PACKAGE / "examples" / "quickstart.py"), "a boat", str(tmp_path / "boat.png")]
    assert output(command, env=given).endswith("boat.png, for 5 credits\n")
    refused = subprocess.run(command, env={**given, "VYDRA_API_KEY": "wrong"}, capture_output=True, text=True)
    assert refused.returncode == 1
    assert refused.stderr.startswith("The API key is not complete. Please copy it again. (")


def test_its_types_are_found(built: Built, tmp_path: Path) -> None:
    (tmp_path / "consumer.py").write_text(CONSUMER)
    command = [sys.executable, "-m", "mypy", "--strict", "--python-executable", str(built.python), "consumer.py"]
    assert output(command, cwd=tmp_path).startswith("Success")


def test_its_documentation_builds(tmp_path: Path) -> None:
    # Of a field that a TypedDict inherits pdoc does not find the line.
    warnings = ["-W", "error", "-W", "ignore:Cannot determine where:UserWarning"]
    source = {**os.environ, "PYTHONPATH": str(PACKAGE / "src")}
    output([sys.executable, *warnings, "-m", "pdoc", "--output-directory", str(tmp_path), "vydra"], env=source)
    assert 'id="AsyncVydra"' in (tmp_path / "vydra.html").read_text()

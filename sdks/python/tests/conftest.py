"""A real server, where there is one: `VYDRA_BINARY` names the program."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest


@dataclass
class Real:
    """A server of the tests."""

    url: str
    live: str
    test: str
    binary: str
    folder: Path


@pytest.fixture(scope="session")
def real(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Real]:
    binary = os.environ.get("VYDRA_BINARY")
    if not binary:
        # In CI nothing is left out: what the tests need must be there.
        leave_out = pytest.fail if os.environ.get("CI") else pytest.skip
        leave_out("VYDRA_BINARY names no server: not tested against a real one")
    folder = tmp_path_factory.mktemp("vydra")
    config = folder / "config.toml"
    config.write_text('[outbound]\nwebhook_allow_networks = ["127.0.0.0/8"]\n')
    command = [binary, "dev", "--data-dir", str(folder), "--config", str(config), "--listen", "127.0.0.1:0"]
    command.append("--quiet-start")
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert process.stdout
    try:
        url = ""
        for line in process.stdout:
            if line.startswith("Serving on "):
                url = line.split()[2]
                break
        keys = dict(line.split("=", 1) for line in (folder / "dev-keys.env").read_text().splitlines() if "=" in line)
        yield Real(url, keys["VYDRA_API_KEY"], keys["VYDRA_TEST_KEY"], binary, folder)
    finally:
        process.terminate()
        process.stdout.read()
        process.wait()
        process.stdout.close()

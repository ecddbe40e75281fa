"""Where the server is, and as whom it is asked."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Callable, NoReturn, Optional
from urllib.parse import urlsplit

from .errors import ConfigurationError


class Secret:
    """A key that shows itself nowhere but where it is asked for."""

    __slots__ = ("_reveal",)

    def __init__(self, value: str) -> None:
        self._reveal: Callable[[], str] = lambda: value

    def reveal(self) -> str:
        """The key."""
        return self._reveal()

    def __repr__(self) -> str:
        return "Secret(…)"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a key is not pickled")


def base_of(url: str) -> str:
    """A base URL in its one form: without a slash or `/api/v1` at its end."""
    parts = urlsplit(url.strip())
    try:
        known = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        known = False
    if not known or parts.username is not None or parts.password is not None or parts.query or parts.fragment:
        raise ConfigurationError("base_url must be an http or https URL without a user, query or fragment")
    path = re.sub(r"/api/v1$", "", parts.path.rstrip("/")).rstrip("/")
    return f"{parts.scheme}://{parts.netloc.lower()}{path}"


def credentials_path(environment: Mapping[str, str]) -> Path:
    """Where the credentials file is."""
    config = Path(environment.get("XDG_CONFIG_HOME", ""))
    # The XDG specification has a path that is not absolute ignored.
    return (config if config.is_absolute() else Path.home() / ".config") / "vydra" / "credentials.json"


def _read(path: Path) -> dict[str, str]:
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path} cannot be read") from error
    try:
        value = json.loads(text)
    except ValueError:
        # Without its cause, which holds the text of the file.
        raise ConfigurationError(f"{path} is not JSON") from None
    if not isinstance(value, dict) or not all(isinstance(value.get(name, ""), str) for name in ("baseUrl", "apiKey")):
        raise ConfigurationError(f'{path} must hold {{"baseUrl": "https://…", "apiKey": "…"}}')
    return {name: value[name] for name in ("baseUrl", "apiKey") if value.get(name)}


def resolve(
    base_url: Optional[str], api_key: Optional[str], environment: Optional[Mapping[str, str]] = None
) -> tuple[str, Secret]:
    """The server and the key, from the arguments, the environment or the credentials file."""
    environment = os.environ if environment is None else environment
    url = base_url or environment.get("VYDRA_BASE_URL")
    key = api_key or environment.get("VYDRA_API_KEY")
    if not url or not key:
        file = _read(credentials_path(environment))
        url = url or file.get("baseUrl")
        # A key of one server is never offered to another.
        if not key and url and "baseUrl" in file and base_of(file["baseUrl"]) == base_of(url):
            key = file.get("apiKey")
    if not url:
        raise ConfigurationError("no server: give base_url, or set VYDRA_BASE_URL")
    base = base_of(url)
    if not key:
        raise ConfigurationError(f"no key for {base}: give api_key, or set VYDRA_API_KEY")
    key = key.strip()
    # Refused here, because a library below would show the header that it refuses.
    if not re.fullmatch(r"[!-~]+", key):
        raise ConfigurationError("the key holds characters that no key has")
    return base, Secret(key)

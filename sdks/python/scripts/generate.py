"""Writes what is derived from elsewhere: the types, the catalogue of errors, and the asynchronous client.

    python scripts/generate.py            writes
    python scripts/generate.py --check    fails where a file is not current

The types are written here and not by a general generator: those need `typing_extensions` at run time for
`NotRequired` on Python 3.9, and make hundreds of nameless classes of the inline schemas of openapi.json.
"""

from __future__ import annotations

import json
import re
import sys
import textwrap
from pathlib import Path
from typing import Any

PACKAGE = Path(__file__).resolve().parent.parent
ROOT = PACKAGE.parent.parent
SOURCE = PACKAGE / "src" / "vydra"

NOTE = "# Written by scripts/generate.py; do not change it here.\n\n"

# Of sessions, which belong to the dashboard.
UNUSED = {"LoginBody", "LoggedInView", "LoggedOutView", "NewBotBody", "BotView", "PersonView", "UserView", "PlaceView"}

PLAIN = {
    "string": "str",
    "integer": "int",
    "number": "float",
    "boolean": "bool",
    "null": "None",
    "object": "Dict[str, Any]",
}


def name_of(reference: str) -> str:
    """The Python name of a schema: without the `View` that is of no use to a reader."""
    return re.sub(r"View$", "", reference.rsplit("/", 1)[-1])


def type_of(schema: dict[str, Any]) -> str:
    """The annotation for a schema."""
    if "$ref" in schema:
        return f'"{name_of(schema["$ref"])}"'
    if "oneOf" in schema:
        kinds = [type_of(part) for part in schema["oneOf"]]
    else:
        declared = schema.get("type", "object")
        kinds = []
        for kind in declared if isinstance(declared, list) else [declared]:
            if kind == "array":
                kinds.append(f"List[{type_of(schema.get('items', {}))}]")
            elif kind == "object" and isinstance(schema.get("additionalProperties"), dict):
                kinds.append(f"Dict[str, {type_of(schema['additionalProperties'])}]")
            else:
                kinds.append(PLAIN[kind])
    if kinds == ["None"]:
        return "None"
    some = [kind for kind in kinds if kind != "None"]
    joined = some[0] if len(some) == 1 else f"Union[{', '.join(some)}]"
    return f"Optional[{joined}]" if "None" in kinds else joined


def docstring(text: str, indent: str) -> str:
    """A docstring, wrapped."""
    words = " ".join(text.split()).replace("\\", "\\\\")
    if len(words) + len(indent) + 6 <= 120:
        return f'{indent}"""{words}"""\n'
    return textwrap.fill(f'"""{words}', 116, initial_indent=indent, subsequent_indent=indent) + f'\n{indent}"""\n'


def fields_of(properties: dict[str, Any]) -> str:
    """The lines of fields, each with what the description says."""
    lines = ""
    for field, schema in properties.items():
        lines += f"    {field}: {type_of(schema)}\n"
        described = schema.get("description") or next(
            (part["description"] for part in schema.get("oneOf", []) if "description" in part), None
        )
        if described:
            lines += docstring(described, "    ")
    return lines


def class_of(name: str, schema: dict[str, Any]) -> str:
    """A TypedDict, or two where some fields may be absent."""
    bases = [name_of(part["$ref"]) for part in schema.get("allOf", []) if "$ref" in part]
    own = next((part for part in schema.get("allOf", []) if "$ref" not in part), schema)
    properties, required = own.get("properties", {}), set(own.get("required", []))
    # Not identifiers of Python: these can only be written in the other form.
    if not all(field.isidentifier() and field not in ("from", "in") for field in properties):
        body = "".join(f'        "{field}": {type_of(part)},\n' for field, part in properties.items())
        text = docstring(schema.get("description", f"{name}, as the reference has it."), "")
        return f'{name} = TypedDict(\n    "{name}",\n    {{\n{body}    }},\n)\n{text}'
    always = {field: part for field, part in properties.items() if field in required}
    perhaps = {field: part for field, part in properties.items() if field not in required}
    text = docstring(schema.get("description", f"{name}, as the reference has it."), "    ")
    if not perhaps:
        return f"class {name}({', '.join(bases) or 'TypedDict'}):\n{text}\n{fields_of(always)}"
    out = ""
    if always:
        out = f"class _{name}({', '.join(bases) or 'TypedDict'}):\n{fields_of(always)}\n\n"
        bases = [f"_{name}"]
    return f"{out}class {name}({', '.join(bases) or 'TypedDict'}, total=False):\n{text}\n{fields_of(perhaps)}"


def types() -> str:
    """The module of types."""
    schemas = json.loads((ROOT / "openapi.json").read_text())["components"]["schemas"]
    wanted = {key: schema for key, schema in schemas.items() if key not in UNUSED}
    classes, done = [], set()

    def add(key: str) -> None:
        if key in done:
            return
        done.add(key)
        for part in wanted[key].get("allOf", []):
            if "$ref" in part:
                add(part["$ref"].rsplit("/", 1)[-1])
        if wanted[key].get("type", "object") == "object":
            classes.append(class_of(name_of(key), wanted[key]))
        else:
            text = docstring(wanted[key].get("description", key), "")
            classes.append(f"{name_of(key)} = {type_of(wanted[key])}\n{text}")

    for key in wanted:
        add(key)
    body = "\n\n".join(classes)
    names = sorted(re.findall(r"^(?:class )?([A-Z]\w+)(?: =|\()", body, re.MULTILINE))
    listed = "".join(f'    "{name}",\n' for name in names)
    taken = ("Any", "Dict", "List", "Optional", "TypedDict", "Union")
    used = [name for name in taken if re.search(rf"\b{name}\b", body)]
    return (
        '"""What the server sends and takes, as `openapi.json` describes it."""\n\n'
        + NOTE
        # The annotations are read at run time by some, on Python 3.9 too.
        + "# ruff: noqa: UP006, UP035\n\n"
        + f"from typing import {', '.join(used)}\n\n__all__ = [\n{listed}]\n\n\n{body}"
    )


def catalogue() -> str:
    """The module of the catalogue of errors."""
    entries = ""
    for entry in json.loads((ROOT / "sdks" / "errors.json").read_text()):
        text = json.dumps(entry["friendly"], ensure_ascii=False)
        entries += f'    "{entry["code"]}": Entry({entry["status"]}, {entry["retryable"]}, {text}),\n'
    return (
        '"""The codes of the server: their status, whether a repetition can help, and what to tell people."""\n\n'
        + NOTE
        + "# ruff: noqa: E501\n\n"
        + "from typing import Dict, NamedTuple  # noqa: UP035\n\n\n"
        + "class Entry(NamedTuple):\n"
        + '    """What is known of a code."""\n\n    status: int\n    retryable: bool\n    friendly: str\n\n\n'
        + f"CATALOGUE: Dict[str, Entry] = {{  # noqa: UP006\n{entries}}}\n"
    )


def asynchronous() -> str:
    """The asynchronous client, made of the synchronous one: they are the same word for word but for `await`."""
    text = (SOURCE / "_client.py").read_text()
    for old, new in [
        (r"\bVydra\b(?!')", "AsyncVydra"),
        (r"\bPage\b", "AsyncPage"),
        (r"\bIterator\b", "AsyncIterator"),
        (r"\bSyncIO\b", "AsyncIO"),
        (r"httpx\.BaseTransport", "httpx.AsyncBaseTransport"),
        (r"\b__iter__\b", "__aiter__"),
        (r"\b__enter__\b", "__aenter__"),
        (r"\b__exit__\b", "__aexit__"),
        (r"\bblocking\b", "asynchronous"),
        (r"((?:self|client)(?:\._client)?\._run\()", r"await \1"),
        (r"\bself\.close\(\)", "await self.close()"),
        (r"\bself\._io\.close\(\)", "await self._io.close()"),
        (r"\bpage\.next_page\(\)", "await page.next_page()"),
        (r"\b_page\(", "await _page("),
    ]:
        text = re.sub(old, new, text)
    text = text.replace("def await _page(", "def _page(").replace("def __aenter__", "async def __aenter__")
    blocks = re.split(r"(?m)^(?=(?:    )?def )", text)
    blocks = [re.sub(r"^((?:    )?)def ", r"\1async def ", block) if "await " in block else block for block in blocks]
    head, rest = "".join(blocks).split("\n", 1)
    return f"{head}\n\n{NOTE.rstrip()}\n{rest}"


def main() -> int:
    """Writes, or compares."""
    stale = []
    for file, text in [("types.py", types()), ("_catalogue.py", catalogue()), ("_async_client.py", asynchronous())]:
        path = SOURCE / file
        if path.exists() and path.read_text() == text:
            continue
        if "--check" in sys.argv[1:]:
            stale.append(file)
        else:
            path.write_text(text)
    if stale:
        print(f"not current: {', '.join(stale)}; run python scripts/generate.py", file=sys.stderr)
    return 1 if stale else 0


if __name__ == "__main__":
    raise SystemExit(main())

"""Named SQL statements, read once from `sql/<noun>.sql`.

A statement begins with `-- name: <word>`; the comment lines under it say why it is safe. A test
prepares each of them against a migrated database. What several of them say begins with `-- part: <word>`,
before them, and stands where they write `<<word>>`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from types import MappingProxyType

_NAME = re.compile(r"^-- (name|part): ([a-z_0-9]+)$", re.MULTILINE)
_PART = re.compile(r"<<([a-z_0-9]+)>>")


@cache
def statements(noun: str) -> Mapping[str, str]:
    """The statements of one noun, by name; raises ValueError for a name twice, KeyError for a missing part."""
    text = files("runtime.store").joinpath("sql", f"{noun}.sql").read_text(encoding="utf-8")
    pieces = _NAME.split(text)
    found: dict[str, str] = {}
    parts: dict[str, str] = {}
    for kind, name, body in zip(pieces[1::3], pieces[2::3], pieces[3::3], strict=True):
        if name in found or name in parts:
            raise ValueError(f"sql/{noun}.sql names {name} twice")
        lines = [line for line in body.splitlines() if not line.lstrip().startswith("--")]
        said = "\n".join(lines).strip().rstrip(";")
        into = found if kind == "name" else parts
        into[name] = _PART.sub(lambda match: parts[match[1]], said)
    return MappingProxyType(found)


def nouns() -> tuple[str, ...]:
    """All nouns that have a file of statements."""
    folder = files("runtime.store").joinpath("sql")
    return tuple(
        sorted(
            item.name.removesuffix(".sql")
            for item in folder.iterdir()
            if item.name.endswith(".sql")
        )
    )

"""Named SQL statements, read once from `sql/<noun>.sql`.

A statement begins with `-- name: <word>`; the comment lines under it say why it is safe. A test
prepares each of them against a migrated database.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from types import MappingProxyType

_NAME = re.compile(r"^-- name: ([a-z_0-9]+)$", re.MULTILINE)


@cache
def statements(noun: str) -> Mapping[str, str]:
    """The statements of one noun, by name."""
    text = files("runtime.store").joinpath("sql", f"{noun}.sql").read_text(encoding="utf-8")
    parts = _NAME.split(text)
    found: dict[str, str] = {}
    for name, body in zip(parts[1::2], parts[2::2], strict=True):
        if name in found:
            raise ValueError(f"sql/{noun}.sql names {name} twice")
        lines = [line for line in body.splitlines() if not line.lstrip().startswith("--")]
        found[name] = "\n".join(lines).strip().rstrip(";")
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

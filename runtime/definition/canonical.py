"""Canonical JSON (RFC 8785) and its digest: the identity of a definition, whatever it was written in.

orjson writes the same bytes when there are no floats and the keys are ASCII, and a hundred times
faster, so rfc8785 is asked only for the rest.
"""

from __future__ import annotations

from typing import Any

import orjson
import rfc8785

from runtime.model.values import Digest, Json

_MAX_INTEGER = 2**53 - 1


def canonical_bytes(value: Json, *, plain: bool | None = None) -> bytes:
    """The canonical form of a value; `plain` spares the check when its whole was checked already."""
    if is_plain(value) if plain is None else plain:
        return orjson.dumps(value, option=orjson.OPT_SORT_KEYS)
    return rfc8785.dumps(value)


def canonical_digest(value: Json, *, plain: bool | None = None) -> Digest:
    """The SHA-256 of the canonical form."""
    return Digest.of(canonical_bytes(value, plain=plain))


def is_plain(value: Any) -> bool:
    """Whether both encoders agree on a value."""
    todo: list[Any] = [[value]]
    while todo:
        one = todo.pop()
        if type(one) is dict:
            if not "".join(one).isascii():
                return False
            one = one.values()
        for part in one:
            kind = type(part)
            if kind is str:
                continue
            if kind is dict or kind is list:
                todo.append(part)
            elif kind is float or (kind is int and not -_MAX_INTEGER <= part <= _MAX_INTEGER):
                return False
    return True

"""What of a value can't be made durable, and in which words: the same for a run and for its simulation.

PostgreSQL keeps no U+0000; JSON text has no half surrogates and no numbers beyond 64 bits.
"""

from __future__ import annotations

from typing import Any, Final

import orjson

from runtime.model.errors import Invalid, PayloadTooLarge, Problem
from runtime.model.values import Json

NOT_STORABLE: Final = "output_not_storable"
_NUL: Final = b"\\u0000"


def why_not_durable(value: Any, what: str) -> str | None:
    """Why a value can't be stored, in a sentence about `what`; None when it can be."""
    try:
        raw = orjson.dumps(value, option=orjson.OPT_SORT_KEYS)
    except (TypeError, ValueError, RecursionError) as error:
        return no_json(what, error)
    return about_nul(what) if holds_nul(raw, value) else None


def durable_input(value: Json, *, most: int | None = None) -> str:
    """The JSON text of an input of an execution.

    Raises Invalid when it can't be stored, PayloadTooLarge when it has more than `most` bytes.
    """
    try:
        raw = orjson.dumps(value)
    except (TypeError, ValueError, RecursionError) as error:
        raise not_durable_input(no_json("The input", error)) from error
    if most is not None and len(raw) > most:
        raise PayloadTooLarge(
            f"The input is {len(raw)} bytes long; at most {most} are taken. Pass a reference to where the data lies.",
            reason="INPUT_TOO_LARGE",
            path=("input",),
        )
    if holds_nul(raw, value):
        raise not_durable_input(about_nul("The input"))
    return raw.decode()


def not_durable_input(why: str) -> Invalid:
    """The refusal of an input for this reason."""
    return Invalid([Problem("not-storable", why, path=("input",))])


def no_json(what: str, error: Exception) -> str:
    """That there is no JSON text of it."""
    return f"{what} can't be stored as JSON: {error}."


def about_nul(what: str) -> str:
    """That it holds U+0000."""
    return f"{what} holds the character U+0000, which PostgreSQL can't store."


def holds_nul(raw: bytes, value: Json) -> bool:
    """Whether a string in the value, whose JSON text is `raw`, holds U+0000."""
    return _NUL in raw and has_nul(value)


def has_nul(value: Json) -> bool:
    """Whether a string in the value holds U+0000."""
    if isinstance(value, str):
        return "\x00" in value
    if isinstance(value, list):
        return any(map(has_nul, value))
    if isinstance(value, dict):
        return any("\x00" in key or has_nul(item) for key, item in value.items())
    return False

"""Values that callers send, as the JSON text that a row can hold; what no row can hold is refused by its field."""

from __future__ import annotations

import re
from typing import Final

import orjson

from runtime.model.errors import BadInput
from runtime.model.values import Json

# An escaped U+0000 in JSON text; a backslash that is itself escaped begins none.
NUL: Final = re.compile(r"(?<!\\)(?:\\\\)*\\u0000")


def json_of(field: str, value: Json) -> bytes:
    """The JSON text of a field's value; raises BadInput when it can't be stored."""
    try:
        raw = orjson.dumps(value)
    except (TypeError, ValueError, RecursionError) as error:
        raise not_storable(field, f"The {field} can't be stored as JSON: {error}.") from error
    if NUL.search(raw.decode()):
        raise not_storable(field, f"The {field} holds the character U+0000, which can't be stored.")
    return raw


def not_storable(field: str, message: str) -> BadInput:
    """Why a field's value can't be stored."""
    return BadInput(message, reason="NOT_STORABLE", path=(field,))

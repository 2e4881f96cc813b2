"""Words as callers write them: what no column of text can hold is refused here, before it looks like a fault."""

from __future__ import annotations

from typing import Final, TypeVar

from runtime.model.errors import BadInput
from runtime.services.storable import not_storable

T = TypeVar("T", bound="str | None")
# It stands on events, in messages, and in the memory of whoever acts on them.
MAX_REASON: Final = 2_000


def is_storable(*words: str | None) -> bool:
    """Whether anything stored could be equal to these: PostgreSQL's text holds no U+0000."""
    return not any(word and "\0" in word for word in words)


def storable(name: str, word: T) -> T:
    """The word of an input's field; raises BadInput when it can't be stored."""
    if not is_storable(word):
        raise not_storable(name, f"`{name}` holds the character U+0000, which can't be stored.")
    return word


def reason_of(word: T) -> T:
    """Why somebody asks for something; raises BadInput when it can't be stored or is no longer a sentence or two."""
    if word is not None and len(word) > MAX_REASON:
        raise BadInput(
            f"The reason is {len(word)} characters long; at most {MAX_REASON} are kept.",
            reason="REASON_TOO_LONG",
            path=("reason",),
        )
    return storable("reason", word)

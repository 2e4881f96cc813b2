"""Words as callers write them: what no column of text can hold is refused here, before it looks like a fault."""

from __future__ import annotations

from typing import TypeVar

from runtime.model.errors import BadInput

T = TypeVar("T", bound="str | None")


def is_storable(*words: str | None) -> bool:
    """Whether anything stored could be equal to these: PostgreSQL's text holds no U+0000."""
    return not any(word and "\0" in word for word in words)


def storable(name: str, word: T) -> T:
    """The word of an input's field; raises BadInput when it can't be stored."""
    if not is_storable(word):
        raise BadInput(
            f"`{name}` holds the character U+0000, which can't be stored.",
            reason="NOT_STORABLE",
            path=(name,),
        )
    return word

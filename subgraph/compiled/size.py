"""How large an answer is while it is made: what is too large is refused before it is written, or read on for.

Counted is what the answer has as JSON at the least: names, text by its letters, values without a form of their own by
their JSON; whatever else is a character or two. So nothing is refused that would have fitted. Who writes the
answer counts its bytes.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import orjson
from graphql import GraphQLError

# Values whose length is remembered, because a document can show the same one a hundred times.
_LONG: Final = 1_024
# A name's two quotes, its colon, and a comma or the end.
ENTRY: Final = 4


def _refuse(most: int, _is_done: bool) -> GraphQLError:  # noqa: FBT001 - of a fixed form
    return GraphQLError(f"The answer is larger than {most} bytes.")


@dataclass(frozen=True, slots=True)
class Bound:
    """How many bytes an answer may have, and with what a larger one is refused.

    The refusal is told the bound, and whether it refuses the answer of a mutation, which has been done.
    """

    most: int = sys.maxsize
    refuse: Callable[[int, bool], GraphQLError] = _refuse

    def refusal(self, *, is_done: bool) -> GraphQLError:
        """The refusal of a larger one."""
        return self.refuse(self.most, is_done)


UNBOUND: Final = Bound()


class Size:
    """How much of one answer is there."""

    __slots__ = ("_long", "_long_bytes", "bytes", "most")

    def __init__(self, bound: Bound) -> None:
        self.bytes = 0
        self.most = bound.most
        self._long: dict[int, tuple[Any, int]] = {}
        self._long_bytes = 0

    @property
    def is_over(self) -> bool:
        """Whether it is more than there may be."""
        return self.bytes > self.most

    def overflow(self) -> None:
        """Take it for more than there may be."""
        self.bytes = self.most + 1

    def of(self, value: Any) -> int:
        """What a scalar takes; raises TooLarge where long values alone come to more than there may be.

        Whoever makes a list adds to `bytes` at its end, and what its objects hold may be many times too large.
        """
        kind = value.__class__
        if kind is str:
            return len(value) + 2
        if kind is not dict and kind is not list:
            return 1
        known = self._long.get(id(value))
        length = _length(value) if known is None else known[1]
        if length > _LONG:
            # The value is kept with it, so that its id belongs to nothing else.
            self._long[id(value)] = (value, length)
            self._long_bytes += length
            if self._long_bytes > self.most:
                raise TooLarge
        return length


class TooLarge(Exception):
    """The answer would be larger than it may be, and is not made; a resolver raises it before it reads so much."""


def _length(value: Any) -> int:
    try:
        return len(orjson.dumps(value, default=str))
    except orjson.JSONEncodeError:
        # Deeper than it writes.
        return len(json.dumps(value, default=str, separators=(",", ":")))

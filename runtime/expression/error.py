"""ExpressionError: what is wrong with an expression, in words for the person who wrote it.

Raised at parse time (broken syntax, unknown filter) and at render time (a name that is not there, a
limit that was reached). `offset` counts characters in the string that holds the expression; `path`
leads to that string inside the JSON value the template was made from.
"""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

MAX_COMPARED = 1_000
_LONGEST_NAME = 64


class ExpressionError(Exception):
    """An expression cannot be read, or has no value here."""

    def __init__(self, message: str, offset: int = 0, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.offset = offset
        self.hint = hint
        self.path: tuple[str | int, ...] = ()

    def at(self, path: tuple[str | int, ...]) -> ExpressionError:
        """The same error, with the place of its string in the whole value."""
        self.path = path
        return self


class Undefined(ExpressionError):
    """A name, key or index that is not there; `default` and `is defined` live from catching it.

    Which of `names` was probably meant is found out when somebody reads the message: most of these are caught, perhaps
    a hundred thousand in one rendering, and a look at all names costs more than all the rest.
    """

    def __init__(
        self, message: str, *, name: str = "", names: Iterable[str] = (), hint: str | None = None
    ) -> None:
        self._words = message
        self._name, self._names = name, names
        super().__init__(message, hint=hint)

    @property
    def message(self) -> str:
        """What is not there, and what was probably meant."""
        near = nearest(self._name, self._names) if self._name else None
        return f"{self._words}; did you mean {near!r}?" if near else self._words

    @message.setter
    def message(self, words: str) -> None:
        self._words = words


class LimitReached(ExpressionError):
    """The expression would take more work or memory than an expression may."""


def nearest(name: str, names: Iterable[str]) -> str | None:
    """The one of `names` that was probably meant; long ones are no slips of a finger, and dear to compare."""
    if len(name) > _LONGEST_NAME:
        return None
    candidates = [
        one for one, _ in zip(names, range(MAX_COMPARED), strict=False) if len(one) <= _LONGEST_NAME
    ]
    found = get_close_matches(name, candidates, n=1, cutoff=0.6)
    return found[0] if found else None

"""Regular expressions in linear time: those of RE2, whoever has written them."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any, Final

import re2  # type: ignore[import-untyped]  # it comes without types

from runtime.definition.effort import pay

_MAX_PATTERN: Final = 2_000
_SMALL: Final = 200
_SMALL_BYTES: Final = (
    1 << 16
)  # What the program of a small pattern may take; compiling stops there.
_COMPILING: Final = 500
_DEAR: Final = re2.compile(
    r"\\[pP]|\(\?[a-zA-Z]*i"
)  # Classes of Unicode, which a few signs make large.
_AT_ONCE: Final = 80  # Steps of a program through characters, for one unit of the budget.

Matches = Callable[[str], bool]


class BadPattern(ValueError):
    """A regular expression that can't be run in linear time, or is none."""


@lru_cache(maxsize=1_024)
def linear_pattern(text: str) -> Matches:
    """Whether a text contains a match; raises BadPattern for what RE2 does not take.

    Linear in the text, and that many times the pattern: what is large is run where nobody waits.
    """
    if len(text) > _MAX_PATTERN:
        raise BadPattern(f"a pattern has at most {_MAX_PATTERN:,} characters")
    options = re2.Options()
    options.log_errors = False
    try:
        search = re2.compile(text, options).search
    except (re2.error, UnicodeError) as error:
        said = error.args[0] if error.args else "no regular expression"
        said = said.decode(errors="replace") if isinstance(said, bytes) else str(said)
        raise BadPattern(said[:200]) from None
    return lambda value: _finds(search, value)


def small_pattern(text: str) -> Matches | None:
    """The same for a pattern that is cheap to compile, which pays for each match by its size; None for others."""
    if len(text) > _SMALL or _DEAR.search(text):
        return None
    compiled = _small(text)
    if compiled is None:
        return None
    search, size = compiled.search, compiled.programsize

    def matches(value: str) -> bool:
        pay(1 + len(value) * size // _AT_ONCE)
        return _finds(search, value)

    return matches


def _finds(search: Callable[[str], Any], value: str) -> bool:
    try:
        return search(value) is not None
    except UnicodeEncodeError:
        # Half of a surrogate pair is no character, so it is none that a pattern speaks of.
        return False


@lru_cache(maxsize=4_096)
def _small(text: str) -> Any:
    """Also what can't be compiled so is remembered."""
    pay(_COMPILING)
    options = re2.Options()
    options.log_errors = False
    options.max_mem = _SMALL_BYTES
    try:
        return re2.compile(text, options)
    except (re2.error, UnicodeError):
        return None

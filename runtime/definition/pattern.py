"""Regular expressions in linear time: those of RE2, whoever has written them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import Final

import re2  # type: ignore[import-untyped]  # it comes without types

from runtime.definition.effort import pay

SIGNS_AT_ONCE: Final = (
    50  # Of a text that a pattern or a message goes through, for one unit of the budget.
)
_MAX_PATTERN: Final = 2_000
_COMPILING: Final = 50


class BadPattern(ValueError):
    """A regular expression that can't be run in linear time, or is none."""


@lru_cache(maxsize=1_024)
def linear_pattern(text: str) -> Callable[[str], bool]:
    """Whether a text contains a match; raises BadPattern for what RE2 does not take. Pays for compiling alone."""
    if len(text) > _MAX_PATTERN:
        raise BadPattern(f"a pattern has at most {_MAX_PATTERN:,} characters")
    options = re2.Options()
    options.log_errors = False
    try:
        compiled = re2.compile(text, options)
    except (re2.error, UnicodeError) as error:
        said = error.args[0] if error.args else "no regular expression"
        said = said.decode(errors="replace") if isinstance(said, bytes) else str(said)
        raise BadPattern(said[:200]) from None
    pay(_COMPILING + compiled.programsize // 2)
    search = compiled.search
    return lambda value: search(value) is not None


def name_signs(names: Iterable[str]) -> int:
    """What one pattern costs that is tried on each of these names."""
    return sum(2 + len(name) // SIGNS_AT_ONCE for name in names)

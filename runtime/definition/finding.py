"""Findings: where what is wrong with a document is collected, all of it, in one pass.

A finding names the place as a path into the document as it was written; the source turns paths into
lines and columns at the end, only for documents that have findings.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import islice
from typing import Final, TypeAlias

from runtime.definition.effort import pay
from runtime.expression import MAX_COMPARED, nearest
from runtime.model.errors import Problem, Severity

Path: TypeAlias = tuple[str | int, ...]

MAX_FINDINGS = 1_000
MAX_HINTS = (
    100  # Looking for the nearest name is slow; who has so many faults reads the first ones.
)


_LONGEST_MESSAGE = 1_000
_MOST_NAMES: Final = 12  # What fits into one line; a document may have made more of them.
_LONGEST_NAMES: Final = 200
_COMPARING: Final = 20  # Units of the budget that a name takes, with one more for each character.


@dataclass(frozen=True, slots=True)
class Span:
    """From where to where something stands in a text; lines and columns count from 1."""

    line: int
    column: int
    end_line: int
    end_column: int


@dataclass(slots=True)
class Finding:
    """One thing that is wrong, or odd, at a path; `on_key` points at the key, not at its value."""

    rule: str
    message: str
    path: Path = ()
    severity: Severity = Severity.ERROR
    hint: str | None = None
    step: str | None = None
    on_key: bool = False
    span: Span | None = None

    def as_problem(self) -> Problem:
        """The finding as it leaves this room."""
        span, message = self.span, self.message
        if len(message) > _LONGEST_MESSAGE:  # It quotes the document, which may be large.
            message = message[: _LONGEST_MESSAGE - 3] + "..."
        return Problem(
            rule=self.rule,
            message=message,
            severity=self.severity,
            path=tuple(str(part) for part in self.path),
            step_key=self.step,
            line=span.line if span else None,
            column=span.column if span else None,
            end_line=span.end_line if span else None,
            end_column=span.end_column if span else None,
            hint=self.hint,
        )


@dataclass(slots=True)
class Findings:
    """The collector that every check is handed."""

    found: list[Finding] = field(default_factory=list)
    step: str | None = None
    expression_characters: int = 0
    _hints: int = 0
    _computed: int = 0
    _warnings: int = 0

    def error(
        self,
        rule: str,
        message: str,
        path: Path = (),
        *,
        hint: str | None = None,
        on_key: bool = False,
    ) -> None:
        """Something that refuses the document."""
        self._add(Finding(rule, message, path, Severity.ERROR, hint, self.step, on_key))

    def warning(
        self,
        rule: str,
        message: str,
        path: Path = (),
        *,
        hint: str | None = None,
        on_key: bool = False,
    ) -> None:
        """Something that is probably not meant."""
        self._add(Finding(rule, message, path, Severity.WARNING, hint, self.step, on_key))

    def near(self, name: str, names: Iterable[str]) -> str | None:
        """A hint with the nearest valid name."""
        self._hints += 1
        if self._hints > MAX_HINTS:
            return None
        compared = list(islice(names, MAX_COMPARED))
        pay(len(compared) * (_COMPARING + len(name)))
        return did_you_mean(name, compared)

    def may_compute(self) -> bool:
        """Whether one more constant may be computed: so many as there can be findings of."""
        self._computed += 1
        return self._computed <= MAX_FINDINGS

    def _add(self, finding: Finding) -> None:
        is_warning = finding.severity is Severity.WARNING
        if len(self.found) >= MAX_FINDINGS:
            if is_warning or not self._warnings:
                return
            # An error is never lost behind warnings: it would be as if there were none.
            self.found.remove(
                next(one for one in reversed(self.found) if one.severity is Severity.WARNING)
            )
            self._warnings -= 1
        self.found.append(finding)
        self._warnings += is_warning

    @property
    def has_errors(self) -> bool:
        """Whether the document is refused."""
        return any(one.severity is Severity.ERROR for one in self.found)


def known_here(names: Iterable[str]) -> str | None:
    """A hint with the valid names: the first ones, where they are many or long."""
    shown: list[str] = []
    room = _LONGEST_NAMES
    for name in names:
        room -= len(name) + 2
        if len(shown) == _MOST_NAMES or (shown and room < 0):
            shown.append("...")
            break
        shown.append(name if len(name) <= _LONGEST_NAMES else name[: _LONGEST_NAMES - 3] + "...")
    return f"known here: {', '.join(shown)}" if shown else None


def did_you_mean(name: str, names: Iterable[str]) -> str | None:
    """A hint with the nearest valid name."""
    near = nearest(name, names)
    return f"did you mean {near!r}?" if near else None

"""Failures as people and programs see them: `error:`, the place with an excerpt, `hint:`, and an exit code.

The table is the contract's: 1 failed, 2 usage, 3 not found, 4 invalid, 5 denied, 6 conflict, 7 not reachable,
8 timed out waiting, 9 cancelled, 130 interrupted.

Every start imports this file: its records are tuples, which are made in a quarter of a dataclass's time.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final, NamedTuple

from maestro_cli.visible import json_text, on_one_line, visible

FAILED: Final = 1
USAGE: Final = 2
NOT_FOUND: Final = 3
INVALID: Final = 4
DENIED: Final = 5
CONFLICT: Final = 6
UNREACHABLE: Final = 7
TIMED_OUT: Final = 8
CANCELLED: Final = 9
INTERRUPTED: Final = 130

EXIT_CODES: Final[dict[str, int]] = {
    "USAGE": USAGE,
    "NOT_FOUND": NOT_FOUND,
    "VALIDATION_FAILED": INVALID,
    "BAD_USER_INPUT": INVALID,
    "PAYLOAD_TOO_LARGE": INVALID,
    "QUERY_TOO_COMPLEX": INVALID,
    "GRAPHQL_PARSE_FAILED": INVALID,
    "GRAPHQL_VALIDATION_FAILED": INVALID,
    "UNAUTHENTICATED": DENIED,
    "FORBIDDEN": DENIED,
    "CONFLICT": CONFLICT,
    "IDEMPOTENCY_CONFLICT": CONFLICT,
    "INVALID_STATE": CONFLICT,
    "UNAVAILABLE": UNREACHABLE,
    "RATE_LIMITED": UNREACHABLE,
    "BUDGET_EXHAUSTED": UNREACHABLE,
    "TIMED_OUT": TIMED_OUT,
    "CANCELLED": CANCELLED,
    "INTERRUPTED": INTERRUPTED,
}

# What is wrong with the surroundings has its own kind of exit, by its reason; the rest is 1.
_SETUP: Final[dict[str, str]] = {
    "UNKNOWN_VARIABLE": "USAGE",
    "BAD_VARIABLE": "USAGE",
    "DEV_ISSUER_NOT_LOOPBACK": "USAGE",
    "HOME_IN_USE": "CONFLICT",
    "NO_SERVICES": "UNAVAILABLE",
}


# Of a line that is longer than this a part is shown; so much of it stands before the column.
_WIDEST: Final = 160
_BEFORE: Final = 80


class Place(NamedTuple):
    """Where in a file something is wrong; lines and columns count from 1."""

    file: str
    line: int | None = None
    column: int | None = None

    end_line: int | None = None
    end_column: int | None = None

    def __str__(self) -> str:
        return ":".join(
            str(part) for part in (self.file, self.line, self.column) if part is not None
        )


class Finding(NamedTuple):
    """One of several things that are wrong."""

    message: str
    code: str | None = None
    rule: str | None = None
    severity: str = "error"
    path: tuple[str, ...] = ()
    place: Place | None = None
    hint: str | None = None
    docs: str | None = None

    def to_json(self) -> dict[str, Any]:
        """As a program reads it; empty fields are left out."""
        place = self.place
        fields = {
            "severity": self.severity,
            "rule": self.rule,
            "code": self.code,
            "message": self.message,
            "path": list(self.path) or None,
            "file": place.file if place else None,
            "line": place.line if place else None,
            "column": place.column if place else None,
            "end_line": place.end_line if place else None,
            "end_column": place.end_column if place else None,
            "hint": self.hint,
            "docs": self.docs,
        }
        return {name: value for name, value in fields.items() if value is not None}


class CliError(Exception):
    """The command can't do what it was asked to."""

    def __init__(
        self,
        message: str,
        *,
        code: str = "INTERNAL",
        reason: str | None = None,
        hint: str | None = None,
        place: Place | None = None,
        findings: Sequence[Finding] = (),
        trace: str | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.code = code
        self.reason = reason
        self.hint = hint
        self.place = place
        self.findings = tuple(findings)
        self.trace = trace

    @property
    def exit_code(self) -> int:
        """The process's exit code."""
        return EXIT_CODES.get(self.code, FAILED)

    def to_json(self) -> dict[str, Any]:
        """The error as one JSON object."""
        fields = {
            "code": self.code,
            "reason": self.reason,
            "message": self.message,
            "at": str(self.place) if self.place else None,
            "hint": self.hint,
            "trace": self.trace,
            "findings": [finding.to_json() for finding in self.findings] or None,
            "exit_code": self.exit_code,
        }
        return {"error": {name: value for name, value in fields.items() if value is not None}}


def usage(message: str, hint: str | None = None) -> CliError:
    """An error of the caller's command line."""
    return CliError(message, code="USAGE", hint=hint)


def from_model(error: Exception) -> CliError | None:
    """The CLI's form of an error of the runtime; None when it is none."""
    from runtime.model.errors import Invalid, MaestroError, SetupError

    if not isinstance(error, MaestroError):
        return None
    if isinstance(error, SetupError):
        return CliError(
            error.message, code=_SETUP.get(error.reason or "", error.code), reason=error.reason
        )
    problems = error.problems if isinstance(error, Invalid) else ()
    findings = [
        Finding(
            problem.message,
            rule=problem.rule,
            severity=problem.severity.value,
            path=problem.path,
            hint=problem.hint,
        )
        for problem in problems
    ]
    return CliError(error.message, code=error.code, reason=error.reason, findings=findings)


def finding_in(file: str, problem: Any) -> Finding:
    """What the engine found wrong in a definition, with its place in the file."""
    return Finding(
        problem.message,
        rule=problem.rule,
        severity=problem.severity.value,
        path=problem.path,
        place=Place(
            file, problem.line or 1, problem.column or 1, problem.end_line, problem.end_column
        ),
        hint=problem.hint,
        docs=problem.docs,
    )


def refused(file: str, problems: Iterable[Any]) -> CliError:
    """Why a file is not taken: the errors among its problems, at least one."""
    errors = [finding_in(file, one) for one in problems if one.severity.value == "error"]
    first = errors[0]
    message = first.message if len(errors) == 1 else f"{len(errors)} things are wrong."
    return CliError(message, code="VALIDATION_FAILED", place=first.place, findings=errors)


def render(error: CliError, *, as_json: bool, colored: bool = False) -> str:
    """The text for standard error."""
    if as_json:
        return json_text(error.to_json())
    lines = [f"{_paint('error:', '1;31', colored)} {visible(error.message)}"]
    if error.place and error.place not in [finding.place for finding in error.findings]:
        lines += _at(error.place)
    for finding in error.findings:
        lines += _one_of_many(
            finding, only=len(error.findings) == 1 and finding.message == error.message
        )
    hint = error.hint or (error.findings[0].hint if len(error.findings) == 1 else None)
    if hint:
        lines.append(f"{_paint('hint:', '1;36', colored)} {visible(hint)}")
    if error.trace and error.exit_code == FAILED:
        lines.append(f"trace: {error.trace}")
    return "\n".join(lines)


def _one_of_many(finding: Finding, *, only: bool) -> list[str]:
    """A finding with where it is: a place in a file says more than a path into an input."""
    path = ".".join(finding.path)
    where = _at(finding.place) if finding.place else []
    if only:
        return where or ([f"  at {on_one_line(path)}"] if path else [])
    subject = f"{path}: " if path and not where else ""
    hint = [f"    hint: {visible(finding.hint)}"] if finding.hint else []
    return [
        f"  {finding.severity}: {visible(f'{subject}{finding.message}')}",
        *(f"  {line}" for line in where),
        *hint,
    ]


def excerpt(place: Place) -> list[str]:
    """The line of the file and a caret below the column; nothing when the file can't be read."""
    from pathlib import Path

    if place.line is None:
        return []
    try:
        text = Path(place.file).read_text(encoding="utf-8", errors="replace")
        line = (text.split("\n") if place.file.endswith(".json") else text.splitlines())[
            place.line - 1
        ]
    except (OSError, IndexError):
        return []
    margin = f"{place.line:>6} | "
    column = max(place.column or 1, 1) - 1
    start = max(0, column - _BEFORE)
    left = ("…" if start else "") + on_one_line(line[start:column])
    right = on_one_line(line[column : start + _WIDEST]) + (
        "…" if len(line) > start + _WIDEST else ""
    )
    lines = [margin + left + right]
    if place.column is not None:
        lines.append(" " * (len(margin) - 2) + "| " + " " * len(left) + "^")
    return lines


def _at(place: Place) -> list[str]:
    return [f"  at {on_one_line(str(place))}", *excerpt(place)]


def _paint(text: str, code: str, colored: bool) -> str:
    return f"\033[{code}m{text}\033[0m" if colored else text

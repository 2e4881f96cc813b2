"""The error tree.

The docstring of a class is its default message; codes are stable and part of the interface.

Faces translate: `code` is one of the contract's table (GraphQL `extensions.code`, problem+json, CLI
exit code), and `reason` the specific one (`extensions.reason`, e.g. EXECUTION_NOT_FOUND). What
reaches a user says what went wrong, where, and what to do; nothing internal.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum


class MaestroError(Exception):
    """Something went wrong."""

    code = "INTERNAL"
    reason: str | None = None
    retryable = False

    def __init__(
        self,
        message: str | None = None,
        *,
        reason: str | None = None,
        path: Sequence[str] | None = None,
    ) -> None:
        self.message = message or (type(self).__doc__ or "").strip()
        self.path = tuple(path) if path else None
        if reason is not None:
            self.reason = reason
        super().__init__(self.message)


class Unauthenticated(MaestroError):
    """A valid token is needed: send `Authorization: Bearer <token>`."""

    code = "UNAUTHENTICATED"


class Denied(MaestroError):
    """You may not do this."""

    code = "FORBIDDEN"


class NotFound(MaestroError):
    """There is no such thing, or it is not yours to see."""

    code = "NOT_FOUND"


class Conflict(MaestroError):
    """Somebody else changed this in between; read it again and repeat."""

    code = "CONFLICT"


class IdempotencyConflict(Conflict):
    """This idempotency key was used with another body; use a new key."""

    code = "IDEMPOTENCY_CONFLICT"


class InvalidState(MaestroError):
    """This makes no sense in the present state."""

    code = "INVALID_STATE"


class BadInput(MaestroError):
    """The request is not of the form that this operation takes."""

    code = "BAD_USER_INPUT"


class PayloadTooLarge(MaestroError):
    """This is larger than the limit."""

    code = "PAYLOAD_TOO_LARGE"


class Exhausted(MaestroError):
    """Too much at once; try again later."""

    code = "RATE_LIMITED"
    retryable = True

    def __init__(
        self,
        message: str | None = None,
        *,
        retry_after: float | None = None,
        reason: str | None = None,
    ) -> None:
        super().__init__(message, reason=reason)
        self.retry_after = retry_after


class Unavailable(MaestroError):
    """Something that this needs does not answer; nothing acknowledged is lost, try again."""

    code = "UNAVAILABLE"
    retryable = True


class DataDamaged(MaestroError):
    """What is stored is not what was stored: restore it from a backup."""

    code = "DATA_DAMAGED"


class SetupError(MaestroError):
    """The surroundings are not as they must be."""

    code = "SETUP"


class Severity(StrEnum):
    """How bad a finding is: an error refuses, a warning does not."""

    ERROR = "error"
    WARNING = "warning"
    INFO = "info"


@dataclass(frozen=True, slots=True)
class Problem:
    """One finding in a document or an input: which rule, how bad, where, and what to do."""

    rule: str
    message: str
    severity: Severity = Severity.ERROR
    path: tuple[str, ...] = ()
    step_key: str | None = None
    line: int | None = None
    column: int | None = None
    end_line: int | None = None
    end_column: int | None = None
    hint: str | None = None

    @property
    def docs(self) -> str:
        """Where the manual explains the rule."""
        return f"docs/language/findings.md#{self.rule}"


class Invalid(MaestroError):
    """This does not fit what is expected; see the problems."""

    code = "VALIDATION_FAILED"

    def __init__(
        self, problems: Sequence[Problem], message: str | None = None, *, reason: str | None = None
    ) -> None:
        super().__init__(message or (problems[0].message if problems else None), reason=reason)
        self.problems = tuple(problems)


class StepErrorKind(StrEnum):
    """What a failed attempt says about trying again."""

    TRANSIENT = "transient"
    PERMANENT = "permanent"
    THROTTLED = "throttled"
    TIMEOUT = "timeout"
    CANCELLED = "cancelled"


class StepFailed(MaestroError):
    """The step failed.

    `uncertain` says whether its call may have reached the other side all the same; left out, that
    follows from the kind: what ran out of time or was cancelled may have.
    """

    code = "STEP_FAILED"
    # Where it was raised in the code of who wrote the step, as its caller found out: bounded, and without secrets.
    stack: str | None = None

    def __init__(
        self,
        message: str | None = None,
        *,
        kind: StepErrorKind = StepErrorKind.PERMANENT,
        type: str = "StepFailed",
        retry_after: float | None = None,
        details: object = None,
        uncertain: bool | None = None,
    ) -> None:
        super().__init__(message)
        self.kind = kind
        self.type = type
        self.retry_after = retry_after
        self.details = details
        self.uncertain = uncertain

"""Refusals as data: what a mutation answers when it was understood and not done.

Families of the error tree that a caller can act on come back in `errors`; authentication, malformed requests and
faults do not pass through here, they are top-level errors of the response (`subgraph.errors`). Only where several
things are asked for at once, and others of them were done, one that could not be is told here as `UNAVAILABLE`.
"""

from collections.abc import Awaitable, Sequence
from enum import StrEnum
from typing import Final, Self, TypeVar

import strawberry

from runtime.model import errors as model
from runtime.model.values import Duration
from subgraph.types.status import Severity

T = TypeVar("T")


@strawberry.enum(
    description="Why something was refused. A more specific reason may stand in the message."
)
class ErrorCode(StrEnum):
    """The codes of refusals, a part of the one table of codes."""

    VALIDATION_FAILED = "VALIDATION_FAILED"
    BAD_USER_INPUT = "BAD_USER_INPUT"
    NOT_FOUND = "NOT_FOUND"
    CONFLICT = "CONFLICT"
    IDEMPOTENCY_CONFLICT = "IDEMPOTENCY_CONFLICT"
    FORBIDDEN = "FORBIDDEN"
    RATE_LIMITED = "RATE_LIMITED"
    INVALID_STATE = "INVALID_STATE"
    PAYLOAD_TOO_LARGE = "PAYLOAD_TOO_LARGE"
    UNAVAILABLE = "UNAVAILABLE"


REFUSALS: Final = (
    model.NotFound,
    model.Conflict,
    model.Invalid,
    model.InvalidState,
    model.Denied,
    model.Exhausted,
    model.BadInput,
    model.PayloadTooLarge,
)


@strawberry.interface(description="A refusal that a caller can act on.")
class UserError:
    """A refusal that a caller can act on."""

    code: ErrorCode = strawberry.field(description="The kind of refusal.")
    message: str = strawberry.field(description="What was wrong, and what to do.")
    path: list[str] | None = strawberry.field(
        description='Path into the arguments, e.g. ["input", "workflowId"].'
    )


@strawberry.type(
    description="A plain refusal: not found, conflict, wrong state, an input that does not fit."
)
class OperationError(UserError):
    """A plain refusal."""

    reason: str | None = strawberry.field(
        description="The specific reason, e.g. EXECUTION_NOT_FOUND; stable."
    )
    hint: str | None = strawberry.field(
        description="What to write instead, where something near it is known.", default=None
    )
    retry_after: Duration | None = strawberry.field(
        description="When to try again, where waiting helps (`RATE_LIMITED`).", default=None
    )


@strawberry.type(description="A finding in a definition, with its place in the source document.")
class DefinitionError(UserError):
    """A finding in a definition."""

    rule: str = strawberry.field(
        description="Stable name of the rule, e.g. cycle, unknown-reference."
    )
    severity: Severity = strawberry.field(description="Whether this refuses or only warns.")
    step_key: str | None = strawberry.field(description="The step concerned, when it is one.")
    line: int | None = strawberry.field(description="Line in the source, from 1.")
    column: int | None = strawberry.field(description="Column in the line, from 1.")
    end_line: int | None = strawberry.field(description="Line in which it ends.")
    end_column: int | None = strawberry.field(description="Column behind its last character.")
    hint: str | None = strawberry.field(description="What to write instead.")
    docs: str = strawberry.field(description="Where the manual explains the rule.")

    @classmethod
    def of(cls, problem: model.Problem) -> Self:
        """From a finding of the validation."""
        return cls(
            code=ErrorCode.VALIDATION_FAILED,
            message=problem.message,
            path=["input", "source", *problem.path],
            rule=problem.rule,
            severity=problem.severity,
            step_key=problem.step_key,
            line=problem.line,
            column=problem.column,
            end_line=problem.end_line,
            end_column=problem.end_column,
            hint=problem.hint,
            docs=problem.docs,
        )


def findings(problems: Sequence[model.Problem]) -> list[DefinitionError]:
    """All findings of a validation, as the graph shows them."""
    return [DefinitionError.of(problem) for problem in problems]


def refused(
    error: model.MaestroError, *, path: Sequence[str] = ("input",), definition: bool = False
) -> list[UserError]:
    """The entries of `errors` for one refusal; `definition` says that its problems lie in a source document."""
    if not isinstance(error, model.Invalid) or not error.problems:
        place = [*path, *error.path] if error.path else list(path)
        return [
            OperationError(
                code=ErrorCode(error.code),
                message=error.message,
                path=place,
                reason=error.reason,
                retry_after=_retry_after(error),
            )
        ]
    grave = [
        problem for problem in error.problems if problem.severity is model.Severity.ERROR
    ] or error.problems
    if definition:
        return list(findings(grave))
    return [
        OperationError(
            code=ErrorCode(error.code),
            message=problem.message,
            path=[*path, *problem.path],
            reason=error.reason or problem.rule,
            hint=problem.hint,
        )
        for problem in grave
    ]


def _retry_after(error: model.MaestroError) -> Duration | None:
    if not isinstance(error, model.Exhausted) or error.retry_after is None:
        return None
    return Duration(round(error.retry_after * 1000))


async def attempt(work: Awaitable[T]) -> tuple[T | None, model.MaestroError | None]:
    """Do the work; give back its refusal instead of raising it."""
    try:
        return await work, None
    except REFUSALS as error:
        return None, error

"""core.fail: fails on purpose, always or until a certain attempt. Shows and tests retries."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from runtime.abi.connector import InlineConnector, StepContext
from runtime.abi.fields import DurationField
from runtime.model.errors import StepErrorKind, StepFailed
from runtime.model.plan import Effect


class FailInput(BaseModel):
    """How to fail."""

    model_config = ConfigDict(extra="forbid")

    message: str = Field("Failed on purpose.", max_length=2_000, description="The error's message.")
    kind: Literal["transient", "permanent", "throttled", "timeout"] = Field(
        "permanent", description="What the error says about trying again."
    )
    type: str = Field(
        "core.fail", min_length=1, max_length=100, description="The error's type, for `retry.on`."
    )
    retry_after: DurationField | None = Field(
        None, description="When a throttled step asks to be called again."
    )
    until_attempt: int | None = Field(
        None, ge=1, description="Attempts before this one fail; from it on the step succeeds."
    )
    details: Any = Field(None, description="Anything to store with the error.")


class FailOutput(BaseModel):
    """What it says when it does not fail."""

    model_config = ConfigDict(extra="forbid")

    attempt: int = Field(description="The number of the attempt that succeeded, from 1.")


class Fail(InlineConnector):
    """Fails."""

    name = "core.fail"
    version = "1.0.0"
    summary = "Fail on purpose, always or until a certain attempt."
    effect_class = Effect.PURE
    Input = FailInput
    Output = FailOutput

    def answer(self, context: StepContext, input: FailInput) -> FailOutput:
        """The number of the attempt, or the failure that was asked for."""
        if input.until_attempt is not None and context.attempt >= input.until_attempt:
            return FailOutput(attempt=context.attempt)
        raise StepFailed(
            input.message,
            kind=StepErrorKind(input.kind),
            type=input.type,
            retry_after=input.retry_after.seconds if input.retry_after else None,
            details=input.details,
        )

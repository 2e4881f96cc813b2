"""core.noop: does nothing, at once. A place to hang dependencies on."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, RootModel

from runtime.abi.connector import InlineConnector, StepContext
from runtime.model.plan import Effect


class NoopInput(RootModel[Any]):
    """Anything; it is not looked at."""


class NoopOutput(BaseModel):
    """An empty object."""

    model_config = ConfigDict(extra="forbid")


class Noop(InlineConnector):
    """Does nothing."""

    name = "core.noop"
    version = "1.0.0"
    summary = "Do nothing; a place to hang dependencies on."
    effect_class = Effect.PURE
    Input = NoopInput
    Output = NoopOutput

    def answer(self, context: StepContext, input: NoopInput) -> NoopOutput:  # noqa: ARG002 - the socket's form
        """An empty object."""
        return NoopOutput()

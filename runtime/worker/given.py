"""What gives the output of a step that has failed: its expressions are filled in, and nothing is called.

To the worker it is a connector like any other, so what it gives is masked, digested, bounded and kept like any output.
"""

from __future__ import annotations

from typing import Any, Final

from pydantic import BaseModel, ConfigDict, RootModel

from runtime.abi.connector import InlineConnector, StepContext
from runtime.model.plan import Effect


class GivenInput(BaseModel):
    """The output as it was rendered."""

    model_config = ConfigDict(extra="forbid")

    output: Any


class GivenOutput(RootModel[Any]):
    """Any JSON."""


class Given(InlineConnector):
    """Gives what was written in `on_error`."""

    name = "on_error"
    version = "1.0.0"
    summary = "Give the output that on_error says."
    effect_class = Effect.PURE
    Input = GivenInput
    Output = GivenOutput

    def answer(self, context: StepContext, input: GivenInput) -> GivenOutput:  # noqa: ARG002 - the socket's form
        """What it was given."""
        return GivenOutput(input.output)


GIVEN: Final = Given()

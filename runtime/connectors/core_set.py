"""core.set: its output is its input. Names values once, for the steps and outputs that use them."""

from __future__ import annotations

from typing import Any

from pydantic import RootModel

from runtime.abi.connector import InlineConnector, StepContext
from runtime.model.plan import Effect


class Values(RootModel[dict[str, Any]]):
    """Any object."""


class Set(InlineConnector):
    """Returns the object that it was given."""

    name = "core.set"
    version = "1.0.0"
    summary = "Return the object that was given, its expressions filled in."
    effect_class = Effect.PURE
    Input = Values
    Output = Values

    def answer(self, context: StepContext, input: Values) -> Values:  # noqa: ARG002 - the socket's form
        """The input."""
        return input

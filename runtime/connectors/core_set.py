"""core.set: its output is its input. Names values once, for the steps and outputs that use them."""

from __future__ import annotations

from typing import Any, ClassVar

from pydantic import BaseModel, RootModel

from runtime.abi.connector import InlineConnector, StepContext
from runtime.model.plan import Effect


class Values(RootModel[dict[str, Any]]):
    """Any object."""


class Set(InlineConnector):
    """Returns the object that it was given."""

    name: ClassVar[str] = "core.set"
    version: ClassVar[str] = "1.0.0"
    summary: ClassVar[str] = "Return the object that was given, its expressions filled in."
    effect_class: ClassVar[Effect | None] = Effect.PURE
    Input: ClassVar[type[BaseModel]] = Values
    Output: ClassVar[type[BaseModel]] = Values

    def answer(self, context: StepContext, input: Values) -> Values:  # noqa: ARG002 - the socket's form
        """The input."""
        return input

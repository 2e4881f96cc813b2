"""The base class of connectors that are more than a function: they hold something, or decide more.

    class Carrier(Connector):
        \"\"\"Ask the carrier for a price.\"\"\"
        name = "shop.quote"
        effect_class = Effect.PURE

        async def execute(self, context: StepContext, input: Parcel) -> Quote: ...

Input and Output are read from the annotations of `execute`, unless the class names them itself.
"""

from __future__ import annotations

import inspect
import typing
from abc import ABC, abstractmethod
from typing import Any

from pydantic import BaseModel

from runtime.abi.connector import StepContext, Unknown
from runtime.model.plan import Effect
from runtime.model.values import Duration


class Connector(ABC):
    """One object per process serves all steps: keep what they share, never what belongs to one."""

    name: str
    version: str = "1.0.0"
    summary: str = ""
    inline: bool = False
    effect_class: Effect | None = Effect.AT_MOST_ONCE
    default_timeout: Duration | None = None
    Input: type[BaseModel]
    Output: type[BaseModel]

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Read summary and models from what the author wrote anyway."""
        super().__init_subclass__(**kwargs)
        if "summary" not in vars(cls):
            cls.summary = (inspect.getdoc(cls) or "").partition("\n")[0]
        hints = _hints(cls)
        for attribute, parameter in (("Input", "input"), ("Output", "return")):
            hint = hints.get(parameter)
            if attribute not in vars(cls) and inspect.isclass(hint) and issubclass(hint, BaseModel):
                setattr(cls, attribute, hint)

    async def open(self) -> None:  # noqa: B027 - most connectors hold nothing
        """Called once, before the first step."""

    async def close(self) -> None:  # noqa: B027 - most connectors hold nothing
        """Called once, after the last step."""

    def effect(self, input: Any) -> Effect:  # noqa: ARG002 - subclasses look at it
        """What a second call would do; override it (and set effect_class = None) to decide by input."""
        return self.effect_class or Effect.AT_MOST_ONCE

    async def look_up(self, context: StepContext, input: Any) -> Any:  # noqa: ARG002 - as above
        """Whether a call that is in doubt was made: its Output, NotMade() or Unknown().

        Asked only for at_most_once calls whose worker was lost, or that were cut off. Override it if
        the other side can be asked; it must change nothing there.
        """
        return Unknown()

    @abstractmethod
    async def execute(self, context: StepContext, input: Any) -> Any:
        """Do it; return an Output (or what validates as one); raise Retryable or Permanent."""


def _hints(cls: type) -> dict[str, Any]:
    """The annotations of `execute`; what can't be resolved here must be named by the class."""
    try:
        return typing.get_type_hints(vars(cls).get("execute", object), localns=dict(vars(cls)))
    except NameError:
        return {}

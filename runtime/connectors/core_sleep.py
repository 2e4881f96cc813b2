"""core.sleep: waits for a while. Ends at once when the step is told to stop."""

from __future__ import annotations

import asyncio

from pydantic import BaseModel, ConfigDict, Field

from runtime.abi.connector import Connector, StepContext
from runtime.abi.fields import DurationField
from runtime.model.plan import Effect


class SleepInput(BaseModel):
    """How long."""

    model_config = ConfigDict(extra="forbid")

    duration: DurationField = Field(description="How long to wait.")


class SleepOutput(BaseModel):
    """How long it was."""

    model_config = ConfigDict(extra="forbid")

    seconds: float = Field(description="The time that was waited for.")


class Sleep(Connector):
    """Waits."""

    name = "core.sleep"
    version = "1.0.0"
    summary = "Wait for a while."
    effect_class = Effect.PURE
    Input = SleepInput
    Output = SleepOutput

    async def execute(self, context: StepContext, input: SleepInput) -> SleepOutput:
        """Return when the time is over; raise when told to stop before."""
        seconds = input.duration.seconds
        nap = asyncio.timeout(seconds)
        try:
            async with nap:
                await context.cancel.wait()
        except TimeoutError:
            if not nap.expired():
                raise
        else:
            context.cancel.raise_if_cancelled()
        return SleepOutput(seconds=seconds)

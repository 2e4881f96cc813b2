"""A connector that takes its process with it, and a harmless one beside it. Loaded as a user's package would be."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, RootModel

from runtime.abi.connector import Connector, StepContext
from runtime.model.plan import Effect


class Anything(RootModel[Any]):
    """Whatever is given."""


class GateInput(BaseModel):
    model_config = ConfigDict(extra="forbid")
    gate: str


class Poison(Connector):
    """Ends its process, a moment after its call; harmless once the antidote is there."""

    name = "probe.poison"
    version = "1.0.0"
    summary = "Kill the worker."
    effect_class = Effect.IDEMPOTENT
    Input: type[BaseModel] = GateInput
    Output: type[BaseModel] = Anything

    async def execute(self, context: StepContext, input: GateInput) -> Any:
        if Path(input.gate).exists():
            return "cured"
        await asyncio.sleep(1.0)
        os._exit(9)


class Gated(Connector):
    """Waits for a file."""

    name = "probe.gated"
    version = "1.0.0"
    summary = "Wait for a file."
    effect_class = Effect.IDEMPOTENT
    Input: type[BaseModel] = GateInput
    Output: type[BaseModel] = Anything

    async def execute(self, context: StepContext, input: GateInput) -> Any:
        while not Path(input.gate).exists():
            await asyncio.sleep(0.05)
        return context.step_key

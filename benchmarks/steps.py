"""Steps that say when they were called: `bench.mark` in this process, `bench.hold` in a file, from any process."""

from __future__ import annotations

import asyncio
import os
import time
from functools import cache
from pathlib import Path
from typing import Any, Final
from uuid import UUID

from pydantic import BaseModel, ConfigDict, RootModel

from runtime.abi.connector import Connector, InlineConnector, StepContext
from runtime.model.plan import Effect

# Calls of `bench.mark`: by execution, the moment at which each step began.
MARKS: Final[dict[UUID, list[float]]] = {}


class Anything(RootModel[Any]):
    """Whatever is given."""


class Mark(InlineConnector):
    """Notes its call and answers at once."""

    name = "bench.mark"
    version = "1.0.0"
    summary = "Note the moment of a call."
    effect_class = Effect.PURE
    Input = Anything
    Output = Anything

    def answer(self, context: StepContext, input: Anything) -> Anything:  # noqa: ARG002 - the socket's form
        """An empty object."""
        MARKS.setdefault(context.execution_id, []).append(time.perf_counter())
        return Anything({})


class HoldInput(BaseModel):
    """Where calls are noted."""

    model_config = ConfigDict(extra="forbid")
    folder: str


class Hold(Connector):
    """Notes its call in a file of its process, and does not end by itself."""

    name = "bench.hold"
    version = "1.0.0"
    summary = "Note the moment of a call, then wait for ever."
    effect_class = Effect.IDEMPOTENT
    Input: type[BaseModel] = HoldInput
    Output: type[BaseModel] = Anything

    async def execute(self, context: StepContext, input: HoldInput) -> Any:
        """Never ends."""
        note = f"{context.execution_id} {time.monotonic():.6f}\n"
        os.write(_notes(input.folder), note.encode())
        await asyncio.Event().wait()


@cache
def _notes(folder: str) -> int:
    """The file of this process, opened once: what the judge costs is none of what it judges."""
    path = Path(folder) / f"calls-{os.getpid()}"
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

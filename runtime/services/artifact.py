"""ArtifactService: outputs and inputs of any size, for those who may read executions.

Small ones stand in rows, large ones in the blob store; callers see no difference but the size up to which a
value is shown where it is only a part of an answer. What is downloaded comes in pieces, its digest proven.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Final
from uuid import UUID

import orjson

from runtime.model.blob import SHOWN_BYTES, BlobRef, Stored
from runtime.model.errors import MaestroError, NotFound
from runtime.model.execution import Execution, StepExecution, StepStatus
from runtime.model.identity import Principal
from runtime.model.values import Digest, Json
from runtime.services.access import READ_EXECUTIONS, require
from runtime.services.derived_input import Allowance, DerivedInputs, InputKey
from runtime.services.stored_step import StoredSteps
from runtime.services.watch import unknown
from runtime.store.blob import Blobs
from runtime.store.execution_record import ExecutionRecords
from runtime.store.plan import PlanStore
from runtime.store.shards import Shards

# What was undone keeps what it gave.
_HAS_OUTPUT: Final = frozenset({StepStatus.COMPLETED, StepStatus.COMPENSATED})


@dataclass(frozen=True, slots=True)
class Artifact:
    """JSON text of a known length and digest, and how to get it."""

    digest: str
    size: int
    content: AsyncIterator[bytes]


class ArtifactService:
    """What callers may do with large values."""

    def __init__(self, *, shards: Shards, blobs: Blobs, plans: PlanStore) -> None:
        self._records = ExecutionRecords(shards)
        self._blobs = blobs
        self._steps = StoredSteps(shards, plans)
        self._inputs = DerivedInputs(self._steps, blobs)

    async def shown(self, who: Principal, execution_id: UUID, value: Stored) -> Json:
        """A value of an execution that the caller has read; None when it is too large to be shown."""
        if isinstance(value, BlobRef) and value.size > SHOWN_BYTES:
            return None
        return await self.value(who, execution_id, value)

    async def value(self, who: Principal, execution_id: UUID, value: Stored) -> Json:
        """A value of an execution that the caller has read, of whatever size."""
        if not isinstance(value, BlobRef):
            return value
        require(who, READ_EXECUTIONS)
        return await self._blobs.load(who.tenant_id, execution_id, value)

    async def step_inputs(
        self, who: Principal, keys: Sequence[InputKey], allowance: Allowance
    ) -> dict[InputKey, Json | MaestroError]:
        """The rendered inputs of steps, secrets masked, as they are or were at an event; None: too large to be shown.

        Each alone may have failed instead: PayloadTooLarge when others have used the allowance up.
        """
        return await self._inputs.of(who, keys, allowance)

    async def output(
        self,
        who: Principal,
        id: UUID,
        key: str | None = None,
        *,
        item: int = -1,
        at: int | None = None,
    ) -> Artifact:
        """The output of a step, or of an item of a map (or what it was at an event); without a key of the execution.

        Raises NotFound, and BadInput when there is no such event.
        """
        if key is not None:
            step = await self._step(who, id, key, item, at=at)
            if step.status not in _HAS_OUTPUT:
                what = f"item {item} of the step" if item >= 0 else "step"
                raise NotFound(
                    f"The {what} {key!r} of the execution {id} has no output: it is "
                    f"{step.status.name.lower()}.",
                    reason="NO_OUTPUT",
                )
            return self._artifact(who, id, step.output)
        execution = await self._execution(who, id)
        if execution.output is None:
            raise NotFound(
                f"The execution {id} has no output: it is {execution.state}.", reason="NO_OUTPUT"
            )
        return self._artifact(who, id, execution.output)

    async def input(self, who: Principal, id: UUID, *, at: int | None = None) -> Artifact:
        """The input of an execution, or what it was at an event; raises BadInput when there is no such event."""
        if at is None:
            return self._artifact(who, id, (await self._execution(who, id)).input)
        stored = (await self._steps.read(who, [(id, at)]))[id, at]
        if isinstance(stored, MaestroError):
            raise stored
        return self._artifact(who, id, stored.execution.input)

    def _artifact(self, who: Principal, id: UUID, value: Stored) -> Artifact:
        if isinstance(value, BlobRef):
            content = self._blobs.stream(who.tenant_id, id, value)
            return Artifact(value.digest, value.size, content)
        raw = orjson.dumps(value, option=orjson.OPT_SORT_KEYS)
        return Artifact(str(Digest.of(raw)), len(raw), _whole(raw))

    async def _execution(self, who: Principal, id: UUID) -> Execution:
        require(who, READ_EXECUTIONS)
        execution = await self._records.find(who.tenant_id, id)
        if execution is None:
            raise unknown(id)
        return execution

    async def _step(
        self, who: Principal, id: UUID, key: str, item: int, *, at: int | None = None
    ) -> StepExecution:
        """A step, or an item of it."""
        stored = (await self._steps.read(who, [(id, at)]))[id, at]
        if isinstance(stored, MaestroError):
            raise stored
        view = await self._steps.view(who, stored)
        return (await self._steps.step(who, view, key, [item]))(item)


async def _whole(raw: bytes) -> AsyncIterator[bytes]:
    yield raw

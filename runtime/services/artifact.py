"""ArtifactService: outputs and inputs of any size, for those who may read executions.

Small ones stand in rows, large ones in the blob store; callers see no difference but the size up to which a
value is shown where it is only a part of an answer. What is downloaded comes in pieces, its digest proven.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from functools import partial
from typing import Final
from uuid import UUID

import orjson

from runtime.engine.program import ProgramCache
from runtime.model.blob import BlobRef, NotLoaded, Stored
from runtime.model.errors import BadInput, NotFound, PayloadTooLarge
from runtime.model.execution import Execution, StepExecution, StepStatus
from runtime.model.identity import Principal
from runtime.model.values import Digest, Json
from runtime.services.access import READ_EXECUTIONS, require
from runtime.services.item import NO_PAST
from runtime.services.item_view import MapView
from runtime.services.past import Past, past_of
from runtime.services.step_view import StepView
from runtime.services.watch import unknown
from runtime.store.blob import Blobs
from runtime.store.execution_item import ItemRecords
from runtime.store.execution_record import AttemptRow, ExecutionRecords
from runtime.store.plan import PlanStore
from runtime.store.shards import Shards

SHOWN_BYTES: Final = 1_048_576
_DERIVED_FROM_BYTES: Final = 134_217_728


@dataclass(frozen=True, slots=True)
class Artifact:
    """JSON text of a known length and digest, and how to get it."""

    digest: str
    size: int
    content: AsyncIterator[bytes]


@dataclass(slots=True)
class Allowance:
    """The bytes of large values that the inputs of one request's steps may be derived from, all together."""

    left: int = _DERIVED_FROM_BYTES

    def take(self, size: int) -> None:
        """Take so many; raises PayloadTooLarge when that is more than is left."""
        self.left -= size
        if self.left < 0:
            raise PayloadTooLarge(
                f"The inputs of these steps are derived from more than {_DERIVED_FROM_BYTES} bytes: ask for those of "
                "fewer steps at once.",
                reason="STEP_INPUTS",
            )


class ArtifactService:
    """What callers may do with large values."""

    def __init__(self, *, shards: Shards, blobs: Blobs, plans: PlanStore) -> None:
        self._records = ExecutionRecords(shards)
        self._items = ItemRecords(shards)
        self._blobs = blobs
        self._plans = plans
        self._programs = ProgramCache()

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

    async def step_input(
        self,
        who: Principal,
        id: UUID,
        key: str,
        *,
        item: int = -1,
        at: int | None = None,
        allowance: Allowance,
    ) -> Json:
        """The rendered input of a step, secrets masked, or what it was at an event; None when too large to be shown.

        Raises PayloadTooLarge when others have used the allowance up.
        """
        step = await self._step(who, id, key, item, at=at, allowance=allowance)
        if step.input is None or len(orjson.dumps(step.input)) > SHOWN_BYTES:
            return None
        return step.input

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
            if step.status is not StepStatus.COMPLETED:
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

    async def input(self, who: Principal, id: UUID) -> Artifact:
        """The input of an execution."""
        return self._artifact(who, id, (await self._execution(who, id)).input)

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
        self,
        who: Principal,
        id: UUID,
        key: str,
        item: int,
        *,
        at: int | None = None,
        allowance: Allowance | None = None,
    ) -> StepExecution:
        """A step, or an item of it; with an allowance its input is derived from large values too, unless too many."""
        require(who, READ_EXECUTIONS)
        # Before all else is read: what comes in between is there, and not asked for.
        last = 0 if at is None else await self._records.last_sequence(who.tenant_id, id)
        execution = await self._execution(who, id)
        rows, events = await self._records.attempts(who.tenant_id, [id])
        stored = Past(execution, rows.get(id, ()), events.get(id, ()))
        if at is not None:
            stored = past_of(stored, at, last)
        plan = await self._plans.get(execution.version_id)
        index = plan.index_of.get(key)
        if index is None:
            raise NotFound(f"The execution {id} has no step {key!r}.", reason="STEP_NOT_FOUND")
        loaded: dict[BlobRef, Json] = {}

        def resolve(ref: BlobRef) -> Json:
            if ref not in loaded:
                raise NotLoaded(ref)
            return loaded[ref]

        view = partial(
            StepView.of,
            stored.execution,
            self._programs.get(plan),
            execution.version or (str(plan.version) if plan.version else None),
            who.tenant,
            stored.rows,
            stored.events,
            resolve=resolve,
        )
        attempts = await self._attempts(who, view(), index, item, at=at)
        while True:
            step = view().step(index)
            if item >= 0 and (found := MapView.of(view(), index)) is not None:
                step = found.item(item, attempts, None)
            missing = step.input_missing
            total = sum(ref.size for ref in loaded) + (missing.size if missing else 0)
            if allowance is None or missing is None or total > _DERIVED_FROM_BYTES:
                return step
            allowance.take(missing.size)
            loaded[missing] = await self._blobs.load(who.tenant_id, id, missing)

    async def _attempts(
        self, who: Principal, view: StepView, step: int, item: int, *, at: int | None
    ) -> list[AttemptRow]:
        """The rows of an item; raises NotFound when there is none, and BadInput in the past: nobody knows them."""
        if item < 0:
            return []
        if at is not None:
            raise BadInput(NO_PAST, reason="NO_PAST", path=("at",))
        found = MapView.of(view, step)
        if found is None or item >= found.total:
            raise NotFound(
                f"The execution {view.execution.id} has no item {item} of this step.",
                reason="ITEM_NOT_FOUND",
            )
        return (await self._items.rows(who.tenant_id, found.key, [item])).get(item, [])


async def _whole(raw: bytes) -> AsyncIterator[bytes]:
    yield raw

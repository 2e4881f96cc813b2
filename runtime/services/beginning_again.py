"""BeginningAgain: retries and rewinds. Each queues the next generation of an execution that has ended.

What a rewind says is made from the execution as it was looked at: it is done to that version and that generation, or
looked at again.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any, Final
from uuid import UUID

from runtime.model.durable import durable_input
from runtime.model.errors import IdempotencyConflict, InvalidState, MaestroError
from runtime.model.execution import Execution, ExecutionStatus
from runtime.model.identity import Principal
from runtime.model.values import Json
from runtime.queue.wakeup import Wakeup
from runtime.services.access import WRITE_EXECUTIONS, require
from runtime.services.edited_input import EditedInputs, gateways_of
from runtime.services.retrying import (
    NO_WISHES,
    RETRY,
    REWIND,
    Beginning,
    Wishes,
    told_by_retry,
    told_by_rewind,
)
from runtime.services.watch import unknown
from runtime.store.execution import ExecutionStore, Outdated
from runtime.store.execution_record import ExecutionRecords
from runtime.store.family import open_child
from runtime.store.generation_preview import GenerationPreviewRecords
from runtime.store.idempotency import body_digest, check_key, claim_key, find_key
from runtime.store.plan import PlanStore
from runtime.store.shards import Shards

# How often an execution is looked at that others begin again meanwhile.
TRIES: Final = 3


class BeginningAgain:
    """What callers may do with executions that have ended."""

    def __init__(
        self,
        *,
        shards: Shards,
        store: ExecutionStore,
        records: ExecutionRecords,
        plans: PlanStore,
        edits: EditedInputs,
        wakeup: Wakeup,
        hint: Callable[[UUID, UUID, int], None],
    ) -> None:
        self._shards = shards
        self._store = store
        self._records = records
        self._previewed = GenerationPreviewRecords(shards)
        self._plans = plans
        self._edits = edits
        self._wakeup = wakeup
        self._hint = hint

    async def retry(
        self,
        who: Principal,
        id: UUID,
        *,
        reason: str | None,
        from_failed_step: bool,
        key: str | None,
    ) -> Execution:
        """Run an execution that did not complete again, as its next generation."""
        require(who, WRITE_EXECUTIONS)
        before = await self._get(who, id)
        data = told_by_retry(who, reason, from_failed_step=from_failed_step)
        body = [str(id), reason, from_failed_step]
        return await self._begin(who, before, RETRY, self._store.retry, data, body, key)

    async def rewind(
        self,
        who: Principal,
        id: UUID,
        step_key: str,
        *,
        wishes: Wishes,
        reason: str | None,
        key: str | None,
    ) -> Execution:
        """Run an ended execution again from a step, with all that rests on it, as its next generation."""
        require(who, WRITE_EXECUTIONS)
        if wishes.input is not None:
            durable_input(wishes.input)
        body: list[Json] = [str(id), step_key, reason, *wishes.body]
        try:
            return await self._rewound(who, id, step_key, wishes, reason, body, key)
        except MaestroError:
            # What was done under this key stays done, even if it would be refused by now.
            if not await self._was_done(who, id, REWIND.operation, key, body):
                raise
            return await self._get(who, id)

    async def _rewound(
        self,
        who: Principal,
        id: UUID,
        step_key: str,
        wishes: Wishes,
        reason: str | None,
        body: Sequence[Json],
        key: str | None,
    ) -> Execution:
        for _ in range(TRIES):
            before = await self._get(who, id)
            plan = await self._plans.get(before.version_id)
            data = told_by_rewind(who, plan, step_key, reason)
            if before.status not in REWIND.statuses:
                raise REWIND.refusal(id, before.status)
            text = None
            if wishes != NO_WISHES:
                found = await self._previewed.read(who.tenant_id, id, gateways_of(plan))
                if found is None or (found.version_id, found.generation) != _seen(before):
                    continue
                data, edited = await self._edits.told(who, before, plan, found, data, wishes)
                text = None if edited is None else await self._edits.stored(who, id, edited)
            begin = partial(self._store.rewind, seen=_seen(before), given=text)
            try:
                return await self._begin(who, before, REWIND, begin, data, body, key)
            except Outdated:
                continue
        raise changed(id)

    async def _begin(
        self,
        who: Principal,
        before: Execution,
        how: Beginning,
        begin: Callable[..., Awaitable[tuple[ExecutionStatus | None, int | None]]],
        data: Json,
        body: Sequence[Json],
        key: str | None,
    ) -> Execution:
        one, shard = before.id, self._shards.shard_of(before.id)
        async with self._shards.database(shard).engine() as connection, connection.transaction():
            if await self._is_known(connection, who, how.operation, key, body, one):
                return await self._get(who, one)
            status, generation = await begin(shard, who.tenant_id, one, data, connection)
            if generation is None:
                is_held = status in how.statuses
                child = await open_child(connection, shard, one) if is_held else None
                raise how.refusal(one, status, child)
        self._wakeup.publish_events(shard, [one])
        self._hint(who.tenant_id, one, before.priority)
        return await self._get(who, one)

    async def _is_known(
        self, connection: Any, who: Principal, operation: str, key: str | None, body: Any, id: UUID
    ) -> bool:
        if check_key(key) is None or key is None:
            return False
        digest = body_digest(body)
        shard = self._shards.shard_of(id)
        first = await claim_key(connection, who.tenant_id, operation, key, digest, id, shard=shard)
        return first is not None

    async def _was_done(
        self, who: Principal, id: UUID, operation: str, key: str | None, body: Any
    ) -> bool:
        """Whether something was done under this key; raises IdempotencyConflict where that was something else."""
        if key is None:
            return False
        database = self._shards.database(self._shards.shard_of(id))
        async with database.engine() as connection:
            known = await find_key(connection, who.tenant_id, operation, key)
        if known is not None and known[1] != body_digest(body):
            raise IdempotencyConflict
        return known is not None

    async def _get(self, who: Principal, id: UUID) -> Execution:
        execution = await self._records.find(who.tenant_id, id)
        if execution is None:
            raise unknown(id)
        return execution


def changed(id: UUID) -> InvalidState:
    """Others begin it again, faster than it is looked at."""
    return InvalidState(
        f"The execution {id} was begun again by somebody else meanwhile; look at it, and ask again.",
        reason="EXECUTION_CHANGED",
    )


def _seen(execution: Execution) -> tuple[UUID, int]:
    return execution.version_id, execution.generation

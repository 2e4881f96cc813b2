"""DoubtService: a person's word about a call of which nobody knows whether it was made.

The word is a message to the execution; its owner acts on it. What is said to have been given by the call is
checked against the connector's own output model before anything is accepted.
"""

from __future__ import annotations

from typing import Final
from uuid import UUID

import orjson

from runtime.connectors.invoke import write_output
from runtime.connectors.registry import Registry
from runtime.model.blob import goes_out
from runtime.model.checkpoint import InboxKind
from runtime.model.errors import (
    BadInput,
    Invalid,
    InvalidState,
    NotFound,
    PayloadTooLarge,
    Problem,
    StepFailed,
)
from runtime.model.execution import (
    DoubtDecision,
    Execution,
    Resolution,
    StepExecution,
    StepStatus,
)
from runtime.model.identity import Principal
from runtime.model.values import Digest, Json
from runtime.services.access import WRITE_EXECUTIONS, require
from runtime.services.execution import ExecutionService
from runtime.services.message import check_room
from runtime.services.storable import json_of
from runtime.services.watch import unknown
from runtime.store.blob import Blobs
from runtime.store.execution import ExecutionStore
from runtime.store.idempotency import body_digest, check_key, claim_key
from runtime.store.shards import Shards
from runtime.store.workflow import actor_json

_OPERATION: Final = "resolve_in_doubt"


class DoubtService:
    """Settles what waits for a person."""

    def __init__(
        self,
        shards: Shards,
        store: ExecutionStore,
        executions: ExecutionService,
        registry: Registry,
        *,
        blobs: Blobs,
        max_bytes: int,
    ) -> None:
        self._shards = shards
        self._store = store
        self._executions = executions
        self._registry = registry
        self._blobs = blobs
        self._max_output_bytes = max_bytes

    async def resolve(self, who: Principal, id: UUID, said: Resolution) -> Execution:
        """Accept a person's word; raises InvalidState when the step is in no doubt that can be settled."""
        require(who, WRITE_EXECUTIONS)
        execution = await self._get(who, id)
        json_of("output", said.output)
        digest = body_digest(
            [
                str(id),
                said.step_key,
                *(() if said.item is None else (said.item,)),
                said.decision.value,
                said.output,
                said.reason,
            ]
        )
        check_key(said.key)
        if said.decision is not DoubtDecision.MADE and said.output is not None:
            raise BadInput(
                "Only a call that was made has an output.", reason="OUTPUT", path=("output",)
            )
        shard = self._shards.shard_of(id)
        async with self._shards.database(shard).engine() as connection, connection.transaction():
            if said.key is not None and await claim_key(
                connection, who.tenant_id, _OPERATION, said.key, digest, id, shard=shard
            ):
                return execution
            step = await self._doubtful(who, execution, said)
            data: dict[str, Json] = {
                "actor": actor_json(who.actor),
                "reason": said.reason,
                "step": step.index,
                **({} if said.item is None else {"item": said.item}),
                "attempt": step.attempt,
                "generation": execution.generation,
                "decision": said.decision.value,
                "output": await self._output(execution, step, said),
            }
            sent = await self._store.send(
                shard, who.tenant_id, id, InboxKind.RESOLVE_DOUBT, data, connection
            )
            if sent.status is None or sent.status.is_terminal:
                raise _over(_place(said), id)
            check_room(id, sent.n, data)
        self._executions.told(execution, sent.status)
        return await self._get(who, id)

    async def _get(self, who: Principal, id: UUID) -> Execution:
        execution = await self._executions.find(who, id)
        if execution is None:
            raise unknown(id)
        return execution

    async def _doubtful(
        self, who: Principal, execution: Execution, said: Resolution
    ) -> StepExecution:
        step = await self._executions.step(who, execution.id, said.step_key)
        if step is None:
            raise NotFound(
                f"The execution {execution.id} has no step {said.step_key[:64]!r}.",
                reason="STEP_NOT_FOUND",
                path=("stepKey",),
            )
        if said.item is not None:
            step = await self._item(who, execution, step, said.item)
        if execution.status.is_terminal and step.status is StepStatus.IN_DOUBT:
            raise _over(_place(said), execution.id)
        if step.status is not StepStatus.IN_DOUBT:
            word = step.status.name.lower().replace("_", " ")
            raise InvalidState(
                f"The {_place(said)} is in no doubt: it is {word}.", reason="NOT_IN_DOUBT"
            )
        return step

    async def _item(
        self, who: Principal, execution: Execution, step: StepExecution, item: int
    ) -> StepExecution:
        items = self._executions.items
        view = (await items.views(who, [execution.id]))[execution.id]
        found = (await items.find(who, view, step.index, [item])).get(item)
        if found is None:
            raise NotFound(
                f"The step {step.key!r} of the execution {execution.id} has no item {item}.",
                reason="ITEM_NOT_FOUND",
                path=("mapIndex",),
            )
        return found

    async def _output(self, execution: Execution, step: StepExecution, said: Resolution) -> Json:
        """The output as the connector would have given it; raises Invalid that names what does not fit."""
        if said.decision is not DoubtDecision.MADE:
            return None
        uses = (await self._executions.plan(execution)).one(step.index).uses
        connector = None if uses is None else self._registry.resolve(uses)
        if connector is None:
            raise InvalidState(
                f"This server has no connector {step.type!r}, so nobody can check the output; give it the "
                "packages that the workers have.",
                reason="CONNECTOR_MISSING",
            )
        try:
            output = write_output(connector, said.output)
        except StepFailed as failed:
            problem = Problem("output.invalid", failed.message, path=("output",))
            raise Invalid([problem], reason="OUTPUT_INVALID") from failed
        raw = json_of("output", output)
        if len(raw) > self._max_output_bytes:
            raise PayloadTooLarge(
                f"The output is {len(raw)} bytes long; at most {self._max_output_bytes} are kept.",
                reason="OUTPUT_TOO_LARGE",
                path=("output",),
            )
        if not goes_out(output, len(raw)):
            return output
        kept = orjson.dumps(output, option=orjson.OPT_SORT_KEYS)
        ref = await self._blobs.put(execution.tenant_id, execution.id, kept, str(Digest.of(kept)))
        return ref.as_json()


def _place(said: Resolution) -> str:
    """`step 'pay'`, `item 3 of step 'pay'`."""
    return ("" if said.item is None else f"item {said.item} of ") + f"step {said.step_key!r}"


def _over(place: str, id: UUID) -> InvalidState:
    return InvalidState(
        f"The execution {id} has ended with its {place} in doubt; look at the other side, then retry the "
        "execution, which makes the call again.",
        reason="EXECUTION_FINISHED",
    )

"""Messenger: what people say to an execution: cancel, signal, pause, resume.

Nobody but the owner changes the state of what runs: each of these leaves a message in its inbox, in one
transaction with the idempotency key. Acknowledged means that the message is committed.
"""

from __future__ import annotations

from typing import Any, Final
from uuid import UUID

import orjson

from runtime.model.blob import MARK, goes_out
from runtime.model.checkpoint import InboxKind
from runtime.model.errors import BadInput, InvalidState, MaestroError, PayloadTooLarge
from runtime.model.execution import Execution, ExecutionState, ExecutionStatus, WaitKind
from runtime.model.identity import Principal
from runtime.model.values import Json
from runtime.queue.keys import class_of
from runtime.queue.stream import RedisQueue
from runtime.queue.wakeup import Wakeup
from runtime.services.access import WRITE_EXECUTIONS, require
from runtime.services.storable import json_of, not_storable
from runtime.services.watch import unknown
from runtime.store.execution import ExecutionStore
from runtime.store.execution_record import ExecutionRecords
from runtime.store.idempotency import body_digest, check_key, claim_key
from runtime.store.shards import Shards
from runtime.store.workflow import actor_json

MAX_PAYLOAD_BYTES: Final = 32_768
MAX_NAME: Final = 200
# Each stands in the log and in the memory of the owner; nobody who is well sends so many.
MAX_MESSAGES: Final = 10_000
# The n-th message may have a part of this, so that all of them together stay something that a worker can take in.
MESSAGE_BYTES: Final = 8 << 20
SMALL_BYTES: Final = 1_024
# What ends already is neither ended nor held up: half of it undone is worse than either.
_NOT_WHILE_UNDOING: Final = frozenset({InboxKind.CANCEL, InboxKind.PAUSE, InboxKind.RESUME})


class Messenger:
    """Leaves messages, and tells whoever may be asleep."""

    def __init__(
        self, shards: Shards, store: ExecutionStore, queue: RedisQueue, wakeup: Wakeup
    ) -> None:
        self._shards = shards
        self._store = store
        self._queue = queue
        self._wakeup = wakeup
        self._records = ExecutionRecords(shards)

    async def cancel(
        self,
        who: Principal,
        id: UUID,
        *,
        reason: str | None = None,
        key: str | None = None,
        compensate: bool = False,
    ) -> Execution:
        """Ask an execution to stop, and to undo (`compensate`) what it has done as far as its steps say how.

        One that is asked already is left alone: how it ends was said the first time.
        """
        said: dict[str, Json] = {"reason": reason}
        if compensate:
            said["compensate"] = True
        return await self._ask(who, id, InboxKind.CANCEL, said, key=key)

    async def pause(
        self, who: Principal, id: UUID, *, reason: str | None = None, key: str | None = None
    ) -> Execution:
        """Ask an execution to start nothing more; its running steps go on to their end."""
        return await self._ask(who, id, InboxKind.PAUSE, {"reason": reason}, key=key)

    async def resume(
        self, who: Principal, id: UUID, *, reason: str | None = None, key: str | None = None
    ) -> Execution:
        """Ask a paused execution to go on; one that is not paused is left as it is."""
        return await self._ask(who, id, InboxKind.RESUME, {"reason": reason}, key=key)

    async def signal(
        self, who: Principal, id: UUID, name: str, payload: Json = None, *, key: str | None = None
    ) -> Execution:
        """Send a signal; a step that waits for it, now or later, ends with the payload."""
        require(who, WRITE_EXECUTIONS)
        check_signal(name, payload)
        said: dict[str, Json] = {"name": name, "payload": payload}
        return await self._ask(who, id, InboxKind.SIGNAL, said, key=key)

    async def _ask(
        self, who: Principal, id: UUID, kind: InboxKind, said: dict[str, Json], *, key: str | None
    ) -> Execution:
        require(who, WRITE_EXECUTIONS)
        before = await self._get(who, id)
        shard = self._shards.shard_of(id)
        async with self._shards.database(shard).engine() as connection, connection.transaction():
            body = [str(id), *said.values()]
            if await _is_known(connection, who, kind, key, body, id, shard=shard):
                return before
            if before.state is ExecutionState.COMPENSATING and kind in _NOT_WHILE_UNDOING:
                raise _is_undone(id)
            if _is_asked(before, kind):
                return before
            data: Json = {"actor": actor_json(who.actor), **said}
            sent = await self._store.send(shard, who.tenant_id, id, kind, data, connection)
            if sent.status is None or sent.status.is_terminal:
                raise finished(id, sent.status)
            if kind is not InboxKind.CANCEL and not (kind is InboxKind.RESUME and _rests(before)):
                check_room(id, sent.n, data)
        self._wakeup.publish_inbox(shard, [id])
        if sent.status is ExecutionStatus.QUEUED:
            self._queue.add(shard, [(id, class_of(before.priority))])
        return await self._get(who, id)

    async def _get(self, who: Principal, id: UUID) -> Execution:
        execution = await self._records.find(who.tenant_id, id)
        if execution is None:
            raise unknown(id)
        return execution


async def _is_known(
    connection: Any,
    who: Principal,
    kind: InboxKind,
    key: str | None,
    body: Any,
    id: UUID,
    *,
    shard: int,
) -> bool:
    if check_key(key) is None or key is None:
        return False
    operation, digest = f"{kind.name.lower()}_execution", body_digest(body)
    first = await claim_key(connection, who.tenant_id, operation, key, digest, id, shard=shard)
    return first is not None


def _is_asked(execution: Execution, kind: InboxKind) -> bool:
    """Whether the same was asked before and is still to be done, or done."""
    if execution.status.is_terminal:
        return False
    if kind is InboxKind.CANCEL:
        return execution.cancel_requested
    return kind is InboxKind.PAUSE and _rests(execution)


def _rests(execution: Execution) -> bool:
    """Whether it is paused and nothing of it runs any more."""
    return execution.status is ExecutionStatus.WAITING and execution.wait is WaitKind.PAUSED


def check_signal(name: str, payload: Json) -> None:
    """Raise for a signal that no execution takes: by its name, or by its payload."""
    if not name.strip() or len(name) > MAX_NAME:
        raise BadInput(
            f"The name of a signal has 1 to {MAX_NAME} characters.",
            reason="SIGNAL_NAME",
            path=("name",),
        )
    raw = json_of("payload", payload)
    if len(raw) > MAX_PAYLOAD_BYTES:
        raise PayloadTooLarge(
            f"The payload is {len(raw)} bytes long; at most {MAX_PAYLOAD_BYTES} are taken. "
            "Pass a reference to where the data lies.",
            reason="PAYLOAD_TOO_LARGE",
            path=("payload",),
        )
    if goes_out(payload, len(raw)):
        raise not_storable(
            "payload", f"An object with the one key {MARK!r} can't be the payload of a signal."
        )


def _is_undone(id: UUID) -> MaestroError:
    return InvalidState(
        f"The steps of the execution {id} are being undone: it is ending already, and goes on until each has had its "
        "turn.",
        reason="EXECUTION_COMPENSATING",
    )


def finished(id: UUID, status: ExecutionStatus | None) -> MaestroError:
    """Why nothing can be said to an execution any more: its state, named."""
    if status is None:
        return unknown(id)
    word = status.name.lower().replace("_", " ")
    return InvalidState(
        f"The execution {id} has ended already: it is {word}.", reason="EXECUTION_FINISHED"
    )


def check_room(id: UUID, n: int, data: Json) -> None:
    """Raise when an execution has been told too much to be told this too, as its n-th message."""
    if n > MAX_MESSAGES:
        raise InvalidState(
            f"The execution {id} has got {MAX_MESSAGES:,} messages; it takes no more but a cancel, and "
            "a resume where it is paused.",
            reason="TOO_MANY_MESSAGES",
        )
    size, most = len(orjson.dumps(data)), max(SMALL_BYTES, MESSAGE_BYTES // n)
    if size > most:
        raise PayloadTooLarge(
            f"The execution {id} has got {n - 1:,} messages; from now on one may have {most:,} bytes, and this one "
            f"has {size:,}. Pass a reference to where the data lies.",
            reason="TOO_MUCH_SAID",
        )

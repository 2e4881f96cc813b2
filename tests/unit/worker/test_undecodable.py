"""What is set aside is said once, however often it is read before its checkpoint has deleted it."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any
from unittest.mock import AsyncMock
from uuid import UUID

from runtime.model.checkpoint import InboxKind, InboxMessage
from runtime.telemetry.metrics import Metrics
from runtime.worker.undecodable import set_aside

ONE = UUID(int=1)
FOUND = {
    ONE: [InboxMessage(1, 77, {}), InboxMessage(2, InboxKind.CANCEL, {}), InboxMessage(3, 77, {})]
}


async def test_what_its_run_has_seen_is_not_set_aside_again() -> None:
    store, metrics = AsyncMock(), Metrics()
    tools: Any = SimpleNamespace(store=store, metrics=metrics)
    seat: Any = SimpleNamespace(shard=0, me=1, epoch=1)
    runs: Any = {ONE: SimpleNamespace(inbox_seen=1)}

    await set_aside(tools, seat, FOUND, runs)

    assert [call.args[4] for call in store.set_aside.await_args_list] == [3]
    assert metrics.undecodable._value.get() == 1

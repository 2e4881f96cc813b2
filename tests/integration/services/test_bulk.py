"""Bulk operations on real PostgreSQL: frozen, previewed, done once, gone on with after a loss, stopped."""

from __future__ import annotations

import asyncio
from typing import Any
from uuid import UUID

import pytest

from runtime.entropy import SystemEntropy
from runtime.model.bulk import (
    BulkAction,
    BulkDeed,
    BulkEffect,
    BulkOperation,
    BulkOutcome,
    BulkState,
)
from runtime.model.errors import (
    BadInput,
    Denied,
    Exhausted,
    InvalidState,
    NotFound,
    Unavailable,
)
from runtime.model.execution import ExecutionFilter, ExecutionState, ExecutionStatus, WaitKind
from runtime.model.page import PageRequest
from runtime.services import bulk, bulk_runner
from runtime.services.bulk import BulkService
from runtime.services.bulk_runner import BulkRunner
from runtime.store.bulk import BulkStore, Verdict
from tests import make
from tests.integration.services.conftest import ServiceRoom

S, E = ExecutionState, BulkEffect
ALL = ExecutionFilter()
CANCEL = BulkDeed(BulkAction.CANCEL)
WAIT = {"id": "bell", "type": "wait", "signal": "go"}
EVERYTHING = PageRequest(1_000)


class Bulk:
    """The service, a runner, and as many more as a test asks for."""

    def __init__(self, room: ServiceRoom) -> None:
        self.room = room
        self.store = BulkStore(room.engine.database)
        self.runner = self.another()
        self.service = BulkService(
            self.store,
            room.executions,
            self.runner,
            clock=room.engine.clock,
            entropy=SystemEntropy(),
        )

    def another(self) -> BulkRunner:
        return BulkRunner(
            self.store,
            self.room.executions,
            self.room.migrations,
            entropy=SystemEntropy(),
            metrics=self.room.engine.metrics,
        )

    async def started(
        self, deed: BulkDeed = CANCEL, wanted: ExecutionFilter = ALL, **more: Any
    ) -> UUID:
        found = await self.service.preview(self.room.who, wanted, deed)
        return (await self.service.start(self.room.who, found.id, wanted, deed, **more)).id

    async def ended(self, operation: UUID) -> BulkOperation:
        while self.runner._tasks:
            await next(iter(self.runner._tasks))
        return await self.service.get(self.room.who, operation)

    async def verdicts(self, operation: UUID, **more: Any) -> list[tuple[UUID, BulkOutcome, Any]]:
        page = await self.service.results(self.room.who, operation, EVERYTHING, **more)
        return [(one.execution_id, one.outcome, one.code) for one in page.items]

    async def expire(self) -> None:
        await self.room.engine.sql.execute(
            "update bulk_operations set lease_until = now() - interval '1 second' where state = 1"
        )


@pytest.fixture
def many(room: ServiceRoom) -> Bulk:
    return Bulk(room)


async def waiting(room: ServiceRoom, count: int) -> list[UUID]:
    """So many that wait for a signal, in the order of their ids."""
    await room.publish(steps=[WAIT])
    ids = [(await room.enqueue()).id for _ in range(count)]
    room.engine.worker()
    for one in ids:
        await room.engine.reached(one, lambda row: row["status"] == ExecutionStatus.WAITING)
    return sorted(ids)


async def test_what_was_previewed_is_done_to_what_was_frozen(room: ServiceRoom, many: Bulk):
    ids = await waiting(room, 3)
    seen = await many.service.preview(room.who, ALL, CANCEL)
    late = (await room.enqueue()).id

    assert [(one.state, one.count, one.effect) for one in seen.shares] == [
        (S.WAITING, 3, E.APPLIES)
    ]
    assert (seen.total, seen.sample) == (3, tuple(reversed(ids)))
    assert await many.service.get_many(room.who, [seen.id]) == {}

    started = await many.service.start(room.who, seen.id, ALL, CANCEL, reason="too many")
    again = await many.service.start(room.who, seen.id, ALL, CANCEL)
    done = await many.ended(started.id)

    assert again.id == started.id
    assert (done.state, done.done, done.refused, done.total) == (BulkState.COMPLETED, 3, 0, 3)
    assert await many.verdicts(done.id) == [(one, BulkOutcome.DONE, None) for one in ids]
    for one in ids:
        assert await room.engine.finished(one) is ExecutionStatus.CANCELLED
        asked = await room.executions.events(room.who, one, limit=100)
        assert "too many" in str([event.data for event in asked])
    assert (await room.engine.row(late))["cancel_requested"] is False
    listed = await many.service.list(room.who, PageRequest(10))
    assert [one.id for one in listed.items] == [done.id]


async def test_what_changed_since_is_told_and_stops_nothing(room: ServiceRoom, many: Bulk):
    ids = await waiting(room, 3)
    seen = await many.service.preview(room.who, ALL, CANCEL)
    await room.executions.messages.signal(room.who, ids[1], "go")
    await room.engine.finished(ids[1])

    await many.service.start(room.who, seen.id, ALL, CANCEL)
    done = await many.ended(seen.id)

    assert (done.done, done.refused) == (2, 1)
    refused = await many.verdicts(seen.id, only_refused=True)
    assert refused == [(ids[1], BulkOutcome.REFUSED, "EXECUTION_FINISHED")]


@pytest.mark.parametrize("action", BulkAction)
async def test_the_preview_says_of_each_state_what_doing_it_comes_to(
    room: ServiceRoom, many: Bulk, action: BulkAction
):
    (paused, _, cancelled) = ids = await waiting(room, 3)
    await room.executions.messages.pause(room.who, paused)
    await room.engine.reached(paused, lambda row: row["wait"] == WaitKind.PAUSED)
    await room.executions.messages.cancel(room.who, cancelled)
    await room.engine.finished(cancelled)
    await room.publish("fine")
    completed = (await room.enqueue("fine")).id
    await room.engine.finished(completed)
    to_version = "1.0.0" if action is BulkAction.MIGRATE else None
    deed = BulkDeed(
        action, signal="go" if action is BulkAction.SIGNAL else None, to_version=to_version
    )

    states = {
        one: found.state
        for one, found in (await room.executions.get_many(room.who, [*ids, completed])).items()
    }
    seen = await many.service.preview(room.who, ALL, deed)
    await many.service.start(room.who, seen.id, ALL, deed)
    await many.ended(seen.id)

    effects = {share.state: share.effect for share in seen.shares}
    outcomes = {one: outcome for one, outcome, _ in await many.verdicts(seen.id)}
    assert set(states.values()) == {S.PAUSED, S.WAITING, S.CANCELLED, S.COMPLETED}
    assert {one: effects[state] is E.REFUSED for one, state in states.items()} == {
        one: outcome is BulkOutcome.REFUSED for one, outcome in outcomes.items()
    }


@pytest.mark.parametrize("is_recorded", [False, True])
async def test_a_lost_runner_is_gone_on_with_and_nothing_happens_twice(
    room: ServiceRoom, many: Bulk, monkeypatch: pytest.MonkeyPatch, is_recorded: bool
):
    ids = await waiting(room, 4)
    monkeypatch.setattr(bulk_runner, "PART", 2)
    deed = BulkDeed(BulkAction.SIGNAL, signal="other", payload=7)
    record, died = many.store.record, []

    async def dies(*given: Any) -> bool:
        if is_recorded:
            await record(*given)
        died.append(True)
        raise ConnectionError("the process is gone")

    with pytest.MonkeyPatch.context() as meanwhile:
        meanwhile.setattr(many.store, "record", dies)
        operation = await many.started(deed)
        assert (await many.ended(operation)).state is BulkState.RUNNING
    assert died == [True]

    other = many.another()
    assert await other.run() == 0
    await many.expire()
    assert await other.run() == 1

    done = await many.service.get(room.who, operation)
    assert (done.state, done.done) == (BulkState.COMPLETED, 4)
    assert [one for one, _, _ in await many.verdicts(operation)] == ids
    # How many messages each has ever been sent.
    assert [(await room.engine.row(one))["inbox"] for one in ids] == [1] * 4


async def test_one_who_was_lost_and_comes_back_writes_nothing(
    room: ServiceRoom, many: Bulk, monkeypatch: pytest.MonkeyPatch
):
    await waiting(room, 2)
    seen = await many.service.preview(room.who, ALL, CANCEL)
    monkeypatch.setattr(many.runner, "begin", lambda _id: None)
    await many.service.start(room.who, seen.id, ALL, CANCEL)
    part = await many.store.part(seen.id, many.runner.id, 10)
    assert part is not None
    await many.expire()
    other = many.another()

    assert await other.run() == 1
    late = [Verdict(one, BulkOutcome.DONE) for one in part.ids]
    assert await many.store.record(part, many.runner.id, late) is False
    assert await many.store.part(seen.id, many.runner.id, 10) is None
    assert len(await many.verdicts(seen.id)) == 2


async def test_a_stop_ends_it_before_its_next_part(
    room: ServiceRoom, many: Bulk, monkeypatch: pytest.MonkeyPatch
):
    ids = await waiting(room, 3)
    monkeypatch.setattr(bulk_runner, "PART", 1)
    record = many.store.record

    async def stopped(*given: Any) -> bool:
        await many.service.stop(room.who, given[0].operation_id, reason="wrong filter")
        return await record(*given)

    monkeypatch.setattr(many.store, "record", stopped)
    done = await many.ended(await many.started())

    assert (done.state, done.done, done.total) == (BulkState.STOPPED, 1, 3)
    assert (done.stopped_by, done.stop_reason) == (room.who.actor, "wrong filter")
    assert [(await room.engine.row(one))["cancel_requested"] for one in ids[1:]] == [False, False]
    assert (await many.service.stop(room.who, done.id)).stop_reason == "wrong filter"


async def test_refusals(room: ServiceRoom, many: Bulk, monkeypatch: pytest.MonkeyPatch):
    await waiting(room, 2)
    seen = await many.service.preview(room.who, ALL, CANCEL)
    narrower = ExecutionFilter(workflow_name=("w",))
    other = make.principal(UUID(int=5))

    for wanted, deed in ((narrower, CANCEL), (ALL, BulkDeed(BulkAction.CANCEL, compensate=True))):
        with pytest.raises(BadInput, match="another filter or another action"):
            await many.service.start(room.who, seen.id, wanted, deed)
    with pytest.raises(NotFound):
        await many.service.start(other, seen.id, ALL, CANCEL)
    with pytest.raises(NotFound):
        await many.service.get(other, await many.started())
    with pytest.raises(Denied):
        await many.service.preview(
            make.principal(scopes=frozenset({"executions:read"})), ALL, CANCEL
        )
    with pytest.raises(BadInput, match="A signal has a name"):
        await many.service.preview(room.who, ALL, BulkDeed(BulkAction.SIGNAL))
    monkeypatch.setattr(bulk, "MOST", 1)
    with pytest.raises(BadInput, match="more than 1 executions"):
        await many.service.preview(room.who, ALL, CANCEL)
    await room.engine.sql.execute("update bulk_operations set expires_at = now() where state = 0")
    with pytest.raises(NotFound, match="preview again"):
        await many.service.start(room.who, seen.id, ALL, CANCEL)
    assert await many.another().run() == 1


async def test_a_tenant_has_few_previews_and_few_that_run(
    room: ServiceRoom, many: Bulk, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(many.runner, "begin", lambda _id: None)
    monkeypatch.setattr("runtime.store.bulk.MOST_PREVIEWS", 2)
    monkeypatch.setattr("runtime.store.bulk.MOST_RUNNING", 1)
    first = await many.service.preview(room.who, ALL, CANCEL)
    second = await many.service.preview(room.who, ALL, CANCEL)
    await many.started()

    with pytest.raises(NotFound):
        await many.service.start(room.who, first.id, ALL, CANCEL)
    with pytest.raises(InvalidState, match="1 bulk operations run already"):
        await many.service.start(room.who, second.id, ALL, CANCEL)


async def test_of_two_starts_at_once_only_as_many_run_as_may(
    room: ServiceRoom, many: Bulk, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(many.runner, "begin", lambda _id: None)
    monkeypatch.setattr("runtime.store.bulk.MOST_RUNNING", 1)
    tokens = [(await many.service.preview(room.who, ALL, CANCEL)).id for _ in range(2)]

    found = await asyncio.gather(
        *(many.service.start(room.who, token, ALL, CANCEL) for token in tokens),
        return_exceptions=True,
    )

    assert {type(one) for one in found} == {BulkOperation, InvalidState}


async def lost(many: Bulk, count: int = 1) -> list[UUID]:
    """Operations that were started by a process that is gone."""
    with pytest.MonkeyPatch.context() as meanwhile:
        meanwhile.setattr(many.runner, "begin", lambda _id: None)
        ids = [await many.started() for _ in range(count)]
    await many.expire()
    return ids


async def test_a_lost_one_that_lasts_holds_up_no_other(
    room: ServiceRoom, many: Bulk, monkeypatch: pytest.MonkeyPatch
):
    await waiting(room, 1)
    first, second = await lost(many, 2)
    other, ended, goes_on = many.another(), asyncio.Event(), asyncio.Event()
    act, finish = other._act, many.store.finish

    async def slow(part: Any, one: UUID) -> Verdict:
        if part.operation_id == first:
            await goes_on.wait()
        return await act(part, one)

    async def finished(id: UUID, *given: Any) -> None:
        await finish(id, *given)
        ended.set()

    monkeypatch.setattr(other, "_act", slow)
    monkeypatch.setattr(many.store, "finish", finished)
    running = asyncio.create_task(other.run())
    async with asyncio.timeout(5):
        await ended.wait()

    assert (await many.service.get(room.who, second)).state is BulkState.COMPLETED
    assert (await many.service.get(room.who, first)).state is BulkState.RUNNING
    goes_on.set()
    assert await running == 2


async def test_one_that_fails_again_and_again_breaks_no_other_off(
    room: ServiceRoom, many: Bulk, monkeypatch: pytest.MonkeyPatch
):
    await waiting(room, 2)
    monkeypatch.setattr(bulk_runner, "PART", 1)
    first, second = await lost(many, 2)
    other, act, failed, begun = many.another(), many.runner._act, asyncio.Event(), asyncio.Event()
    record = many.store.record

    async def slow(part: Any, one: UUID) -> Verdict:
        if part.operation_id == second:
            begun.set()
            await failed.wait()
        return await act(part, one)

    async def fails(part: Any, *given: Any) -> bool:
        if part.operation_id == first:
            await begun.wait()
            failed.set()
            raise ValueError
        return await record(part, *given)

    monkeypatch.setattr(other, "_act", slow)
    monkeypatch.setattr(many.store, "record", fails)

    assert await other.run() == 2
    assert (await many.service.get(room.who, second)).state is BulkState.COMPLETED
    assert (await many.service.get(room.who, first)).state is BulkState.RUNNING
    assert await many.another().run() == 0, "it waits for the end of its lease"


async def test_who_breaks_off_leaves_what_he_works_on_to_others(
    room: ServiceRoom, many: Bulk, monkeypatch: pytest.MonkeyPatch
):
    await waiting(room, 1)
    (operation,) = await lost(many)
    other, begun = many.another(), asyncio.Event()

    async def stuck(*_: Any) -> Verdict:
        begun.set()
        await asyncio.Event().wait()
        raise AssertionError

    monkeypatch.setattr(other, "_act", stuck)
    running = asyncio.create_task(other.run())
    await begun.wait()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running

    assert await many.another().run() == 1
    assert (await many.service.get(room.who, operation)).state is BulkState.COMPLETED


async def test_the_lease_lasts_as_long_as_a_part_does(
    room: ServiceRoom, many: Bulk, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(bulk_runner, "LEASE_SECONDS", 0.03)
    await waiting(room, 1)
    (operation,) = await lost(many)
    other, renewed, act, renew = many.another(), asyncio.Event(), many.runner._act, many.store.renew
    looks: list[Any] = []

    async def slow(part: Any, one: UUID) -> Verdict:
        await many.expire()
        await renewed.wait()
        looks.append(await many.store.claim(many.runner.id))
        return await act(part, one)

    async def renews(*given: Any) -> None:
        await renew(*given)
        renewed.set()

    monkeypatch.setattr(other, "_act", slow)
    monkeypatch.setattr(many.store, "renew", renews)
    async with asyncio.timeout(5):
        assert await other.run() == 1

    assert looks == [None]
    assert (await many.service.get(room.who, operation)).done == 1


@pytest.mark.parametrize("error", [Unavailable("away"), Exhausted("too much at once")])
async def test_what_can_be_tried_again_is_no_verdict_and_nothing_goes_on_beside_it(
    room: ServiceRoom, many: Bulk, monkeypatch: pytest.MonkeyPatch, error: Exception
):
    await waiting(room, 2)
    (operation,) = await lost(many)
    other, began, ended = many.another(), [], []

    async def away(_part: Any, one: UUID) -> None:
        began.append(one)
        if len(began) == 2:
            raise error
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(one)

    monkeypatch.setattr(other, "_do", away)
    async with asyncio.timeout(5):
        assert await other.run() == 1

    assert len(ended) == 1
    assert await many.verdicts(operation) == []
    await many.expire()
    assert await many.another().run() == 1
    assert (await many.service.get(room.who, operation)).done == 2


async def test_the_lost_ones_of_each_tenant_have_their_turn(room: ServiceRoom, many: Bulk):
    first, second = await lost(many, 2)
    (third,) = await lost(many)
    await room.engine.sql.execute(
        "update bulk_operations set tenant_id = $2 where id = $1", third, make.OTHER_TENANT
    )

    taken = [await many.store.claim(many.runner.id) for _ in range(3)]

    assert taken == [first, third, second]


async def test_who_may_not_read_starts_nothing(room: ServiceRoom, many: Bulk):
    await waiting(room, 1)
    seen = await many.service.preview(room.who, ALL, CANCEL)
    writer = make.principal(scopes=frozenset({"executions:write"}))

    with pytest.raises(Denied):
        await many.service.start(writer, seen.id, ALL, CANCEL)

    assert await many.service.get_many(room.who, [seen.id]) == {}

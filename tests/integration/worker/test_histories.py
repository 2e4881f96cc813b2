"""Every construct on a real worker, replayed from what is stored; `make histories` keeps that for a release."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Awaitable, Callable
from typing import Any
from uuid import UUID

import pytest

from runtime.model.checkpoint import InboxKind
from runtime.model.errors import BadInput, Denied, NotFound
from runtime.model.execution import ExecutionStatus
from runtime.model.identity import Principal
from runtime.settings import WorkerSettings
from runtime.store.blob import Blobs
from runtime.store.execution_replay import ReplayRecords
from runtime.store.plan import PlanStore
from tests.support.engine_room import TENANT, EngineRoom
from tests.support.histories import FOLDER, history_of
from tests.support.history_fallbacks import fallbacks
from tests.support.history_people import people
from tests.support.history_steps import echo, flaky, gate
from tests.support.replaying import DEBUGGER, replayed, replays_of
from tests.support.steps import CALLS, Echo

ENDED, PARKED = ExecutionStatus.COMPLETED, ExecutionStatus.WAITING
LARGE = "x" * 40_000


async def parked(room: EngineRoom, execution: UUID) -> None:
    await room.reached(execution, lambda row: row["status"] == PARKED)


async def ways(room: EngineRoom) -> list[UUID]:
    """Parallel steps, conditions, gateways, joins, retries, failures that are provided for, outputs."""
    room.worker()
    steps: list[Any] = [
        echo("a"),
        flaky("b", 1, retry={"max_attempts": 3, "initial": "10ms"}),
        echo("left-out", "a", when="params.n > 5"),
        {
            "id": "route",
            "type": "gateway",
            "mode": "inclusive",
            "depends_on": ["a"],
            "cases": [
                {"when": "params.n > 1", "then": ["small", "audit"]},
                {"when": "params.n > 10", "then": "big"},
                {"else": "big"},
            ],
        },
        echo("small", "route"),
        echo("audit", "route"),
        echo("big", "route"),
        echo("first", "small", "audit", "big", join="any"),
        {"id": "bad", "uses": "core.fail@1", "with": {"message": "no"}, "on_error": "continue"},
        {
            "id": "worse",
            "uses": "core.fail@1",
            "with": {"message": "no money"},
            "on_error": {"goto": "tell"},
        },
        echo("skipped-then", "worse"),
        echo("tell", "worse", given={"why": "{{ steps.worse.error.message }}"}),
        echo("end", "b", "first", "bad", given={"of": "{{ steps.b.output.attempt }}"}),
    ]
    version = await room.publish(
        steps,
        params={"n": "number"},
        max_parallel_steps=2,
        outputs={"end": "{{ steps.end.output }}", "told": "{{ steps.tell.output.why }}"},
    )
    execution = await room.enqueue(version, {"n": 3})
    assert await room.finished(execution) is ENDED
    return [execution]


async def joins(room: EngineRoom) -> list[UUID]:
    """A step that begins with the first of two, and keeps what it saw."""
    room.worker()
    steps: list[Any] = [
        gate("slow"),
        echo("quick"),
        echo("either", "slow", "quick", join="any", given={"slow": "{{ steps.slow.status }}"}),
        echo("both", "slow", "either", given={"slow": "{{ steps.slow.status }}"}),
    ]
    execution = await room.enqueue(await room.publish(steps))
    await room.until(execution, lambda: has(room, execution, "step_joined"))
    CALLS.gates["slow"].set()
    assert await room.finished(execution) is ENDED
    return [execution]


async def tags(room: EngineRoom) -> list[UUID]:
    """Steps that move their execution to a worker with their tags, and back to any."""
    room.worker()
    steps: list[Any] = [
        echo("anywhere"),
        echo("there", "anywhere", runs_on=["gpu"], given={"of": "{{ steps.anywhere.output.id }}"}),
        gate("beside"),
        echo("end", "there", "beside"),
    ]
    execution = await room.enqueue(await room.publish(steps))
    await asyncio.wait_for(CALLS.begun["beside"].wait(), 10)
    CALLS.gates["beside"].set()
    await parked(room, execution)
    room.worker(tags=frozenset({"gpu"}))
    assert await room.finished(execution) is ENDED
    return [execution]


async def caches(room: EngineRoom) -> list[UUID]:
    """A step and items that call, and the same ones given what was kept."""
    room.worker()
    each = {"uses": "probe.echo@1", "with": {"n": "{{ item }}"}}
    steps: list[Any] = [
        echo("a", cache={"ttl": "1h"}),
        {"id": "each", "type": "map", "for_each": [1, 2], "task": each, "cache": {"ttl": "1h"}},
    ]
    version = await room.publish(steps)
    first = await room.enqueue(version)
    assert await room.finished(first) is ENDED

    async def kept() -> bool:
        return int(await room.sql.fetchval("select count(*) from step_cache")) == 3

    await room.until(first, kept)
    second = await room.enqueue(version)
    assert await room.finished(second) is ENDED
    return [first, second]


async def generations(room: EngineRoom) -> list[UUID]:
    """A failure that stops what runs beside it, retried from the failed step and from the start."""
    room.worker()
    steps: list[Any] = [
        echo("a"),
        flaky("b", 99, "a", given={"kind": "permanent"}),
        gate("beside", "a"),
    ]
    execution = await room.enqueue(await room.publish(steps))
    assert await room.finished(execution) is ExecutionStatus.FAILED
    for generation, is_kept in enumerate((True, False), 1):
        await room.retry(execution, from_failed_step=is_kept)
        await _ended_again(room, execution, generation)
    return [execution]


async def rewinds(room: EngineRoom) -> list[UUID]:
    """Back to a step of what completed, behind a gateway, a join that began early and a map; then of what failed and was undone; with wishes."""
    room.worker()
    fails = {"marker": "bad", "failures": "{{ 9 if execution.generation == 1 else 0 }}"}
    steps: list[Any] = [
        echo("a"),
        {
            "id": "route", "type": "gateway", "mode": "inclusive", "depends_on": ["a"],
            "cases": [{"when": "true", "then": ["b", "c"]}, {"else": "d"}],
        },
        echo("b", "route", compensate={"uses": "core.noop@1"}),
        echo("c", "route"),
        echo("d", "route"),
        echo("first", "b", "c", "d", join="any"),
        {
            "id": "each", "type": "map", "for_each": [1, 2, 3], "depends_on": ["b"],
            "task": {"uses": "probe.echo@1", "with": {"n": "{{ item + execution.generation }}"}},
        },
        {"id": "go", "type": "wait", "for": "10ms", "depends_on": ["each"]},
        flaky("bad", 0, "go", given={**fails, "kind": "permanent"}),
    ]  # fmt: skip
    version = await room.publish(steps, outputs={"e": "{{ steps.each.output }}"})
    execution = await room.enqueue(version)
    assert await room.finished(execution) is ENDED
    assert await room.rewind(execution, version, 2) == 1
    await _ended_again(room, execution, 1)
    assert await room.rewind(execution, version, 7) == 2
    await _ended_again(room, execution, 2, ENDED)
    assert await room.rewind(execution, version, 6, given={"n": 5}, keep=[8]) == 3
    await _ended_again(room, execution, 3, ENDED)
    return [execution]


async def _ended_again(
    room: EngineRoom,
    execution: UUID,
    generation: int,
    status: ExecutionStatus = ExecutionStatus.FAILED,
) -> None:
    """Wait for the end of a generation, which may be over before anybody looks."""
    await room.reached(
        execution, lambda row: (row["generation"], row["status"]) == (generation, status)
    )


async def compensation(room: EngineRoom) -> list[UUID]:
    """What completed is undone, one of it with a second attempt, one not; retried; and a cancel that undoes."""
    room.worker()
    freed = {"uses": "probe.echo@1", "with": {"freed": "{{ steps.a.output.id }}"}}
    again = {"max_attempts": 2, "initial": "10ms"}
    twice = {"uses": "probe.flaky@1", "with": {"marker": "undo", "failures": 1}, "retry": again}
    steps: list[Any] = [
        echo("a", compensate=freed),
        echo("b", "a", compensate=twice),
        echo("c", "b", compensate={"uses": "core.fail@1", "with": {"message": "stays"}}),
        echo("d", "c", given={"of": "{{ steps.b.output.id }}"}),
        flaky("bad", 99, "d", given={"kind": "permanent"}),
    ]
    failed = await room.enqueue(await room.publish(steps))
    assert await room.finished(failed) is ExecutionStatus.FAILED
    await room.retry(failed)
    await _ended_again(room, failed, 1)
    held = [
        echo("a", compensate=freed),
        {"id": "b", "type": "wait", "signal": "never", "depends_on": ["a"]},
    ]
    cancelled = await room.enqueue(await room.publish(held))
    await parked(room, cancelled)
    await room.tell(cancelled, InboxKind.CANCEL, reason="enough", compensate=True)
    assert await room.finished(cancelled) is ExecutionStatus.CANCELLED
    return [failed, cancelled]


async def maps(room: EngineRoom) -> list[UUID]:
    """Maps: retried items, one that collects, one that fails with its first failure and is retried."""
    room.worker()
    steps: list[Any] = [
        {
            "id": "each",
            "type": "map",
            "for_each": "{{ params.list }}",
            "max_concurrency": 2,
            "task": {
                "uses": "probe.flaky@1",
                "with": {"marker": "{{ 'm' ~ item }}", "failures": 1},
                "retry": {"max_attempts": 2, "initial": "10ms"},
            },
        },
        {
            "id": "some",
            "type": "map",
            "for_each": "{{ params.list }}",
            "failure_policy": "collect",
            "depends_on": ["each"],
            "task": {
                "uses": "probe.flaky@1",
                "with": {"marker": "{{ 's' ~ index }}", "failures": "{{ item }}"},
                "retry": {"max_attempts": 2, "initial": "10ms"},
            },
        },
        {
            "id": "none",
            "type": "map",
            "for_each": "{{ [] }}",
            "depends_on": ["each"],
            "task": {"uses": "probe.echo@1", "with": {"n": "{{ item }}"}},
        },
        {
            "id": "all",
            "type": "map",
            "for_each": "{{ params.list }}",
            "depends_on": ["some"],
            "task": {"uses": "probe.flaky@1", "with": {"marker": "a", "failures": "{{ item }}"}},
        },
    ]
    version = await room.publish(steps, params={"list": "array"})
    execution = await room.enqueue(version, {"list": [0, 1, 5]})
    assert await room.finished(execution) is ExecutionStatus.FAILED
    await room.retry(execution)
    await _ended_again(room, execution, 1)
    return [execution]


async def waits(room: EngineRoom) -> list[UUID]:
    """Timers in memory and parked, signals early and awaited, one that does not come, a pause, a cancel, a deadline."""
    room.worker()
    steps: list[Any] = [
        {"id": "nap", "type": "wait", "for": "20ms"},
        {"id": "late", "type": "wait", "signal": "never", "timeout": "30ms", "default": {"n": 0}},
        {"id": "first", "type": "wait", "signal": "go", "depends_on": ["nap", "late"]},
        {"id": "then", "type": "wait", "signal": "go", "depends_on": ["first"]},
        echo("end", "then", given={"got": "{{ steps.then.output }}"}),
    ]
    execution = await room.enqueue(
        await room.publish(steps, outputs={"e": "{{ steps.end.output }}"})
    )
    await parked(room, execution)
    await room.tell(execution, InboxKind.SIGNAL, name="go", payload={"n": 1})
    await room.reached(execution, lambda row: row["status"] == PARKED and row["inbox"] >= 1)
    await room.tell(execution, InboxKind.PAUSE, reason="stop")
    await room.until(execution, lambda: has(room, execution, "execution_paused"))
    await room.tell(execution, InboxKind.SIGNAL, name="go", payload={"n": 2})
    await room.tell(execution, InboxKind.RESUME, reason="go")
    assert await room.finished(execution) is ENDED
    held = await room.publish([gate("held", uses="probe.gate@1"), echo("after", "held")])
    cancelled = await room.enqueue(held)
    await asyncio.wait_for(CALLS.begun["held"].wait(), 10)
    await room.cancel(cancelled)
    assert await room.finished(cancelled) is ExecutionStatus.CANCELLED
    over = await room.enqueue(held, timeout_seconds=0.2)
    assert await room.finished(over) is ExecutionStatus.TIMED_OUT
    return [execution, cancelled, over]


async def has(room: EngineRoom, execution: UUID, word: str) -> bool:
    return word in await room.events(execution)


async def children(room: EngineRoom) -> list[UUID]:
    """A parent whose child completes, and one whose child fails."""
    room.worker()
    say = {"word": "{{ steps.say.output.word }}"}
    await room.publish(
        [echo("say", given={"word": "{{ params.word }}"})],
        name="echo",
        params={"word": {"type": "string"}},
        outputs=say,
    )
    await room.publish([{"id": "no", "uses": "core.fail@1", "with": {"message": "no"}}], name="bad")
    call = {"type": "workflow", "input": {"word": "hello"}}
    steps: list[Any] = [
        {"id": "good", "workflow": "echo", **call},
        {"id": "bad", "type": "workflow", "workflow": "bad", "on_error": "continue"},
        echo("end", "good", "bad", given={"got": "{{ steps.good.output.word }}"}),
    ]
    parent = await room.enqueue(await room.publish(steps, outputs={"e": "{{ steps.end.output }}"}))
    assert await room.finished(parent) is ENDED
    rows = await room.sql.fetch("select id from workflow_executions order by id")
    return [row["id"] for row in rows]


async def doubts(room: EngineRoom) -> list[UUID]:
    """A worker that is lost in a call which may happen once; a look-up that knows nothing; a person who does."""
    room.worker(beat_seconds=60.0, lease_seconds=600.0)
    once = gate("a", uses="probe.findable@1", given={"value": 5}, in_doubt="ask")
    steps = [once, echo("b", "a", given={"n": "{{ steps.a.output }}"})]
    execution = await room.enqueue(await room.publish(steps))
    await asyncio.wait_for(CALLS.begun["a"].wait(), 10)
    room.worker()
    await room.expire("test:1")
    await parked(room, execution)
    await room.decide(execution, "made", output=55)
    assert await room.finished(execution) is ENDED
    return [execution]


async def large(room: EngineRoom) -> list[UUID]:
    """Inputs and outputs outside of their rows, and a condition that needs one."""
    room.worker()
    steps: list[Any] = [
        echo("a", given={"value": "{{ params.big }}"}),
        echo("b", "a", when="(steps.a.output.value | length) > 10", given={"n": 1}),
        echo("c", "a", given={"copy": "{{ steps.a.output.value }}"}),
    ]
    version = await room.publish(
        steps, params={"big": "string"}, outputs={"a": "{{ steps.c.output }}"}
    )
    execution = await room.enqueue(version, {"big": LARGE})
    assert await room.finished(execution) is ENDED
    return [execution]


SCENARIOS: tuple[Callable[[EngineRoom], Awaitable[list[UUID]]], ...] = (
    ways,
    fallbacks,
    joins,
    tags,
    caches,
    generations,
    rewinds,
    compensation,
    maps,
    waits,
    children,
    people,
    doubts,
    large,
)


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda one: one.__name__)
async def test_what_is_recorded_follows_from_the_decisions(
    room: EngineRoom, scenario: Any, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(WorkerSettings, "overlap_seconds", 0.0)
    executions = await scenario(room)

    release, plans = os.environ.get("RECORD_HISTORIES"), PlanStore(room.database)
    for number, execution in enumerate(executions, 1):
        found = await replayed(room, execution, executes=True)
        assert found.is_equal, found.divergence
        assert found.events == len(await room.events(execution))
        assert found.outputs or found.events < 12
        recorded = await ReplayRecords(room.shards).read(TENANT, execution)
        assert recorded is not None
        if release:
            definition, digest = await plans.definition(recorded.owned.version_id)
            history = await history_of(recorded, definition, digest, room.blobs())
            history.write(FOLDER / release / f"{scenario.__name__}-{number}.json")


async def a_run(room: EngineRoom) -> UUID:
    room.worker()
    steps = [echo("a", given={"n": 1}), echo("b", "a", given={"of": "{{ steps.a.output.n }}"})]
    execution = await room.enqueue(await room.publish(steps, outputs={"b": "{{ steps.b.output }}"}))
    assert await room.finished(execution) is ENDED
    return execution


async def test_what_is_changed_in_the_database_is_found(room: EngineRoom):
    """One thing at a time is changed, found by its name and its place, and put back."""
    execution = await a_run(room)
    changes = {
        ("output", "a", 4): (
            (
                "update step_executions set result = jsonb_set(result, '{output,n}', $2::jsonb) "
                "where execution_id = $1 and step = 0"
            ),
            ("2", "1"),
        ),
        ("row", "b", 6): (
            "update step_executions set status = $2::int where execution_id = $1 and step = 1",
            (7, 6),
        ),
        ("event", "b", 5): (
            (
                "update execution_events set data = jsonb_set(data, '{attempt}', $2::jsonb) "
                "where execution_id = $1 and seq = 5"
            ),
            ("2", "1"),
        ),
        ("result", None, 7): (
            "update workflow_executions set output = jsonb_set(output, '{b,of}', $2::jsonb) where id = $1",
            ("2", "1"),
        ),
        ("definition", None, None): (
            (
                "update workflow_versions v set definition = jsonb_set(v.definition, '{steps,1,id}', $2::jsonb) "
                "from workflow_executions e where e.version_id = v.id and e.id = $1"
            ),
            ('"c"', '"b"'),
        ),
    }
    # As somebody does who may do everything: the product itself never changes these.
    await room.sql.execute("set session_replication_role = replica")
    for (kind, step, sequence), (statement, (other, before)) in changes.items():
        await room.sql.execute(statement, execution, other)
        divergence = (await replayed(room, execution)).divergence
        await room.sql.execute(statement, execution, before)

        assert divergence is not None, kind
        assert (divergence.kind, divergence.step, divergence.sequence) == (kind, step, sequence)
        assert divergence.expected != divergence.found
    assert (await replayed(room, execution)).is_equal


async def test_pure_steps_are_run_again_and_must_give_the_same(
    room: EngineRoom, monkeypatch: pytest.MonkeyPatch
):
    execution = await a_run(room)

    same = await replayed(room, execution, executes=True)
    monkeypatch.setattr(Echo, "answer", lambda *_: {"n": "something else"})
    other = await replayed(room, execution, executes=True)
    looked_at = await replayed(room, execution)

    assert (same.is_equal, same.executed, same.left_out) == (True, 2, 0)
    assert other.divergence is not None
    assert (other.divergence.kind, other.divergence.step) == ("executed", "a")
    assert (looked_at.is_equal, looked_at.executed) == (True, 0)


async def test_what_is_not_pure_or_has_a_secret_is_not_run_again(room: EngineRoom, home: Any):
    (home / "secrets.yaml").write_text("word: something-nobody-sees\n")
    (home / "secrets.yaml").chmod(0o600)
    room.secrets = type(room.secrets)(home / "secrets.yaml")
    room.worker()
    steps = [
        flaky("idempotent", 0),
        echo("hidden", given={"word": "{{ secrets.word }}"}),
        echo("named", effect="at_most_once"),
    ]
    execution = await room.enqueue(await room.publish(steps))
    assert await room.finished(execution) is ENDED

    found = await replayed(room, execution, executes=True)

    assert (found.divergence, found.executed, found.left_out) == (None, 0, 3)
    assert len(CALLS.keys["idempotent"]) == 1


async def test_only_who_may_is_answered(room: EngineRoom):
    execution = await a_run(room)
    service = replays_of(room)
    reader = Principal(TENANT, "test", "ann", frozenset({"executions:read"}))
    stranger = Principal(UUID(int=7), "other", "eve", DEBUGGER.scopes)

    assert (await service.replay(reader, execution)).is_equal
    with pytest.raises(Denied, match="executions:debug"):
        await service.replay(reader, execution, executes=True)
    with pytest.raises(Denied):
        await service.replay(Principal(TENANT, "test", "ann", frozenset()), execution)
    with pytest.raises(NotFound):
        await service.replay(stranger, execution)


async def test_what_is_too_large_is_refused_in_words(
    room: EngineRoom, monkeypatch: pytest.MonkeyPatch
):
    execution = await a_run(room)
    monkeypatch.setattr("runtime.store.execution_replay.MOST_EVENTS", 3)

    with pytest.raises(BadInput, match="too large to be replayed") as refused:
        await replayed(room, execution)

    assert refused.value.reason == "REPLAY_TOO_LARGE"


async def test_a_replay_ends_in_time_without_large_values_too(
    room: EngineRoom, monkeypatch: pytest.MonkeyPatch
):
    execution = await a_run(room)
    monkeypatch.setattr("runtime.services.replay.LONGEST_SECONDS", -1.0)

    with pytest.raises(BadInput, match="takes more than") as refused:
        await replayed(room, execution)

    assert refused.value.reason == "REPLAY_TOO_LONG"


async def test_what_is_compressed_counts_as_what_it_is(
    room: EngineRoom, monkeypatch: pytest.MonkeyPatch
):
    room.worker()
    execution = await room.run([echo("a", given={"bytes": 30_000})])
    stored = await room.sql.fetchval(
        "select sum(pg_column_size(result)) from step_executions where execution_id = $1", execution
    )
    monkeypatch.setattr("runtime.store.execution_replay.MOST_BYTES", 20_000)

    with pytest.raises(BadInput, match="too large to be replayed"):
        await replayed(room, execution)

    assert stored < 5_000


async def test_a_large_output_is_hashed_and_not_read_whole(
    room: EngineRoom, monkeypatch: pytest.MonkeyPatch
):
    room.worker()
    steps = [echo("a", given={"bytes": 50_000})]
    execution = await room.enqueue(await room.publish(steps))
    assert await room.finished(execution) is ENDED
    load_again = Blobs.load_again
    whole: list[Any] = []

    async def loaded(self: Blobs, tenant: UUID, one: UUID, ref: Any) -> Any:
        whole.append(ref)
        return await load_again(self, tenant, one, ref)

    monkeypatch.setattr(Blobs, "load_again", loaded)

    found = await replayed(room, execution)

    assert (found.divergence, found.outputs, whole) == (None, 2, [])


async def test_who_goes_away_frees_no_place_before_the_work_has_ended(
    room: EngineRoom, monkeypatch: pytest.MonkeyPatch
):
    execution = await a_run(room)
    begun, gate = threading.Semaphore(0), threading.Event()

    def held(*_: Any) -> Any:
        begun.release()
        gate.wait(20)
        return {"n": 1}

    monkeypatch.setattr(Echo, "answer", held)
    service = replays_of(room)
    gone = [
        asyncio.create_task(service.replay(DEBUGGER, execution, executes=True)) for _ in range(2)
    ]
    try:
        for _ in gone:
            assert await asyncio.to_thread(begun.acquire, timeout=10)
        for one in gone:
            one.cancel()
        await asyncio.gather(*gone, return_exceptions=True)
        next_one = asyncio.create_task(service.replay(DEBUGGER, execution))
        await asyncio.sleep(0)
        assert service._places.locked()
        assert not next_one.done()
    finally:
        gate.set()

    assert (await next_one).is_equal

"""Steps with `cache` on a real worker: an earlier output is given again, to the same inputs and code of the same tenant."""

from __future__ import annotations

import json
from typing import Any
from uuid import UUID

import pytest

from runtime.model.errors import Unavailable
from runtime.model.execution import ExecutionStatus
from runtime.scheduler.step_cache import CacheSweep
from runtime.store import step_cache
from runtime.store.step_cache import CacheEntry, StepCache
from tests.support.engine_room import TENANT, EngineRoom
from tests.support.replaying import replayed
from tests.support.steps import CALLS

COMPLETED = ExecutionStatus.COMPLETED
HOUR = {"ttl": "1h"}


def flaky(cache: Any = HOUR, **more: Any) -> dict[str, Any]:
    given = {"marker": "m", "failures": "{{ params.n }}", **more.pop("given", {})}
    found = {"id": "a", "uses": "probe.flaky@1", "with": given, **more}
    return found if cache is None else {**found, "cache": cache}


async def published(room: EngineRoom, *steps: Any, **more: Any) -> UUID:
    return await room.publish(steps, params={"n": {"type": "number", "default": 0}}, **more)


async def kept(room: EngineRoom, count: int = 1) -> None:
    """Entries are written after the commit of what they hold."""

    async def there() -> bool:
        return int(await room.sql.fetchval("select count(*) from step_cache")) >= count

    execution = await room.sql.fetchval("select id from workflow_executions limit 1")
    await room.until(execution, there)


async def runs(room: EngineRoom, version: UUID, n: int = 0) -> tuple[UUID, list[Any]]:
    """An execution, run to its end, and its rows."""
    execution = await room.enqueue(version, {"n": n})
    assert await room.finished(execution) is COMPLETED
    return execution, await room.results(execution)


async def events_of(room: EngineRoom, execution: UUID, kind: int = 21) -> list[Any]:
    rows = await room.sql.fetch(
        "select data from execution_events where execution_id = $1 and kind = $2 order by seq",
        execution, kind,
    )  # fmt: skip
    return [json.loads(row["data"]) for row in rows]


async def test_the_second_execution_is_given_the_output_of_the_first(room: EngineRoom):
    room.worker()
    version = await published(room, flaky(), outputs={"a": "{{ steps.a.output }}"})
    first, [called] = await runs(room, version)
    await kept(room)

    second, [given] = await runs(room, version)

    assert CALLS.attempts["m"] == [1]
    assert given["output"] == called["output"] == {"attempt": 1}
    assert "cached_from" not in called
    assert given["cached_from"] == {"execution": str(first), "step": "a"}
    same = ("in", "out", "code", "code_digest")
    assert [given[name] for name in same] == [called[name] for name in same]
    assert [e.get("cached_from") for e in await events_of(room, second)] == [given["cached_from"]]
    assert [e.get("cached_from") for e in await events_of(room, first)] == [None]
    assert await room.events(second) == await room.events(first)
    count = room.metrics.registry.get_sample_value
    assert count("maestro_step_cache_total", {"outcome": "hit"}) == 1
    assert count("maestro_step_cache_total", {"outcome": "miss"}) == 1
    for one in (first, second):
        assert (await replayed(room, one)).divergence is None


async def test_another_input_calls_and_another_workflow_with_the_same_one_does_not(
    room: EngineRoom,
):
    room.worker()
    retries = {"max_attempts": 2, "initial": "1ms"}
    version = await published(room, flaky(retry=retries))
    await runs(room, version)
    await kept(room)

    _, rows = await runs(room, version, 1)
    _, [other] = await runs(room, await published(room, flaky(id="other")))

    assert [row.get("cached_from") for row in rows] == [None, None]
    assert "cached_from" in other


async def test_a_step_without_cache_calls_and_is_not_kept(room: EngineRoom):
    room.worker()
    version = await published(room, flaky(None))

    for _ in range(2):
        await runs(room, version)

    assert len(CALLS.attempts["m"]) == 2
    assert await room.sql.fetchval("select count(*) from step_cache") == 0


async def test_a_key_says_what_is_the_same_and_belongs_to_its_step(room: EngineRoom):
    room.worker()
    retries = {"max_attempts": 3, "initial": "1ms"}
    keyed = flaky({"ttl": "1h", "key": "{{ params.n % 2 }}"}, retry=retries)
    version = await published(room, keyed)
    await runs(room, version, 0)
    await kept(room)

    _, same = await runs(room, version, 2)
    _, another = await runs(room, version, 1)
    _, elsewhere = await runs(room, await published(room, keyed))

    assert same[-1]["output"] == {"attempt": 1}
    assert "cached_from" in same[-1]
    assert "cached_from" not in another[-1]
    assert "cached_from" not in elsewhere[-1]


@pytest.mark.parametrize("cache", [HOUR, {"ttl": "1h", "key": "same"}], ids=["input", "key"])
async def test_for_whom_and_why_is_a_part_of_what_is_the_same(room: EngineRoom, cache: Any):
    """A connector is told of all of these, and may refuse by them."""
    room.worker()
    version = await published(room, flaky(cache), name="one")
    policy = {"policy": {"purpose": "billing"}}
    other = await published(room, flaky(cache), name="one", **policy, version="1.1.0")
    await runs(room, version)
    await kept(room)

    others: list[tuple[dict[str, Any], UUID]] = [
        ({"namespace": "other"}, version),
        ({"meta": {"purpose": "marketing"}}, version),
        ({}, other),
    ]
    for number, (given, of) in enumerate(others, 2):
        for is_given in (False, True):
            execution = await room.enqueue(of, {"n": 0}, **given)
            assert await room.finished(execution) is COMPLETED
            [row] = await room.results(execution)
            assert ("cached_from" in row) is is_given, given
            await kept(room, number)


async def test_a_key_does_not_outlive_what_is_written_in_its_step(room: EngineRoom):
    room.worker()
    keyed = {"ttl": "1h", "key": "same"}
    first = await published(room, flaky(keyed), name="one")
    mended = await published(
        room, flaky(keyed, given={"marker": "mended"}), name="one", version="1.0.1"
    )
    await runs(room, first)
    await kept(room)

    _, [row] = await runs(room, mended)

    assert "cached_from" not in row
    assert len(CALLS.attempts["mended"]) == 1


async def test_a_key_that_fails_fails_its_step(room: EngineRoom):
    room.worker()
    version = await published(room, flaky({"ttl": "1h", "key": "{{ 1 / params.n }}"}))

    execution = await room.enqueue(version, {"n": 0})

    assert await room.finished(execution) is ExecutionStatus.FAILED
    [row] = await room.results(execution)
    assert row["error"]["type"] == "expression"
    assert "`cache.key` of step 'a'" in row["error"]["message"]


async def test_an_entry_counts_for_its_time_its_tenant_and_as_long_as_its_execution(
    room: EngineRoom,
):
    """One thing after another is wrong with it; put right again, it counts."""
    room.worker()
    version = await published(room, flaky())
    first, _ = await runs(room, version)
    await kept(room)
    cache, key = StepCache(room.database), await room.sql.fetchval("select key from step_cache")
    wrong = {
        "expired": ("expires_at = now() - interval '1 s'", "expires_at = now() + interval '1 h'"),
        "execution gone": ("execution_id = gen_random_uuid()", f"execution_id = '{first}'"),
        "damaged": ("output = '{\"attempt\": 7}'", "output = '{\"attempt\": 1}'"),
    }
    for name, (breaks, mends) in wrong.items():
        await room.sql.execute(f"update step_cache set {breaks}")
        assert await cache.find(TENANT, key) is None, name
        await room.sql.execute(f"update step_cache set {mends}")
        assert await cache.find(TENANT, key) is not None, name
    assert await cache.find(UUID(int=7), key) is None
    await room.sql.execute("update step_cache set output = '7'")

    _, [called] = await runs(room, version)

    assert "cached_from" not in called
    assert len(CALLS.attempts["m"]) == 2


async def test_other_code_calls(room: EngineRoom, monkeypatch: pytest.MonkeyPatch):
    room.worker()
    version = await published(room, flaky())
    await runs(room, version)
    await kept(room)
    monkeypatch.setattr("runtime.worker.prepared.code_digest", lambda _: "sha256:" + "0" * 64)
    await room.workers[0][0].stop(5.0)
    room.worker()

    _, [called] = await runs(room, version)

    assert "cached_from" not in called


async def test_items_of_a_map_are_looked_up_one_by_one(room: EngineRoom):
    room.worker()
    task = {"uses": "probe.flaky@1", "with": {"marker": "{{ 'm' ~ item }}"}}
    each = {"id": "each", "type": "map", "for_each": "{{ range(params.n) }}", "task": task}
    version = await published(room, {**each, "cache": HOUR})
    await runs(room, version, 2)
    await kept(room, 2)

    second, _ = await runs(room, version, 3)

    rows = await room.sql.fetch(
        "select item, result -> 'cached_from' ->> 'item' as source from step_executions "
        "where execution_id = $1 and item >= 0 order by item",
        second,
    )
    assert [(row["item"], row["source"]) for row in rows] == [(0, "0"), (1, "1"), (2, None)]
    assert [len(CALLS.attempts[f"m{n}"]) for n in range(3)] == [1, 1, 1]
    assert (await replayed(room, second)).divergence is None


async def test_what_answers_at_once_and_what_may_happen_once_are_given_again_too(room: EngineRoom):
    room.worker()
    steps = [
        {"id": "a", "uses": "probe.echo@1", "with": {"n": 1}, "cache": HOUR},
        {"id": "b", "uses": "probe.instant@1", "with": {"n": 2}, "cache": HOUR},
    ]
    version = await published(room, *steps)
    await runs(room, version)
    await kept(room, 2)

    second, rows = await runs(room, version)

    assert all("cached_from" in row for row in rows)
    assert "step_call_announced" not in await room.events(second)


async def test_what_is_large_or_fails_is_not_kept(room: EngineRoom):
    room.worker()
    steps = [
        {"id": "a", "uses": "probe.echo@1", "with": {"n": "x" * 40_000}, "cache": HOUR},
        {"id": "b", "uses": "core.fail@1", "with": {"message": "no"}, "cache": HOUR, "on_error": "continue"},
        {"id": "c", "uses": "probe.echo@1", "with": {"n": 1}, "cache": HOUR},
    ]  # fmt: skip
    await runs(room, await published(room, *steps))
    await kept(room)

    assert await room.sql.fetchval("select string_agg(step, ' ') from step_cache") == "c"


async def test_a_cache_that_does_not_answer_is_a_miss(
    room: EngineRoom, monkeypatch: pytest.MonkeyPatch
):
    async def away(*_: Any) -> None:
        raise Unavailable("no", reason="DATABASE_UNAVAILABLE")

    room.worker()
    monkeypatch.setattr(StepCache, "find", away)
    monkeypatch.setattr(StepCache, "keep", away)
    version = await published(room, flaky())

    for _ in range(2):
        await runs(room, version)

    assert len(CALLS.attempts["m"]) == 2
    value = room.metrics.registry.get_sample_value("maestro_step_cache_total", {"outcome": "error"})
    assert value == 2


async def test_the_sweep_deletes_what_does_not_count_and_what_is_too_much(
    room: EngineRoom, monkeypatch: pytest.MonkeyPatch
):
    room.worker()
    first, _ = await runs(room, await published(room, flaky()))
    await kept(room)
    cache, digest = StepCache(room.database), "sha256:" + "0" * 64

    def entry(number: int, execution: UUID, hours: float) -> CacheEntry:
        key, ms = bytes([number]) * 32, int(hours * 3_600_000)
        return CacheEntry(TENANT, key, ms, execution, "a", -1, digest, "1")

    ages = [entry(n, first, n) for n in range(2, 6)]
    await cache.keep([*ages, entry(7, first, 0.0), entry(8, UUID(int=9), 1.0), ages[0]])
    monkeypatch.setattr(step_cache, "MOST_ENTRIES", 4)
    monkeypatch.setattr(step_cache, "CHUNK", 2)

    await CacheSweep(cache).run()

    left = await room.sql.fetch("select key from step_cache order by expires_at")
    assert [row["key"][0] for row in left[-4:]] == [2, 3, 4, 5]
    assert len(left) <= 4

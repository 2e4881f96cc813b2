"""A target that keeps failing is left alone for a while, by all workers; a step that waits for it loses nothing."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from runtime.model.breaker import BreakerKey
from runtime.model.errors import StepErrorKind, StepFailed
from runtime.model.execution import ExecutionStatus, StepStatus
from runtime.queue import keys
from runtime.queue.breaker import SharedBreakers
from runtime.worker import breaker as module
from runtime.worker.encode import error_of
from tests.support.engine_room import TENANT, EngineRoom
from tests.support.steps import CALLS

KEY = BreakerKey(TENANT, "probe.targeted@1.0.0", "shop")


@pytest.fixture(autouse=True)
def rule(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two failures open it, for a moment."""
    quick = replace(module.RULE, failures=2, open_seconds=0.5)
    monkeypatch.setattr(module, "RULE", quick)


def step(**more: Any) -> dict[str, Any]:
    return {
        "id": "a",
        "uses": "probe.targeted@1",
        "with": {"marker": "a", "target": "shop"},
        **more,
    }


def away() -> StepFailed:
    return StepFailed("away", kind=StepErrorKind.TRANSIENT, type="away")


async def test_an_open_breaker_puts_the_step_off_and_no_attempt_is_used_up(room: EngineRoom):
    room.worker()
    CALLS.found["a"] = away()
    for _ in range(2):
        await room.run([step()])
    calls = len(CALLS.keys["a"])

    execution = await room.enqueue(await room.publish([step()]))
    await room.reached(execution, lambda row: row["status"] == ExecutionStatus.RUNNING)
    del CALLS.found["a"]

    assert await room.finished(execution) is ExecutionStatus.COMPLETED
    assert len(CALLS.keys["a"]) == calls + 1
    rows = [row[3] for row in await room.steps(execution)]
    assert rows[-1] is StepStatus.COMPLETED
    assert set(rows[:-1]) == {StepStatus.CANCELLED}
    assert (await room.results(execution))[0]["error"]["type"] == "breaker.open"


async def test_another_worker_hears_of_it_and_of_its_end(room: EngineRoom):
    shared = SharedBreakers(room.link)
    other = module.Breakers(shared, metrics=room.metrics, clock=room.clock)
    room.worker()
    CALLS.found["a"] = away()
    for _ in range(2):
        await room.run([step()])
    await room.link.drained()
    await other.hear()

    [found] = await shared.open_ones() or []
    assert (found.key, found.failures) == (KEY, 2)
    assert other.refusal(KEY) is not None
    assert other.refusal(KEY._replace(target="elsewhere")) is None

    del CALLS.found["a"]
    await room.run([step()])
    await room.link.drained()
    await other.hear()
    assert await shared.open_ones() == []
    assert other.refusal(KEY) is None


async def test_tenants_do_not_open_each_others(room: EngineRoom):
    shared = SharedBreakers(room.link)
    shared.opened(KEY._replace(tenant_id=room.entropy.uuid7(1)), 60.0, 5)
    await room.link.drained()
    mine = module.Breakers(shared, metrics=room.metrics, clock=room.clock)
    await mine.hear()

    assert mine.refusal(KEY) is None


async def test_without_redis_every_worker_counts_for_itself(room: EngineRoom):
    alone = module.Breakers(None, metrics=room.metrics, clock=room.clock, rule=module.RULE)
    for _ in range(2):
        assert alone.refusal(KEY) is None
        alone.ended(KEY, error_of(away()))

    assert alone.refusal(KEY) is not None


async def test_one_that_opens_for_a_moment_does_not_let_a_long_one_be_forgotten(room: EngineRoom):
    """All of them lie in one hash, which lives as long as the longest of them needs."""
    shared = SharedBreakers(room.link)
    shared.opened(KEY, 7_200.0, 10)
    shared.opened(KEY._replace(target="moment"), 1.0, 10)
    await room.link.drained()

    left = await room.link.client.pttl(keys.BREAKERS)
    assert left > 7_200_000

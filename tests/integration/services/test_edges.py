"""Requests at the edges of what can be stored, and commands that come too late."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from runtime.clock import ManualClock
from runtime.model.errors import BadInput, Invalid, Unavailable
from runtime.model.execution import EnqueueRequest, ExecutionFilter
from runtime.model.page import PageRequest
from tests.support.steps import CALLS

CLOSE_TO_TEN_YEARS = timedelta(days=3_650)
GATE = {"id": "g", "uses": "probe.gate@1", "with": {"marker": "late"}}


async def test_a_start_beyond_ten_years_is_refused(room):
    await room.publish(timeout="1d")

    with pytest.raises(BadInput, match="ten years"):
        await room.enqueue(run_at=datetime(9999, 12, 31, 23, tzinfo=UTC))


async def test_a_timeout_beyond_ten_years_is_refused(room):
    await room.publish()

    with pytest.raises(BadInput, match="ten years"):
        await room.enqueue(timeout_ms=2**62)


async def test_the_latest_start_and_longest_timeout_can_be_listed(room):
    await room.publish(timeout="3650d")
    start = datetime.now(UTC) + CLOSE_TO_TEN_YEARS
    await room.enqueue(run_at=start)

    page = await room.executions.list(room.who, ExecutionFilter(), PageRequest(10))

    assert [one.deadline.year for one in page.items] == [(start + CLOSE_TO_TEN_YEARS).year]


@pytest.mark.parametrize("value", [2**70, "\ud800"])
@pytest.mark.parametrize("key", [None, "k"])
async def test_what_json_can_not_hold_is_refused_with_a_key_or_without(room, value, key):
    await room.publish()

    with pytest.raises(Invalid):
        await room.enqueue(input={"a": value}, idempotency_key=key)


async def test_a_shown_input_names_the_version_that_the_worker_named(room):
    show = {"id": "a", "uses": "probe.echo@1", "with": {"v": "{{ execution.version }}"}}
    await room.publish(version=None, steps=[show])
    room.engine.worker()
    execution = await room.enqueue()
    await room.engine.finished(execution.id)

    step = await room.executions.step(room.who, execution.id, "a")

    assert step.input == step.output


async def test_a_cancel_that_came_too_late_leaves_no_message(room):
    await room.publish(steps=[GATE])
    room.engine.worker()
    execution = (await room.enqueue()).id
    await CALLS.begun["late"].wait()

    await room.engine.cancel(execution, ring=False)
    CALLS.gates["late"].set()
    await room.engine.finished(execution)

    assert await room.engine.sql.fetchval("select count(*) from execution_inbox") == 0


async def test_a_clock_that_is_days_off_is_named(room):
    await room.publish()
    room.executions._intake._clock = ManualClock(datetime.now(UTC) + timedelta(days=30))

    with pytest.raises(Unavailable, match="clock"):
        await room.executions.enqueue(room.who, EnqueueRequest(workflow_name="w"))

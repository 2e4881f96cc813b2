"""Judges: whatever somebody's schema makes of somebody's data, a server goes on, and the answer is a refusal in time."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any, cast
from uuid import UUID

import pytest

from runtime.abi.surroundings import NOTHING_KNOWN
from runtime.connectors.registry import Registry
from runtime.definition import Question, TooCostly, validate
from runtime.model.errors import Exhausted, Invalid, Unavailable
from runtime.model.plan import Plan
from runtime.model.values import Digest
from runtime.model.workflow import DefinitionFormat
from runtime.services.judges import Judges
from tests.support.processes import eventually
from tests.support.questions import Faulty, Greedy

CATALOG = Registry.load().catalog()
ONE, OTHER = UUID(int=1), UUID(int=2)
INTEGER: Any = {"type": "integer"}
# Minutes: the library looks each keyword up for each element.
ENDLESS: Any = {"items": {f"x{i}": 1 for i in range(10_000)}}
MANY: Any = {"v": [1] * 100_000}
# Of no kind that a server asks.
FAULTY, MORE, LESS = (
    cast("Question", one) for one in (Faulty("secret"), Greedy(2 << 30), Greedy(10))
)
PARAMS_TOO_LONG = "the input is too large for its schema: checking it takes too long"


@pytest.fixture
async def judges() -> AsyncIterator[Judges]:
    made = Judges(CATALOG, seconds=1.5)
    yield made
    await made.close()


def plan_of(schema: Any) -> Plan:
    plan = validate("name: x\nsteps: [{id: a, uses: core.noop@1}]", None, CATALOG).plan
    assert plan is not None
    whole: Any = {"properties": {"v": schema}}
    return replace(plan, params_schema=whole, digest=Digest.of(json.dumps(whole).encode()))


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


async def refused(asked: asyncio.Task[Any]) -> list[str]:
    with pytest.raises(Invalid) as caught:
        await asked
    return [one.message for one in caught.value.problems]


async def test_what_would_run_for_minutes_is_refused(judges):
    """First by the one who asks everything, then by the one who has time."""
    asked = asyncio.create_task(judges.input(ONE, plan_of(ENDLESS), MANY))
    begun = set[int]()

    def is_done() -> bool:
        begun.update(judges.pids)
        return asked.done()

    await eventually(is_done)

    assert await refused(asked) == [PARAMS_TOO_LONG]
    assert len(begun) >= 2
    await eventually(lambda: not any(map(is_alive, begun - set(judges.pids))))


async def test_slow_questions_wait_for_each_other_and_others_for_none_of_them():
    """Three tenants at once with two each."""
    judges = Judges(CATALOG, seconds=60.0, first_seconds=0.1)
    endless, small = plan_of(ENDLESS), plan_of(INTEGER)
    tenants = [UUID(int=number) for number in range(10, 13)]
    slow = [
        asyncio.create_task(judges.input(who, endless, MANY)) for who in tenants for _ in range(2)
    ]
    await eventually(lambda: len(judges.pids) == 2)

    for _ in range(3):
        with pytest.raises(Invalid) as caught:
            await judges.input(OTHER, small, {"v": "x"})
        assert [one.path for one in caught.value.problems] == [("input", "v")]
    assert await judges.input(tenants[0], small, {"v": 1}) == {"v": 1}
    assert not any(one.done() for one in slow)

    await judges.close()
    ends = await asyncio.gather(*slow, return_exceptions=True)
    assert {type(error) for error in ends} == {Unavailable}


async def test_who_waits_for_long_is_told_so():
    """For the own questions before it, and for those of others."""
    judges = Judges(CATALOG, seconds=60.0, first_seconds=0.1, wait_seconds=8.0)
    endless = plan_of(ENDLESS)
    asked = [asyncio.create_task(judges.input(ONE, endless, MANY))]
    await eventually(lambda: bool(judges._second.pids) and judges._first._next is None)
    asked += [asyncio.create_task(judges.input(who, endless, MANY)) for who in (ONE, OTHER)]

    with pytest.raises(Exhausted, match="of yours"):
        await asked[1]
    with pytest.raises(Unavailable, match="closer check"):
        await asked[2]
    assert not asked[0].done()
    await judges.close()
    await asyncio.wait(asked)


async def test_a_document_that_takes_too_long_has_that_as_its_finding(judges):
    body = {
        "name": "x",
        # A schema has at most 256 KiB.
        "params": {"type": "object", "properties": {"v": {**ENDLESS, "default": [1] * 40_000}}},
        "steps": [{"id": "a", "uses": "core.noop@1"}],
    }

    found = await judges.document(
        ONE, json.dumps(body), None, publishing=False, surroundings=NOTHING_KNOWN
    )

    assert [(one.rule, one.line, one.message) for one in found.problems] == [
        ("too-large", 1, "checking this document takes too long")
    ]
    assert (found.plan, found.ok) == (None, False)


async def test_a_document_is_answered_as_it_would_be_here(judges):
    steps = [{"id": f"s{i}", "uses": "core.set@1", "with": {"v": i}} for i in range(200)]
    given: Any = {"$ref": "#/$defs/n", "default": "x"}
    params = {"type": "object", "properties": {"v": given}, "$defs": {"n": INTEGER}}
    for more in ({"steps": steps}, {"steps": steps[:1], "params": params}):
        body = {"name": "x", **more}
        text = json.dumps(body)

        found = await judges.document(
            ONE, text, DefinitionFormat.JSON, publishing=True, surroundings=NOTHING_KNOWN
        )

        wanted = validate(text, DefinitionFormat.JSON, CATALOG, publishing=True)
        assert found == replace(wanted, plan=None)
    assert len(judges.pids) == 1


async def test_what_is_usual_is_judged_here(judges):
    text = "name: x\nparams: {a: string, b: {type: integer, default: 1}}\nsteps: [{id: a, uses: core.noop@1}]"

    found = await judges.document(ONE, text, None, publishing=True, surroundings=NOTHING_KNOWN)

    plan = validate(text, None, CATALOG).plan
    assert plan is not None
    assert found.digest == plan.digest
    assert await judges.input(ONE, plan, {"a": "x"}) == {"a": "x", "b": 1}
    assert judges.pids == ()


@pytest.mark.parametrize(
    "text",
    [
        "name: x\ndescription: &d d\nsteps: [{id: a, uses: core.set@1, with: {v: *d}}]",
        "name: x\nsteps: [{id: a, uses: core.set@1, with: {v: " + "1" * 1_024 + "}}]",
    ],
    ids=["aliases multiply", "long"],
)
async def test_what_may_be_much_is_judged_elsewhere(judges, text):
    found = await judges.document(ONE, text, None, publishing=False, surroundings=NOTHING_KNOWN)

    assert found == replace(validate(text, None, CATALOG), plan=None)
    assert len(judges.pids) == 1


async def test_many_small_documents_keep_nobody_waiting_for_all(judges):
    turns = 0

    async def others() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    task = asyncio.create_task(others())
    for _ in range(20):
        await judges.document(
            ONE, "name: x\nsteps: []", None, publishing=False, surroundings=NOTHING_KNOWN
        )
    task.cancel()

    assert turns >= 20
    assert judges.pids == ()


async def test_whom_many_names_may_be_meant_by_is_looked_for_elsewhere(judges):
    """A small document of slips: each is compared with all ids."""
    steps = ", ".join(f"{{id: s{i}, depends_on: [t{i}]}}" for i in range(35))
    text = f"name: x\nsteps: [{steps}]"
    assert len(text) < 1_100

    found = await judges.document(ONE, text, None, publishing=False, surroundings=NOTHING_KNOWN)

    assert found == replace(validate(text, None, CATALOG), plan=None)
    assert len(judges.pids) == 1


async def test_a_judge_is_replaced_before_the_next_one_asks():
    judges = Judges(CATALOG, seconds=30.0, first_seconds=0.1)
    asked = asyncio.create_task(judges.input(ONE, plan_of(ENDLESS), MANY))
    await eventually(lambda: judges._first._next is not None)
    fresh = judges._first._next
    assert fresh is not None

    await fresh

    assert judges._first.pids == (fresh.result().pid,)
    assert not asked.done()
    await judges.close()
    with pytest.raises(Unavailable):
        await asked


def test_what_a_large_server_has_had_is_not_what_its_judge_has():
    """Of a child that has only become another program, Linux says as its peak what its parent had."""
    program = """
import subprocess, sys
much = bytearray(700 << 20)
for at in range(0, len(much), 4096): much[at] = 1
print(subprocess.run([sys.executable, "-c", "import runtime.judge; print(runtime.judge.peak_bytes())"],
      capture_output=True, text=True, check=True, close_fds=False).stdout)
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )

    assert 10 << 20 < int(done.stdout) < 400 << 20


async def test_a_judge_that_was_ended_from_outside_says_nothing_about_the_question(judges):
    plan = plan_of({"enum": [[1]]})
    assert await judges.input(ONE, plan, {"v": [1]}) == {"v": [1]}
    (first,) = judges.pids
    os.kill(first, signal.SIGKILL)

    assert await judges.input(ONE, plan, {"v": [1]}) == {"v": [1]}
    assert first not in judges.pids


async def test_a_fault_of_a_judge_is_ours_and_tells_no_words(judges):
    with pytest.raises(RuntimeError, match=r"^a judge failed by KeyError$"):
        await judges._ask(ONE, lambda: FAULTY)
    assert await refused(asyncio.create_task(judges.input(ONE, plan_of(INTEGER), {"v": "x"})))


async def test_no_judge_is_left_of_a_server_that_is_closed_while_it_starts_one(judges):
    asked = asyncio.create_task(judges.input(ONE, plan_of(INTEGER), {"v": "x"}))
    for _ in range(10):
        await asyncio.sleep(0)
    await judges.close()

    with pytest.raises(Unavailable):
        await asked
    assert judges.pids == ()


async def test_who_goes_away_leaves_no_answer_to_the_next(judges):
    gone = asyncio.create_task(judges.input(ONE, plan_of(ENDLESS), MANY))
    await eventually(lambda: bool(judges.pids))
    gone.cancel()
    await asyncio.wait([gone])

    assert await refused(asyncio.create_task(judges.input(ONE, plan_of(INTEGER), {"v": "x"})))


async def test_memory_has_an_end():
    judges = Judges(CATALOG)
    try:
        with pytest.raises(TooCostly):
            await judges._ask(ONE, lambda: MORE)
        assert await judges._ask(ONE, lambda: LESS) == 10
    finally:
        await judges.close()


async def test_a_tenant_waits_with_a_bounded_number_of_questions():
    judges = Judges(CATALOG, seconds=60.0, first_seconds=60.0)
    endless = plan_of(ENDLESS)
    asked = [asyncio.create_task(judges.input(ONE, endless, MANY)) for _ in range(136)]
    await eventually(lambda: sum(one.done() for one in asked) == 8)

    for one in asked:
        if one.done():
            assert isinstance(one.exception(), Exhausted)
        one.cancel()
    await asyncio.wait(asked)
    assert (judges._first._turns, judges._second._turns, +judges._waiting) == ({}, {}, {})
    await judges.close()


async def test_the_end_of_a_server_is_the_end_of_its_judges(judges):
    asked = asyncio.create_task(judges.input(ONE, plan_of(ENDLESS), MANY))
    await eventually(lambda: bool(judges.pids))
    (pid,) = judges.pids

    await judges.close()

    assert not is_alive(pid)
    with pytest.raises(Unavailable):
        await asked
    with pytest.raises(Unavailable):
        await judges.input(ONE, plan_of(INTEGER), {"v": "x"})


async def test_a_judge_that_can_not_be_started_is_told():
    judges = Judges(CATALOG, command=(sys.executable, "-c", ""))

    with pytest.raises(Unavailable):
        await judges.input(ONE, plan_of(INTEGER), {"v": "x"})
    await judges.close()


@pytest.mark.parametrize("is_busy", [True, False], ids=["busy", "idle"])
async def test_a_judge_does_not_outlive_a_server_that_was_killed(is_busy):
    program = f"""
import asyncio
from tests.unit.services.test_judges import *
async def main():
    judges = Judges(CATALOG, seconds=60, first_seconds=3.0)
    await asyncio.wait([asyncio.create_task(judges.input(ONE, plan_of(INTEGER), {{"v": "x"}}))])
    judge = judges._first._judge
    if {is_busy}:
        asking = asyncio.create_task(judges.input(ONE, plan_of(ENDLESS), MANY))
        written = judge._process.stdin.transport.get_write_buffer_size
        await eventually(lambda: not judge.is_ready and not written())
    print(judge.pid, flush=True)
    await asyncio.Event().wait()
asyncio.run(main())
"""
    with subprocess.Popen((sys.executable, "-c", program), stdout=subprocess.PIPE) as server:
        assert server.stdout is not None
        pid = int(await asyncio.to_thread(server.stdout.readline))
        server.kill()

    await eventually(lambda: not is_alive(pid))

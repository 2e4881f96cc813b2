"""Workers in processes of their own, killed or stopped at bad moments. Each test proves a row of the failure matrix."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from runtime.model.checkpoint import InboxKind
from runtime.model.event import EventKind
from runtime.model.execution import ExecutionStatus, StepStatus
from runtime.worker import signals
from tests.support.counters import miscounted
from tests.support.engine_room import EngineRoom, engine_room
from tests.support.sessions import until_sessions_count

pytestmark = pytest.mark.chaos

LEASE = 1.2
WAIT = 30.0


@pytest.fixture
async def room(database_url: str, redis_url: str, home: Path) -> AsyncIterator[EngineRoom]:
    packages = ("tests.support.worker_process",)
    async with engine_room(database_url, redis_url, home, packages=packages) as made:
        yield made


@pytest.fixture
async def start(database_url: str, redis_url: str, home: Path) -> AsyncIterator[Callable[..., Any]]:
    """Starts worker processes by name; ends what is left of them."""
    started: list[asyncio.subprocess.Process] = []

    async def begin(name: str, lease: str = str(LEASE)) -> asyncio.subprocess.Process:
        with (home / f"{name}.log").open("ab") as log:
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "tests.support.worker_process",
                database_url, redis_url, str(home), name, lease,
                stdout=asyncio.subprocess.PIPE, stderr=log,
            )  # fmt: skip
        started.append(process)
        async with asyncio.timeout(WAIT):
            assert process.stdout is not None
            while (line := await process.stdout.readline()) != b"ready\n":
                assert line, "the worker did not start"
        return process

    yield begin
    for process in started:
        if process.returncode is None:
            process.send_signal(signal.SIGCONT)
            process.kill()
        await process.communicate()


def calls(home: Path) -> list[tuple[str, int]]:
    file = home / "calls"
    lines = file.read_text().splitlines() if file.exists() else []
    return [(line.split()[0], int(line.split()[1])) for line in lines]


@asynccontextmanager
async def within(seconds: float):
    async with asyncio.timeout(seconds):
        yield


async def until(condition: Callable[[], bool], seconds: float = WAIT) -> None:
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.01)


def chain(home: Path, *, gated: str) -> list[dict[str, Any]]:
    steps = []
    for key, needs in (("a", []), ("b", ["a"]), ("c", ["b"])):
        gate = {"gate": "gate"} if key == gated else {}
        steps.append(
            {
                "id": key,
                "uses": "probe.file@1",
                "with": {"folder": str(home), **gate},
                "depends_on": needs,
            }
        )
    return steps


async def test_kill_in_the_middle_of_a_call_and_another_worker_goes_on(
    room: EngineRoom, start, home: Path
):
    first = await start("first")
    execution = await room.enqueue(await room.publish(chain(home, gated="b")))
    await until(lambda: len(calls(home)) == 2)
    await start("second")

    first.send_signal(signal.SIGKILL)
    loop = asyncio.get_running_loop()
    killed_at = loop.time()
    await until(lambda: len(calls(home)) == 3)
    gap = loop.time() - killed_at
    (home / "gate").touch()

    assert await room.finished(execution, WAIT) is ExecutionStatus.COMPLETED
    keys = [f"{execution}.s.{step}.g0" for step in range(3)]
    assert calls(home) == [(keys[0], 1), (keys[1], 1), (keys[1], 1), (keys[2], 1)]
    assert gap < LEASE + 3.0
    assert await miscounted(room.sql) == []


async def test_a_killed_worker_is_missed_long_before_its_lease_ends(
    room: EngineRoom, start, home: Path
):
    """The server has ended its session; the lease is for those who stand still or can't be reached."""
    lease = f"{10 * WAIT}/0.3"
    first = await start("first", lease)
    execution = await room.enqueue(await room.publish(chain(home, gated="b")))
    await until(lambda: len(calls(home)) == 2)
    await start("second", lease)
    await until_sessions_count(room.sql)

    first.send_signal(signal.SIGKILL)
    await until(lambda: len(calls(home)) == 3)
    (home / "gate").touch()

    assert await room.finished(execution, WAIT) is ExecutionStatus.COMPLETED


@pytest.mark.long
async def test_a_worker_that_stands_still_keeps_its_lease(room: EngineRoom, start, home: Path):
    lease = f"{10 * WAIT}/0.2"
    first = await start("first", lease)
    execution = await room.enqueue(await room.publish(chain(home, gated="b")))
    await until(lambda: len(calls(home)) == 2)
    await until_sessions_count(room.sql)
    first.send_signal(signal.SIGSTOP)
    second = room.worker(beat_seconds=0.05)

    async with within(WAIT):
        while not await room.sql.fetchval(
            "select late_at < now() from workers where host = 'first'"
        ):
            await asyncio.sleep(0.05)
    await second.signals.wait(signals.BEAT, second.signals.counts[signals.BEAT] + 10)
    first.send_signal(signal.SIGCONT)
    (home / "gate").touch()

    assert await room.finished(execution, WAIT) is ExecutionStatus.COMPLETED
    assert (await room.row(execution))["takeovers"] == 0
    assert "execution_taken_over" not in await room.events(execution)


@pytest.mark.long
async def test_a_worker_that_is_started_again_finds_its_own_past(
    room: EngineRoom, start, home: Path
):
    first = await start("first")
    execution = await room.enqueue(await room.publish(chain(home, gated="b")))
    await until(lambda: len(calls(home)) == 2)

    first.send_signal(signal.SIGKILL)
    await first.wait()
    (home / "gate").touch()
    await start("first")

    assert await room.finished(execution, WAIT) is ExecutionStatus.COMPLETED
    assert Counter(key for key, _ in calls(home))[f"{execution}.s.0.g0"] == 1


@pytest.mark.long
async def test_many_executions_survive_repeated_kills(room: EngineRoom, start, home: Path):
    version = await room.publish(chain(home, gated="nothing"))
    worker = await start("w0")
    executions = [await room.enqueue(version) for _ in range(60)]

    for number in range(1, 4):
        wanted = number * 20
        await until(partial(lambda least: len(calls(home)) >= least, wanted))
        worker.send_signal(signal.SIGKILL)
        worker = await start(f"w{number}")

    for execution in executions:
        assert await room.finished(execution, WAIT) is ExecutionStatus.COMPLETED
        rows = await room.steps(execution)
        assert sorted(rows) == [(step, 0, 1, StepStatus.COMPLETED) for step in range(3)]
        assert (await room.events(execution)).count("execution_completed") == 1
    assert await miscounted(room.sql) == []


@pytest.mark.long
async def test_what_lost_two_owners_by_chance_ends_like_the_others(
    room: EngineRoom, start, home: Path
):
    version = await room.publish(chain(home, gated="a"))
    executions = [await room.enqueue(version) for _ in range(3)]
    for name, wanted in (("first", 3), ("second", 6)):
        worker = await start(name)
        await until(partial(lambda least: len(calls(home)) >= least, wanted))
        worker.send_signal(signal.SIGKILL)
    (home / "gate").touch()
    await start("third")

    ends = [await room.finished(execution, WAIT) for execution in executions]

    assert ends == [ExecutionStatus.COMPLETED] * 3
    for execution in executions:
        assert (await room.events(execution)).count("execution_taken_over") == 2


async def test_a_zombie_that_wakes_up_writes_nothing(room: EngineRoom, start, home: Path):
    zombie = await start("zombie")
    execution = await room.enqueue(await room.publish(chain(home, gated="b")))
    await until(lambda: len(calls(home)) == 2)
    zombie.send_signal(signal.SIGSTOP)
    await start("second")
    await until(lambda: len(calls(home)) == 3)

    (home / "gate").touch()
    zombie.send_signal(signal.SIGCONT)

    assert await room.finished(execution, WAIT) is ExecutionStatus.COMPLETED
    events = await room.events(execution)
    assert events.count("step_completed") == 3
    assert Counter(key for key, _ in calls(home))[f"{execution}.s.2.g0"] == 1


@pytest.mark.long
async def test_sigterm_hands_over_without_waiting_for_the_lease(
    room: EngineRoom, start, home: Path
):
    first = await start("first")
    execution = await room.enqueue(await room.publish(chain(home, gated="b")))
    await until(lambda: len(calls(home)) == 2)

    first.send_signal(signal.SIGTERM)
    (home / "gate").touch()
    async with within(10):
        await first.wait()
    await start("second")

    assert await room.finished(execution, WAIT) is ExecutionStatus.COMPLETED
    assert len(calls(home)) == 3


@pytest.mark.parametrize("length", ["3s", pytest.param("7s", marks=pytest.mark.long)])
async def test_a_wait_goes_on_where_it_was(room, start, length):
    """In memory or parked: killed in the middle, the wait is not begun anew, and what was signalled is there."""
    steps = [
        {"id": "nap", "type": "wait", "for": length},
        {"id": "bell", "type": "wait", "signal": "go"},
    ]
    first = await start("one")
    execution = await room.enqueue(
        await room.publish(steps, outputs={"got": "{{ steps.bell.output }}"})
    )
    await room.tell(execution, InboxKind.SIGNAL, name="go", payload=7)
    kinds = (EventKind.TIMER_SET, EventKind.SIGNAL_RECEIVED)
    await room.until(execution, lambda: _has(room, execution, kinds))

    first.kill()
    await first.wait()
    await start("two")

    assert await room.finished(execution, WAIT) is ExecutionStatus.COMPLETED
    assert (await room.row(execution))["output"] == '{"got": 7}'
    rows = await room.sql.fetch(
        "select kind, ts from execution_events where execution_id = $1 and kind in (30, 31, 33)",
        execution,
    )
    when = {row["kind"]: row["ts"] for row in rows}
    assert len(rows) == len(when)
    assert (when[31] - when[30]).total_seconds() >= float(length[:-1])


async def _has(room, execution, kinds) -> bool:
    found = await room.events(execution)
    return all(kind.word in found for kind in kinds)

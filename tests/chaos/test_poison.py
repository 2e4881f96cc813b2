"""An execution that kills whatever runs it: it ends as a dead letter, and nobody beside it does. A row of the failure matrix."""

from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import Path

import pytest

from runtime.model.execution import ExecutionStatus
from tests.support.engine_room import engine_room
from tests.support.processes import Mc, Running, eventually

pytestmark = pytest.mark.chaos

PACKAGE = "tests.support.poison"
BYSTANDERS = 300
WAIT = 60.0


async def a_worker(mc: Mc, *flags: str) -> Running:
    worker = mc.start("worker", "--import", PACKAGE, *flags)
    await worker.printed("worker ready")
    return worker


@pytest.fixture
async def room(database_url: str, redis_url: str, home: Path, mc: Mc):
    mc.environ.update(MC_DATABASE_URL=database_url, MC_REDIS_URL=redis_url)
    async with engine_room(database_url, redis_url, home, packages=(PACKAGE,)) as made:
        yield made
    mc.end_all()


@pytest.mark.long
async def test_one_poison_among_many_is_the_only_dead_letter(room, mc, home):
    gate = home / "gate"
    step = {"id": "a", "uses": "probe.gated@1", "with": {"gate": str(gate)}}
    poison = step | {"uses": "probe.poison@1", "with": {"gate": str(home / "antidote")}}
    harmless = await room.publish([step])
    bystanders = [await room.enqueue(harmless) for _ in range(BYSTANDERS)]
    guilty = await room.enqueue(await room.publish([poison]))

    for _ in range(2):
        assert await (await a_worker(mc)).ended(WAIT) == 9
    gate.touch()
    last = await a_worker(mc)

    assert await room.finished(guilty, WAIT) is ExecutionStatus.DEAD_LETTERED
    ends = Counter([await room.finished(each, WAIT) for each in bystanders])
    assert ends == {ExecutionStatus.COMPLETED: BYSTANDERS}
    letters = await room.sql.fetch("select * from dead_letters")
    assert [letter["execution_id"] for letter in letters] == [guilty]
    lost = [each["worker"] for each in json.loads(letters[0]["evidence"])["lost"]]
    assert [name.endswith(":alone") for name in lost] == [False, False, True]
    assert (await room.events(guilty))[-1] == "dead_lettered"
    # Bystanders were suspected with it, and cleared by running alone.
    assert (await room.events(bystanders[0])).count("execution_taken_over") == 2
    assert last.process.poll() is None


@pytest.mark.long
async def test_a_child_ends_with_its_worker(room, mc, home):
    step = {"id": "a", "uses": "probe.gated@1", "with": {"gate": str(home / "gate")}}
    execution = await room.enqueue(await room.publish([step]), hint=False)
    await room.sql.execute("update workflow_executions set takeovers = 2")
    worker = await a_worker(mc, "--drain-timeout", "1s")
    await room.reached(execution, lambda row: row["status"] == ExecutionStatus.RUNNING, WAIT)
    children = worker.descendants()

    worker.kill()
    room.worker()

    # It leaves in good order, so the execution is handed over: suspected as before, but not lost.
    await room.reached(execution, lambda row: row["status"] == ExecutionStatus.QUEUED, WAIT)
    await eventually(lambda: not any(each.is_running() for each in children))
    assert (await room.row(execution))["takeovers"] == 2
    assert re.search("quarantine_started", worker.output())

"""The worker of an execution that holds a concurrency key is killed: nobody else gets the place before that has ended."""

from __future__ import annotations

import signal
from itertools import groupby
from pathlib import Path

import pytest

from runtime.model.execution import ExecutionStatus
from tests.chaos.test_worker_killed import WAIT, calls, room, start, until
from tests.support.engine_room import EngineRoom

__all__ = ["room", "start"]
pytestmark = pytest.mark.chaos
LANE = {"concurrency": {"key": "k", "limit": 1, "on_conflict": "queue"}}
MANY = 8
# Who began and who ended, in the order in which it was written. The columns of the rows hold the beginnings of
# transactions: a claim may have begun before the end that it then saw.
WITNESS = """
create table maestro.witness (n bigserial primary key, execution_id uuid not null);
create function maestro.note_witness() returns trigger language plpgsql security definer set search_path = '' as $$
begin
  insert into maestro.witness (execution_id) values (new.id);
  return null;
end $$;
create trigger witness after update of status on maestro.workflow_executions
  for each row when (new.status <> 0) execute function maestro.note_witness();
"""


async def test_a_killed_holder_keeps_its_place_until_another_worker_has_ended_it(
    room: EngineRoom, start, home: Path
):
    given = {"folder": str(home), "gate": "gate"}
    version = await room.publish([{"id": "call", "uses": "probe.file@1", "with": given}])
    await room.sql.execute(WITNESS)
    first = await start("first")
    ids = [await room.enqueue(version, meta=LANE) for _ in range(MANY)]
    await until(lambda: len(calls(home)) == 1)
    first.send_signal(signal.SIGKILL)
    await start("second")
    await start("third")
    await until(lambda: len(calls(home)) == 2)
    (home / "gate").touch()

    for one in ids:
        assert await room.finished(one, timeout=WAIT) is ExecutionStatus.COMPLETED
    seen = await room.sql.fetch("select execution_id from maestro.witness order by n")
    assert [one for one, _ in groupby(row["execution_id"] for row in seen)] == ids
    assert len(seen) >= 2 * MANY
    assert len(calls(home)) == MANY + 1

"""People of tests: they answer the tasks of an execution as the service does, and time does what it would."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from runtime.model.human_task import HumanTask
from runtime.model.human_task_rules import Person, answer, tick
from runtime.model.identity import Actor
from runtime.store.human_task import HumanTaskStore, Outcome
from tests.support.engine_room import TENANT, EngineRoom


class People:
    """Everybody who may answer tasks in one room."""

    def __init__(self, room: EngineRoom) -> None:
        self._room = room
        self.store = HumanTaskStore(room.shards)

    async def ids(self, execution: UUID) -> list[UUID]:
        """All tasks of an execution, in the order of generation and step."""
        rows = await self._room.sql.fetch(
            "select id from human_tasks where execution_id = $1 order by generation, step",
            execution,
        )
        return [row["id"] for row in rows]

    async def asked(self, execution: UUID, count: int = 1) -> list[HumanTask]:
        """The tasks of an execution, once there are so many."""

        async def are_there() -> bool:
            return len(await self.ids(execution)) >= count

        await self._room.until(execution, are_there)
        ids = await self.ids(execution)
        found = await self.store.get_many(TENANT, ids)
        return [found[one] for one in ids]

    async def answer(
        self, id: UUID, outcome: str = "approved", response: Any = None, by: str = "ann", *, ring: bool = True
    ) -> Outcome:  # fmt: skip
        """Answer a task; raises what the rules raise."""
        person = Person(Actor(by))
        done = await self.store.change(
            TENANT, id, lambda task, at: answer(task, person, outcome, response, at)
        )
        assert done is not None
        await self._ring(done, ring=ring)
        return done

    async def expire(self, id: UUID, *, ring: bool = True) -> Outcome:
        """Wait until the time of a task has come, and let it do what it does."""
        task = (await self.store.get_many(TENANT, [id]))[id]
        assert task.origin is not None
        done: list[Outcome] = []

        async def has_come() -> bool:
            found = await self.store.change(TENANT, id, tick)
            done.extend([found] if found is not None and found.change is not None else [])
            return bool(done)

        await self._room.until(task.origin.execution_id, has_come)
        await self._ring(done[0], ring=ring)
        return done[0]

    async def _ring(self, done: Outcome, *, ring: bool) -> None:
        origin = done.task.origin
        if ring and origin is not None and done.task.status.is_over:
            self._room.wakeup.publish_inbox(0, [origin.execution_id])
            self._room.queue.add(0, [(origin.execution_id, 1)])

    async def history(self, id: UUID) -> list[str]:
        """The kinds of all that happened to a task."""
        rows = await self._room.sql.fetch(
            "select kind from human_task_events where task_id = $1 order by seq", id
        )
        return [row["kind"] for row in rows]

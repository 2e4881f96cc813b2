"""Human tasks: begun, changed under the lock of their row with an entry of their history each, and found in lists.

What a change is, is decided by whoever asks for it (`runtime.model.human_task_rules`); here it becomes durable.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from heapq import merge
from itertools import islice
from typing import Any, Final, NamedTuple, TypeAlias
from uuid import UUID

import orjson

from runtime.model.execution import ExecutionStatus
from runtime.model.human_task import (
    HumanTask,
    HumanTaskChange,
    HumanTaskChangeKind,
    HumanTaskFilter,
    HumanTaskStatus,
    Origin,
    TaskMark,
    actor_from,
    actor_state,
    people_of,
    state_of,
    task_of,
)
from runtime.model.human_task_rules import Changed
from runtime.model.page import Page, PageRequest
from runtime.store import cursor
from runtime.store.idempotency import claim_key, find_key
from runtime.store.pool import Database
from runtime.store.shards import Shards
from runtime.store.statements import statements

_SQL: Final = statements("human_task")
_NEWEST: Final = "human_tasks"
_OVERDUE: Final = "human_tasks_overdue"
_HISTORY: Final = "human_task_events"
_LAST_ID: Final = UUID(int=2**128 - 1)
_NO_ID: Final = UUID(int=0)
_LONG_AGO: Final = datetime(1970, 1, 1, tzinfo=UTC)
# A cancelled task is cancelled by the end of its execution, which has nothing to be told.
_TOLD: Final = frozenset({HumanTaskStatus.COMPLETED, HumanTaskStatus.EXPIRED})

Decide: TypeAlias = Callable[[HumanTask, datetime], Changed | None]


class Seeker(NamedTuple):
    """Who asks for a list: whose tasks `mine` are."""

    subject: str
    groups: frozenset[str]

    @property
    def marks(self) -> list[str]:
        """Under which words the tasks stand that may be taken."""
        own = [TaskMark.USER + self.subject, TaskMark.ANYONE.value]
        return [*own, *(TaskMark.GROUP + one for one in sorted(self.groups))]


class Key(NamedTuple):
    """An idempotency key with the digest of what was asked; `operation` ends in `_human_task`."""

    operation: str
    text: str
    digest: bytes


class Told(NamedTuple):
    """What became of the message to a task's execution: its number, or 0 where the execution takes none any more.

    `status` None: there is no such execution. `priority` is the execution's.
    """

    status: ExecutionStatus | None
    n: int
    priority: int


class Outcome(NamedTuple):
    """A task afterwards; `change` is None where nothing was changed, `told` where no execution waits for it."""

    task: HumanTask
    change: HumanTaskChange | None = None
    told: Told | None = None


class Upcoming(NamedTuple):
    """A task that time alone will change, and in how many seconds; 0 and less: it is due."""

    tenant_id: UUID
    id: UUID
    seconds: float


def opening(task: HumanTask) -> dict[str, Any]:
    """A new task as `mc_task_open` takes it: an item of its JSON array."""
    origin = task.origin
    return {
        "id": str(task.id),
        "tenant_id": str(task.tenant_id),
        "status": int(task.status),
        "priority": task.priority,
        "execution_id": str(origin.execution_id) if origin else None,
        "step": origin.step if origin else None,
        "generation": origin.generation if origin else None,
        "step_key": origin.step_key if origin else None,
        "workflow_id": str(origin.workflow_id) if origin else None,
        "assignee": task.assignee,
        "closed_to": sorted(task.closed_to),
        "due_at": task.due_at,
        "next_at": task.next_at,
        "state": state_of(task),
        "people": people_of(task),
    }


class HumanTaskStore:
    """The tasks of all databases: each lies where its id says."""

    def __init__(self, shards: Shards) -> None:
        self._shards = shards

    async def open(self, task: HumanTask, key: Key | None = None) -> UUID:
        """Begin a task that stands on its own; the id of the first one for a key that was used for the same."""
        shard = self._shards.shard_of(task.id)
        async with self._shards.database(shard).engine() as connection, connection.transaction():
            if key is not None:
                first = await claim_key(
                    connection, task.tenant_id, *key, task.id, shard=shard
                )  # fmt: skip
                if first is not None:
                    return first
            await connection.execute(_SQL["open"], shard, orjson.dumps([opening(task)]).decode())
        return task.id

    async def is_used(self, tenant: UUID, slot: int, key: Key) -> bool:
        """Whether a key stands for a task already, of those whose ids have a slot."""
        database = self._shards.database(self._shards.shard_of_slot(slot))
        async with database.engine() as connection:
            return await find_key(connection, tenant, key.operation, key.text) is not None

    async def get_many(self, tenant: UUID, ids: Sequence[UUID]) -> dict[UUID, HumanTask]:
        """Those of a tenant that there are, by id."""
        found: dict[UUID, HumanTask] = {}
        for database, some in self._shards.grouped(ids).items():
            async with database.tenant(tenant) as connection:
                rows = await connection.fetch(_SQL["get_many"], tenant, some)
            found |= {row["id"]: _task(row) for row in rows}
        return found

    async def change(
        self, tenant: UUID, id: UUID, decide: Decide, key: Key | None = None
    ) -> Outcome | None:
        """Change a task as `decide` says, which is given it, locked, and the time; None when there is none.

        What `decide` raises leaves everything as it was. A key that was used for the same changes nothing. Where the
        task is over and an execution waits for it, that one is told in the same transaction; when it takes no word any
        more, or is not there, nothing is changed, and `told` says so.
        """
        shard = self._shards.shard_of(id)
        async with self._shards.database(shard).engine() as connection:
            transaction = connection.transaction()
            await transaction.start()
            try:
                outcome = await _change(connection, shard, tenant, id, decide, key)
            except BaseException:
                await transaction.rollback()
                raise
            if outcome is not None and outcome.told is not None and not outcome.told.n:
                await transaction.rollback()
            else:
                await transaction.commit()
        return outcome

    async def upcoming(self, shard: int, limit: int) -> list[Upcoming]:
        """The next tasks that time alone will change, by the database's clock."""
        async with self._shards.database(shard).worker() as connection:
            rows = await connection.fetch(_SQL["upcoming"], shard, limit)
        return [Upcoming(*row) for row in rows]

    async def sweep(self, shard: int, limit: int, default_days: int) -> int:
        """Delete tasks that stand alone and ended longer ago than their tenant keeps executions; how many."""
        async with self._shards.database(shard).worker() as connection:
            rows = await connection.fetch(_SQL["sweep"], shard, limit, default_days)
        return len(rows)

    async def page(
        self,
        tenant: UUID,
        wanted: HumanTaskFilter,
        seeker: Seeker,
        request: PageRequest,
        homes: Sequence[Database],
    ) -> Page[HumanTask]:
        """A page: the newest first; of what is overdue, what has been so for the longest time."""
        size = cursor.check_size(request)
        name, arguments = _asked(tenant, wanted, seeker, request.cursor, size + 1)

        async def ask(database: Database) -> list[Any]:
            async with database.tenant(tenant) as connection:
                rows: list[Any] = await connection.fetch(_SQL[name], *arguments)
                return rows

        found = await self._shards.gather(homes, ask)
        rows = merge(
            *found.answers,
            key=lambda row: (row["due_at"], row["id"]) if wanted.overdue else row["id"],
            reverse=not wanted.overdue,
        )
        read = list(islice(rows, size + 1))
        if wanted.overdue:
            marks = [
                cursor.encode(_OVERDUE, row["due_at"].isoformat(), str(row["id"])) for row in read
            ]
        else:
            marks = [cursor.encode(_NEWEST, str(row["id"])) for row in read]
        page = cursor.page_of(request, [_task(row) for row in read], marks)
        return replace(page, silent=found.silent)

    async def history(self, tenant: UUID, id: UUID, request: PageRequest) -> Page[HumanTaskChange]:
        """What happened to a task, in order."""
        size = cursor.check_size(request)
        after = 0 if request.cursor is None else _number(request.cursor)
        async with self._shards.holding(id).tenant(tenant) as connection:
            rows = await connection.fetch(_SQL["history"], tenant, id, after, size + 1)
        marks = [cursor.encode(_HISTORY, row["seq"]) for row in rows]
        return cursor.page_of(request, [_entry(row) for row in rows], marks)


async def _change(
    connection: Any, shard: int, tenant: UUID, id: UUID, decide: Decide, key: Key | None
) -> Outcome | None:
    is_first = key is None or await claim_key(connection, tenant, *key, id, shard=shard) is None
    found = await connection.fetchrow(_SQL["find"], shard, tenant, id)
    if found is None:
        return None
    waiting = None
    if found["execution_id"] is not None:
        waiting = await connection.fetchrow(
            _SQL["lock_execution"], shard, tenant, found["execution_id"]
        )
    row = await connection.fetchrow(_SQL["lock"], shard, tenant, id)
    if row is None:
        return None
    task = _task(row)
    if not is_first:
        return Outcome(task)
    decided = decide(task, await connection.fetchval(_SQL["now"]))
    if decided is None:
        return Outcome(task)
    after, change = decided
    await _write(connection, shard, after, change)
    if people_of(after) != people_of(task):
        await _place(connection, shard, after)
    if after.origin is None or after.status not in _TOLD:
        return Outcome(after, change)
    told = await connection.fetchrow(_SQL["tell"], shard, tenant, id)
    status = ExecutionStatus(told["status"]) if told["known"] else None
    priority = 0 if waiting is None else waiting["priority"]
    return Outcome(after, change, Told(status, told["n"], priority))


async def _write(connection: Any, shard: int, task: HumanTask, change: HumanTaskChange) -> None:
    await connection.execute(
        _SQL["write"],
        shard,
        task.tenant_id,
        task.id,
        int(task.status),
        task.version,
        task.priority,
        task.assignee,
        sorted(task.closed_to),
        task.due_at,
        task.next_at,
        task.ended_at,
        state_of(task),
    )
    await connection.execute(
        _SQL["event"],
        shard,
        task.id,
        change.sequence,
        task.tenant_id,
        change.kind.value,
        change.at,
        actor_state(change.actor),
        dict(change.before),
        dict(change.after),
        change.reason,
    )


async def _place(connection: Any, shard: int, task: HumanTask) -> None:
    await connection.execute(_SQL["leave_people"], shard, task.id)
    people = people_of(task)
    if people:
        names, held = zip(*people, strict=True)
        await connection.execute(
            _SQL["enter_people"], shard, task.id, task.tenant_id, list(names), list(held)
        )


def _asked(
    tenant: UUID, wanted: HumanTaskFilter, seeker: Seeker, mark: str | None, limit: int
) -> tuple[str, list[Any]]:
    """The statement of a list by what restricts it most, and its arguments."""
    mine = seeker.marks if wanted.mine else None
    group = None if wanted.group is None else TaskMark.GROUP + wanted.group
    due, after = _after(wanted, mark)
    arguments: list[Any] = [
        tenant,
        after,
        limit,
        None if wanted.statuses is None else [int(one) for one in wanted.statuses],
        wanted.assignee,
        wanted.workflow_id,
        wanted.execution_id,
        group,
        wanted.overdue,
        mine,
        seeker.subject if wanted.mine else None,
    ]
    is_open = wanted.statuses is not None and not any(one.is_over for one in wanted.statuses)
    match wanted:
        case HumanTaskFilter(overdue=True):
            return "page_overdue", [*arguments, due]
        case HumanTaskFilter(execution_id=UUID()):
            return "page_execution", arguments
        case HumanTaskFilter(mine=True) if mine is not None:
            return "page_people", [*arguments, mine, [False] * len(mine)]
        case HumanTaskFilter(group=str()):
            return "page_people", [*arguments, [group, group], [False, True]]
        case HumanTaskFilter(assignee=str()) if is_open:
            return "page_assignee", arguments
        case HumanTaskFilter(workflow_id=UUID()):
            return "page_workflow", arguments
    return ("page_open" if is_open else "page"), arguments


def _after(wanted: HumanTaskFilter, mark: str | None) -> tuple[datetime, UUID]:
    if mark is None:
        return _LONG_AGO, _NO_ID if wanted.overdue else _LAST_ID
    due = _LONG_AGO.isoformat()
    if wanted.overdue:
        due, text = cursor.decode(_OVERDUE, mark, 2)
    else:
        (text,) = cursor.decode(_NEWEST, mark, 1)
    try:
        return datetime.fromisoformat(due), UUID(text)
    except (AttributeError, TypeError, ValueError):
        raise cursor.refused() from None


def _number(mark: str) -> int:
    (number,) = cursor.decode(_HISTORY, mark, 1)
    if type(number) is not int or not 0 <= number < 2**31:
        raise cursor.refused()
    return number


def _task(row: Any) -> HumanTask:
    origin = None
    if row["execution_id"] is not None:
        origin = Origin(
            row["execution_id"],
            row["step"],
            row["generation"],
            row["step_key"],
            row["workflow_id"],
        )
    return task_of(row["id"], row["tenant_id"], origin, row["version"], row["state"])


def _entry(row: Any) -> HumanTaskChange:
    return HumanTaskChange(
        row["seq"],
        HumanTaskChangeKind(row["kind"]),
        actor_from(row["actor"]),
        row["at"],
        row["before"],
        row["after"],
        row["reason"],
    )

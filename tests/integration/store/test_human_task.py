"""Human tasks in PostgreSQL: begun once, changed under a lock with their history, found in lists, told to executions."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import orjson
import pytest

from runtime.model import human_task_rules as rules
from runtime.model.errors import IdempotencyConflict, InvalidState
from runtime.model.execution import ExecutionStatus
from runtime.model.human_task import (
    Escalation,
    HumanTask,
    HumanTaskFilter,
    HumanTaskStatus,
    NewHumanTask,
    Origin,
    fold,
    state_of,
    task_of,
)
from runtime.model.human_task_rules import Person
from runtime.model.identity import SYSTEM, Actor
from runtime.model.page import PageRequest
from runtime.store.human_task import HumanTaskStore, Key, Seeker, opening
from runtime.store.shards import Shards
from runtime.store.statements import statements
from tests import make
from tests.make import OTHER_TENANT, TENANT

S = HumanTaskStatus
ANN, BOB = Person(Actor("ann"), frozenset({"clerks"})), Person(Actor("bob"), frozenset({"clerks"}))
ALL = PageRequest(100)
LAST = UUID(int=2**128 - 1)


class Tasks:
    """The store on one database, and tasks in it."""

    def __init__(self, room: Any) -> None:
        self.room = room
        self.shards = Shards.single(room.database)
        self.store = HumanTaskStore(self.shards)

    async def new(self, tenant: UUID = TENANT, **fields: Any) -> HumanTask:
        task = made(tenant, **fields)
        assert await self.store.open(task) == task.id
        return task

    async def get(self, id: UUID, tenant: UUID = TENANT) -> HumanTask:
        return (await self.store.get_many(tenant, [id]))[id]

    async def ids(
        self, who: str = "ann", *groups: str, tenant: UUID = TENANT, **wanted: Any
    ) -> list[UUID]:
        page = await self.store.page(
            tenant, HumanTaskFilter(**wanted), Seeker(who, frozenset(groups)), ALL, self.shards.databases
        )  # fmt: skip
        return [task.id for task in page.items]

    async def history(self, task: UUID) -> list[Any]:
        return list((await self.store.history(TENANT, task, ALL)).items)

    async def of_execution(self, execution: UUID, **fields: Any) -> HumanTask:
        origin = Origin(execution, 2, 0, "approve", make.new_id())
        task = replace(made(TENANT, **fields), origin=origin, id=make.new_id())
        await self.begin(task)
        return task

    async def begin(self, *tasks: HumanTask) -> None:
        async with self.room.database.engine() as connection:
            said = orjson.dumps([opening(task) for task in tasks]).decode()
            await connection.execute(statements("human_task")["open"], 0, said)


def made(tenant: UUID = TENANT, **fields: Any) -> HumanTask:
    at = datetime.now(UTC)
    return NewHumanTask("Pay?", **fields).begun(make.new_id(), tenant, Actor("olga"), at)


def approving(person: Person = ANN) -> Any:
    return lambda task, at: rules.answer(task, person, "approved", {"n": 1}, at)


@pytest.fixture
def tasks(room: Any) -> Tasks:
    return Tasks(room)


async def test_what_is_stored_is_what_was_said_and_its_history_is_all_of_it(tasks: Tasks) -> None:
    one = await tasks.new(candidate_groups=("clerks",), data={"amount": 7}, due_at=datetime.now(UTC) + timedelta(hours=1))  # fmt: skip
    assert await tasks.get(one.id) == one

    await tasks.store.change(TENANT, one.id, lambda task, at: rules.claim(task, ANN, at, "mine"))
    done = await tasks.store.change(TENANT, one.id, approving())

    assert done is not None
    now = await tasks.get(one.id)
    assert now == done.task
    assert (now.status, now.version, now.response) == (S.COMPLETED, 3, {"n": 1})
    entries = await tasks.history(one.id)
    assert [(e.sequence, e.kind.value, e.actor.subject, e.reason) for e in entries] == [
        (1, "created", "olga", None), (2, "claimed", "ann", "mine"), (3, "completed", "ann", None),
    ]  # fmt: skip
    assert fold(entries) == state_of(now)
    first, second = [await tasks.store.history(TENANT, one.id, page) for page in (PageRequest(2), PageRequest(2, None))]  # fmt: skip
    assert first == second
    rest = await tasks.store.history(TENANT, one.id, PageRequest(2, first.cursors[-1]))
    assert [entry.sequence for entry in rest.items] == [3]


async def test_what_a_rule_refuses_leaves_everything_as_it_was(tasks: Tasks) -> None:
    one = await tasks.new()
    await tasks.store.change(TENANT, one.id, approving())
    before = await tasks.get(one.id)

    with pytest.raises(InvalidState):
        await tasks.store.change(
            TENANT, one.id, approving(BOB), Key("complete_human_task", "k", b"1")
        )

    assert await tasks.get(one.id) == before
    assert len(await tasks.history(one.id)) == 2
    assert await tasks.room.count("idempotency_keys") == 0


async def test_of_many_who_complete_at_once_one_wins(tasks: Tasks) -> None:
    one = await tasks.new()
    people = [Person(Actor(f"p{n}")) for n in range(6)]

    found = await asyncio.gather(
        *(tasks.store.change(TENANT, one.id, approving(who)) for who in people), return_exceptions=True
    )  # fmt: skip

    won = [result for result in found if not isinstance(result, BaseException)]
    lost = [result for result in found if isinstance(result, InvalidState)]
    assert (len(won), len(lost)) == (1, 5)
    assert won[0] is not None
    assert won[0].task.ended_by is not None
    winner = won[0].task.ended_by.subject
    assert all(f"by {winner}, at " in error.message for error in lost)
    assert len(await tasks.history(one.id)) == 2


async def test_a_key_gives_the_same_answer_and_refuses_another(tasks: Tasks) -> None:
    one = await tasks.new()
    key = Key("complete_human_task", "k", b"digest")

    first = await tasks.store.change(TENANT, one.id, approving(), key)
    again = await tasks.store.change(TENANT, one.id, approving(), key)

    assert first is not None
    assert again is not None
    assert again.task == first.task
    assert again.change is None
    with pytest.raises(IdempotencyConflict):
        await tasks.store.change(TENANT, one.id, approving(), key._replace(digest=b"other"))


async def test_a_task_of_another_tenant_does_not_exist(tasks: Tasks) -> None:
    one = await tasks.new()

    assert await tasks.store.get_many(OTHER_TENANT, [one.id]) == {}
    assert await tasks.store.change(OTHER_TENANT, one.id, approving()) is None
    assert (await tasks.store.history(OTHER_TENANT, one.id, ALL)).items == ()
    assert await tasks.ids(tenant=OTHER_TENANT) == []
    assert (await tasks.get(one.id)).status is S.OPEN


async def test_lists_are_by_who_may_take_has_it_and_what_is_late(tasks: Tasks) -> None:
    soon, late = datetime.now(UTC) + timedelta(hours=1), datetime.now(UTC) - timedelta(hours=1)
    anyones = await tasks.new()
    anns = await tasks.new(candidate_users=("ann",))
    clerks = await tasks.new(candidate_groups=("clerks", "bosses"), due_at=soon)
    overdue = await tasks.new(assignee="bob", due_at=late)
    later = await tasks.new(candidate_users=("cy",), due_at=late - timedelta(hours=1))
    await tasks.new(OTHER_TENANT, candidate_users=("ann",), due_at=late)
    over = await tasks.new(candidate_users=("ann",))
    await tasks.store.change(TENANT, over.id, approving())

    assert await tasks.ids(mine=True) == [anns.id, anyones.id]
    assert await tasks.ids("ann", "clerks", mine=True) == [clerks.id, anns.id, anyones.id]
    assert await tasks.ids("bob", mine=True) == [overdue.id, anyones.id]
    assert await tasks.ids(group="bosses") == [clerks.id]
    assert await tasks.ids(assignee="bob") == [overdue.id]
    assert await tasks.ids(assignee="bob", statuses=(S.ASSIGNED,)) == [overdue.id]
    assert await tasks.ids(overdue=True) == [later.id, overdue.id]
    assert await tasks.ids("cy", overdue=True, mine=True) == [later.id]
    assert await tasks.ids(statuses=(S.COMPLETED,)) == [over.id]
    assert len(await tasks.ids(statuses=(S.OPEN, S.ASSIGNED))) == 5
    assert len(await tasks.ids()) == 6

    await tasks.store.change(TENANT, clerks.id, lambda task, at: rules.claim(task, ANN, at))
    assert clerks.id in await tasks.ids(mine=True)
    assert clerks.id not in await tasks.ids("bob", "clerks", mine=True)
    assert await tasks.ids(group="clerks") == [clerks.id]


async def test_who_may_not_answer_has_nothing_of_it_in_his_list(tasks: Tasks) -> None:
    one = await tasks.new(candidate_groups=("clerks",), separation_of_duties=True, quorum=2)

    assert await tasks.ids("olga", "clerks", mine=True) == []
    await tasks.store.change(TENANT, one.id, approving())
    assert await tasks.ids("ann", "clerks", mine=True) == []
    assert await tasks.ids("bob", "clerks", mine=True) == [one.id]


async def test_pages_go_on_where_they_stopped_in_every_order(tasks: Tasks) -> None:
    due = datetime.now(UTC) - timedelta(hours=1)
    made = [await tasks.new(candidate_users=("ann",), candidate_groups=("clerks",), due_at=due) for _ in range(5)]  # fmt: skip
    expected = {one.id for one in made}

    for wanted in (HumanTaskFilter(), HumanTaskFilter(mine=True), HumanTaskFilter(overdue=True), HumanTaskFilter(group="clerks")):  # fmt: skip
        found, mark = [], None
        while True:
            page = await tasks.store.page(
                TENANT, wanted, Seeker("ann", frozenset({"clerks"})), PageRequest(2, mark), tasks.shards.databases
            )  # fmt: skip
            found += [task.id for task in page.items]
            if not page.has_next:
                break
            mark = page.cursors[-1]
        assert len(found) == 5
        assert set(found) == expected
        assert found == sorted(found, reverse=not wanted.overdue)


async def test_a_step_and_generation_has_one_task_however_often_it_is_begun(tasks: Tasks) -> None:
    (execution,) = await tasks.room.queue()
    one = await tasks.of_execution(execution, candidate_users=("ann",))
    await tasks.store.change(TENANT, one.id, lambda task, at: rules.claim(task, ANN, at))

    await tasks.begin(one)
    await tasks.begin(replace(one, id=make.new_id()))

    assert await tasks.ids(execution_id=execution) == [one.id]
    assert (await tasks.get(one.id)).status is S.CLAIMED
    assert len(await tasks.history(one.id)) == 2
    assert await tasks.room.count("human_task_events") == 2
    assert await tasks.room.count("human_task_people") == 1
    assert one.origin is not None
    await tasks.begin(replace(one, id=make.new_id(), origin=replace(one.origin, generation=1)))
    assert len(await tasks.ids(execution_id=execution)) == 2
    assert len(await tasks.ids(workflow_id=one.origin.workflow_id)) == 2


async def test_the_execution_is_told_in_the_transaction_that_completes(tasks: Tasks) -> None:
    (execution,) = await tasks.room.queue()
    one = await tasks.of_execution(execution)

    done = await tasks.store.change(TENANT, one.id, approving())

    assert done is not None
    assert done.told is not None
    assert (done.told.status, done.told.n) == (ExecutionStatus.QUEUED, 1)
    row = await tasks.room.sql.fetchrow(
        "select * from execution_inbox where execution_id = $1", execution
    )
    said = orjson.loads(row["data"])
    assert row["kind"] == 6
    assert (said["task"], said["step"], said["generation"]) == (str(one.id), 2, 0)
    assert (said["status"], said["outcome"], said["response"]) == (
        "COMPLETED",
        "approved",
        {"n": 1},
    )
    assert said["actor"]["subject"] == "ann"


async def test_the_task_of_an_ended_execution_can_not_be_completed(tasks: Tasks) -> None:
    (execution,) = await tasks.room.queue()
    one = await tasks.of_execution(execution)
    await tasks.room.sql.execute(
        "update workflow_executions set status = 5, finished_at = now() where id = $1", execution
    )

    refused = await tasks.store.change(TENANT, one.id, approving())

    assert refused is not None
    assert refused.told is not None
    assert (refused.told.status, refused.told.n) == (ExecutionStatus.CANCELLED, 0)
    assert (await tasks.get(one.id)).status is S.OPEN
    assert len(await tasks.history(one.id)) == 1
    assert await tasks.room.count("execution_inbox") == 0


async def test_who_ends_executions_cancels_their_open_tasks_with_an_entry(tasks: Tasks) -> None:
    first, second = await tasks.room.queue(2)
    one = await tasks.of_execution(first, candidate_users=("ann",), expires_at=datetime.now(UTC) + timedelta(hours=1))  # fmt: skip
    other = await tasks.of_execution(second)
    cancel = "select mc_task_cancel(0::smallint, $1::uuid[], 'its execution has ended')"

    assert [await tasks.room.sql.fetchval(cancel, [first]) for _ in range(2)] == [1, 0]

    now, entries = await tasks.get(one.id), await tasks.history(one.id)
    assert (now.status, now.version, now.next_at) == (S.CANCELLED, 2, None)
    assert now.ended_by == SYSTEM
    # PostgreSQL writes an instant with as many digits as it has, so what is compared is what is read.
    assert task_of(one.id, TENANT, one.origin, 2, fold(entries)) == now
    assert entries[1].reason == "its execution has ended"
    assert entries[1].before == {"status": "OPEN", "ended_at": None, "ended_by": None}
    assert await tasks.ids(mine=True) == [other.id]


async def test_completing_and_ending_an_execution_at_once_do_not_wait_in_a_circle(
    tasks: Tasks,
) -> None:
    """Both lock the execution first: one of the two is the first, and the other sees what it did."""
    for _ in range(10):
        (execution,) = await tasks.room.queue()
        one = await tasks.of_execution(execution)

        async def end(execution: UUID = execution) -> None:
            async with tasks.room.database.engine() as connection, connection.transaction():
                await connection.execute(
                    "update workflow_executions set status = 5, finished_at = now() where id = $1", execution
                )  # fmt: skip
                await connection.execute(
                    "select mc_task_cancel(0::smallint, $1, 'ended')", [execution]
                )

        found, _ = await asyncio.gather(
            tasks.store.change(TENANT, one.id, approving()), end(), return_exceptions=True
        )
        now = await tasks.get(one.id)
        if isinstance(found, InvalidState):
            assert now.status is S.CANCELLED
        else:
            assert not isinstance(found, BaseException)
            assert found is not None
            assert found.told is not None
            assert now.status is (S.COMPLETED if found.told.n else S.CANCELLED)


async def test_what_ended_long_ago_and_stood_alone_goes(tasks: Tasks) -> None:
    await tasks.room.sql.execute("insert into tenants (id, name) values ($1, 'one')", TENANT)
    old, fresh, still = [await tasks.new() for _ in range(3)]
    for one in (old, fresh):
        await tasks.store.change(TENANT, one.id, approving())
    await tasks.room.sql.execute(
        "update human_tasks set ended_at = now() - interval '31 days' where id = $1", old.id
    )

    assert await tasks.store.sweep(0, 10, 30) == 1

    assert set(await tasks.ids()) == {fresh.id, still.id}
    assert await tasks.history(old.id) == []
    await tasks.room.sql.execute("update tenants set settings = '{\"retention_days\": 1}'")
    await tasks.room.sql.execute(
        "update human_tasks set ended_at = now() - interval '2 days' where status = 4"
    )
    assert await tasks.store.sweep(0, 10, 30) == 1


MANY = """
insert into human_tasks (shard, status, id, tenant_id, version, priority, closed_to, due_at, next_at, assignee, state)
  select 0, 0, ('01930000-0000-7000-8000-' || lpad(to_hex(n), 12, '0'))::uuid, $1, 1, 0, '{}', now() + interval '1 day', now() + interval '1 day',
         case when n % 100 = 0 then 'ann' end, '{}' from generate_series(1, 20000) n"""
PEOPLE = """
insert into human_task_people select 0, t.id, t.tenant_id, case when t.assignee is null then 'group:clerks' else 'user:ann' end, false from human_tasks t"""


@pytest.mark.parametrize(
    ("name", "arguments", "most"),
    [
        ("upcoming", [0, 200], 250),
        ("page", [TENANT, LAST, 21, *[None] * 5, False, None, None], 200),
        ("page_open", [TENANT, LAST, 21, [0, 1], *[None] * 4, False, None, None], 200),
        ("page_assignee", [TENANT, LAST, 21, [0], "ann", *[None] * 3, False, None, None], 200),
        ("page_workflow", [TENANT, LAST, 21, None, None, TENANT, None, None, False, None, None], 200),
        ("page_execution", [TENANT, LAST, 21, None, None, None, TENANT, None, False, None, None], 200),
        ("page_overdue", [TENANT, LAST, 21, *[None] * 5, True, None, None, datetime.now(UTC)], 200),
        ("page_people", [TENANT, LAST, 21, *[None] * 5, False, ["group:clerks"], "bob", ["group:clerks"], [False]], 400),
    ],
)  # fmt: skip
async def test_what_is_looked_for_among_many_reads_few_blocks(
    tasks: Tasks, name: str, arguments: list[Any], most: int
) -> None:
    sql = tasks.room.sql
    await sql.execute(MANY, TENANT)
    await sql.execute(PEOPLE)
    # What an earlier test has left dead in this database is none of these.
    for table in ("human_tasks", "human_task_people"):
        await sql.execute(f"vacuum (analyze) {table}")
    async with tasks.room.database.engine() as connection:
        text = f"explain (analyze, buffers, format json) {statements('human_task')[name]}"
        await connection.fetchval(
            text, *arguments
        )  # What is planned and first read is not what is asked each time.
        (found,) = orjson.loads(await connection.fetchval(text, *arguments))
    plan = found["Plan"]

    assert plan["Shared Hit Blocks"] + plan["Shared Read Blocks"] <= most


@pytest.mark.parametrize("before", list(S))
async def test_no_function_makes_a_transition_outside_of_the_table(
    tasks: Tasks, before: HumanTaskStatus
) -> None:
    (execution,) = await tasks.room.queue()
    one = await tasks.of_execution(execution)
    state = {"status": before.name}
    await tasks.room.sql.execute(
        "update human_tasks set status = $2::smallint, ended_at = case when $2 >= 4 then now() end, state = state || $3::jsonb where id = $1",
        one.id, int(before), orjson.dumps(state).decode(),
    )  # fmt: skip

    await tasks.begin(one)
    await tasks.room.sql.execute("select mc_task_cancel(0::smallint, $1::uuid[], 'x')", [execution])

    after = S(await tasks.room.sql.fetchval("select status from human_tasks where id = $1", one.id))
    assert after is (before if before.is_over else S.CANCELLED)
    assert after is before or after in rules.TRANSITIONS[before]


async def test_escalations_and_answers_come_back_as_they_went(tasks: Tasks) -> None:
    at = datetime.now(UTC) + timedelta(days=1)
    steps = (
        Escalation(at, to="cy", candidate_groups=("a",), notify=("b",)),
        Escalation(at, outcome="rejected"),
    )
    form = {"properties": {"longest": {}, "b": {}, "a": {}}, "type": "object"}
    one = await tasks.new(escalations=steps, quorum=2, form=form, attachments=("s3://x",))

    await tasks.store.change(TENANT, one.id, approving())

    now = await tasks.get(one.id)
    assert now.escalations == steps
    assert [(answer.by.subject, answer.response) for answer in now.answers] == [("ann", {"n": 1})]
    # A form is drawn in the order of its fields.
    assert orjson.dumps(now.form) == orjson.dumps(form)

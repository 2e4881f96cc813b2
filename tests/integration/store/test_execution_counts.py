"""Statistics: after whatever happens to executions, every number equals the length of its list, and money is exact."""

from __future__ import annotations

import asyncio
import math
import random
from collections import Counter
from contextlib import AsyncExitStack
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import count, product
from uuid import UUID

import asyncpg
import pytest

from runtime.model.checkpoint import Closing, InboxKind
from runtime.model.event import EventKind
from runtime.model.execution import ExecutionFilter, ExecutionState, ExecutionStatus, WaitKind
from runtime.model.execution_stats import (
    LARGEST_ERROR,
    OPEN,
    StatsFilter,
    nearest_rank,
    slot_milliseconds,
)
from runtime.store.execution_list import ExecutionList
from runtime.store.execution_stats import CounterFolds, ExecutionCounters
from runtime.store.shards import Shards
from tests import make
from tests.support.counters import miscounted

S = ExecutionStatus
BEGIN = datetime(2020, 1, 1, tzinfo=UTC)
TENANTS = (make.TENANT, make.OTHER_TENANT)
WORKFLOWS = (UUID(int=1), UUID(int=2))
NAMESPACES = ("default", "other")
NARROWED = ((None, None), (WORKFLOWS[0], None), (None, "other"), (WORKFLOWS[1], "default"))
MANY = 1_000_000
ME, LEASE = 1, 60.0
# The last: the server's own word of its end came before the question.
GONE = (asyncpg.PostgresError, asyncpg.InterfaceError, OSError, asyncpg.InternalClientError)


class Program:
    """Executions to which things happen by chance, as the engine and its callers make them happen."""

    def __init__(self, room, seed: int) -> None:
        self.room = room
        self.chance = random.Random(seed)
        self.me, self.epoch = ME, 0
        shards = Shards.single(room.database)
        self.counters, self.list = ExecutionCounters(shards), ExecutionList(shards)
        self.folds = CounterFolds(room.database)
        self.homes = shards.databases

    async def begin(self) -> None:
        """Register the first worker."""
        self.epoch = await self.room.store.register(0, self.me, "host:1", LEASE)

    async def some(self, *statuses: S) -> list[UUID]:
        """A few of those in a status."""
        rows = await self.room.sql.fetch(
            "select id from workflow_executions where status = any ($1) order by id", list(statuses)
        )
        ids = [row["id"] for row in rows]
        return self.chance.sample(ids, min(len(ids), self.chance.randint(1, 5)))

    async def enqueue(self) -> None:
        soon = make.now() - timedelta(seconds=1)
        for _ in range(self.chance.randint(1, 6)):
            workflow = self.chance.choice(WORKFLOWS)
            await self.room.queue(
                tenant=self.chance.choice(TENANTS),
                workflow=workflow,
                version=UUID(int=workflow.int + self.chance.choice((10, 20))),
                namespace=self.chance.choice(NAMESPACES),
                wake_at=self.chance.choice((None, None, soon)),
            )

    async def claim(self) -> None:
        if ids := await self.some(S.QUEUED):
            await self.room.store.claim(0, self.me, self.epoch, ids)

    async def claim_alone(self) -> None:
        await self.room.store.claim_alone(0, self.me, self.epoch)

    async def due(self) -> None:
        await self.room.store.due(0, self.me, self.epoch, 3)

    async def checkpoint(self) -> None:
        ids = await self.some(S.RUNNING)
        await self.room.flush(self.me, self.epoch, *[await self._checkpoint(one) for one in ids])

    async def _checkpoint(self, one: UUID):
        row = await self.room.row(one)
        number, tenant = self.chance.randint(0, 10**9), row["tenant_id"]
        cost = self.chance.choice((None, None, "0.10 EUR", "12.345678 USD", "3 EUR"))
        result = {"output": None} | ({"cost": cost} if cost else {})
        step = make.step_row(
            one, number, generation=row["generation"], result=result, tenant=tenant
        )
        # What is closed took from a millisecond to hours.
        await self.room.sql.execute(
            "update workflow_executions set started_at = now() - make_interval(secs => $2) where id = $1",
            one, math.exp(self.chance.uniform(-7, 9)),
        )  # fmt: skip
        ends = self.chance.choice([*(s for s in S if s is not S.RUNNING), S.COMPLETED, None])
        wait = self.chance.choice((WaitKind.SIGNAL, WaitKind.PAUSED)) if ends is S.WAITING else None
        closing = None if ends is None else Closing(one, ends, wait, None, row["inbox"])
        # In the same commit it may begin to be undone, and end or be parked.
        begun, kind = self.chance.random() < 0.3, EventKind.EXECUTION_COMPENSATING
        events = [make.event_row(one, number + 2, kind, tenant=tenant)] if begun else []
        return make.checkpoint(one, steps=[step], events=events, closing=closing)

    async def message(self) -> None:
        kind = self.chance.choice((InboxKind.CANCEL, InboxKind.SIGNAL, InboxKind.RESUME))
        for one in await self.some(S.QUEUED, S.RUNNING, S.WAITING):
            tenant = (await self.room.row(one))["tenant_id"]
            async with self.room.database.engine() as connection:
                await self.room.store.send(0, tenant, one, kind, {}, connection)

    async def retry(self) -> None:
        for one in await self.some(S.FAILED, S.CANCELLED, S.TIMED_OUT):
            tenant = (await self.room.row(one))["tenant_id"]
            async with self.room.database.engine() as connection:
                await self.room.store.retry(0, tenant, one, {}, connection)

    async def decide(self) -> None:
        for one in await self.some(S.DEAD_LETTERED):
            row = await self.room.row(one)
            verb = self.chance.choice(("redrive", "discard"))
            await self.room.sql.execute(
                f"select * from mc_{verb}(0::smallint, $1, $2, $3, '{{}}', null, '{{}}')",
                row["tenant_id"], one, row["generation"],
            )  # fmt: skip

    async def lose_the_worker(self) -> None:
        """Its lease runs out, the next one takes over: what was lost thrice becomes a dead letter."""
        dead, self.me = self.me, self.me + 1
        self.epoch = await self.room.store.register(0, self.me, f"host:{self.me}", LEASE)
        await self.room.expire(dead)
        await self.room.store.bury(0, self.me)
        while (taken := await self.room.store.takeover(0, self.me, self.epoch, 3)).owned:
            assert len(taken.owned) <= 3

    async def kill(self) -> None:
        """The server loses the connection in the middle of a claim: neither the claim nor its counts stay."""
        if not (ids := await self.some(S.QUEUED)):
            return
        async with self.room.database.engine() as connection:
            transaction = connection.transaction()
            await transaction.start()
            await connection.execute(
                "select id from mc_claim_2(0::smallint, $1, $2, $3)", self.me, self.epoch, ids
            )
            pid = await connection.fetchval("select pg_backend_pid()")
            await self.room.sql.execute("select pg_terminate_backend($1, 5000)", pid)
            with pytest.raises(GONE):
                await transaction.commit()

    async def fold(self) -> None:
        await self.folds.fold(self.chance.randint(1, 40))

    async def check(self) -> None:
        """Every number of every filter."""
        assert await miscounted(self.room.sql) == []
        for tenant, (workflow, namespace) in product(TENANTS, NARROWED):
            workflows = (workflow,) if workflow else ()
            namespaces = (namespace,) if namespace else ()
            stats = await self.counters.stats(
                tenant,
                StatsFilter(workflow_id=workflows, namespace=namespaces),
                BEGIN,
                None,
                self.homes,
            )
            for state in ExecutionState:
                of = ExecutionFilter(
                    state=(state,),
                    workflow_id=workflows,
                    namespace=namespaces,
                    created_from=None if state in OPEN else BEGIN,
                )
                listed = await self.list.count(tenant, of, MANY, self.homes)
                assert (stats.count(state), False) == listed, (state, workflow, namespace)
            await self._check_sums(stats, tenant, workflow, namespace)

    async def _check_sums(self, stats, tenant, workflow, namespace) -> None:
        where = "e.tenant_id = $1 and ($2::uuid is null or workflow_id = $2) and ($3::text is null or namespace = $3)"
        rows = await self.room.sql.fetch(
            f"select * from workflow_executions e where {where}", tenant, workflow, namespace
        )
        took = [
            max((row["finished_at"] - row["started_at"]).total_seconds() * 1000, 1.0)
            for row in rows
            if row["status"] == S.COMPLETED
        ]
        for percent in (50, 95):
            assert stats.percentile(percent) is None or took
            if took:
                exact = sorted(took)[math.ceil(len(took) * percent / 100) - 1]
                assert (
                    abs(stats.percentile(percent).milliseconds - exact)
                    <= exact * LARGEST_ERROR + 0.51
                )
        fresh = [
            r["created_at"]
            for r in rows
            if r["status"] == 0 and not (r["started_at"] or r["cancel_requested"])
        ]
        assert stats.oldest_queued_at == min(fresh, default=None)
        costs = await self.room.sql.fetch(
            "select split_part(s.result ->> 'cost', ' ', 2) as c, sum(split_part(s.result ->> 'cost', ' ', 1)::numeric) as n"
            f" from step_executions s join workflow_executions e on e.id = s.execution_id where {where} and s.result ? 'cost'"
            " group by 1", tenant, workflow, namespace,
        )  # fmt: skip
        assert {m.currency: m.amount for m in stats.cost} == {r["c"]: r["n"] for r in costs}


@pytest.mark.parametrize("seed", range(2))
async def test_every_number_is_the_length_of_its_list(room, seed):
    program = Program(room, seed)
    await program.begin()
    often = [program.enqueue, program.claim, program.checkpoint, program.checkpoint]
    seldom = [
        program.claim_alone, program.due, program.message, program.retry, program.decide,
        program.lose_the_worker, program.kill, program.fold,
    ]  # fmt: skip

    for number in range(60):
        await program.chance.choice(often if number < 10 else often + seldom)()
        if number == 30:
            await program.check()

    while await program.folds.fold(100):
        pass
    await program.check()
    assert await room.count("execution_deltas") == 0


async def test_they_are_exact_at_every_moment_while_several_write_and_fold(room, database_url):
    path = {"server_settings": {"search_path": "maestro"}}
    async with AsyncExitStack() as stack:
        looks = [await asyncpg.connect(database_url, **path) for _ in range(4)]
        for look in looks:
            stack.push_async_callback(look.close)
        # A look beside the rows belongs to each, so that nobody waits for another's.
        programs = [Program(replace(room, sql=look), n) for n, look in enumerate(looks[:3])]
        await programs[0].begin()
        for program in programs:
            program.me, program.epoch = programs[0].me, programs[0].epoch
        enough = asyncio.Event()
        writing = asyncio.gather(*(write(program, enough) for program in programs))
        judged = 0
        while not writing.done():
            assert await miscounted(looks[3]) == []
            judged += 1
            if judged > 1:
                enough.set()
        await writing

    assert judged > 1


async def write(program, enough):
    """At least a few, and until there was a look in between."""
    verbs = [
        program.enqueue, program.claim, program.checkpoint, program.checkpoint, program.message,
        program.retry, program.decide, program.fold,
    ]  # fmt: skip
    for number in count():
        if number >= 24 and enough.is_set():
            return
        await (program.enqueue if number == 0 else program.chance.choice(verbs))()


async def test_ranges_are_of_creation_and_what_is_open_counts_whenever_it_was_created(room):
    (old, _) = await room.queue(2)
    await room.sql.execute("update workflow_executions set created_at = now() - interval '5 hours'")
    await room.sql.execute(
        "update workflow_executions set status = 4, finished_at = now() where id = $1", old
    )
    counters = ExecutionCounters(Shards.single(room.database))

    async def numbers(hours: int) -> tuple[int, int]:
        begin = (make.now() - timedelta(hours=hours)).replace(minute=0, second=0, microsecond=0)
        stats = await counters.stats(make.TENANT, StatsFilter(), begin, None, [room.database])
        return stats.count(ExecutionState.FAILED), stats.count(ExecutionState.QUEUED)

    # Nothing that was created then is counted where it is not: what it says of itself was changed, and counts follow.
    assert await numbers(2) == (0, 1)
    assert await numbers(6) == (1, 1)


async def test_a_row_that_stays_what_it_is_leaves_nothing_to_fold(room):
    await room.queue(3)
    before = await room.count("execution_deltas")

    await room.sql.execute("update workflow_executions set inbox = inbox + 1, takeovers = 0")

    assert await room.count("execution_deltas") == before


def test_the_error_of_a_percentile_is_what_is_said():
    for milliseconds in (1.0, 1.01, 9.9, 250.0, 86_400_000.0, 3e10):
        slot = math.ceil(20 * math.log(milliseconds))
        assert abs(slot_milliseconds(slot) - milliseconds) <= milliseconds * LARGEST_ERROR * (
            1 + 1e-9
        )
    assert LARGEST_ERROR < 0.025
    assert nearest_rank(Counter({3: 1, 5: 98, 9: 1}), 99) == 5
    assert nearest_rank({}, 50) is None

"""Statistics of long ranges read days that are added up: whatever the range, a number equals the length of its list."""

from __future__ import annotations

import random
from collections import Counter
from datetime import UTC, datetime, time, timedelta
from decimal import Decimal
from uuid import UUID

import pytest

from runtime.clock import SystemClock
from runtime.entropy import SystemEntropy
from runtime.model.execution import ExecutionFilter, ExecutionState
from runtime.model.execution_stats import OPEN, StatsFilter
from runtime.model.values import Money
from runtime.scheduler.days import Days
from runtime.store.execution_list import ExecutionList
from runtime.store.execution_stats import CounterFolds, ExecutionCounters, Span
from runtime.store.retention import RetentionStore
from runtime.store.shards import Shards
from runtime.store.statements import statements
from tests import make
from tests.support.counters import miscounted

WORKFLOWS = (UUID(int=1), UUID(int=2))
NAMESPACES = ("default", "other")
NARROWED = ((None, None), (WORKFLOWS[0], None), (None, "other"), (WORKFLOWS[1], "default"))
AGES = (1, 2, 5, 6, 9, 13, 14, 21, 29, 30)
MANY = 1_000_000
HOUR = timedelta(hours=1)
TABLES = ("step_executions", "execution_events", "step_logs", "workflow_executions")
ENDED = (2, 4, 5, 6, 7)

MADE = """
with made as (insert into workflow_executions (id, shard, tenant_id, workflow_id, version_id, namespace, status, created_at, started_at, finished_at)
  values ($1, 0, $2, $3, $3, $4, $5, $6, $6, $7) returning id)
insert into step_executions (shard, status, step, execution_id, tenant_id, attempt, generation, item, started_at, finished_at, result)
  select 0, 6, 0, id, $2, 1, 0, -1, $6, $6, '{"output": 1, "cost": "0.25 EUR"}' from made"""


class Month:
    """Executions of a month, to which things happen by chance."""

    def __init__(self, room, seed: int) -> None:
        self.room = room
        self.chance = random.Random(seed)
        self.ids = SystemEntropy()
        shards = Shards.single(room.database)
        self.homes = shards.databases
        self.counters, self.list = ExecutionCounters(shards), ExecutionList(shards)
        self.folds = CounterFolds(room.database)
        self.midnight = datetime.combine(datetime.now(UTC), time(), UTC)

    async def create(self) -> None:
        """A few, also at the very edges of hours and days; the clock of an id is not that of its row."""
        for _ in range(self.chance.randint(4, 12)):
            day = self.midnight - timedelta(days=self.chance.choice(AGES))
            await self.room.sql.execute("select mc_make_partitions($1, $1)", day.date())
            hour = HOUR * self.chance.randint(0, 23)
            within = self.chance.choice((0, 1e-6, 1800, 3599.999999, self.chance.random() * 3600))
            at = day + hour + timedelta(seconds=within)
            skew = timedelta(seconds=self.chance.choice((0, 0, 600, -600)))
            moment = min(max(at + skew, day), day + timedelta(days=1) - HOUR / 3600)
            status = self.chance.choice((0, 0, *ENDED))
            took = timedelta(milliseconds=10 ** self.chance.uniform(0, 6))
            await self.room.sql.execute(
                MADE, self.ids.uuid7(int(moment.timestamp() * 1000)), make.TENANT,
                self.chance.choice(WORKFLOWS), self.chance.choice(NAMESPACES), status, at,
                at + took if status in ENDED else None,
            )  # fmt: skip

    async def finish(self) -> None:
        """Some of what is open ends now, whatever its day."""
        await self.room.sql.execute(
            "update workflow_executions set status = $1, finished_at = created_at + interval '1 minute'"
            " where id in (select id from workflow_executions where status = 0 order by random() limit 5)",
            self.chance.choice(ENDED),
        )

    async def retry(self) -> None:
        """Some of what has ended is open again."""
        await self.room.sql.execute(
            "update workflow_executions set status = 0, finished_at = null"
            " where id in (select id from workflow_executions where status = 4 order by random() limit 3)"
        )

    async def fold(self) -> None:
        await self.folds.fold(self.chance.randint(1, 60))

    async def drop(self) -> None:
        """Retention replaces the days that are old enough; what is open stays, and is counted."""
        store = RetentionStore(self.room.database, default_days=self.chance.choice((10, 20, 29)))
        try:
            await Days(store, self.room.metrics, SystemClock()).run()
        finally:
            store.close()

    def some_range(self) -> tuple[datetime, datetime | None]:
        """Full hours, as the service asks: of any length, from and to any hour."""
        begin = self.midnight - timedelta(hours=self.chance.randint(0, 31 * 24))
        length = HOUR * self.chance.choice((1, 11, 12, 13, 24, 36, self.chance.randint(1, 744)))
        return begin, self.chance.choice((None, begin + length, begin + length))

    async def check(self) -> None:
        """Every number of a few ranges, and the money."""
        assert await miscounted(self.room.sql) == []
        for workflow, namespace in NARROWED:
            begin, end = self.some_range()
            wanted = StatsFilter(
                workflow_id=(workflow,) if workflow else (),
                namespace=(namespace,) if namespace else (),
            )
            stats = await self.counters.stats(make.TENANT, wanted, begin, end, self.homes)
            for state in ExecutionState:
                is_open = state in OPEN
                of = ExecutionFilter(
                    state=(state,),
                    workflow_id=wanted.workflow_id,
                    namespace=wanted.namespace,
                    created_from=None if is_open else begin,
                    created_to=None if is_open else end,
                )
                listed = await self.list.count(make.TENANT, of, MANY, self.homes)
                assert (stats.count(state), False) == listed, (state, wanted, begin, end)
            assert sum(stats.durations.values()) == stats.count(ExecutionState.COMPLETED)
            assert all(n > 0 for n in stats.durations.values())
            paid = await self.room.sql.fetchval(
                "select count(*) from workflow_executions where created_at >= $1 and created_at < coalesce($2::timestamptz, 'infinity')"
                " and ($3::uuid is null or workflow_id = $3) and ($4::text is null or namespace = $4)",
                begin, end, workflow, namespace,
            )  # fmt: skip
            assert stats.cost == ((Money(Decimal("0.25") * paid, "EUR"),) if paid else ())
        begin, end = self.some_range()
        each = await self.counters.stats_of_each(make.TENANT, WORKFLOWS, begin, end, self.homes)
        for workflow in WORKFLOWS:
            alone = StatsFilter(workflow_id=(workflow,))
            stats = await self.counters.stats(make.TENANT, alone, begin, end, self.homes)
            assert Counter(each[workflow].counts) == Counter(stats.counts)
            assert (each[workflow].durations, each[workflow].cost) == (stats.durations, stats.cost)


@pytest.fixture
async def month(room, request):
    """A month without executions; afterwards as if its days had never been."""
    made = Month(room, request.param)
    yield made
    for age in AGES:
        suffix = f"{made.midnight - timedelta(days=age):%Y%m%d}"
        for table in TABLES if age > 1 else ():
            await room.sql.execute(f"drop table if exists {table}_{suffix}")


@pytest.mark.parametrize("month", [0, 1], indirect=True)
async def test_whatever_the_range_a_number_is_the_length_of_its_list(month):
    verbs = [month.create, month.create, month.finish, month.retry, month.fold, month.fold]
    for number in range(24):
        await (month.create if number < 3 else month.chance.choice(verbs))()
        if number in (8, 16):
            await month.drop()
        if number % 4 == 3:
            await month.check()

    while await month.folds.fold(1000):
        pass
    await month.check()
    assert await month.room.count("execution_deltas") == 0


@pytest.mark.parametrize("month", [2], indirect=True)
async def test_what_is_counted_is_read_from_keys_alone(month):
    await month.create()
    while await month.folds.fold(1000):
        pass
    for table in ("execution_counts", "execution_day_counts"):
        await month.room.sql.execute(f"vacuum {table}")
    span = Span.of(month.midnight - timedelta(hours=27 * 24 + 12), month.midnight).arguments()
    asked = (make.TENANT, None, ("",), *span)

    async with month.room.sql.transaction():
        for other in ("seqscan", "bitmapscan"):
            await month.room.sql.execute(f"set local enable_{other} = off")
        plan = await month.room.sql.fetch(
            "explain " + statements("execution_stats")["counts"], *asked
        )

    scans = [row[0].strip(" ->") for row in plan if "_pkey" in row[0]]
    assert len(scans) >= 3
    assert all(scan.startswith("Index Only Scan") for scan in scans)


@pytest.mark.parametrize("seed", range(40))
def test_a_span_is_its_range_and_no_edge_is_longer_than_half_a_day(seed):
    chance = random.Random(seed)
    begin = datetime(2026, 2, 27, tzinfo=UTC) + HOUR * chance.randint(0, 72)
    end = begin + HOUR * chance.choice((1, 12, 23, 24, 25, 48, chance.randint(1, 744)))

    span = Span.of(begin, end)

    hours: dict[datetime, int] = {}
    first, last = (datetime.combine(day, time(), UTC) for day in span.days)
    for low, high, sign in (
        (first, last, 1),
        (span.first.begin, span.first.end, span.first.sign),
        (span.last.begin, span.last.end, span.last.sign),
    ):
        at = low
        while at < high:
            hours[at] = hours.get(at, 0) + sign
            at += HOUR
    wanted = {begin + HOUR * n for n in range(int((end - begin) / HOUR))}
    assert {at for at, times in hours.items() if times} == wanted
    assert set(hours.values()) <= {0, 1}
    if first < last:
        for edge in (span.first, span.last):
            assert edge.end - edge.begin <= 12 * HOUR
    else:
        assert span.first.end - span.first.begin <= 24 * HOUR


@pytest.mark.parametrize(("hour", "day", "sign"), [(9, "2026-11-01", -1), (15, "2026-11-02", 1)])
def test_a_range_without_an_end_reads_days_up_to_now(hour, day, sign):
    span = Span.of(datetime(2026, 11, 1, hour, tzinfo=UTC), None)

    assert span.days[0].isoformat() == day
    assert (span.first.end - span.first.begin, span.first.sign) == (9 * HOUR, sign)
    assert span.last.begin == span.last.end

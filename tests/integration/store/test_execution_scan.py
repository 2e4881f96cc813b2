"""Lists of executions that no index has in their order: searches and other orders, and what bounds them."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from runtime.model.errors import BadInput
from runtime.model.execution import (
    NEWEST,
    Execution,
    ExecutionFilter,
    ExecutionOrder,
    ExecutionOrderField,
    ExecutionState,
)
from runtime.model.page import PageRequest
from runtime.store import execution_list, execution_scan
from runtime.store.cursor import encode
from runtime.store.execution_list import ExecutionList
from runtime.store.listing import Composer
from runtime.store.shards import Shards
from tests import make

S = ExecutionState
NAMESPACES = ("default", "a")

AT = datetime(2026, 2, 1, tzinfo=UTC)
LAST = datetime.max.replace(tzinfo=UTC)
VALUES = {
    ExecutionOrderField.STARTED_AT: lambda one: one.started_at or LAST,
    ExecutionOrderField.FINISHED_AT: lambda one: one.finished_at or LAST,
    ExecutionOrderField.PRIORITY: lambda one: one.priority,
}


@pytest.fixture
async def several(room) -> list[UUID]:
    """Thirty executions, of several priorities, begun and ended in other orders than they were created."""
    for number in range(30):
        await room.queue(priority=number % 3 - 1, namespace=NAMESPACES[number % 2])
    ids = [
        row["id"] for row in await room.sql.fetch("select id from workflow_executions order by id")
    ]
    for number, each in enumerate(ids):
        await room.sql.execute(
            "update workflow_executions set started_at = $2, finished_at = $3 where id = $1",
            each,
            AT + timedelta(microseconds=number * 7 % 5) if number % 4 else None,
            AT - timedelta(days=number * 11 % 30) if number % 3 else None,
        )
    return ids


@pytest.mark.parametrize(
    ("field", "descending", "wanted"),
    [
        (ExecutionOrderField.STARTED_AT, True, ExecutionFilter()),
        (ExecutionOrderField.FINISHED_AT, False, ExecutionFilter(namespace=NAMESPACES)),
        (ExecutionOrderField.PRIORITY, True, ExecutionFilter(namespace=NAMESPACES)),
    ],
)
async def test_pages_in_any_order_meet_each_execution_once(
    room, several, field, descending, wanted
):
    shards = Shards.single(room.database)
    executions = ExecutionList(shards)
    order = ExecutionOrder(field, descending=descending)

    async def read(size: int, cursor: str | None = None, *, backward: bool = False):
        request = PageRequest(size, cursor, backward=backward)
        return await executions.page(make.TENANT, wanted, request, shards.databases, order=order)

    everything = (await read(100)).items
    seen: list[Execution] = []
    cursor = None
    while cursor is not None or not seen:
        page = await read(7, cursor)
        seen += page.items
        cursor = page.cursors[-1] if page.has_next else None
    last = await read(7, backward=True)
    before = await read(7, last.cursors[0], backward=True)

    key = VALUES[field]
    right = [
        one.id for one in sorted(everything, key=lambda one: (key(one), one.id), reverse=descending)
    ]
    assert {one.id for one in everything} == set(several)
    assert [one.id for one in seen] == right
    assert [one.id for one in (*before.items, *last.items)] == right[-14:]


async def test_a_cursor_belongs_to_its_order(room, several):
    shards = Shards.single(room.database)
    executions = ExecutionList(shards)

    async def read(order: ExecutionOrder, cursor: str | None = None):
        request = PageRequest(3, cursor)
        return await executions.page(
            make.TENANT, ExecutionFilter(), request, shards.databases, order=order
        )

    by_priority = ExecutionOrder(ExecutionOrderField.PRIORITY)
    (mark, *_) = (await read(by_priority)).cursors
    for order, cursor in (
        (ExecutionOrder(), mark),
        (ExecutionOrder(ExecutionOrderField.PRIORITY, descending=False), mark),
        (by_priority, encode("executions:priority:desc", 2**63, str(several[0]))),
        (by_priority, encode("executions:priority:desc", None, str(several[0]))),
        (by_priority, encode("executions:priority:desc", 1, "x")),
    ):
        with pytest.raises(BadInput, match="not a cursor"):
            await read(order, cursor)


WORDS = {
    "oranges": {"a"},
    "ORANGES 4711": {"a"},
    "oranges apples": set(),
    "oranges or apples": {"a", "b"},
    "fruit -oranges": {"b"},
    '"two kinds"': {"b"},
    '"kinds two"': set(),
    "declined": {"c"},
    "order-17": {"c"},
    "blue": {"d"},
    "fruit.kind": set(),
    "' & | !:*": set(),
    "other": set(),
}


async def test_words_are_found_in_what_is_said_of_an_execution(room):
    names = {}
    said: dict[str, dict[str, Any]] = {
        "a": {"input": {"fruit": ["fruit", "oranges", 4711]}},
        "b": {"input": "apples are a fruit of two kinds"},
        "c": {"meta": {"key": "order-17"}},
        "d": {"labels": {"colour": "blue"}},
    }
    for name, fields in said.items():
        (made,) = await room.queue(**fields)
        names[name] = made
    await room.queue(tenant=make.OTHER_TENANT, input="other oranges apples fruit")
    await room.sql.execute(
        "update workflow_executions set error = $2 where id = $1",
        names["c"],
        '{"type": "Card", "message": "It was declined."}',
    )
    shards = Shards.single(room.database)
    executions = ExecutionList(shards)
    by_id = {made: name for name, made in names.items()}
    found, totals = {}, {}
    for words in WORDS:
        wanted = ExecutionFilter(search=words)
        page = await executions.page(make.TENANT, wanted, PageRequest(10), shards.databases)
        found[words] = {by_id[one.id] for one in page.items}
        totals[words] = await executions.count(make.TENANT, wanted, 100, shards.databases)

    assert found == WORDS
    assert totals == {words: (len(expected), False) for words, expected in WORDS.items()}


async def test_what_would_read_too_much_is_refused_before_it_is_read(room, several, monkeypatch):
    monkeypatch.setattr(execution_scan, "SEARCHED", 15)
    monkeypatch.setattr(execution_scan, "SORTED", 20)
    shards = Shards.single(room.database)
    executions = ExecutionList(shards)
    request, by_end = PageRequest(5), ExecutionOrder(ExecutionOrderField.FINISHED_AT)
    half = ExecutionFilter(namespace=("a",))

    async def page(wanted: ExecutionFilter, order: ExecutionOrder = NEWEST):
        return await executions.page(make.TENANT, wanted, request, shards.databases, order=order)

    for refused in (
        page(ExecutionFilter(search="x")),
        executions.count(make.TENANT, ExecutionFilter(search="x"), 100, shards.databases),
        page(ExecutionFilter(), by_end),
        page(replace(half, state=(S.COMPLETED, S.QUEUED), namespace=()), by_end),
    ):
        with pytest.raises(BadInput) as caught:
            await refused
        assert caught.value.reason == "RANGE_TOO_LARGE"
    assert (await page(replace(half, search="x"))).items == ()
    assert len((await page(half, by_end)).items) == 5
    assert (
        await page(replace(half, namespace=(), created_to=AT - timedelta(days=9)), by_end)
    ).items == ()


async def test_what_takes_too_long_is_the_ranges_fault(room, several, monkeypatch):
    shards = Shards.single(room.database)
    executions = ExecutionList(shards)
    wanted, request = ExecutionFilter(search="x"), PageRequest(5)

    with monkeypatch.context() as patched:
        patched.setattr(execution_list, "SECONDS", 0.000_001)
        with pytest.raises(BadInput, match="make it shorter") as caught:
            await executions.page(make.TENANT, wanted, request, shards.databases)
    after = await executions.page(make.TENANT, wanted, request, shards.databases)

    assert caught.value.reason == "RANGE_TOO_LARGE"
    assert after.items == ()


async def test_a_scan_is_read_along_the_range_of_ids(room, several, monkeypatch):
    """The bound is one of the index: nothing outside the range is looked at."""
    asked = []
    compose = Composer.statement

    def noted(self, shape, build, values):
        asked.append(compose(self, shape, build, values))
        return asked[-1]

    monkeypatch.setattr(Composer, "statement", noted)
    shards = Shards.single(room.database)
    wanted = ExecutionFilter(
        search="x", created_from=make.now() - timedelta(hours=1), created_to=make.now()
    )
    order = ExecutionOrder(ExecutionOrderField.FINISHED_AT)
    await ExecutionList(shards).page(
        make.TENANT, wanted, PageRequest(5), shards.databases, order=order
    )

    await room.sql.execute("set enable_seqscan = off")
    for text, arguments in asked:
        plan = "\n".join(row[0] for row in await room.sql.fetch(f"explain {text}", *arguments))
        for line in (line for line in plan.splitlines() if "Index Cond" in line):
            assert "(id >=" in line
            assert "(id <" in line
        assert "Index Cond" in plan
        assert "Seq Scan" not in plan

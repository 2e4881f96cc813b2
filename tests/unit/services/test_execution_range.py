"""What needs a range of creation: searches, and orders that no index has."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from runtime.model.errors import BadInput, Exhausted
from runtime.model.execution import NEWEST, ExecutionFilter, ExecutionOrder, ExecutionOrderField
from runtime.services.execution_range import Places, refuse_live_search, refuse_unbounded

NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)
WEEK = timedelta(days=7)
BY_END = ExecutionOrder(ExecutionOrderField.FINISHED_AT)
MOMENT = timedelta(microseconds=1)


@pytest.mark.parametrize(
    ("begin", "end", "is_fine"),
    [
        (NOW - WEEK, None, True),
        (NOW - WEEK - MOMENT, None, False),
        (None, None, False),
        (None, NOW, False),
        (NOW - 9 * WEEK, NOW - 8 * WEEK, True),
        (NOW - 9 * WEEK, NOW - 8 * WEEK + MOMENT, False),
        (NOW, NOW - WEEK, True),
        (NOW + WEEK, None, True),
    ],
)
@pytest.mark.parametrize(("words", "order"), [("a", NEWEST), (None, BY_END), ("a", BY_END)])
def test_the_range_is_at_most_seven_days(begin, end, is_fine, words, order):
    wanted = ExecutionFilter(created_from=begin, created_to=end, search=words)

    if is_fine:
        refuse_unbounded(wanted, order, NOW)
        return
    with pytest.raises(BadInput, match="`created` with a `from`") as caught:
        refuse_unbounded(wanted, order, NOW)
    assert caught.value.reason == "CREATED_RANGE"


def test_what_an_index_has_needs_none():
    refuse_unbounded(ExecutionFilter(), NEWEST, NOW)
    refuse_unbounded(ExecutionFilter(), ExecutionOrder(descending=False), NOW)


@pytest.mark.parametrize("words", ["", "  ", "-"])
def test_a_search_names_a_word(words):
    with pytest.raises(BadInput) as caught:
        refuse_unbounded(ExecutionFilter(created_from=NOW, search=words), NEWEST, NOW)

    assert caught.value.reason == "SEARCH_EMPTY"


def test_a_live_list_is_not_searched():
    refuse_live_search(ExecutionFilter())
    with pytest.raises(BadInput) as caught:
        refuse_live_search(ExecutionFilter(search="a"))

    assert caught.value.reason == "SEARCH_NOT_LIVE"


async def test_a_tenant_takes_no_more_than_its_places() -> None:
    places = Places(at_once=3, of_a_tenant=2, patience_seconds=0)
    mine, other = UUID(int=1), UUID(int=2)

    async with places.taken(mine), places.taken(mine), places.taken(other):
        with pytest.raises(Exhausted) as refused:
            async with places.taken(mine):
                pass
    async with places.taken(mine):
        pass

    assert refused.value.reason == "TOO_MANY_SEARCHES"


async def test_all_tenants_together_take_no_more_than_there_are() -> None:
    places = Places(at_once=2, of_a_tenant=2, patience_seconds=0)
    mine, other = UUID(int=1), UUID(int=2)

    async with places.taken(mine), places.taken(mine):
        with pytest.raises(Exhausted):
            async with places.taken(other):
                pass
    async with places.taken(other), places.taken(other):
        pass


async def test_who_waits_for_a_place_gets_the_next() -> None:
    places = Places(at_once=1, patience_seconds=60)
    order: list[str] = []

    async def wait() -> None:
        async with places.taken(UUID(int=2)):
            order.append("waited")

    async with places.taken(UUID(int=1)):
        waiting = asyncio.create_task(wait())
        await asyncio.sleep(0)
        order.append("held")
    await waiting

    assert order == ["held", "waited"]

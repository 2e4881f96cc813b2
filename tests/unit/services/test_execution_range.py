"""What needs a range of creation: searches, and orders that no index has."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from runtime.model.errors import BadInput
from runtime.model.execution import NEWEST, ExecutionFilter, ExecutionOrder, ExecutionOrderField
from runtime.services.execution_range import refuse_live_search, refuse_unbounded

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

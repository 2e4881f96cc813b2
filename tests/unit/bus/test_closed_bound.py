"""Up to where a page of the feed may go."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.store.event_bus import closed_bound


@pytest.mark.parametrize(
    ("rows", "horizon", "bound"),
    [
        ([], 10, 10),
        ([(5, None, 1)], 10, 10),
        ([(5, None, 1), (6, None, 1)], None, 6),
        ([(5, None, 1)], None, None),
        ([(5, None, 1), (5, None, 1)], None, None),
        ([(5, 9, 1), (8, None, 1)], 10, 10),
        ([(5, 12, 1), (8, None, 1)], 10, None),
        ([(4, None, 1), (5, 12, 1), (8, None, 1)], 10, 5),
        ([(5, 7, 1), (6, None, 1), (8, None, 1)], None, 8),
        ([(5, None, 50), (6, None, 50), (7, None, 50)], 9, 6),
        ([(5, None, 2_500), (6, None, 2_500)], 9, 6),
    ],
)
def test_a_bound_is(rows, horizon, bound):
    assert closed_bound(rows, horizon, max_size=60) == bound


ROWS = st.lists(
    st.tuples(st.integers(1, 30), st.none() | st.integers(0, 12), st.integers(1, 100)), max_size=20
).map(
    lambda rows: [
        (x, None if a is None else x + 1 + a, s) for x, a, s in sorted(rows, key=lambda row: row[0])
    ]
)


@given(ROWS, st.booleans(), st.integers(0, 10))
def test_a_page_is_closed_and_makes_way(rows, is_all, above):
    horizon = (rows[-1][0] if rows else 0) + 1 + above

    bound = closed_bound(rows, horizon if is_all else None, max_size=100)

    if bound is None:
        return
    inside = [row for row in rows if row[0] < bound]
    assert all(after is None or after <= bound for _, after, _ in inside)
    assert inside or is_all
    assert bound <= horizon
    shorter = {x for x, _, _ in inside[1:]} - {inside[0][0]} if inside else set()
    is_heavy = sum(size for *_, size in inside) > 100
    closed = [
        b for b in shorter if all(after is None or after <= b for x, after, _ in inside if x < b)
    ]
    assert not (is_heavy and closed), "a smaller page would have done"

"""A line of `make bench`: its goals, and the row of the table."""

from __future__ import annotations

import pytest

from benchmarks.__main__ import BENCHES, table
from benchmarks.line import Line, at_least, at_most, spread


def line(**more):
    return Line(
        bench="b", letter="X", unit="ms", measured=4.0, raw=2.0, ratio=2.0, **{"goals": [], **more}
    )


@pytest.mark.parametrize(
    ("goals", "passed"),
    [
        ([at_most("ratio", 2.0)], True),
        ([at_most("ratio", 1.9)], False),
        ([at_least("measured", 4.0)], True),
        ([at_least("measured", 4.0), at_most("p95", 1.0)], False),
    ],
)
def test_a_line_passes_when_every_goal_is_reached(goals, passed):
    assert line(goals=goals, facts={"p95": 3.0}).passed is passed


def test_a_line_says_what_was_measured_against_what():
    found = line(goals=[at_most("ratio", 3.0)], facts={"runs": 5, "p95": 1.23456789}).as_json()

    assert found == {
        "bench": "b", "line": "X", "unit": "ms", "measured": 4.0, "raw": 2.0, "ratio": 2.0,
        "target": "ratio <= 3", "pass": True, "runs": 5, "p95": 1.2346,
    }  # fmt: skip


def test_the_table_has_a_row_per_line():
    rows = table([line(goals=[at_most("ratio", 1.0)]).as_json()]).splitlines()

    assert rows[0].split() == [
        "line",
        "bench",
        "measured",
        "unit",
        "raw",
        "ratio",
        "target",
        "holds",
    ]
    assert rows[1].split() == ["X", "b", "4", "ms", "2", "2", "ratio", "<=", "1", "NO"]


def test_spread_is_in_milliseconds():
    assert spread([0.003, 0.001, 0.002]) == {
        "p50_ms": 2.0,
        "p95_ms": 3.0,
        "p99_ms": 3.0,
        "max_ms": 3.0,
    }


def test_every_line_of_the_table_has_its_benchmark():
    assert {"throughput", "commits", "latency", "pickup", "gap", "acceptance", "fan-out"} <= set(
        BENCHES
    )
    assert {"takeover", "parked", "listing", "cpu", "observability", "retention", "map"} <= set(
        BENCHES
    )

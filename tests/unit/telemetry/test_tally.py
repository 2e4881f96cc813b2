"""Counters and histograms of one thread: a scrape shows what those of prometheus_client would."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.openmetrics.exposition import generate_latest as openmetrics

from runtime.telemetry.tally import LoopCounter, LoopHistogram

BOUNDS = (0.001, 0.5, 1, 30, 2_000_000)
LABELS = st.tuples(st.sampled_from(["/page", 'o"ther\\', "ünd\n"]), st.sampled_from(["200", "401"]))
AMOUNTS = st.floats(0, 1e9) | st.sampled_from(BOUNDS) | st.just(math.inf)


def _shown(registry, write):
    return [line for line in write(registry).decode().splitlines() if "_created" not in line]


@pytest.mark.parametrize("write", [generate_latest, openmetrics], ids=["plain", "openmetrics"])
@given(st.lists(st.tuples(LABELS, AMOUNTS), max_size=20))
def test_a_scrape_shows_what_the_librarys_own_would(write, said):
    theirs, ours = CollectorRegistry(), CollectorRegistry()
    names = ("route", "status")
    counters: list[Any] = [
        Counter("asked_total", "How often.", names, registry=theirs),
        LoopCounter("asked_total", "How often.", names, ours),
    ]
    histograms: list[Any] = [
        Histogram("took", "How long.", names, registry=theirs, buckets=BOUNDS),
        LoopHistogram("took", "How long.", names, ours, bounds=BOUNDS),
    ]

    for labels, amount in said:
        for counter, histogram in zip(counters, histograms, strict=True):
            counter.labels(*labels).inc()
            histogram.labels(*labels).observe(amount)

    assert _shown(ours, write) == _shown(theirs, write)


def test_a_family_without_labels_is_its_one_child():
    registry = CollectorRegistry()
    lag = LoopHistogram("lag", "How late.", (), registry, bounds=(1,)).labels()

    lag.observe(2)

    assert registry.get_sample_value("lag_count") == 1
    assert registry.get_sample_value("lag_bucket", {"le": "1.0"}) == 0


def test_labels_are_as_many_as_the_family_has():
    counter = LoopCounter("asked_total", "How often.", ("route",), CollectorRegistry())

    with pytest.raises(ValueError, match="asked_total has the labels route"):
        counter.labels("a", "b")


def test_a_name_is_taken_once():
    registry = CollectorRegistry()
    LoopCounter("asked_total", "How often.", (), registry)

    with pytest.raises(ValueError, match="asked"):
        LoopCounter("asked_total", "How often.", (), registry)

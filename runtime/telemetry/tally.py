"""Counters and histograms of what happens with every request and every step: plain numbers, read by who scrapes.

Those of prometheus_client may be used by any thread, and take a lock for each number; with five of them to a step that
is a twentieth of its processor time. These belong to the thread of the event loop. What a scrape shows is the same.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cache, partial
from typing import Generic, TypeVar

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

T = TypeVar("T")


class _Family(Collector, Generic[T]):
    """Its children by the values of their labels."""

    def __init__(
        self,
        name: str,
        words: str,
        labels: Sequence[str],
        registry: CollectorRegistry,
        make: Callable[[], T],
    ) -> None:
        self._make = make
        self._name = name
        self._words = words
        self._labels = tuple(labels)
        self._children: dict[tuple[str, ...], T] = {}
        # The child of some values. Remembered in C: every request asks.
        self.labels: Callable[..., T] = cache(self._child)
        registry.register(self)

    def _child(self, *values: str) -> T:
        if len(values) != len(self._labels):
            raise ValueError(f"{self._name} has the labels {', '.join(self._labels) or 'none'}")
        found = self._children[values] = self._make()
        return found


class Count:
    """A number that grows."""

    __slots__ = ("value",)

    def __init__(self) -> None:
        self.value = 0.0

    def inc(self, amount: float = 1.0) -> None:
        """Add to it."""
        self.value += amount


class LoopCounter(_Family[Count]):
    """A counter of one thread; its name ends in `_total`."""

    def __init__(
        self, name: str, words: str, labels: Sequence[str], registry: CollectorRegistry
    ) -> None:
        super().__init__(name, words, labels, registry, Count)

    def describe(self) -> Iterable[Metric]:
        """Its name and what it means, as the registry asks."""
        return [CounterMetricFamily(self._name, self._words, labels=self._labels)]

    def collect(self) -> Iterator[Metric]:
        """As a scrape shows it."""
        family = CounterMetricFamily(self._name, self._words, labels=self._labels)
        for values, child in self._children.items():
            family.add_metric(values, child.value)
        yield family


class Buckets:
    """How many values were at most so large, and their sum."""

    __slots__ = ("_bounds", "counts", "total")

    def __init__(self, bounds: Sequence[float]) -> None:
        self._bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0

    def observe(self, amount: float) -> None:
        """Add a value."""
        self.counts[bisect_left(self._bounds, amount)] += 1
        self.total += amount


class LoopHistogram(_Family[Buckets]):
    """A histogram of one thread."""

    def __init__(
        self,
        name: str,
        words: str,
        labels: Sequence[str],
        registry: CollectorRegistry,
        *,
        bounds: Sequence[float],
    ) -> None:
        self._bounds = tuple(map(float, bounds))
        super().__init__(name, words, labels, registry, partial(Buckets, self._bounds))

    def describe(self) -> Iterable[Metric]:
        """Its name and what it means, as the registry asks."""
        return [HistogramMetricFamily(self._name, self._words, labels=self._labels)]

    def collect(self) -> Iterator[Metric]:
        """As a scrape shows it."""
        family = HistogramMetricFamily(self._name, self._words, labels=self._labels)
        for values, child in self._children.items():
            reached, buckets = 0, []
            for bound, count in zip((*self._bounds, float("inf")), child.counts, strict=True):
                reached += count
                written: str = floatToGoString(bound)  # type: ignore[no-untyped-call] # as published
                buckets.append((written, float(reached)))
            family.add_metric(values, buckets, child.total)
        yield family

"""Limits and Meter: no expression takes more than its share of time or memory.

Expressions have no loops of their own, so work is bounded by what operators and filters touch and
make. Each of them pays here *before* it works: elements for what it walks over, bytes for what it
builds. A result that contains the same part many times is paid for as often as it will be written.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from runtime.expression.error import LimitReached

_CONTAINER_BYTES = 2
_SCALAR_BYTES = 8
_MAX_DEPTH = 200


@dataclass(frozen=True, slots=True)
class Limits:
    """What one rendering may take: elements walked over or made, bytes built."""

    nodes: int = 1_000_000
    bytes: int = 16 * 1024 * 1024


DEFAULT = Limits()
# What is found out before anything runs, perhaps thousands of times for one document.
CONSTANT = Limits(nodes=1_000, bytes=16 * 1024)


class Meter:
    """What is left of the limits of one rendering."""

    __slots__ = ("bytes", "limits", "nodes")

    def __init__(self, limits: Limits = DEFAULT) -> None:
        self.limits = limits
        self.nodes = limits.nodes
        self.bytes = limits.bytes

    def touch(self, count: int) -> None:
        """Pay for walking over, or making, this many elements."""
        self.nodes -= count
        if self.nodes < 0:
            raise LimitReached(
                f"this expression works on more than {self.limits.nodes:,} elements; do it in a step"
            )

    def produce(self, size: int) -> None:
        """Pay for building this many bytes."""
        self.bytes -= size
        if self.bytes < 0:
            raise LimitReached(
                f"this expression builds more than {self.limits.bytes:,} bytes; do it in a step"
            )


def weigh(value: Any, meter: Meter) -> None:
    """Pay for a whole value as if it were written out, shared parts as often as they occur."""
    level: list[Any] = [value]
    for _ in range(_MAX_DEPTH):
        if not level:
            return
        level = _weigh_level(level, meter)
    raise LimitReached(f"this value is nested deeper than {_MAX_DEPTH} levels")


def _weigh_level(level: list[Any], meter: Meter) -> list[Any]:
    below: list[Any] = []
    size = 0
    for value in level:
        kind = type(value)
        if kind is str:
            size += len(value) + _CONTAINER_BYTES
        elif kind is dict or isinstance(value, Mapping):
            meter.touch(len(value))
            meter.produce(_CONTAINER_BYTES + sum(map(len, value)))
            below.extend(value.values())
        elif kind is list or kind is tuple:
            meter.touch(len(value))
            below.extend(value)
        else:
            size += _SCALAR_BYTES
    meter.produce(size)
    return below

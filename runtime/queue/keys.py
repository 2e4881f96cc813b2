"""Every name of a key and a channel; the hash tag keeps a shard's keys on one node of a cluster."""

from __future__ import annotations

from typing import Final
from uuid import UUID

CLASSES: Final = 3
GROUP: Final = "workers"


def stream(shard: int, priority_class: int) -> str:
    """The stream of a shard and priority class: 0 is the highest."""
    return f"mc:{{{shard}}}:q{priority_class}"


def streams(shard: int) -> tuple[str, ...]:
    """All streams of a shard, the highest class first."""
    return tuple(stream(shard, number) for number in range(CLASSES))


def class_of(priority: int) -> int:
    """The class of a priority: above zero is high, below zero is low."""
    return 0 if priority > 0 else 1 if priority == 0 else 2


def turns(shard: int) -> str:
    """The tenants of a shard that take turns: the bytes of their ids, one behind the other."""
    return f"mc:{{{shard}}}:turns"


def channel(shard: int, topic: str) -> str:
    """The channel on which a shard's bells are rung: topic is `events`, `inbox` or `logs`."""
    return f"mc:{{{shard}}}:{topic}"


def bucket(tenant_id: UUID) -> str:
    """What a tenant has left of what it may ask the graph."""
    return f"mc:rate:{{{tenant_id}}}"


# Breakers belong to no shard: all of them lie on one node, under a hash tag of their own.
BREAKERS: Final = "mc:{breakers}"


def breaker_failures(digest: str) -> str:
    """Where the failures of one target are counted by all workers."""
    return f"{BREAKERS}:f:{digest}"

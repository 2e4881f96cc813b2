"""Births: places that a worker of this process offers to what the same process accepts.

An execution that is born owned is inserted running: its worker begins it as soon as the acceptance is committed, with
no hint and no claim. The worker offers, the enqueuer takes, the database decides (`mc_enqueue_2`): a worker that was
fenced off owns nothing, and what waits already is not overtaken.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import NamedTuple, TypeAlias
from uuid import UUID


class Newborn(NamedTuple):
    """What its worker has to know of an execution that it owns from the first commit on; texts are JSON."""

    id: UUID
    tenant_id: UUID
    workflow_id: UUID
    version_id: UUID
    namespace: str
    region: str | None
    priority: int
    timeout_seconds: float | None
    input: str
    meta: str
    at: datetime


class Offer(NamedTuple):
    """Places of one worker. `told` is called once: with what was born, or None when nobody knows."""

    me: int
    epoch: int
    places: int
    told: Callable[[Sequence[Newborn] | None], None]


Claim: TypeAlias = Callable[[int], Offer | None]


class Births:
    """The workers of one process that take what it accepts, by shard."""

    def __init__(self) -> None:
        self._claims: defaultdict[int, list[Claim]] = defaultdict(list)

    def join(self, shard: int, claim: Claim) -> None:
        """A worker serves this shard from now on; it offers nothing while it has no place or no seat."""
        self._claims[shard].append(claim)

    def claim(self, shard: int, wanted: int) -> Offer | None:
        """At most so many places of the first worker that has some."""
        for claim in self._claims[shard]:
            offer = claim(wanted)
            if offer is not None:
                return offer
        return None

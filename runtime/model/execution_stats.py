"""Statistics of executions: what is asked for, the numbers, and durations that can be added up.

Durations are kept as a histogram whose slots grow by a twentieth of e: a percentile read from it is at most
2.5 % away from the exact one, whatever was added up, over however many databases.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from fractions import Fraction
from typing import Final
from uuid import UUID

from runtime.model.execution import ExecutionState
from runtime.model.values import Duration, Money

SLOTS_PER_E: Final = 20
LARGEST_ERROR: Final = math.tanh(1 / (2 * SLOTS_PER_E))

OPEN: Final = (
    ExecutionState.QUEUED,
    ExecutionState.RUNNING,
    ExecutionState.WAITING,
    ExecutionState.PAUSED,
    ExecutionState.CANCELLING,
    ExecutionState.COMPENSATING,
)
_BADLY: Final = (
    ExecutionState.FAILED,
    ExecutionState.TIMED_OUT,
    ExecutionState.DEAD_LETTERED,
)


@dataclass(frozen=True, slots=True)
class StatsFilter:
    """Which executions are counted; empty fields do not restrict."""

    workflow_id: tuple[UUID, ...] = ()
    workflow_name: tuple[str, ...] = ()
    version: str | None = None
    namespace: tuple[str, ...] = ()
    created_from: datetime | None = None
    created_to: datetime | None = None


@dataclass(frozen=True, slots=True)
class ExecutionStats:
    """Numbers of executions. What is open counts whenever it was created; what has ended, if in the range.

    `durations` are those of what completed: how many in each slot.
    """

    begin: datetime
    end: datetime | None
    counts: Mapping[ExecutionState, int]
    durations: Mapping[int, int]
    cost: tuple[Money, ...]
    asked_at: datetime
    oldest_queued_at: datetime | None = None
    silent: tuple[str, ...] = field(default=())

    def count(self, state: ExecutionState) -> int:
        """How many are in a state."""
        return self.counts.get(state, 0)

    @property
    def success_rate(self) -> float | None:
        """What part of those that ran to an end completed; what was cancelled says nothing of it."""
        well = self.count(ExecutionState.COMPLETED)
        all_of_them = well + sum(map(self.count, _BADLY))
        return well / all_of_them if all_of_them else None

    def percentile(self, percent: int) -> Duration | None:
        """The duration that so many percent of what completed did not exceed."""
        slot = nearest_rank(self.durations, percent)
        return None if slot is None else Duration(round(slot_milliseconds(slot)))

    @property
    def backlog_age(self) -> Duration | None:
        """For how long the oldest has been waiting for its first worker."""
        if self.oldest_queued_at is None:
            return None
        waited = (self.asked_at - self.oldest_queued_at).total_seconds()
        return Duration(max(0, round(waited * 1000)))


def nearest_rank(durations: Mapping[int, int], percent: int) -> int | None:
    """The slot of the duration at this rank; None when there are none."""
    total = sum(durations.values())
    rank, seen = math.ceil(Fraction(total * percent, 100)), 0
    for slot in sorted(durations):
        seen += durations[slot]
        if seen >= rank and seen:
            return slot
    return None


def slot_milliseconds(slot: int) -> float:
    """The duration that stands for a slot: as far from its lower bound as from its upper one, in proportion."""
    return 2 * math.exp(slot / SLOTS_PER_E) / (1 + math.exp(1 / SLOTS_PER_E))

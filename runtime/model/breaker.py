"""CircuitBreaker: a target of a connector that keeps failing, as workers and people name it."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple
from uuid import UUID


@dataclass(frozen=True, slots=True)
class BreakerRule:
    """After how many failures within which window it opens, for how long, and how many may probe."""

    # A target that fails now and then is for retries: many callers at once see five failures in a row of one that
    # answers three calls of five, every minute.
    failures: int = 10
    window_seconds: float = 30.0
    open_seconds: float = 5.0
    longest_seconds: float = 300.0
    probes: int = 1


class BreakerState(StrEnum):
    """As people see it."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


class BreakerKey(NamedTuple):
    """One breaker: tenants do not open each other's."""

    tenant_id: UUID
    connector: str
    target: str

    @property
    def field(self) -> str:
        """Its name in the hash."""
        return json.dumps([str(self.tenant_id), self.connector, self.target])

    @property
    def digest(self) -> str:
        """Its name in a key."""
        return hashlib.blake2b(self.field.encode(), digest_size=12).hexdigest()


@dataclass(frozen=True, slots=True)
class OpenBreaker:
    """A breaker that is open, or waits for its first probe (`seconds_left` is over then)."""

    key: BreakerKey
    seconds_left: float
    open_for_seconds: float
    failures: int

    @property
    def state(self) -> BreakerState:
        """Where it stands."""
        return BreakerState.OPEN if self.seconds_left > 0 else BreakerState.HALF_OPEN

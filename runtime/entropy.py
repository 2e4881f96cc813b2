"""The second source of surprise: ids and chance.

Everything that needs it takes an Entropy; tests seed one.
"""

from __future__ import annotations

import os
import random
import secrets
from collections import deque
from typing import Final, Protocol
from uuid import UUID

from runtime.model.ids import SLOTS, make_uuid7

_WORD: Final = 10  # An id takes 74 bits.
_WORDS: Final = 256
# Fetched for many ids at once: one by one, a thirtieth of the CPU of an accepted batch went to asking. Never shared
# with a forked child; taking one is atomic, whatever thread asks.
_noise: Final[deque[bytes]] = deque()
os.register_at_fork(after_in_child=_noise.clear)


class Entropy(Protocol):
    """Randomness, and the ids made of it."""

    def bits(self, count: int) -> int:
        """A number of so many random bits."""

    def fraction(self) -> float:
        """A number from 0 (inclusive) to 1 (exclusive)."""

    def uuid7(self, unix_ms: int, slot: int | None = None) -> UUID:
        """A UUID v7; without a slot, a random one."""


class SystemEntropy:
    """The operating system's randomness."""

    def bits(self, count: int) -> int:
        """A number of so many random bits."""
        return secrets.randbits(count)

    def fraction(self) -> float:
        """A number from 0 (inclusive) to 1 (exclusive)."""
        return secrets.randbits(53) / (1 << 53)

    def uuid7(self, unix_ms: int, slot: int | None = None) -> UUID:
        """A UUID v7; without a slot, a random one."""
        noise = int.from_bytes(_next_word(), "big")
        return make_uuid7(
            unix_ms=unix_ms, slot=noise % SLOTS if slot is None else slot, noise=noise >> 12
        )


def _next_word() -> bytes:
    try:
        return _noise.popleft()
    except IndexError:
        fresh = os.urandom(_WORD * _WORDS)
        _noise.extend(fresh[at : at + _WORD] for at in range(_WORD, len(fresh), _WORD))
        return fresh[:_WORD]


class SeededEntropy:
    """The same numbers for the same seed."""

    def __init__(self, seed: int = 0) -> None:
        self._random = random.Random(seed)  # noqa: S311 - repeatable on purpose; secrets come from SystemEntropy

    def bits(self, count: int) -> int:
        """A number of so many bits, the next of the sequence."""
        return self._random.getrandbits(count)

    def fraction(self) -> float:
        """A number from 0 (inclusive) to 1 (exclusive), the next of the sequence."""
        return self._random.random()

    def uuid7(self, unix_ms: int, slot: int | None = None) -> UUID:
        """A UUID v7, the next of the sequence; without a slot, any one."""
        return make_uuid7(
            unix_ms=unix_ms, slot=self.bits(12) if slot is None else slot, noise=self.bits(62)
        )

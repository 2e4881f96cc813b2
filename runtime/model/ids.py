"""Identifiers.

An execution's id is a UUID version 7 (RFC 9562) whose 12 bits after the version hold its slot.

Whoever holds an id knows its slot, and from the slot its shard, without a look-up; the id survives
a later change of the number of shards. Everything that belongs to an execution has an id that
starts with the execution's id.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Final
from uuid import UUID

SLOTS: Final = 4096


def make_uuid7(*, unix_ms: int, slot: int, noise: int) -> UUID:
    """A UUID v7: milliseconds, 12 bits of slot, 62 of randomness (RFC 9562, section 5.7)."""
    value = (unix_ms & (2**48 - 1)) << 80
    value |= 0x7 << 76
    value |= (slot & 0xFFF) << 64
    value |= 0b10 << 62
    value |= noise & (2**62 - 1)
    return UUID(int=value)


def slot_of(execution_id: UUID) -> int:
    """The slot (0..4095) written into an execution's id."""
    return (execution_id.int >> 64) & 0xFFF


def slot_for(*parts: str) -> int:
    """The slot of a tenant, or of a tenant and a key; stable over processes and releases."""
    digest = hashlib.blake2b("\x1f".join(parts).encode(), digest_size=2).digest()
    return int.from_bytes(digest, "big") % SLOTS


def shard_of(execution_id: UUID, shards: int) -> int:
    """The shard of an execution among `shards` (a power of two): ``slot * N >> 12``."""
    return slot_of(execution_id) * shards >> 12


def unix_ms_of(value: UUID) -> int:
    """Milliseconds since the epoch at which a UUID v7 was made."""
    return value.int >> 80


def human_task_id(execution_id: UUID, step: int, generation: int) -> UUID:
    """The id of the task that a step opens in one generation: the same whoever opens it, and however often.

    It has the time and the slot of the execution's id, so both lie in one shard for ever.
    """
    said = f"{execution_id}.s.{step}.{generation}".encode()
    noise = int.from_bytes(hashlib.blake2b(said, digest_size=8).digest(), "big")
    return make_uuid7(unix_ms=unix_ms_of(execution_id), slot=slot_of(execution_id), noise=noise)


def step_text(execution_id: UUID, step: int, item: int = -1) -> str:
    """A step's id as text, for those who write one for every call and need no object for it."""
    return f"{execution_id}.s.{step}" if item < 0 else f"{execution_id}.s.{step}.{item}"


@dataclass(frozen=True, slots=True)
class StepExecutionId:
    """``<execution>.s.<step>[.<item>]``: one step of one execution; `item` only inside a map."""

    execution_id: UUID
    step: int
    item: int = -1

    def __str__(self) -> str:
        return step_text(self.execution_id, self.step, self.item)

    @classmethod
    def parse(cls, text: str) -> StepExecutionId:
        """The parts of an id as text; raises ValueError when it is not one."""
        head, kind, *rest = text.split(".")
        if kind != "s" or len(rest) not in {1, 2}:
            raise ValueError(text)
        return cls(UUID(head), int(rest[0]), int(rest[1]) if rest[1:] else -1)


@dataclass(frozen=True, slots=True)
class EventId:
    """``<execution>.e.<sequence>``: one event of one execution."""

    execution_id: UUID
    sequence: int

    def __str__(self) -> str:
        return f"{self.execution_id}.e.{self.sequence}"

    @classmethod
    def parse(cls, text: str) -> EventId:
        """The parts of an id as text; raises ValueError when it is not one."""
        head, kind, number = text.split(".")
        if kind != "e":
            raise ValueError(text)
        return cls(UUID(head), int(number))

"""Work that would hold up everybody else in the process goes to a thread, once there is enough of it to be noticed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final, TypeVar

T = TypeVar("T")

# Events of a history: what is longer takes ten milliseconds and more.
_MANY: Final = 1_000


async def aside(count: int, work: Callable[[], T]) -> T:
    """What the work gives, which goes through so many things."""
    return work() if count <= _MANY else await asyncio.to_thread(work)

"""Room for large values: what was taken is given back, whatever was loaded for one rendering."""

from __future__ import annotations

import asyncio
from typing import Any, cast
from uuid import UUID

from runtime.model.blob import BlobRef
from runtime.worker.outputs import Held, Room


class _Store:
    async def load(self, _owned: Any, ref: BlobRef) -> int:
        return ref.size


def _refs(*sizes: int) -> list[BlobRef]:
    return [BlobRef(f"sha256:{UUID(int=n).hex * 2}", size) for n, size in enumerate(sizes)]


async def _load(room: Room, *sizes: int) -> Held:
    held = Held(room)
    for ref in _refs(*sizes):
        async with asyncio.timeout(1):
            await held.add(cast("Any", _Store()), cast("Any", None), ref)
    return held


async def test_values_that_are_together_larger_than_the_room_give_all_of_it_back():
    room = Room(256)

    for _ in range(10):
        (await _load(room, 60, 60, 60, 60, 60)).release()
    for _ in range(10):
        keep = (await _load(room, 300, 60, 60)).kept()
        assert room.free < 256
        del keep

    # All of the room is there: one that needs it whole comes in at once.
    (await _load(room, 256)).release()
    assert room.free == 256


async def test_a_value_that_is_larger_than_the_room_waits_for_all_of_it():
    room = Room(256)
    first = await _load(room, 200)
    second = asyncio.create_task(_load(room, 1_000))
    await asyncio.sleep(0)

    assert not second.done()
    first.release()
    (await second).release()
    assert room.free == 256

"""Named signals: what tests wait for."""

from __future__ import annotations

import asyncio

import pytest

from runtime.worker.signals import CLAIMED, CLOSED, Signals


async def test_a_wait_ends_with_the_count_it_asks_for():
    signals = Signals()
    waiting = asyncio.create_task(signals.wait(CLAIMED, 3))
    await asyncio.sleep(0)

    signals.fire(CLAIMED, 2)
    signals.fire(CLOSED)
    await asyncio.sleep(0)
    assert not waiting.done()
    signals.fire(CLAIMED)

    await waiting


async def test_what_has_happened_already_is_not_waited_for():
    signals = Signals()
    signals.fire(CLAIMED)

    await signals.wait(CLAIMED)


async def test_what_does_not_happen_times_out():
    with pytest.raises(TimeoutError):
        await Signals().wait(CLAIMED, timeout=0.01)

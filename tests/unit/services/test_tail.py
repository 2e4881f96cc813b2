"""Tail: who watches is woken in parts, so that a thousand of them do not have the loop at once."""

from __future__ import annotations

import asyncio
from typing import Any, cast

from runtime.model.event import EventKind
from runtime.services import watch
from runtime.services.watch import Tail
from tests import make

STARTED, COMPLETED = EventKind.STEP_STARTED, EventKind.STEP_COMPLETED


def _tail() -> Tail:
    """One that has looked once, and is not asked to read."""
    tail = Tail(cast("Any", None), make.new_id(), make.new_id())
    tail.done = 1
    return tail


async def test_a_thousand_are_woken_in_parts_and_all_of_them() -> None:
    tail = _tail()
    waiting = [tail.changed(frozenset()) for _ in range(watch._WOKEN * 2 + 5)]

    tail._tell(7, {COMPLETED})

    woken = [sum(news.done() for news in waiting)]
    while woken[-1] < len(waiting):
        await asyncio.sleep(0)
        woken.append(sum(news.done() for news in waiting))
    assert woken == [watch._WOKEN, watch._WOKEN * 2, len(waiting)]
    assert {news.result() for news in waiting} == {7}


async def test_who_wants_other_kinds_or_has_left_is_not_woken(monkeypatch: Any) -> None:
    monkeypatch.setattr(watch, "_WOKEN", 1)
    tail = _tail()
    other = tail.changed(frozenset({STARTED}))
    left, *wanted = [tail.changed(frozenset({COMPLETED})) for _ in range(3)]

    tail._tell(7, {COMPLETED})
    left.cancel()
    async with asyncio.timeout(5):
        assert await asyncio.gather(*wanted) == [7, 7]
    assert not other.done()

    tail._tell(8, {STARTED})
    assert other.result() == 8


async def test_who_comes_while_others_are_woken_waits_for_the_next(monkeypatch: Any) -> None:
    monkeypatch.setattr(watch, "_WOKEN", 1)
    tail = _tail()
    waiting = [tail.changed(frozenset()) for _ in range(3)]

    tail._tell(7, {COMPLETED})
    later = tail.changed(frozenset())
    async with asyncio.timeout(5):
        await asyncio.gather(*waiting)
    assert not later.done()

    tail._tell(8, {COMPLETED})
    assert later.result() == 8

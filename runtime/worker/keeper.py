"""Keeper: renews the lease over a connection of its own, once per beat.

As long as that connection lives the others see a live process; one that has lost it and is late as well is taken over
before its lease ends.

It lives in the same loop as everything else on purpose: when the loop does not turn, no beat is sent,
and another worker takes over. Only the database decides; a beat that is answered `live` renews the
lease however late it was.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from runtime.model.checkpoint import BeatAnswer
from runtime.model.errors import Unavailable
from runtime.store.faults import Fenced
from runtime.worker import signals
from runtime.worker.lease import Lease
from runtime.worker.tools import Seat, Tools

_AGAIN_SECONDS = 0.2
_RAN_OUT = "The lease ran out while PostgreSQL did not answer."


class Keeper:
    """Beats until this seat is lost: `keep` raises then."""

    def __init__(
        self,
        tools: Tools,
        seat: Seat,
        lease: Lease,
        *,
        on_answer: Callable[[BeatAnswer], None],
        on_back: Callable[[], None],
    ) -> None:
        self._tools = tools
        self._seat = seat
        self._lease = lease
        self._on_answer = on_answer
        self._on_back = on_back
        self._connection: Any = None
        # The one before: the others see us in it until we have appeared in the next one.
        self._last: Any = None
        self._is_cut = asyncio.Event()
        self._left = tools.metrics.lease_seconds.labels(str(seat.shard))

    async def keep(self) -> None:
        """Renew the lease for ever; raises Fenced, or Unavailable when the lease has run out."""
        clock, every = self._tools.clock, self._tools.settings.beat_seconds
        misses = 0
        try:
            while True:
                sent_at = clock.monotonic()
                answer = await self._beat(misses)
                if answer is None:
                    misses += 1
                    await asyncio.sleep(_AGAIN_SECONDS if misses > 1 else 0)
                    continue
                left = self._lease.renewed(sent_at)
                if misses or left <= 0:
                    # The others may have been away with us, and are no more dead than we were.
                    misses = 0
                    self._on_back()
                self._left.set(max(0.0, left))
                self._tools.signals.fire(signals.BEAT)
                self._on_answer(answer)
                await self._pause(sent_at + every - clock.monotonic())
        finally:
            self._hang_up()
            self._forget_last()

    async def _pause(self, seconds: float) -> None:
        """Until the next beat is due; a session that is cut is replaced at once."""
        with suppress(TimeoutError):
            async with asyncio.timeout(max(0.0, seconds)):
                await self._is_cut.wait()

    async def _beat(self, misses: int) -> BeatAnswer | None:
        """One beat; None when the database did not answer and the lease still holds."""
        tools, seat = self._tools, self._seat
        patience = tools.settings.lease_seconds / 2
        if not self._lease.is_over:
            patience = min(patience, self._lease.remaining)
        elif misses:
            raise Unavailable(_RAN_OUT)
        # Else this process stood still: whether somebody has taken over meanwhile, one beat asks.
        try:
            async with asyncio.timeout(patience):
                if self._connection is None:
                    await self._appear()
                answer = await tools.store.beat(
                    self._connection,
                    seat.shard,
                    seat.me,
                    seat.epoch,
                    lease_seconds=tools.settings.lease_seconds,
                    late_seconds=tools.settings.late_seconds,
                )
        except (Unavailable, TimeoutError) as error:
            self._hang_up()
            self._lease.doubted()
            if self._lease.is_over:
                raise Unavailable(_RAN_OUT) from error
            return None
        if not answer.live:
            tools.metrics.fenced.inc()
            tools.signals.fire(signals.FENCED)
            raise Fenced
        return answer

    async def _appear(self) -> None:
        connection = await self._tools.database.dedicated()
        self._is_cut.clear()
        connection.add_termination_listener(self._cut)
        self._connection = connection
        await self._tools.store.appear(connection, self._seat.me)
        self._forget_last()

    def _cut(self, connection: Any) -> None:
        if connection is self._connection:
            self._connection = None
            self._lease.doubted()
            self._is_cut.set()

    def _hang_up(self) -> None:
        if self._connection is not None:
            self._forget_last()
            self._last, self._connection = self._connection, None

    def _forget_last(self) -> None:
        if self._last is not None:
            self._last.terminate()
            self._last = None

"""Feed: what every event handler has behind it goes; so do old failures, and handlers that are no more.

A handler that is slow or away keeps the feed, but not for ever: after three days it is moved on, and is
told up to when it missed events.
"""

from __future__ import annotations

from typing import Final

from runtime.store.event_bus import EventBusStore
from runtime.telemetry.log import get_logger

KEEP_SECONDS: Final = 3 * 86_400.0
FAILURE_DAYS: Final = 30
HANDLER_DAYS: Final = 14
CHUNK: Final = 500

_log = get_logger("scheduler")


class Feed:
    """Deletes in bounded batches, so that nothing it does is long."""

    name = "feed"
    every_seconds = 60.0

    def __init__(
        self, store: EventBusStore, *, shard: int = 0, keep_seconds: float = KEEP_SECONDS
    ) -> None:
        self._store = store
        self._shard = shard
        self._keep_seconds = keep_seconds

    async def run(self) -> int:
        """How many rows of the feed went."""
        gone = 0
        while True:
            rows = await self._store.trim(self._shard, keep_seconds=self._keep_seconds, limit=CHUNK)
            gone += rows
            if rows < CHUNK:
                break
        for name in await self._store.forget(failure_days=FAILURE_DAYS, handler_days=HANDLER_DAYS):
            _log.warning("handler_forgotten", handler=name, days=HANDLER_DAYS)
        return gone

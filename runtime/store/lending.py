"""Connections of a pool that are lent one after another, without its ceremony in between.

The pool starts a timer for whoever waits and a task for whoever gives back, which takes as long as a small statement.
Here a connection that came back sound is handed to the next one, unless somebody waits for the pool; after a while all
go back to it, so that it closes what nobody needs and renews what is old.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any, Final

import asyncpg

from runtime.store.faults import Busy

_KEPT_SECONDS: Final = 30.0


class Lender:
    """Lends the connections of one pool."""

    def __init__(self, pool: asyncpg.Pool, acquire_seconds: float) -> None:
        self._pool = pool
        self._acquire_seconds = acquire_seconds
        self._ready: list[Any] = []
        self._waiting = 0
        self._is_closing = False
        self._timer: asyncio.TimerHandle | None = None
        self._returning: set[asyncio.Task[None]] = set()

    async def take(self) -> Any:
        """A connection, to be given back; raises Busy when none comes in time."""
        while self._ready:
            connection = self._ready.pop()
            if _is_open(connection):
                return connection
            await self._release(connection)
        self._waiting += 1
        try:
            return await self._pool.acquire(timeout=self._acquire_seconds)
        except TimeoutError as error:
            raise Busy from error
        finally:
            self._waiting -= 1

    async def give(self, connection: Any, *, is_sound: bool) -> None:
        """Give a connection back. `is_sound`: nothing was interrupted on it."""
        if not is_sound and _is_open(connection):
            connection.unsettle()
        is_wanted = self._waiting or self._is_closing
        if is_wanted or not is_sound or not _is_usable(connection):
            await self._release(connection)
            return
        self._ready.append(connection)
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(_KEPT_SECONDS, self._return_all)

    async def _release(self, connection: Any) -> None:
        try:
            await self._pool.release(connection)
        except asyncpg.InternalClientError:
            # The server ended it between our word and the pool's look, so the driver has given it back by itself.
            if _is_open(connection):
                raise

    def _return_all(self) -> None:
        self._timer = None
        if self._ready:
            task = asyncio.ensure_future(self._released())
            self._returning.add(task)
            task.add_done_callback(self._returning.discard)

    async def _released(self) -> None:
        while self._ready:
            await self._release(self._ready.pop())

    def terminate(self) -> None:
        """Cut all connections."""
        if self._timer is not None:
            self._timer.cancel()
        with suppress(asyncpg.InterfaceError):  # It never came to life.
            self._pool.terminate()

    async def close(self) -> None:
        """Close all connections, when those that are lent have come back."""
        if self._timer is not None:
            self._timer.cancel()
        self._is_closing = True
        await self._released()
        await self._pool.close()


def _is_usable(connection: Any) -> bool:
    """Whether a connection is open and in no transaction."""
    return _is_open(connection) and not connection.is_in_transaction()


def _is_open(connection: Any) -> bool:
    try:
        return not connection.is_closed()
    except asyncpg.InterfaceError:
        # The server ended it, and the driver gave it back by itself.
        return False

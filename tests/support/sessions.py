"""Sessions of workers, as the server sees them."""

from __future__ import annotations

import asyncio

import asyncpg


async def until_sessions_count(sql: asyncpg.Connection) -> None:
    """Wait out the first seconds of a server, in which nobody is missed for want of a session."""
    while not await sql.fetchval(
        "select pg_postmaster_start_time() < now() - interval '10 seconds'"
    ):
        await asyncio.sleep(0.1)

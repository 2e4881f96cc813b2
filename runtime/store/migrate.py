"""Migrations: numbered SQL files, forward only, each in a transaction of its own.

`pre` runs before the new code, `post` after it. A digest is kept of every applied file, and a file
that was changed afterwards is refused: what is applied here would not be what is applied elsewhere.
Run by `mc migrate` and at every development start, one at a time by an advisory lock.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from importlib.resources import files
from typing import Any, Final, Literal

import asyncpg

from runtime.model.errors import SetupError, Unavailable
from runtime.store.faults import is_gone, sqlstate, was_rolled_back
from runtime.store.pool import place_of, refuse_old

Phase = Literal["pre", "post"]

_LOCK: Final = 7263000
_DAYS_AHEAD: Final = 8
_LOCK_TRIES: Final = 5
_MAKE_DAY: Final = (
    "select maestro.mc_make_partitions(x.day, x.day)"
    " from (select (pg_catalog.now() at time zone 'UTC')::date + $1::int as day) x"
)
_FILE = re.compile(r"\d{4}_(pre|post)_[a-z0-9_]+\.sql")

_PREPARE = """
create schema if not exists maestro;
create table if not exists maestro.migrations (
  name       text primary key,
  sha256     text not null,
  applied_at timestamptz not null default pg_catalog.now()
)"""


@dataclass(frozen=True, slots=True)
class Migration:
    """One file: its name, what it says, and the digest of that."""

    name: str
    sql: str
    sha256: str
    phase: Phase


def shipped() -> tuple[Migration, ...]:
    """All migrations of this release, in order."""
    folder = files("runtime.store").joinpath("migrations")
    found: list[Migration] = []
    for item in sorted(folder.iterdir(), key=lambda entry: entry.name):
        match = _FILE.fullmatch(item.name)
        if match:
            data = item.read_bytes()
            phase: Phase = "pre" if match[1] == "pre" else "post"
            digest = hashlib.sha256(data).hexdigest()
            found.append(Migration(item.name.removesuffix(".sql"), data.decode(), digest, phase))
    return tuple(found)


async def migrate(
    url: str,
    on_step: Callable[[str], None] | None = None,
    *,
    phases: Sequence[Phase] = ("pre", "post"),
    migrations: Sequence[Migration] | None = None,
) -> tuple[str, ...]:
    """Apply what is missing; the names of what was applied. `on_step` hears of each before it runs."""
    available = shipped() if migrations is None else tuple(migrations)
    applied: list[str] = []
    async with _connected(url) as connection:
        await connection.execute("select pg_advisory_lock($1)", _LOCK)
        await connection.execute(_PREPARE)
        for migration in await _missing(connection, available):
            if migration.phase not in phases:
                continue
            if on_step is not None:
                on_step(migration.name)
            await _apply(connection, migration)
            applied.append(migration.name)
        for day in range(-1, _DAYS_AHEAD + 1):
            await _make_day(connection, day)
    return tuple(applied)


async def pending(url: str) -> tuple[str, ...]:
    """The names of migrations that are not applied yet."""
    async with _connected(url) as connection:
        return await pending_on(connection)


async def pending_on(connection: Any) -> tuple[str, ...]:
    """The same over a connection that is there already, of whatever role."""
    if await connection.fetchval("select to_regclass('maestro.migrations')") is None:
        return tuple(migration.name for migration in shipped())
    return tuple(migration.name for migration in await _missing(connection, shipped()))


async def _missing(connection: Any, available: Sequence[Migration]) -> list[Migration]:
    rows = await connection.fetch("select name, sha256 from maestro.migrations")
    done = {row["name"]: row["sha256"] for row in rows}
    for migration in available:
        if done.get(migration.name, migration.sha256) != migration.sha256:
            raise SetupError(
                f"The migration {migration.name} was changed after it had been applied to this "
                "database: restore the file, and put the change into a new one.",
                reason="MIGRATION_CHANGED",
            )
    return [migration for migration in available if migration.name not in done]


async def _apply(connection: Any, migration: Migration) -> None:
    try:
        async with connection.transaction():
            await connection.execute(migration.sql)
            await connection.execute(
                "insert into maestro.migrations (name, sha256) values ($1, $2)",
                migration.name,
                migration.sha256,
            )
    except asyncpg.PostgresError as error:
        if sqlstate(error) == "42501":
            raise
        raise SetupError(
            f"The migration {migration.name} failed and left nothing behind: {error}.",
            reason="MIGRATION_FAILED",
        ) from error


async def _make_day(connection: Any, day: int) -> None:
    """The partitions of a day, counted from today; somebody else's lock is waited for a little."""
    for left in reversed(range(_LOCK_TRIES)):
        try:
            await connection.execute(_MAKE_DAY, day)
        except asyncpg.PostgresError as error:
            if not was_rolled_back(error):
                raise
            if not left:
                raise Unavailable(
                    "The daily partitions can't be made, because another session holds a lock on "
                    f"their tables ({error}): end it, then try again.",
                    reason="PARTITIONS_LOCKED",
                ) from error
        else:
            return


@asynccontextmanager
async def _connected(url: str) -> AsyncIterator[Any]:
    """A connection as the login user; what goes wrong comes out as a sentence about this database."""
    connection: Any = None
    try:
        connection = await asyncpg.connect(
            url, timeout=10, server_settings={"application_name": "maestro-migrate"}
        )
        refuse_old(connection)
        yield connection
    except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError, TimeoutError) as error:
        raise _explained(url, error) from error
    finally:
        if connection is not None:
            connection.terminate()


def _explained(url: str, error: Exception) -> Exception:
    place = place_of(url)
    if sqlstate(error) == "42501":
        return SetupError(
            f"The login user may not set up {place} ({error}): it needs CREATE on the database, and "
            "either CREATEROLE or the roles mc_api and mc_engine granted to it (nologin, "
            "nosuperuser, nobypassrls).",
            reason="MISSING_RIGHTS",
        )
    if sqlstate(error).startswith("28") or sqlstate(error) == "3D000":
        return SetupError(f"The database {place} refuses: {error}.", reason="DATABASE_REFUSES")
    if is_gone(error):
        return Unavailable(
            f"PostgreSQL at {place} does not answer: {str(error) or type(error).__name__}.",
            reason="DATABASE_UNAVAILABLE",
        )
    return error

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
from runtime.model.shard_map import ShardMap
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
    shards: Sequence[int] = (0,),
    total: int = 1,
) -> tuple[str, ...]:
    """Apply what is missing; the names of what was applied. `on_step` hears of each before it runs.

    Afterwards the database says that it holds `shards` of `total`; raises SetupError when rows of
    others lie in it.
    """
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
        if "pre" in phases and migrations is None:
            await _hold(connection, url, tuple(shards), total)
    return tuple(applied)


async def migrate_all(
    shard_map: ShardMap, on_step: Callable[[str], None] | None = None
) -> tuple[str, ...]:
    """Every database of a map, one after the other; with several, names begin with the database's."""
    applied: list[str] = []
    for place in shard_map.places:
        prefix = f"{place.name}: " if len(shard_map.places) > 1 else ""

        def told(name: str, prefix: str = prefix) -> None:
            if on_step is not None:
                on_step(prefix + name)

        done = await migrate(place.url, told, shards=place.shards, total=shard_map.total)
        applied += [prefix + name for name in done]
    return tuple(applied)


async def pending_all(shard_map: ShardMap) -> tuple[str, ...]:
    """The names of migrations that are not applied yet in some database of a map."""
    found: list[str] = []
    for place in shard_map.places:
        prefix = f"{place.name}: " if len(shard_map.places) > 1 else ""
        found += [prefix + name for name in await pending(place.url)]
    return tuple(found)


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


# Whether it ever had an execution: shards are given to it once, later they are moved with all that is in them.
_IN_SERVICE: Final = (
    "select exists (select 1 from maestro.workflow_executions)"
    " or exists (select 1 from maestro.retention_days)"
)


async def _hold(connection: Any, url: str, shards: tuple[int, ...], total: int) -> None:
    """Say which shards this database holds; refused while what lies in it belongs elsewhere."""
    async with connection.transaction():
        rows = await connection.fetch(
            "select shard, total from maestro.shards order by shard for update"
        )
        if tuple(map(tuple, rows)) == tuple((shard, total) for shard in shards):
            return
        stray = await connection.fetchval(
            "select e.shard from maestro.workflow_executions e"
            " where e.shard <> all ($1) or e.shard <> maestro.mc_shard(e.id, $2) limit 1",
            shards,
            total,
        )
        if stray is not None:
            raise SetupError(
                f"The database {place_of(url)} holds executions of shard {stray}, which the map gives to "
                "another place: move them first (docs/scaling.md, From 1 to N).",
                reason="OTHER_SHARDS",
            )
        held = {row["shard"] for row in rows if row["total"] == total}
        gone = sorted(set(shards) - held)
        if held and gone and await connection.fetchval(_IN_SERVICE):
            raise SetupError(
                f"The database {place_of(url)} does not hold shard {gone[0]}, which the map gives to it: it has "
                "been moved to another place, or the map is an old one (docs/scaling.md).",
                reason="OTHER_SHARDS",
            )
        await connection.execute("delete from maestro.shards where shard <> all ($1)", shards)
        await connection.execute(
            "insert into maestro.shards (shard, total) select s, $2 from unnest($1::smallint[]) s"
            " on conflict (shard) do update set total = excluded.total",
            shards,
            total,
        )


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
    if isinstance(error, asyncpg.ClientConfigurationError):
        text = " ".join(str(error).split())
        return SetupError(
            f"The address of {place}, or a PG* variable beside it, can't be used: {text}.",
            reason="DATABASE_ADDRESS",
        )
    if is_gone(error):
        return Unavailable(
            f"PostgreSQL at {place} does not answer: {str(error) or type(error).__name__}.",
            reason="DATABASE_UNAVAILABLE",
        )
    return error

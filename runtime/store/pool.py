"""Connections to one PostgreSQL, under the two roles.

`engine()` serves every tenant and is for hot functions; `worker()` is the same with connections that
only a worker uses, so that a rush of callers can't take its ownership away; `tenant(id)` is the face's, under row
security. A face's connection remembers the tenant that it was set to and is set again only when it
changes; whatever was interrupted on the way counts as unset. Connections are not reset when they
come back: nothing in the house leaves state behind, and a reset costs a round trip. They are lent one after another
(`lending.py`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit
from uuid import UUID

import asyncpg
import orjson

from runtime.model.errors import SetupError, Unavailable
from runtime.store.faults import is_gone, sqlstate, translate, translated
from runtime.store.lending import Lender

OLDEST: Final = 16
_CONNECT_SECONDS: Final = 5.0
_WRITE_PROBE: Final = """
  select current_setting('transaction_read_only')::bool
    from (select pg_logical_emit_message(true, 'maestro', 'probe')) written
"""
_SETTINGS: Final = {
    "search_path": "maestro",
    "application_name": "maestro-composer",
    "jit": "off",
    "idle_in_transaction_session_timeout": "30000",
    # A client that vanished without a word is noticed in seconds: it may hold the leader's lock.
    "tcp_keepalives_idle": "5",
    "tcp_keepalives_interval": "2",
    "tcp_keepalives_count": "3",
    "tcp_user_timeout": "11000",
}


class LentConnection(asyncpg.Connection):  # type: ignore[misc] # asyncpg ships no types
    """A connection that goes from hand to hand. `is_unsettled`: something was broken off on it."""

    is_unsettled = False

    def unsettle(self) -> None:
        """Something was broken off: before anybody else gets it, it is settled."""
        self.is_unsettled = True

    async def settle(self) -> None:
        """End what was begun on it.

        asyncpg prepares a statement without a sync: broken off before it is executed, it leaves a transaction behind of
        which the driver knows nothing.
        """
        if self.is_unsettled:
            await self.execute("select 1")
            self.is_unsettled = False


class EngineConnection(LentConnection):
    """A connection under the role mc_engine."""


class TenantConnection(LentConnection):
    """A connection under the role mc_api, and the tenant that it is known to be set to."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.tenant: UUID | None = None

    async def serve(self, tenant: UUID) -> None:
        """Set the tenant, unless it is set already; a cancelled attempt leaves it unknown."""
        if self.tenant == tenant:
            return
        self.tenant = None
        await self.fetchval("select set_config('mc.tenant', $1, false)", str(tenant))
        self.tenant = tenant


class Database:
    """The pools of one database.

    Made by `open`, which refuses what would not be safe.
    """

    def __init__(
        self,
        url: str,
        engine: asyncpg.Pool,
        worker: asyncpg.Pool,
        api: asyncpg.Pool,
        acquire: float,
        holds: Holding,
    ) -> None:
        self.url = url
        self.absent: Unavailable | None = None
        self._holds = holds
        self._engine = Lender(engine, acquire)
        self._worker = Lender(worker, acquire)
        self._api = Lender(api, acquire)
        self._acquire_seconds = acquire

    @classmethod
    async def open(
        cls,
        url: str,
        *,
        engine_connections: int = 8,
        worker_connections: int = 3,
        api_connections: int = 12,
        command_seconds: float = 10.0,
        acquire_seconds: float = 5.0,
        shards: Sequence[int] = (0,),
        total: int = 1,
        patient: bool = False,
    ) -> Database:
        """Connect, and refuse an old server, a missing schema, other shards, or open rows.

        `patient`: one that does not answer is looked at when it does; `absent` says why it did not.
        """
        ready = 0 if patient else 1  # a pool that failed to begin can't be used any more
        engine = _pool(
            url, "mc_engine", EngineConnection, engine_connections, command_seconds, ready=ready
        )
        api = _pool(url, "mc_api", TenantConnection, api_connections, command_seconds, ready=ready)
        worker = _pool(
            url, "mc_engine", EngineConnection, worker_connections, command_seconds, ready=0
        )
        database = cls(url, engine, worker, api, acquire_seconds, Holding(tuple(shards), total))
        try:
            for pool in (worker, engine, api):
                await asyncio.wait_for(pool, _CONNECT_SECONDS * 2)
            await database._look()
        except BaseException as error:
            told = _opening(url, error)
            if patient and isinstance(told, Unavailable):
                database.absent = told
                return database
            database._terminate()
            raise told from error
        return database

    async def _look(self) -> None:
        """Refuse what would not be safe to work with."""
        async with _Taken(self._engine) as connection:
            await _refuse_unprepared(connection, self.url)
            await self._holds.check(connection, self.url)
        async with _Taken(self._api) as connection:
            await _refuse_open_rows(connection)

    async def greet(self) -> None:
        """The first look at a database that did not answer when it was opened."""
        try:
            async with asyncio.timeout(self._acquire_seconds):
                await self._look()
        except Exception as error:
            raise _opening(self.url, error) from error
        self.absent = None

    def engine(self) -> AbstractAsyncContextManager[Any]:
        """A connection under mc_engine; driver errors inside the block come out as ours."""
        return _Block(self, self._engine)

    def worker(self) -> AbstractAsyncContextManager[Any]:
        """A connection under mc_engine that only workers and the scheduler take."""
        return _Block(self, self._worker)

    def tenant(self, tenant: UUID) -> AbstractAsyncContextManager[Any]:
        """A connection under mc_api that sees this tenant's rows and no others."""
        return _Block(self, self._api, tenant)

    async def dedicated(self, *, command_seconds: float = 10.0) -> Any:
        """A connection of its own under mc_engine, for a writer or a heartbeat; the caller closes it."""
        with translated():
            if self.absent is not None:
                await self.greet()
            return await _connect(self.url, "mc_engine", EngineConnection, command_seconds)

    async def ping(self, *, seconds: float = 2.0) -> None:
        """Return when the server answers; raise Unavailable when it does not within `seconds`."""
        with translated():
            async with asyncio.timeout(seconds), _Taken(self._engine) as connection:
                await connection.fetchval("select 1")

    async def write_probe(self) -> None:
        """Commit a few bytes durably, into the log alone; raise Unavailable when the server takes none.

        Beside them it says whether the server would refuse every other write, being set read only.
        """
        with translated():
            async with _Taken(self._engine) as connection:
                is_read_only = await connection.fetchval(_WRITE_PROBE)
        if is_read_only:
            raise Unavailable(
                "PostgreSQL takes no writes: it is read only.", reason="DATABASE_READ_ONLY"
            )

    async def close(self) -> None:
        """Close all connections; those that do not come back in time are cut."""
        try:
            async with asyncio.timeout(5):
                await asyncio.gather(self._engine.close(), self._worker.close(), self._api.close())
        except TimeoutError:
            self._terminate()

    def _terminate(self) -> None:
        for lender in (self._engine, self._worker, self._api):
            lender.terminate()


class _Taken:
    """A connection for the length of a block."""

    __slots__ = ("_connection", "_lender")

    def __init__(self, lender: Lender) -> None:
        self._lender = lender
        self._connection: Any = None

    async def __aenter__(self) -> Any:
        self._connection = await self._lender.take()
        return self._connection

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: object
    ) -> None:
        await self._lender.give(self._connection, is_sound=kind is None)


class _Block(_Taken):
    """The same from a database that has been looked at, set to a tenant, and with foreign exceptions as ours.

    A class, because a generator for each of these would take as long as a small statement.
    """

    __slots__ = ("_database", "_tenant")

    def __init__(self, database: Database, lender: Lender, tenant: UUID | None = None) -> None:
        super().__init__(lender)
        self._database = database
        self._tenant = tenant

    async def __aenter__(self) -> Any:
        try:
            if self._database.absent is not None:
                await self._database.greet()
            connection = await super().__aenter__()
            if self._tenant is None:
                return connection
            try:
                await connection.serve(self._tenant)
                if connection.tenant != self._tenant:
                    raise AssertionError("a connection was handed out for another tenant")
            except BaseException:
                await self._lender.give(connection, is_sound=False)
                raise
        except Exception as error:
            translate(error)
            raise
        return connection

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: object
    ) -> None:
        try:
            await super().__aexit__(kind, error, trace)
        except Exception as other:
            translate(other)
            raise
        if isinstance(error, Exception):
            translate(error)


@dataclass(frozen=True, slots=True)
class Holding:
    """The shards that a database must hold, and of how many."""

    shards: tuple[int, ...] = (0,)
    total: int = 1

    async def check(self, connection: Any, url: str) -> None:
        """Raise SetupError when the database holds others: what is written there would not be found again."""
        try:
            rows = await connection.fetch("select shard, total from maestro.shards order by shard")
        except asyncpg.UndefinedColumnError as error:
            raise _not_migrated(url) from error
        found = tuple(row["shard"] for row in rows)
        totals = {row["total"] for row in rows}
        if found == self.shards and totals == {self.total}:
            return
        held = f"{shard_words(found)} of {max(totals, default=0)}" if found else "no shard"
        raise SetupError(
            f"The database {place_of(url)} holds {held}, and should hold {shard_words(self.shards)} of "
            f"{self.total}: correct the shard map, or run `mc migrate` for a new database.",
            reason="OTHER_SHARDS",
        )


def shard_words(shards: Sequence[int]) -> str:
    """`shard 0`, `shards 0, 1, 2`."""
    return f"shard{'s' if len(shards) != 1 else ''} {', '.join(map(str, shards))}"


def place_of(url: str) -> str:
    """`host:port/name` of an address: what messages may show of it."""
    parts = urlsplit(url)
    host = parts.hostname or "local socket"
    return f"{host}{f':{parts.port}' if parts.port else ''}{parts.path}"


def refuse_old(connection: Any) -> None:
    """Refuse a server that is older than what we test with, by name."""
    version = connection.get_server_version()
    if version.major < OLDEST:
        raise SetupError(
            f"This is PostgreSQL {version.major}.{version.minor}; {OLDEST} or newer is needed.",
            reason="POSTGRES_TOO_OLD",
        )


async def prepare(connection: Any) -> None:
    """JSON columns come and go as Python values, through orjson."""
    await connection.set_type_codec(
        "jsonb",
        schema="pg_catalog",
        format="binary",
        encoder=lambda value: b"\x01" + orjson.dumps(value),
        decoder=lambda data: orjson.loads(memoryview(data)[1:]),
    )


async def _connect(url: str, role: str, kind: type[Any], seconds: float) -> Any:
    connection = await asyncpg.connect(
        url,
        timeout=_CONNECT_SECONDS,
        command_timeout=seconds,
        server_settings=_SETTINGS,
        connection_class=kind,
    )
    try:
        await _become(connection, role)
    except BaseException:
        connection.terminate()
        raise
    return connection


async def _become(connection: Any, role: str) -> None:
    refuse_old(connection)
    await connection.execute(f"set role {role}")
    await prepare(connection)


def _pool(
    url: str, role: str, kind: type[Any], size: int, seconds: float, *, ready: int
) -> asyncpg.Pool:
    async def init(connection: Any) -> None:
        await _become(connection, role)

    async def leave_as_it_is(connection: Any) -> None:
        """The driver would reset all settings, and with them the tenant, at each return."""
        await connection.settle()

    return asyncpg.create_pool(
        url,
        min_size=ready,
        max_size=size,
        max_inactive_connection_lifetime=300,
        timeout=_CONNECT_SECONDS,
        command_timeout=seconds,
        server_settings=_SETTINGS,
        connection_class=kind,
        init=init,
        reset=leave_as_it_is,
    )


async def _refuse_unprepared(connection: Any, url: str) -> None:
    """The roles belong to the server, the schema to the database: one can be there without the other."""
    if not await connection.fetchval("select 1 from pg_namespace where nspname = 'maestro'"):
        raise _not_migrated(url)


async def _refuse_open_rows(connection: Any) -> None:
    """Row security is the second wall between tenants: without it nothing starts."""
    open_tables = await connection.fetch(
        """select c.relname from pg_class c join pg_namespace n on n.oid = c.relnamespace
            where n.nspname = 'maestro' and c.relkind in ('r', 'p') and not c.relispartition
              and exists (select 1 from pg_attribute a where a.attrelid = c.oid
                          and a.attname = 'tenant_id' and not a.attisdropped)
              and not row_security_active(c.oid) order by 1"""
    )
    if open_tables:
        names = ", ".join(row["relname"] for row in open_tables)
        raise SetupError(
            f"The role mc_api bypasses row security on {names}: it must not be superuser, have "
            "BYPASSRLS, or own the tables (`alter role mc_api nosuperuser nobypassrls`).",
            reason="ROW_SECURITY_BYPASSED",
        )


def _opening(url: str, error: BaseException) -> BaseException:
    """Why the database can't be used, in one sentence that names it."""
    place, state = place_of(url), sqlstate(error)
    if isinstance(error, SetupError) or not isinstance(error, Exception):
        return error
    if state == "22023" and "role" in str(error):
        return _not_migrated(url)
    if state.startswith("28") or state in {"3D000", "42501"}:
        return SetupError(f"The database {place} refuses: {error}.", reason="DATABASE_REFUSES")
    if is_gone(error):
        return Unavailable(
            f"PostgreSQL at {place} does not answer: {str(error) or type(error).__name__}.",
            reason="DATABASE_UNAVAILABLE",
        )
    return error


def _not_migrated(url: str) -> SetupError:
    return SetupError(
        f"The database {place_of(url)} has no schema of this program yet: run `mc migrate`.",
        reason="NOT_MIGRATED",
    )

"""What `mc doctor` looks at: the machine, the services, the server; and what to do about what is not right."""

from __future__ import annotations

import asyncio
import base64
import json
import shutil
import socket
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Any, Final

from maestro_cli.errors import CliError
from maestro_cli.moments import span_seconds
from maestro_cli.options import Options
from maestro_cli.servers import Server, find_dev_server, find_server
from runtime.embedded.binaries import postgres_programs, redis_program
from runtime.model.errors import MaestroError
from runtime.model.shard_map import ShardMap
from runtime.settings import Settings

_OLDEST: Final = (3, 11)
_NEWEST: Final = (3, 14)
_SKEW_SECONDS: Final = 5.0
_LOW_DISK_BYTES: Final = 1 << 30


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked at."""

    name: str
    status: str
    detail: str
    hint: str | None = None


def all_checks(options: Options) -> list[Check]:
    """Everything, in the order in which one thing rests on another."""
    settings = Settings.from_env()
    server = find_server(options)
    return [
        *_machine(settings),
        *asyncio.run(_services(settings)),
        *_server_checks(options, server),
    ]


def _machine(settings: Settings) -> Iterator[Check]:
    yield _python()
    yield _binary(
        "postgresql binaries",
        lambda: str(postgres_programs()),
        needed=settings.database_url is None,
    )
    yield _binary("redis binary", lambda: str(redis_program()), needed=settings.redis_url is None)
    yield _folder(settings)
    yield _disk(settings)
    yield _port(settings)


def _python() -> Check:
    found = sys.version_info[:2]
    text = ".".join(str(part) for part in sys.version_info[:3])
    if not _OLDEST <= found <= _NEWEST:
        return Check("python", "failed", f"Python {text}", "use Python 3.11 to 3.14")
    return Check("python", "ok", f"Python {text}")


def _binary(name: str, find: Callable[[], str], *, needed: bool) -> Check:
    try:
        return Check(name, "ok", find())
    except MaestroError as error:
        return Check(name, "failed" if needed else "skipped", error.message)


def _folder(settings: Settings) -> Check:
    home = settings.home
    if not home.exists():
        return Check("folder", "ok", f"{home} does not exist yet; `mc dev` makes it")
    mode = home.stat().st_mode & 0o777
    if mode & 0o077:
        return Check(
            "folder", "warning", f"{home} is open to others (mode {mode:03o})", f"chmod 700 {home}"
        )
    return Check("folder", "ok", f"{home} (mode {mode:03o})")


def _disk(settings: Settings) -> Check:
    place = settings.home
    while not place.exists():
        place = place.parent
    free = shutil.disk_usage(place).free
    text = f"{free >> 20} MiB free at {place}"
    if free < _LOW_DISK_BYTES:
        return Check(
            "disk", "warning", text, "make room, or set MC_HOME to a folder on another disk"
        )
    return Check("disk", "ok", text)


def _port(settings: Settings) -> Check:
    api = settings.api
    dev = find_dev_server(settings.home)
    if dev is not None:
        return Check("port", "ok", f"`mc dev` listens on {dev.url} (process {dev.pid})")
    try:
        with socket.create_server((api.host, api.port)):
            return Check("port", "ok", f"{api.host}:{api.port} is free")
    except OSError as error:
        return Check(
            "port",
            "warning",
            f"{api.host}:{api.port} can't be used: {error.strerror}",
            "choose another with MC_PORT",
        )


async def _services(settings: Settings) -> list[Check]:
    dev = find_dev_server(settings.home)
    if settings.shard_map is None and dev is not None and dev.database_url is not None:
        settings = replace(settings, database_url=dev.database_url)
    redis_url = settings.redis_url or (dev.redis_url if dev else None)
    return [
        *await _databases(settings.shard_map),
        await _redis(redis_url) if redis_url else _not_running("redis"),
    ]


def _not_running(name: str) -> Check:
    return Check(name, "skipped", "embedded, and `mc dev` does not run")


async def _databases(shard_map: ShardMap | None) -> list[Check]:
    """Each database of the map; with several, by name."""
    if shard_map is None:
        return [_not_running("postgresql")]
    single = len(shard_map.places) == 1
    return [
        await _database("postgresql" if single else f"postgresql:{place.name}", place.url)
        for place in shard_map.places
    ]


async def _database(name: str, url: str) -> Check:
    from runtime.store.migrate import pending

    try:
        waiting = list(await pending(url))
    except (MaestroError, OSError) as error:
        return Check(name, "failed", _text(error), "see MC_DATABASE_URL or MC_DATABASES")
    if waiting:
        return Check(
            name,
            "failed",
            f"answers; {len(waiting)} migrations are pending",
            "run `mc migrate`",
        )
    return Check(name, "ok", "answers; the schema is up to date")


async def _redis(url: str) -> Check:
    from redis.asyncio import Redis
    from redis.exceptions import RedisError

    client: Any = Redis.from_url(url, socket_timeout=5, socket_connect_timeout=5)
    try:
        facts = await client.info("server")
    except (RedisError, OSError) as error:
        return Check("redis", "failed", _text(error), "see MC_REDIS_URL")
    finally:
        await client.aclose()
    name = facts.get("server_name", "redis")
    return Check(
        "redis", "ok", f"{name} {facts.get(f'{name}_version', facts['redis_version'])} answers"
    )


def _server_checks(options: Options, server: Server | None) -> Iterator[Check]:
    if server is None:
        yield Check("server", "skipped", "none is named, and no `mc dev` runs in this folder")
        return
    from maestro_cli.client import Client

    client = Client(server, options)
    try:
        status, headers, body = client.get("/readyz")
    except CliError as error:
        yield Check("server", "failed", error.message, error.hint)
        return
    ready = status == HTTPStatus.OK
    facts = "is ready" if ready else f"is not ready: {body.decode(errors='replace').strip()}"
    yield Check("server", "ok" if ready else "failed", f"{server.url} {facts}")
    yield _clock(headers.get("Date"))
    yield _token(client)


def _clock(date: str | None) -> Check:
    if date is None:
        return Check("clock", "skipped", "the server tells no time")
    skew = abs((datetime.now(UTC) - parsedate_to_datetime(date)).total_seconds())
    if skew > _SKEW_SECONDS:
        return Check(
            "clock", "warning", f"{span_seconds(skew)} apart from the server's", "set both by NTP"
        )
    return Check("clock", "ok", "agrees with the server's")


def _token(client: Any) -> Check:
    token = client.server.token
    if not token:
        return Check("token", "failed", "none is set", "set MC_TOKEN, or use --token")
    try:
        client.send("{ __typename }", {}, label="doctor")
    except CliError as error:
        return Check("token", "failed", error.message, error.hint)
    return Check("token", "ok", _claims(token))


def _claims(token: str) -> str:
    """Whose token this is, as it says itself; the server has just verified it."""
    part = token.split(".")[1]
    claims = json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
    left = float(claims.get("exp", 0)) - datetime.now(UTC).timestamp()
    return f"{claims.get('sub')} of tenant {claims.get('tenant')}, valid for {span_seconds(left)}"


def _text(error: Exception) -> str:
    return error.message if isinstance(error, MaestroError) else str(error)

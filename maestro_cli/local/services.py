"""Where PostgreSQL and Redis are: outside ones by address, embedded ones started here, those of a running `mc dev`."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable
from dataclasses import replace

from maestro_cli.errors import CliError
from maestro_cli.servers import find_dev_server
from runtime.embedded import embedded_services
from runtime.embedded.home import locked, prepare_home
from runtime.model.shard_map import ShardMap
from runtime.settings import Settings

Stage = Callable[[str], None]


@contextlib.asynccontextmanager
async def own_services(settings: Settings, on_stage: Stage) -> AsyncIterator[Settings]:
    """The settings with both addresses filled in; what is embedded lives as long as the block."""
    needs_database, needs_redis = settings.database_url is None, settings.redis_url is None
    with contextlib.ExitStack() as stack:
        if not (needs_database or needs_redis):
            # The embedded services hold the folder's lock; without them it is held here, for tokens and the example.
            stack.enter_context(locked(prepare_home(settings.home)))
        async with embedded_services(
            settings.home, postgres=needs_database, redis=needs_redis, on_stage=on_stage
        ) as services:
            yield replace(
                settings,
                database_url=settings.database_url or services.database_url,
                redis_url=settings.redis_url or services.redis_url,
                watches_disk=needs_database,
            )


def known_map(settings: Settings) -> ShardMap:
    """The databases of settings that name at least one."""
    if settings.shard_map is None:
        raise CliError("No database is named.", code="UNAVAILABLE", reason="NO_SERVICES")
    return settings.shard_map


def shared_services(settings: Settings) -> Settings:
    """For processes that start no services: outside addresses, or those of a `mc dev` that runs on the same folder."""
    if settings.database_url and settings.redis_url:
        return settings
    server = find_dev_server(settings.home)
    if server is None or not (server.database_url and server.redis_url):
        missing = [
            name
            for name, value in (
                ("MC_DATABASE_URL", settings.database_url),
                ("MC_REDIS_URL", settings.redis_url),
            )
            if value is None
        ]
        verb = "is" if len(missing) == 1 else "are"
        raise CliError(
            f"{' and '.join(missing)} {verb} not set, and no `mc dev` runs on {settings.home}.",
            code="UNAVAILABLE",
            reason="NO_SERVICES",
            hint="name the servers with these variables, or start `mc dev` first",
        )
    return replace(
        settings,
        database_url=settings.database_url or server.database_url,
        redis_url=settings.redis_url or server.redis_url,
    )

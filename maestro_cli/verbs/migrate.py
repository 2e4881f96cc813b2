"""`mc migrate`: bring a database's schema up to date; safe to run at any time, by any number of processes."""

from __future__ import annotations

import asyncio

import click

from maestro_cli.groups import Verb
from maestro_cli.options import Options
from maestro_cli.output import print_document
from runtime.model.shard_map import ShardMap


@click.command(cls=Verb)
@click.option(
    "--check", is_flag=True, help="Change nothing; exit with 1 when something is pending."
)
@click.pass_obj
def migrate(options: Options, check: bool) -> int:
    """Apply pending migrations to MC_DATABASE_URL, all of MC_DATABASES, or the database of the running `mc dev`."""
    from maestro_cli.local.services import known_map, shared_services
    from runtime.settings import Settings

    settings = Settings.from_env()
    if settings.shard_map is None:
        settings = shared_services(settings)
    databases = known_map(settings)
    return asyncio.run(_check(options, databases) if check else _apply(options, databases))


async def _apply(options: Options, databases: ShardMap) -> int:
    from runtime.store import migrate as migrations

    done: list[str] = []
    await migrations.migrate_all(databases, done.append)
    for name in done:
        options.say(f"applied {name}")
    if options.is_document:
        print_document(options, {"applied": done})
    elif not done:
        options.say("the schema is up to date")
    return 0


async def _check(options: Options, databases: ShardMap) -> int:
    from runtime.store import migrate as migrations

    waiting = list(await migrations.pending_all(databases))
    if options.is_document:
        print_document(options, {"pending": waiting})
    else:
        for name in waiting:
            print(name)
        if not waiting:
            options.say("the schema is up to date")
    return 1 if waiting else 0

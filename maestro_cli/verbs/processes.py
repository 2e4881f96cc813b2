"""`mc serve`, `mc worker`, `mc scheduler`: one process each, any number against the same PostgreSQL and Redis."""

from __future__ import annotations

from dataclasses import replace

import click

from maestro_cli.groups import Verb
from maestro_cli.options import DurationType, Options, imports_option, see_current_folder


@click.command(cls=Verb)
@click.option("--host", metavar="ADDRESS", help="Address to listen on; MC_HOST otherwise.")
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    metavar="N",
    help="Port to listen on; MC_PORT otherwise.",
)
@imports_option("Package with connectors, for checking definitions. Repeatable.")
@click.pass_obj
def serve(options: Options, host: str | None, port: int | None, imports: tuple[str, ...]) -> int:
    """Run the API: GraphQL, health and metrics. SIGTERM drains; a second one stops at once."""
    from maestro_cli.local.processes import run_api, with_address
    from runtime.settings import Settings

    see_current_folder(imports)
    settings = with_address(Settings.from_env(), host, port)
    # The API runs no step, but publishing refuses a connector that it does not know.
    known = replace(settings.worker, imports=(*settings.worker.imports, *imports))
    return run_api(options, replace(settings, worker=known))


@click.command(cls=Verb)
@imports_option()
@click.option(
    "--concurrency", type=click.IntRange(1), metavar="N", help="Steps at once, in each shard."
)
@click.option(
    "--database",
    metavar="NAME",
    help="Serve the shards of this database of MC_DATABASES only; all of them otherwise.",
)
@click.option(
    "--drain-timeout",
    type=DurationType(zero=True),
    metavar="TIME",
    help="Longest wait for running steps at the end.",
)
@click.option(
    "--tags", metavar="TAG,...", help="What steps with `runs_on` ask for; MC_WORKER_TAGS."
)
@click.pass_obj
def worker(
    options: Options,
    imports: tuple[str, ...],
    concurrency: int | None,
    database: str | None,
    drain_timeout: float | None,
    tags: str | None,
) -> int:
    """Run a worker: it claims executions and runs their steps. SIGTERM drains; a second one stops at once."""
    from maestro_cli.local.processes import run_worker
    from runtime.settings import Settings, worker_tags

    see_current_folder(imports)
    settings = Settings.from_env()
    given = settings.worker
    wanted = replace(
        given,
        imports=(*given.imports, *imports),
        max_steps=concurrency or given.max_steps,
        tags=given.tags if tags is None else worker_tags(tags, "--tags"),
        database=database,
        drain_seconds=given.drain_seconds if drain_timeout is None else drain_timeout,
    )
    return run_worker(options, replace(settings, worker=wanted))


@click.command(cls=Verb)
@click.pass_obj
def scheduler(options: Options) -> int:
    """Run a scheduler: it sweeps what was forgotten and keeps house. One leads, others stand by."""
    from maestro_cli.local.processes import run_scheduler
    from runtime.settings import Settings

    return run_scheduler(options, Settings.from_env())

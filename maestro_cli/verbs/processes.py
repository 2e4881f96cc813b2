"""`mc serve`, `mc worker`, `mc scheduler`: one process each, any number against the same PostgreSQL and Redis."""

from __future__ import annotations

from dataclasses import replace

import click

from maestro_cli.groups import Verb
from maestro_cli.local.guard import check_issuer
from maestro_cli.local.logs import logging_to_stderr
from maestro_cli.local.parts import address_of, bind, scheduling, serving, until_one_ends, working
from maestro_cli.local.services import shared_services
from maestro_cli.local.signals import run_until_stopped
from maestro_cli.options import DurationType, Options
from runtime.bootstrap import open_runtime
from runtime.settings import Settings
from subgraph.app import create_app


@click.command(cls=Verb)
@click.option("--host", metavar="ADDRESS", help="Address to listen on; MC_HOST otherwise.")
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    metavar="N",
    help="Port to listen on; MC_PORT otherwise.",
)
@click.pass_obj
def serve(options: Options, host: str | None, port: int | None) -> int:
    """Run the API: GraphQL, REST, health and metrics."""
    settings = with_address(Settings.from_env(), host, port)
    check_issuer(settings)
    logging_to_stderr(settings.log, options)
    return run_until_stopped(_serve(options, settings))


@click.command(cls=Verb)
@click.option(
    "--import",
    "imports",
    multiple=True,
    metavar="PACKAGE",
    help="Package with connectors. Repeatable.",
)
@click.option("--concurrency", type=click.IntRange(1), metavar="N", help="Steps at once.")
@click.option(
    "--drain-timeout",
    type=DurationType(),
    metavar="TIME",
    help="Longest wait for running steps at the end.",
)
@click.pass_obj
def worker(
    options: Options, imports: tuple[str, ...], concurrency: int | None, drain_timeout: float | None
) -> int:
    """Run a worker: it claims executions and runs their steps."""
    settings = Settings.from_env()
    slice_ = settings.worker
    settings = replace(
        settings,
        worker=replace(
            slice_,
            imports=(*slice_.imports, *imports),
            max_steps=concurrency or slice_.max_steps,
            drain_seconds=slice_.drain_seconds if drain_timeout is None else drain_timeout,
        ),
    )
    logging_to_stderr(settings.log, options)
    return run_until_stopped(_work(options, settings))


@click.command(cls=Verb)
@click.pass_obj
def scheduler(options: Options) -> int:
    """Run a scheduler: it sweeps what was forgotten and keeps house. One leads, others stand by."""
    settings = Settings.from_env()
    logging_to_stderr(settings.log, options)
    return run_until_stopped(_schedule(options, settings))


def with_address(settings: Settings, host: str | None, port: int | None) -> Settings:
    """The settings with what the flags say about the listener."""
    api = settings.api
    host = host or api.host
    return replace(settings, api=replace(api, host=host, port=api.port if port is None else port))


async def _serve(options: Options, settings: Settings) -> int:
    settings = shared_services(settings)
    with bind(settings.api) as listener:
        async with open_runtime(settings) as runtime, serving(create_app(runtime), listener) as api:
            options.say(f"API on {address_of(listener, settings.api.host)}")
            return await until_one_ends(api)


async def _work(options: Options, settings: Settings) -> int:
    async with (
        open_runtime(shared_services(settings)) as runtime,
        working(runtime, settings.worker.drain_seconds) as task,
    ):
        options.say("worker ready")
        return await until_one_ends(task)


async def _schedule(options: Options, settings: Settings) -> int:
    async with open_runtime(shared_services(settings)) as runtime, scheduling(runtime) as task:
        options.say("scheduler ready")
        return await until_one_ends(task)

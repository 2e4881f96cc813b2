"""The bodies of `mc serve`, `mc worker` and `mc scheduler`: one part each, on services that others run."""

from __future__ import annotations

from dataclasses import replace

from maestro_cli.local.guard import check_issuer
from maestro_cli.local.logs import logging_to_stderr
from maestro_cli.local.parts import address_of, bind, scheduling, serving, until_one_ends, working
from maestro_cli.local.services import shared_services
from maestro_cli.local.signals import run_until_stopped
from maestro_cli.options import Options
from runtime.bootstrap import open_runtime
from runtime.settings import ApiSettings, Settings


def run_api(options: Options, settings: Settings) -> int:
    """The API until a signal comes."""
    check_issuer(settings)
    logging_to_stderr(settings.log, options)
    return run_until_stopped(_serve(options, settings))


def run_worker(options: Options, settings: Settings) -> int:
    """A worker until a signal comes."""
    settings = _without_listener(settings)
    logging_to_stderr(settings.log, options)
    return run_until_stopped(_work(options, settings))


def run_scheduler(options: Options, settings: Settings) -> int:
    """A scheduler until a signal comes."""
    settings = _without_listener(settings)
    logging_to_stderr(settings.log, options)
    return run_until_stopped(_schedule(options, settings))


def with_address(settings: Settings, host: str | None, port: int | None) -> Settings:
    """The settings with what the flags say about the listener."""
    api = settings.api
    host = host or api.host
    return replace(settings, api=replace(api, host=host, port=api.port if port is None else port))


def _without_listener(settings: Settings) -> Settings:
    """MC_HOST may be set for all processes of a machine; what does not listen need not care where."""
    return replace(settings, api=ApiSettings())


async def _serve(options: Options, settings: Settings) -> int:
    settings = shared_services(settings)
    with bind(settings.api) as listener:
        async with open_runtime(settings) as runtime, serving(runtime, listener) as api:
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

"""`mc execute FILE` without a server: a whole engine on a temporary folder, for one execution; then nothing is left."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

from maestro_cli.errors import CliError
from maestro_cli.local.logs import logging_to_stderr
from maestro_cli.local.parts import bind
from maestro_cli.local.scratch import scratch_folder
from maestro_cli.local.signals import run_until_stopped
from maestro_cli.local.stack import development_token, whole_engine
from maestro_cli.local.threads import in_thread
from maestro_cli.options import Options
from runtime.settings import ApiSettings, LogSettings, Settings

_TOKEN_SECONDS: Final = 86_400.0
_STOPPED: Final = -1


def run_once(
    options: Options, work: Callable[[Options], int], *, imports: Sequence[str] = ()
) -> int:
    """Start an engine, let `work` talk to it as to any server, stop it, remove its folder."""
    logging_to_stderr(LogSettings(level="error"), options.changed(quiet=True, verbose=0))
    code = run_until_stopped(_once(options, work, imports), stopped=_STOPPED)
    if code == _STOPPED:
        raise CliError(
            "Stopped; the execution ended with the engine that ran it.", code="INTERRUPTED"
        )
    return code


async def _once(options: Options, work: Callable[[Options], int], imports: Sequence[str]) -> int:
    with scratch_folder() as home:
        settings = _settings(home, imports)
        options.say("starting an engine on a temporary folder")
        with bind(settings.api) as listener:
            async with whole_engine(settings, listener) as engine:
                token = development_token(settings, ttl_seconds=_TOKEN_SECONDS)
                return await in_thread(
                    lambda: work(options.changed(endpoint=engine.url, token=token))
                )


def _settings(home: Path, imports: Sequence[str]) -> Settings:
    """The user's settings as far as they concern steps; everything stored goes to the temporary folder."""
    mine = Settings.from_env()
    return replace(
        mine,
        home=home,
        secrets_file=mine.secrets_path,
        database_url=None,
        databases=None,
        redis_url=None,
        blob_url=None,
        auth=type(mine.auth)(),
        api=ApiSettings(port=0),
        # Nobody takes over what runs here, so there is nothing to drain for.
        worker=replace(
            mine.worker, imports=(*mine.worker.imports, *imports), tags=None, drain_seconds=0.0
        ),
    )

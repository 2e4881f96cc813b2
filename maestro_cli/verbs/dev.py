"""`mc dev`: everything in one process, on a data folder that is there again at the next start. Ctrl-C ends it."""

from __future__ import annotations

import platform
from dataclasses import replace
from pathlib import Path

import click

from maestro_cli.groups import Verb
from maestro_cli.options import Options, imports_option, see_current_folder


@click.command(cls=Verb)
@click.option("--example", is_flag=True, help="Start the example's shop too, and fulfil one order.")
@click.option("--host", metavar="ADDRESS", help="Address to listen on; MC_HOST otherwise.")
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    metavar="N",
    help="Port to listen on; MC_PORT otherwise.",
)
@click.option(
    "--data-dir",
    type=click.Path(path_type=Path),
    metavar="FOLDER",
    help="Data folder; MC_HOME otherwise.",
)
@imports_option()
@click.pass_obj
def dev(
    options: Options,
    example: bool,
    host: str | None,
    port: int | None,
    data_dir: Path | None,
    imports: tuple[str, ...],
) -> int:
    """Run API, worker and scheduler with PostgreSQL and Redis of their own, until Ctrl-C."""
    from maestro_cli.local.stages import Stages
    from runtime.settings import Settings

    settings = Settings.from_env()
    if data_dir is not None:
        settings = replace(settings, home=data_dir.expanduser().absolute())
    # Said first: on a busy machine the imports below take a while.
    Stages(options)(f"environment Python {platform.python_version()}, data in {settings.home}")

    from maestro_cli.local.development import run_dev
    from maestro_cli.local.processes import with_address

    see_current_folder(imports)
    settings = with_address(settings, host, port)
    settings = replace(
        settings, worker=replace(settings.worker, imports=(*settings.worker.imports, *imports))
    )
    return run_dev(options, settings, example=example)

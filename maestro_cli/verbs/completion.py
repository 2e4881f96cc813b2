"""`mc completion SHELL`: the script that a shell sources; click answers its questions afterwards."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import click
from click.shell_completion import get_completion_class

from maestro_cli.groups import Verb

SHELLS: Final = ("bash", "zsh", "fish")


@click.command(cls=Verb, epilog='Try: eval "$(mc completion bash)"')
@click.argument("shell", type=click.Choice(SHELLS))
@click.pass_context
def completion(ctx: click.Context, shell: str) -> None:
    """Print the completion script for bash, zsh or fish."""
    program = Path(ctx.find_root().info_name or "mc").name
    variable = f"_{program.replace('-', '_').upper()}_COMPLETE"
    script = get_completion_class(shell)
    if script is None:
        raise click.UsageError(f"There is no completion for {shell}.")
    print(script(ctx.find_root().command, {}, program, variable).source())

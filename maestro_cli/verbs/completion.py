"""`mc completion SHELL`: the script that a shell sources; click answers its questions afterwards."""

from __future__ import annotations

import os
from typing import Final

import click
from click.shell_completion import get_completion_class

from maestro_cli.groups import Verb

SHELLS: Final = ("bash", "zsh", "fish")
# Both names of the program, whichever of them was asked.
NAMES: Final = ("mc", "maestro")


@click.command(cls=Verb, epilog='Try: eval "$(mc completion bash)"')
@click.argument("shell", type=click.Choice(SHELLS))
@click.pass_context
def completion(ctx: click.Context, shell: str) -> None:
    """Print the completion script for bash, zsh or fish, for both names of this program."""
    script = get_completion_class(shell)
    if script is None:
        raise click.UsageError(f"There is no completion for {shell}.")
    called = os.path.basename(ctx.find_root().info_name or NAMES[0])  # noqa: PTH119 - see `main`
    for program in dict.fromkeys((called, *NAMES)):
        variable = f"_{program.replace('-', '_').upper()}_COMPLETE"
        print(script(ctx.find_root().command, {}, program, variable).source())

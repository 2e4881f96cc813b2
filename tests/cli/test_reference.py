"""The reference page names every verb and every flag that there is."""

from __future__ import annotations

from collections.abc import Iterator

import click
import pytest

from maestro_cli.main import root
from tests.support.processes import ROOT

PAGE = (ROOT / "docs" / "reference" / "cli.md").read_text(encoding="utf-8")


def commands(command: click.Command, path: str) -> Iterator[tuple[str, click.Command]]:
    yield path, command
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            below = command.get_command(context, name)
            assert below is not None
            yield from commands(below, f"{path} {name}")


COMMANDS = dict(commands(root(), "mc"))


@pytest.mark.parametrize("path", COMMANDS)
def test_verb_is_in_the_reference(path):
    *noun, verb = path.split()

    assert path in PAGE or (len(noun) > 1 and " ".join(noun) in PAGE and f"`{verb}" in PAGE)


@pytest.mark.parametrize("path", COMMANDS)
def test_flags_are_in_the_reference(path):
    flags = [
        name
        for param in COMMANDS[path].params
        if isinstance(param, click.Option)
        for name in param.opts
    ]

    assert [name for name in flags if f"{name}" not in PAGE] == []

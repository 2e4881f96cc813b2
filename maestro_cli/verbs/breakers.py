"""`mc breakers list`: targets that the workers leave alone for a while."""

from __future__ import annotations

from typing import Final

import click

from maestro_cli.client import Client
from maestro_cli.groups import VerbGroup
from maestro_cli.options import Options
from maestro_cli.output import Column, show_rows

_COLUMNS: Final = (
    Column("TARGET", "target"),
    Column("CONNECTOR", "connector"),
    Column("STATE", "state", "status"),
    Column("FAILURES", "failures"),
    Column("NEXT PROBE IN", "nextProbeIn", "duration"),
    Column("OPEN FOR", "openFor", "duration"),
)


@click.group(cls=VerbGroup)
def breakers() -> None:
    """Circuit breakers: targets that keep failing are not called for a while."""


@breakers.command("list")
@click.pass_obj
def list_(options: Options) -> None:
    """List the targets that are not called as usual."""
    found = Client.of(options).run("list_circuit_breakers")["circuitBreakers"]
    show_rows(options, found, _COLUMNS, name="target", empty="All targets are called as usual.")

"""`mc handlers list`: who is told of what happened, how far behind, and what they could not take."""

from __future__ import annotations

from typing import Any, Final

import click

from maestro_cli.client import Client
from maestro_cli.groups import VerbGroup
from maestro_cli.options import Options
from maestro_cli.output import Column, show_rows

_COLUMNS: Final = (
    Column("HANDLER", "name"),
    Column("STREAM", "stream"),
    Column("SHARD", "shard"),
    Column("STATE", "state", "status"),
    Column("BEHIND", "lag", "duration"),
    Column("FAILURES", "attempts"),
    Column("PASSED BY", "passed"),
    Column("ERROR", "error"),
)
_PASSED: Final = (
    Column("HANDLER", "handler"),
    Column("EVENT", "eventId"),
    Column("KIND", "kind"),
    Column("AT", "at", "time"),
    Column("ATTEMPTS", "attempts"),
    Column("ERROR", "error"),
)


@click.group(cls=VerbGroup)
def handlers() -> None:
    """Event handlers: who is told of what happened, after it is committed."""


@handlers.command("list")
@click.option("--passed-by", is_flag=True, help="The events that they could not take, instead.")
@click.pass_obj
def list_(options: Options, passed_by: bool) -> None:
    """List event handlers: how they do, and how far behind they are."""
    found = Client.of(options).run("list_event_handlers")["eventHandlers"]
    if passed_by:
        rows = [{"handler": one["name"], **event} for one in found for event in one["passedBy"]]
        show_rows(options, rows, _PASSED, name="eventId", empty="No event was passed by.")
        return
    shown: list[dict[str, Any]] = found
    if not options.is_document:
        shown = [{**one, "passed": len(one["passedBy"])} for one in found]
    show_rows(options, shown, _COLUMNS, name="name", empty="No event handlers.")

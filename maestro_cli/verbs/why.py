"""`mc why`: every step of an execution that is not running, its one cause, since when, and what would free it."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any, Final

import click

from maestro_cli.client import Client
from maestro_cli.groups import Verb
from maestro_cli.moments import ago
from maestro_cli.options import Options
from maestro_cli.output import show_rows, word
from maestro_cli.starting import unknown
from maestro_cli.visible import on_one_line

# Of what waits for other steps, no more is drawn: their causes are above.
_MOST_FOLLOWING: Final = 20
_FOLLOWING: Final = "DEPENDENCY"


@click.command(cls=Verb)
@click.argument("id")
@click.pass_obj
def why(options: Options, id: str) -> None:
    """Say of every step that is not running why: its cause, since when, and what would free it."""
    found = Client.of(options).run("why_execution", id=id)["execution"]
    if found is None:
        raise unknown(id)
    rows = [
        {"status": step["status"], **step["blockedBy"]}
        for step in found["steps"]
        if step["blockedBy"] is not None
    ]
    if options.format == "name" or options.is_document:
        show_rows(options, rows, (), name="stepKey")
        return
    if not rows:
        options.say(f"{found['id']} is {word(found['status'])}: no step waits for anything.")
        return
    _draw(rows, live=options.is_live(sys.stdout))


def _draw(rows: list[dict[str, Any]], *, live: bool) -> None:
    """First what others wait for, then what waits for others."""
    first_hand = [row for row in rows if row["cause"] != _FOLLOWING]
    following = [row for row in rows if row["cause"] == _FOLLOWING]
    for row in (*first_hand, *following[:_MOST_FOLLOWING]):
        print(_head(row, live=live))
        print(f"  {on_one_line(row['summary'])}")
        print(f"  freed by: {on_one_line(row['whatFrees'])}")
    rest = len(following) - _MOST_FOLLOWING
    if rest > 0:
        print(f"{rest} more wait for other steps; `-o json` has them all.")


def _head(row: Mapping[str, Any], *, live: bool) -> str:
    since = ago(row["since"]) if live else row["since"]
    times = f"since {since}" + (f", until {row['until']}" if row["until"] else "")
    return on_one_line(f"{row['stepKey']}  {word(row['status'])}  {word(row['cause'])} {times}")

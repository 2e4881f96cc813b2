"""`mc replay`: make the decisions of an execution again from its record, and say whether all of it follows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import click

from maestro_cli.client import Client
from maestro_cli.errors import FAILED
from maestro_cli.groups import Verb
from maestro_cli.options import Options
from maestro_cli.output import show_one, word
from maestro_cli.visible import on_one_line


@click.command(cls=Verb)
@click.argument("id")
@click.option(
    "--execute", is_flag=True, help="Also run its pure steps again, and compare what they give."
)
@click.pass_obj
def replay(options: Options, id: str, execute: bool) -> int:
    """Make the decisions of an execution again, and compare every event, row and digest with its record.

    Ends with 0 when all of it follows, and with 1 at the first thing that does not.
    """
    found = Client.of(options).run("replay_execution", id=id, execute=execute)["replayExecution"]
    if options.format == "name":
        divergence = found["divergence"] or {}
        print(divergence.get("stepKey") or "", end="\n" if divergence.get("stepKey") else "")
    else:
        show_one(options, found, lambda: _draw(found, execute=execute))
    return 0 if found["isEqual"] else FAILED


def _draw(found: Mapping[str, Any], *, execute: bool) -> None:
    print("equal" if found["isEqual"] else "diverged")
    parts = [f"{found[name]} {name}" for name in ("events", "attempts", "inputs", "outputs")]
    print(f"  compared: {', '.join(parts)}")
    if execute:
        print(f"  run again: {found['executed']}, left out: {found['leftOut']}")
    divergence = found["divergence"]
    if divergence is None:
        return
    places = []
    if divergence["stepKey"] is not None:
        item = "" if divergence["item"] is None else f" item {divergence['item']}"
        places.append(f"step {divergence['stepKey']}{item}")
    if divergence["sequence"] is not None:
        places.append(f"event {divergence['sequence']}")
    at = f" at {', '.join(places)}" if places else ""
    print(f"  first divergence: {word(divergence['kind'])}{on_one_line(at)}")
    print(f"  expected: {on_one_line(divergence['expected'])}")
    print(f"  found:    {on_one_line(divergence['found'])}")

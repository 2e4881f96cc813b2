"""`mc resolve`: a person's word about a call of which nobody knows whether it was made."""

from __future__ import annotations

from typing import Any, Final

import click

from maestro_cli.client import Client, check_payload
from maestro_cli.documents import parse_value
from maestro_cli.errors import usage
from maestro_cli.groups import Verb
from maestro_cli.options import Options
from maestro_cli.output import Column, show_rows, word

_COLUMNS: Final = (Column("ID", "id"), Column("STATUS", "status", "status"))


@click.command(cls=Verb)
@click.argument("id")
@click.argument("step")
@click.option("--item", type=click.IntRange(0), metavar="N", help="Of a map: its item, from 0.")
@click.option("--made", "decision", flag_value="MADE", help="It was made: the step completes.")
@click.option("--not-made", "decision", flag_value="NOT_MADE", help="It was not: call it now.")
@click.option("--fail", "decision", flag_value="FAIL", help="Give the step up.")
@click.option("-d", "--data", metavar="JSON|@FILE", help="With --made: what the call gave.")
@click.option("--reason", metavar="TEXT", help="Why; stands on the event.")
@click.pass_obj
def resolve(
    options: Options,
    id: str,
    step: str,
    item: int | None,
    decision: str | None,
    data: str | None,
    reason: str | None,
) -> None:
    """Say whether the call of a step that is in doubt was made; its execution goes on by that."""
    if decision is None:
        raise usage("Say what you know: --made, --not-made or --fail.")
    if data is not None and decision != "MADE":
        raise usage("Only a call that was made has given something: --data goes with --made.")
    values: dict[str, Any] = {
        "executionId": id, "stepKey": step, "decision": decision, "reason": reason,
        **({} if item is None else {"mapIndex": item}),
        "output": None if data is None else parse_value(data, "--data"),
    }  # fmt: skip
    payload = Client.of(options).run("resolve_in_doubt", input=values)["resolveInDoubt"]
    check_payload(payload)
    execution = payload["execution"]
    options.say(f"{execution['id']} {word(execution['status'])}")
    if options.format not in {"table", "wide"}:
        show_rows(options, [execution], _COLUMNS)

"""`mc deadletters list|show|redrive|discard` (also `mc dl`): dead executions, and messages that nobody can decode."""

from __future__ import annotations

from typing import Any, Final

import click

from maestro_cli.client import Client, check_payload
from maestro_cli.errors import CliError, usage
from maestro_cli.groups import VerbGroup
from maestro_cli.options import Options
from maestro_cli.output import Column, show_fields, show_one, show_rows, word
from maestro_cli.paging import collect

_STATUSES: Final = ("open", "redriven", "discarded")
_MOST: Final = 1_000
_COLUMNS: Final = (
    Column("ID", "id"),
    Column("WORKFLOW", "execution.workflow.name"),
    Column("STATUS", "status", "status"),
    Column("STEP", "stepKey"),
    Column("DIED", "createdAt", "time"),
    Column("REASON", "reason", wide=True),
    Column("DECISION", "decisionReason", wide=True),
)
_DECIDED: Final = (Column("ID", "id"), Column("STATUS", "status", "status"))
_LOST: Final = (
    Column("LOST WORKER", "name"),
    Column("STARTED", "startedAt", "time"),
    Column("LOST", "lostAt", "time"),
)
_EVENTS: Final = (
    Column("EVENT", "sequence"),
    Column("AT", "at", "time"),
    Column("TYPE", "type", "status"),
)


@click.group(cls=VerbGroup)
def deadletters() -> None:
    """Dead letters: executions that cost three workers or take no checkpoint, and messages nobody could decode."""


@deadletters.command("list")
@click.option(
    "--status",
    multiple=True,
    type=click.Choice(_STATUSES),
    default=("open",),
    show_default=True,
    metavar="STATUS",
    help="open, redriven, discarded; repeatable.",
)
@click.option("--execution", metavar="ID", help="Only of this execution.")
@click.option(
    "--limit", type=click.IntRange(1), default=20, show_default=True, help="At most so many."
)
@click.pass_obj
def list_(options: Options, status: tuple[str, ...], execution: str | None, limit: int) -> None:
    """List dead letters, the newest first."""
    wanted: dict[str, Any] = {"status": [each.upper() for each in status]}
    if execution is not None:
        wanted["executionId"] = execution
    client = Client.of(options)
    rows = collect(
        lambda size, after: client.run("list_dead_letters", filter=wanted, first=size, after=after)[
            "deadLetters"
        ],
        limit,
    )
    show_rows(options, rows, _COLUMNS, empty="No dead letters.")


@deadletters.command()
@click.argument("id")
@click.pass_obj
def show(options: Options, id: str) -> None:
    """Show one dead letter: the workers that it cost, its last events; or the message, whole."""
    found = Client.of(options).run("get_dead_letter", id=id)["node"]
    if not found:
        raise CliError(
            f"There is no dead letter {id}.", code="NOT_FOUND", reason="DEAD_LETTER_NOT_FOUND"
        )
    show_one(options, found, lambda: _draw(options, found))


@deadletters.command()
@click.argument("ids", nargs=-1, metavar="[ID]...")
@click.option(
    "--all",
    "everything",
    is_flag=True,
    help="The newest open ones that can be redriven, up to 1,000.",
)
@click.option("--reason", metavar="TEXT", help="Why; stands on the dead letter and the event.")
@click.pass_obj
def redrive(options: Options, ids: tuple[str, ...], everything: bool, reason: str | None) -> None:
    """Run dead executions again, as their next generation, and deliver messages again: of IDs all or none."""
    _decide(options, "redrive_dead_letters", "redriveDeadLetters", ids, everything, reason)


@deadletters.command()
@click.argument("ids", nargs=-1, metavar="[ID]...")
@click.option("--all", "everything", is_flag=True, help="The newest open ones, up to 1,000.")
@click.option("--reason", metavar="TEXT", help="Why; stands on the dead letter and the event.")
@click.pass_obj
def discard(options: Options, ids: tuple[str, ...], everything: bool, reason: str | None) -> None:
    """Leave executions and messages dead for good: of IDs all or none."""
    _decide(options, "discard_dead_letters", "discardDeadLetters", ids, everything, reason)


def _decide(
    options: Options,
    name: str,
    field: str,
    ids: tuple[str, ...],
    everything: bool,
    reason: str | None,
) -> None:
    if bool(ids) == everything:
        raise usage("Name dead letters by their ids, or all open ones by --all.")
    meant: dict[str, Any] = {"filter": {}, "limit": _MOST} if everything else {"ids": list(ids)}
    payload = Client.of(options).run(name, input={**meant, "reason": reason})[field]
    check_payload(payload)
    for letter in payload["deadLetters"]:
        options.say(f"{letter['id']} {word(letter['status'])}")
    if options.format not in {"table", "wide"}:
        show_rows(options, payload["deadLetters"], _DECIDED)


def _draw(options: Options, found: dict[str, Any]) -> None:
    execution = found["execution"]
    by = found["decidedBy"]
    show_fields(
        {
            "id": found["id"],
            "status": word(found["status"]),
            "reason": f"{found['error']['message']} ({found['reason']})",
            "step": found["stepKey"],
            "died": found["createdAt"],
            "decided": f"{found['redrivenAt'] or found['discardedAt']} by {by['subject']}"
            if by
            else None,
            "decision": found["decisionReason"],
            "execution": execution and f"{execution['id']} {word(execution['status'])}",
            "workflow": execution
            and f"{execution['workflow']['name']}@{execution['workflowVersion']['version']}",
            "input": execution and execution["input"],
        }
    )
    print()
    if (said := found["payload"].get("message")) is not None:
        show_fields({name: said[name] for name in ("n", "kind", "sent_at", "data")})
        return
    show_rows(options, found["lostWorkers"], _LOST, empty="No workers are known.")
    print()
    show_rows(options, found["payload"]["events"], _EVENTS, empty="No events.")

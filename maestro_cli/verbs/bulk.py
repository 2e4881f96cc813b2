"""`mc bulk`: one action on all executions of a filter, previewed, followed, stopped; and what came of earlier ones."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping
from typing import Any, Final

import click

from maestro_cli.client import Client, check_payload
from maestro_cli.documents import parse_value
from maestro_cli.errors import CliError, usage
from maestro_cli.filters import parse_filter
from maestro_cli.groups import VerbGroup
from maestro_cli.options import Options
from maestro_cli.output import Column, print_document, show_fields, show_one, show_rows, word
from maestro_cli.paging import collect

_LOOK_SECONDS: Final = 0.5
_REFUSALS: Final = 20
_SHARES: Final = (
    Column("COUNT", "count"),
    Column("STATUS", "status", "status"),
    Column("WHAT HAPPENS", "effect", "status"),
    Column("IN WORDS", "detail"),
)
_COLUMNS: Final = (
    Column("ID", "id"),
    Column("ACTION", "action", "status"),
    Column("STATUS", "status", "status"),
    Column("TOTAL", "total"),
    Column("DONE", "done"),
    Column("REFUSED", "refused"),
    Column("BY", "createdBy.subject"),
    Column("STARTED", "createdAt", "time"),
    Column("REASON", "reason", wide=True),
)
_RESULTS: Final = (
    Column("#", "position"),
    Column("EXECUTION", "executionId"),
    Column("OUTCOME", "outcome", "status"),
    Column("CODE", "code"),
    Column("WHY", "message", wide=True),
)


@click.group(cls=VerbGroup)
def bulk() -> None:
    """One action on all executions of a filter: previewed, done as a job with progress, and stopped if it must be."""


def _starts(command: Callable[..., None]) -> Callable[..., None]:
    """The arguments that all actions share."""
    for add in (
        click.pass_obj,
        click.option("--no-wait", is_flag=True, help="Print the id, and do not wait for its end."),
        click.option("--dry-run", is_flag=True, help="Only say what would happen."),
        click.option("--yes", is_flag=True, help="Do not ask."),
        click.option("--reason", metavar="TEXT", help="Why; stands on every execution's event."),
        click.argument("filter", nargs=-1, required=True, metavar="FILTER..."),
    ):
        command = add(command)
    return command


@bulk.command()
@click.option("--compensate", is_flag=True, help="Undo what their steps have done, too.")
@_starts
def cancel(options: Options, *, compensate: bool, **asked: Any) -> None:
    """Cancel all executions of a filter: status:running workflow:NAME@2 tag:team=pay created:>24h."""
    _start(options, {"type": "CANCEL", "compensate": compensate}, **asked)


@bulk.command()
@_starts
def pause(options: Options, **asked: Any) -> None:
    """Pause all executions of a filter."""
    _start(options, {"type": "PAUSE"}, **asked)


@bulk.command()
@_starts
def resume(options: Options, **asked: Any) -> None:
    """Resume all executions of a filter."""
    _start(options, {"type": "RESUME"}, **asked)


@bulk.command()
@click.option(
    "--from", "start", type=click.Choice(["failure", "start"]), default="failure", show_default=True
)
@_starts
def retry(options: Options, *, start: str, **asked: Any) -> None:
    """Run all ended executions of a filter again: from what failed, or from the start."""
    _start(options, {"type": "RETRY", "fromFailedStep": start == "failure"}, **asked)


@bulk.command()
@click.argument("event", metavar="EVENT")
@click.option("-d", "--data", metavar="JSON|@FILE", help="The payload; @- reads standard input.")
@_starts
def signal(options: Options, *, event: str, data: str | None, **asked: Any) -> None:
    """Send the signal EVENT to all executions of a filter."""
    payload = None if data is None else parse_value(data, "--data")
    _start(options, {"type": "SIGNAL", "signal": event, "payload": payload}, **asked)


@bulk.command("list")
@click.option(
    "--limit", type=click.IntRange(1), default=20, show_default=True, help="At most so many."
)
@click.pass_obj
def list_(options: Options, limit: int) -> None:
    """List bulk operations, the newest first."""
    client = Client.of(options)
    rows = collect(
        lambda size, after: client.run("list_bulk_operations", first=size, after=after)[
            "bulkOperations"
        ],
        limit,
    )
    show_rows(options, rows, _COLUMNS, empty="No bulk operations.")


@bulk.command()
@click.argument("id")
@click.pass_obj
def show(options: Options, id: str) -> None:
    """Show one bulk operation: how far it is, and the first of what was refused."""
    found = _find(Client.of(options), id)
    show_one(options, found, lambda: _draw(found))


@bulk.command()
@click.argument("id")
@click.option("--refused", is_flag=True, help="Only what was refused.")
@click.option(
    "--limit", type=click.IntRange(1), default=100, show_default=True, help="At most so many."
)
@click.pass_obj
def results(options: Options, id: str, *, refused: bool, limit: int) -> None:
    """List what became of each execution of a bulk operation so far."""
    client = Client.of(options)

    def page(size: int, after: str | None) -> dict[str, Any]:
        found = client.run(
            "list_bulk_results", id=id, first=size, after=after, onlyRefused=refused
        )["bulkOperation"]
        if found is None:
            raise _unknown(id)
        results: dict[str, Any] = found["results"]
        return results

    show_rows(options, collect(page, limit), _RESULTS, name="executionId", empty="None yet.")


@bulk.command()
@click.argument("id")
@click.option("--reason", metavar="TEXT", help="Why; stands on the operation.")
@click.pass_obj
def stop(options: Options, id: str, reason: str | None) -> None:
    """Let a bulk operation end before its next executions; what was done stays done."""
    client = Client.of(options)
    values = {"bulkOperationId": id, "reason": reason}
    payload = client.run("stop_bulk_operation", input=values)["stopBulkOperation"]
    check_payload(payload)
    _end(options, _followed(options, client, id))


def _start(
    options: Options,
    action: dict[str, Any],
    *,
    filter: tuple[str, ...],
    reason: str | None,
    yes: bool,
    dry_run: bool,
    no_wait: bool,
) -> None:
    wanted = parse_filter(filter)
    client = Client.of(options)
    if client.server.namespace:
        wanted.setdefault("namespace", [client.server.namespace])
    do_to_all(options, action, wanted, reason=reason, yes=yes, dry_run=dry_run, no_wait=no_wait)


def do_to_all(
    options: Options,
    action: dict[str, Any],
    wanted: dict[str, Any],
    *,
    reason: str | None,
    yes: bool,
    dry_run: bool = False,
    no_wait: bool = False,
) -> None:
    """Preview an action on all executions of a filter of the graph, ask, start it, and follow it to its end."""
    client = Client.of(options)
    seen = client.run("preview_bulk_operation", filter=wanted, action=action)[
        "bulkOperationPreview"
    ]
    if dry_run:
        _show_preview(options, seen)
        return
    if not yes:
        _ask(options, action, seen)
    if not seen["total"]:
        options.say("No executions match; there is nothing to do.")
        return
    values = {"token": seen["token"], "filter": wanted, "action": action, "reason": reason}
    payload = client.run("start_bulk_operation", input=values)["startBulkOperation"]
    check_payload(payload)
    operation: str = payload["bulkOperation"]["id"]
    if no_wait:
        print(operation)
        return
    options.say(
        f"{operation} has begun; Ctrl-C stops looking at it, `mc bulk stop {operation}` stops it"
    )
    _end(options, _followed(options, client, operation))


def _ask(options: Options, action: Mapping[str, Any], seen: dict[str, Any]) -> None:
    """Show what would happen, and go on only when a person says so."""
    if options.no_input or options.is_document or not sys.stdin.isatty():
        raise usage(
            f"{seen['total']} executions match, and nobody can be asked whether to go on.",
            "say --yes to go on, or --dry-run to see what would happen",
        )
    _show_preview(options, seen)
    if not seen["total"]:
        return
    if not click.confirm(f"{word(action['type'])} these {seen['total']} executions?", err=True):
        raise CliError("Nothing was done.", code="CANCELLED")


def _show_preview(options: Options, seen: dict[str, Any]) -> None:
    if options.is_document:
        print_document(options, seen)
        return
    show_rows(options, seen["shares"], _SHARES, name="status", empty="No executions match.")
    if seen["sample"] and options.format != "name":
        print()
        for one in seen["sample"]:
            version = f"{one['workflow']['name']}@{one['workflowVersion']['version']}"
            print(f"{one['id']} {word(one['status'])} {version}")
        rest = seen["total"] - len(seen["sample"])
        if rest > 0:
            print(f"and {rest} more")


def _followed(options: Options, client: Client, id: str) -> dict[str, Any]:
    """Look at it until it has ended."""
    said = -1
    while True:
        found = _find(client, id)
        turns = found["done"] + found["refused"]
        if turns != said:
            options.say(f"{turns} of {found['total']}, {found['refused']} refused")
            said = turns
        if found["status"] != "RUNNING":
            return found
        time.sleep(_LOOK_SECONDS)


def _find(client: Client, id: str) -> dict[str, Any]:
    found: dict[str, Any] | None = client.run("get_bulk_operation", id=id, first=_REFUSALS)[
        "bulkOperation"
    ]
    if found is None:
        raise _unknown(id)
    return found


def _unknown(id: str) -> CliError:
    return CliError(
        f"There is no bulk operation {id}.", code="NOT_FOUND", reason="BULK_OPERATION_NOT_FOUND"
    )


def _end(options: Options, found: dict[str, Any]) -> None:
    show_one(options, found, lambda: _draw(found))


def _draw(found: dict[str, Any]) -> None:
    show_fields(
        {
            "id": found["id"],
            "action": word(found["action"]),
            "status": word(found["status"]),
            "total": found["total"],
            "done": found["done"],
            "refused": found["refused"],
            "by": found["createdBy"]["subject"],
            "reason": found["reason"],
            "started": found["startedAt"],
            "finished": found["finishedAt"],
            "stopped by": found["stoppedBy"] and found["stoppedBy"]["subject"],
            "stop reason": found["stopReason"],
        }
    )
    for edge in found["results"]["edges"]:
        one = edge["node"]
        print(f"refused {one['executionId']}: {one['message']}")
    if found["results"]["pageInfo"]["hasNextPage"]:
        print(f"the others: mc bulk results {found['id']} --refused")

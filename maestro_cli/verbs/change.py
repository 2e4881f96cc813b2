"""`mc cancel`, `pause`, `resume`, `signal`, `retry` and `rewind`: what a person asks of executions that exist."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import click

from maestro_cli.client import Client, check_payload
from maestro_cli.documents import parse_value
from maestro_cli.errors import usage
from maestro_cli.groups import Verb
from maestro_cli.options import Options
from maestro_cli.output import Column, show_rows, word
from maestro_cli.previewing import show_retries, show_rewind

_COLUMNS = (Column("ID", "id"), Column("STATUS", "status", "status"))


@click.command(cls=Verb)
@click.argument("ids", nargs=-1, required=True, metavar="ID...")
@click.option("--reason", metavar="TEXT", help="Why; stands on the event.")
@click.option("--compensate", is_flag=True, help="Undo what their steps have done, too.")
@click.pass_obj
def cancel(options: Options, ids: tuple[str, ...], reason: str | None, *, compensate: bool) -> None:
    """Cancel executions that have not ended."""
    # Said only when it is asked for: servers of the release before know no such word.
    more = {"compensate": True} if compensate else {}
    inputs = [{"executionId": one, "reason": reason, **more} for one in ids]
    _change(options, "cancel_execution", "cancelExecution", inputs)


@click.command(cls=Verb)
@click.argument("ids", nargs=-1, required=True, metavar="ID...")
@click.option("--reason", metavar="TEXT", help="Why; stands on the event.")
@click.pass_obj
def pause(options: Options, ids: tuple[str, ...], reason: str | None) -> None:
    """Start nothing more of these executions until they are resumed; running steps go on to their end."""
    inputs = [{"executionId": one, "reason": reason} for one in ids]
    _change(options, "pause_execution", "pauseExecution", inputs)


@click.command(cls=Verb)
@click.argument("ids", nargs=-1, required=True, metavar="ID...")
@click.option("--reason", metavar="TEXT", help="Why; stands on the event.")
@click.pass_obj
def resume(options: Options, ids: tuple[str, ...], reason: str | None) -> None:
    """Let paused executions go on."""
    inputs = [{"executionId": one, "reason": reason} for one in ids]
    _change(options, "resume_execution", "resumeExecution", inputs)


@click.command(cls=Verb)
@click.argument("id", metavar="ID")
@click.argument("event", metavar="EVENT")
@click.option("-d", "--data", metavar="JSON|@FILE", help="The payload; @- reads standard input.")
@click.option("--idempotency-key", metavar="KEY", help="The same key sends one signal.")
@click.pass_obj
def signal(
    options: Options, id: str, event: str, data: str | None, idempotency_key: str | None
) -> None:
    """Send the signal EVENT to an execution; the step that waits for it ends with the payload."""
    values = {
        "executionId": id,
        "name": event,
        "payload": None if data is None else parse_value(data, "--data"),
        "idempotencyKey": idempotency_key,
    }
    _change(options, "signal_execution", "signalExecution", [values])


@click.command(cls=Verb)
@click.argument("ids", nargs=-1, required=True, metavar="ID...")
@click.option(
    "--from", "start", type=click.Choice(["failure", "start"]), default="failure", show_default=True
)
@click.option("--reason", metavar="TEXT", help="Why; stands on the event.")
@click.option(
    "--dry-run",
    is_flag=True,
    help="Change nothing; say which steps would run again and which calls be repeated.",
)
@click.pass_obj
def retry(
    options: Options, ids: tuple[str, ...], start: str, reason: str | None, *, dry_run: bool
) -> None:
    """Run executions again as their next generation: from what failed, or from the start."""
    is_kept = start == "failure"
    if dry_run:
        show_retries(options, ids, is_kept=is_kept)
        return
    inputs = [{"executionId": one, "fromFailedStep": is_kept, "reason": reason} for one in ids]
    _change(options, "retry_execution", "retryExecution", inputs)


@click.command(cls=Verb)
@click.argument("id", metavar="ID")
@click.argument("step", metavar="STEP")
@click.option(
    "--input",
    "given",
    metavar="JSON|@FILE",
    help="Another input for it from then on, as a whole; @- reads standard input.",
)
@click.option(
    "--keep",
    multiple=True,
    metavar="STEP",
    help="Behind STEP, one whose call stands: it is not made again. Repeatable.",
)
@click.option("--reason", metavar="TEXT", help="Why; stands on the event.")
@click.option("--idempotency-key", metavar="KEY", help="The same key rewinds once.")
@click.option(
    "--dry-run",
    is_flag=True,
    help="Change nothing; say which steps would run again and which calls be repeated.",
)
@click.pass_obj
def rewind(
    options: Options,
    id: str,
    step: str,
    given: str | None,
    keep: tuple[str, ...],
    reason: str | None,
    idempotency_key: str | None,
    *,
    dry_run: bool,
) -> None:
    """Go back to STEP of an execution that has ended: it runs again with all that rests on it."""
    value = None if given is None else parse_value(given, "--input")
    if given is not None and value is None:
        raise usage("An input that is null is none: leave --input out, or say {}.")
    if dry_run:
        show_rewind(options, id, step, value, keep)
        return
    values = {
        "executionId": id,
        "stepKey": step,
        "input": value,
        "keep": keep,
        "reason": reason,
        "idempotencyKey": idempotency_key,
    }
    _change(options, "rewind_execution", "rewindExecution", [values])


def _change(options: Options, name: str, field: str, inputs: Sequence[dict[str, Any]]) -> None:
    client = Client.of(options)
    changed = []
    for values in inputs:
        payload = client.run(name, input=values)[field]
        check_payload(payload)
        changed.append(payload["execution"])
        options.say(f"{payload['execution']['id']} {word(payload['execution']['status'])}")
    if options.format not in {"table", "wide"}:
        show_rows(options, changed, _COLUMNS)

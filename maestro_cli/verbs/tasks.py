"""`mc tasks`: what waits for people: listed, shown, taken, handed out, answered."""

from __future__ import annotations

from typing import Any, Final

import click

from maestro_cli.client import Client, check_payload
from maestro_cli.documents import parse_value
from maestro_cli.errors import CliError, usage
from maestro_cli.forms import fill_in
from maestro_cli.groups import VerbGroup
from maestro_cli.options import Options
from maestro_cli.output import Column, print_document, show_fields, show_rows, word
from maestro_cli.paging import collect
from maestro_cli.visible import visible

_OPEN: Final = ("OPEN", "ASSIGNED", "CLAIMED", "ESCALATED")
_STATUSES: Final = (*map(word, _OPEN), "completed", "expired", "cancelled")
_HISTORY: Final = 100
_COLUMNS: Final = (
    Column("ID", "id"),
    Column("TITLE", "title"),
    Column("STATUS", "status", "status"),
    Column("PRIORITY", "priority", wide=True),
    Column("ASSIGNEE", "assignee"),
    Column("DUE", "dueAt", "time"),
    Column("STEP", "stepKey", wide=True),
    Column("EXECUTION", "executionId", wide=True),
    Column("CREATED", "createdAt", "time"),
)
_DONE: Final = (
    Column("ID", "id"),
    Column("STATUS", "status", "status"),
    Column("ASSIGNEE", "assignee"),
)


@click.group(cls=VerbGroup)
def tasks() -> None:
    """What waits for people: see it, take it, hand it out, answer it."""


@tasks.command("list")
@click.option("--mine", is_flag=True, help="Only what you have or may take.")
@click.option("--group", metavar="NAME", help="Only what members of this group may answer.")
@click.option("--assignee", metavar="WHO", help="Only what somebody has.")
@click.option("--overdue", is_flag=True, help="Only what is late, the latest first.")
@click.option("--execution", metavar="ID", help="Only those of this execution.")
@click.option("--workflow", metavar="ID", help="Only those of this workflow.")
@click.option(
    "--status",
    multiple=True,
    type=click.Choice(_STATUSES),
    help="In one of these; open ones if left out.",
)
@click.option(
    "--limit", type=click.IntRange(1), default=20, show_default=True, help="At most so many."
)
@click.pass_obj
def list_(options: Options, /, *, status: tuple[str, ...], limit: int, **asked: Any) -> None:
    """List human tasks, the newest first."""
    names = {"execution": "executionId", "workflow": "workflowId"}
    wanted = {names.get(name, name): value for name, value in asked.items() if value}
    wanted["status"] = [one.upper() for one in status] or list(_OPEN)
    client = Client.of(options)
    rows = collect(
        lambda size, after: client.run("list_human_tasks", filter=wanted, first=size, after=after)[
            "humanTasks"
        ],
        limit,
    )
    show_rows(options, rows, _COLUMNS, empty="No tasks.")


@tasks.command()
@click.argument("id")
@click.pass_obj
def show(options: Options, id: str) -> None:
    """Show a human task: what is asked, who may answer, what happened so far."""
    found = _find(Client.of(options), id)
    if options.format == "name":
        print(found["id"])
    elif options.is_document:
        print_document(options, found | {"status": word(found["status"])})
    else:
        _draw(found)


@tasks.command()
@click.argument("id")
@click.option("--comment", metavar="TEXT", help="Stands in its history.")
@click.pass_obj
def claim(options: Options, id: str, comment: str | None) -> None:
    """Take a task: nobody else answers it meanwhile."""
    _do(options, "claim_human_task", {"humanTaskId": id, "comment": comment})


@tasks.command()
@click.argument("id")
@click.argument("assignee")
@click.option("--comment", metavar="TEXT", help="Stands in its history.")
@click.pass_obj
def assign(options: Options, id: str, assignee: str, comment: str | None) -> None:
    """Give a task to somebody; for who created it, or holds `tasks:admin`."""
    _do(options, "assign_human_task", {"humanTaskId": id, "assignee": assignee, "comment": comment})


@tasks.command()
@click.argument("id")
@click.option(
    "--to", metavar="WHO", help="To somebody; left out: whatever its next escalation says."
)
@click.option("--comment", metavar="TEXT", help="Stands in its history.")
@click.pass_obj
def escalate(options: Options, id: str, to: str | None, comment: str | None) -> None:
    """Do the next escalation of a task now."""
    _do(options, "escalate_human_task", {"humanTaskId": id, "to": to, "comment": comment})


@tasks.command()
@click.argument("id")
@click.argument("outcome", required=False)
@click.option(
    "--form", is_flag=True, help="Ask for the outcome and for each field at the terminal."
)
@click.option(
    "-d", "--data", metavar="JSON|@FILE", help="What its form asks for; @- reads standard input."
)
@click.option("--comment", metavar="TEXT", help="Stands in its history.")
@click.option(
    "--key", metavar="KEY", help="The same key and answer change nothing the second time."
)
@click.pass_obj
def complete(
    options: Options,
    *,
    id: str,
    outcome: str | None,
    form: bool,
    data: str | None,
    comment: str | None,
    key: str | None,
) -> None:
    """Answer a task with one of its outcomes."""
    if form and data is not None:
        raise usage("Either --form asks for the fields, or --data has them.")
    if outcome is None and not form:
        raise usage("Name the outcome, or say --form to be asked.")
    response = None if data is None else parse_value(data, "--data")
    if form:
        outcome, response = fill_in(_find(Client.of(options), id), outcome)
    said = {"humanTaskId": id, "outcome": outcome, "response": response, "comment": comment}
    _do(options, "complete_human_task", said | {"idempotencyKey": key})


@tasks.command()
@click.argument("id")
@click.option(
    "-d", "--data", metavar="JSON|@FILE", help="What its form asks for; @- reads standard input."
)
@click.option("--comment", metavar="TEXT", help="Why; stands in its history.")
@click.pass_obj
def reject(options: Options, id: str, data: str | None, comment: str | None) -> None:
    """Answer a task with the outcome `rejected`."""
    response = None if data is None else parse_value(data, "--data")
    said = {"humanTaskId": id, "outcome": "rejected", "response": response, "comment": comment}
    _do(options, "complete_human_task", said)


def _do(options: Options, operation: str, said: dict[str, Any]) -> None:
    (payload,) = Client.of(options).run(operation, input=said).values()
    check_payload(payload)
    found = payload["humanTask"]
    holder = f" {found['assignee']}" if found["assignee"] else ""
    options.say(f"{found['id']} {word(found['status'])}{visible(holder)}")
    if options.format not in {"table", "wide"}:
        show_rows(options, [found], _DONE)


def _find(client: Client, id: str) -> dict[str, Any]:
    found: dict[str, Any] | None = client.run("get_human_task", id=id, first=_HISTORY)["humanTask"]
    if found is None:
        raise CliError(
            f"There is no human task {id!r}.",
            code="NOT_FOUND",
            reason="HUMAN_TASK_NOT_FOUND",
            hint="see `mc tasks list`",
        )
    return found


def _draw(found: dict[str, Any]) -> None:
    left_out = ("history", "answers", "form", "createdBy", "endedBy")
    plain = {name: value for name, value in found.items() if name not in left_out}
    said = {name: value for name, value in plain.items() if value not in ([], False)}
    said["status"] = word(found["status"])
    show_fields({**said, "createdBy": found["createdBy"]["subject"], "form": found["form"]})
    for one in found["history"]["edges"]:
        entry = one["node"]
        comment = f": {entry['comment']}" if entry["comment"] else ""
        who = entry["actor"]["subject"]
        print(visible(f"{entry['at']}  {word(entry['kind'])} by {who}{comment}"))

"""`mc executions list|get|watch|logs` (also `mc ex`): what runs, what ran, and what it said."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

import click

from maestro_cli.client import Client
from maestro_cli.errors import CliError
from maestro_cli.filters import STATUSES, parse_filter, parse_order
from maestro_cli.groups import VerbGroup
from maestro_cli.options import Options
from maestro_cli.output import Column, compact, money, show_fields, show_one, show_rows, word
from maestro_cli.paging import collect
from maestro_cli.starting import get_state, show_result, unknown
from maestro_cli.visible import json_text, on_one_line, visible
from maestro_cli.watching import step_place

_ALL: Final = 1_000_000
STEP_STATUSES: Final = (
    "pending",
    "ready",
    "running",
    "retrying",
    "in_doubt",
    "completed",
    "failed",
    "cancelled",
    "timed_out",
)
_COLUMNS: Final = (
    Column("ID", "id"),
    Column("WORKFLOW", "workflow.name"),
    Column("VERSION", "workflowVersion.version"),
    Column("STATUS", "status", "status"),
    Column("CREATED", "createdAt", "time"),
    Column("DURATION", "duration", "duration"),
    Column("ERROR", "error.message", wide=True),
    Column("KEY", "idempotencyKey", wide=True),
    Column("NAMESPACE", "namespace", wide=True),
)
_STEP_COLUMNS: Final = (
    Column("STEP", "stepKey"),
    Column("STATUS", "status", "status"),
    Column("ATTEMPT", "attempt"),
    Column("DURATION", "duration", "duration"),
    Column("ERROR", "error.message"),
)
_ITEM_COLUMNS: Final = (Column("ITEM", "mapIndex"), *_STEP_COLUMNS[1:])
_ITEMS: Final = Column("ITEMS", "items")
_CHILD: Final = Column("CHILD", "child")
_CACHED: Final = Column("CACHED FROM", "cached")
_COST: Final = Column("COST", "cost", "money")


@click.group(cls=VerbGroup)
def executions() -> None:
    """Executions: single runs of a workflow's version."""


@executions.command("list")
@click.argument("filter", nargs=-1, metavar="[FILTER]...")
@click.option(
    "--status", multiple=True, type=click.Choice(STATUSES), metavar="STATUS", help="Repeatable."
)
@click.option("--workflow", metavar="NAME", help="Only of this workflow.")
@click.option(
    "--sort",
    default="created",
    show_default=True,
    metavar="FIELD[:asc]",
    help="created, started, finished or priority; the latest or highest first.",
)
@click.option(
    "--limit", type=click.IntRange(1), default=20, show_default=True, help="At most so many."
)
@click.option("--all", "everything", is_flag=True, help="All of them, page by page.")
@click.pass_obj
def list_(
    options: Options,
    filter: tuple[str, ...],
    status: tuple[str, ...],
    workflow: str | None,
    sort: str,
    limit: int,
    everything: bool,
) -> None:
    """List executions, newest first.

    FILTER: status:failed,running workflow:NAME@2 tag:team=pay created:>24h
    """
    words = [
        *filter,
        *([f"status:{','.join(status)}"] if status else []),
        *([f"workflow:{workflow}"] if workflow else []),
    ]
    wanted, order = parse_filter(words), parse_order(sort)
    client = Client.of(options)
    if client.server.namespace:
        wanted.setdefault("namespace", [client.server.namespace])
    rows = collect(
        lambda size, after: client.run(
            "list_executions", filter=wanted, orderBy=order, first=size, after=after
        )["executions"],
        _ALL if everything else limit,
    )
    show_rows(options, rows, _COLUMNS, empty="No executions; start one with `mc execute NAME`.")


@executions.command()
@click.argument("id")
@click.pass_obj
def get(options: Options, id: str) -> None:
    """Show one execution: its steps, its error, its output."""
    found = Client.of(options).run("get_execution", id=id)["execution"]
    if found is None:
        raise unknown(id)
    show_one(options, found, lambda: _draw(options, found))


@executions.command()
@click.argument("id")
@click.argument("step")
@click.option(
    "--status",
    multiple=True,
    type=click.Choice(STEP_STATUSES),
    metavar="STATUS",
    help="Repeatable.",
)
@click.option(
    "--limit", type=click.IntRange(1), default=20, show_default=True, help="At most so many."
)
@click.option("--all", "everything", is_flag=True, help="All of them, page by page.")
@click.pass_obj
def items(
    options: Options, id: str, step: str, status: tuple[str, ...], limit: int, everything: bool
) -> None:
    """List the items of a map, in the order of its list."""
    client = Client.of(options)
    wanted = [one.upper() for one in status] or None

    def fetch(size: int, after: str | None) -> dict[str, Any]:
        variables = {"id": id, "step": step, "status": wanted, "first": size, "after": after}
        found = client.run("list_items", **variables)["execution"]
        if found is None:
            raise unknown(id)
        page = (found["step"] or {}).get("items")
        if page is None:
            raise CliError(
                f"The step {step!r} of this execution is no map that has begun.", code="NOT_FOUND"
            )
        return dict(page)

    rows = collect(fetch, _ALL if everything else limit)
    show_rows(options, rows, _ITEM_COLUMNS, empty="No items.")


@executions.command()
@click.argument("id")
@click.pass_obj
def watch(options: Options, id: str) -> int:
    """Follow an execution until it ends; the exit code says how. Ctrl-C detaches."""
    from maestro_cli.watching import watch as follow

    client = Client.of(options)
    get_state(client, id)
    follow(client, options, id)
    return show_result(options, get_state(client, id))


@executions.command()
@click.argument("id")
@click.argument("step", required=False)
@click.option("-f", "--file", metavar="FILE", help="Write it there; standard output unless given.")
@click.pass_obj
def output(options: Options, id: str, step: str | None, file: str | None) -> None:
    """Have the output of a step, or of the whole execution: its bytes, of any size."""
    from urllib.parse import quote

    from maestro_cli.download import Download, written_to

    of_step = f"/steps/{quote(step, safe='')}" if step else ""
    path = f"/api/executions/{quote(id, safe='')}{of_step}/output"
    with written_to(file) as out:
        download = Download(Client.of(options), path, out)
        download.run()
    if file not in {None, "-"}:
        options.say(f"{download.written} bytes, {download.digest}")


@executions.command()
@click.argument("id")
@click.option("--step", metavar="KEY", help="Only what this step logs.")
@click.option("--follow", is_flag=True, help="Stay and show new lines, until the execution ends.")
@click.pass_obj
def logs(options: Options, id: str, step: str | None, follow: bool) -> None:
    """Show what the steps of an execution logged, oldest first."""
    client = Client.of(options)
    if follow:
        _follow_logs(client, options, id, step)
        return

    def fetch(size: int, after: str | None) -> dict[str, Any]:
        found = client.run("list_execution_logs", id=id, stepKey=step, first=size, after=after)[
            "execution"
        ]
        if found is None:
            raise unknown(id)
        page: dict[str, Any] = found["logs"]
        return page

    lines = collect(fetch, _ALL)
    if options.is_document:
        show_rows(options, lines, ())
        return
    for line in lines:
        print(_log_line(line), *_stack(line["stack"]), sep="\n")


def _follow_logs(client: Client, options: Options, id: str, step: str | None) -> None:
    """New lines as they come; in a document format one JSON object a line."""
    from maestro_cli.client import operation
    from maestro_cli.live import follow_field
    from maestro_cli.watching import detached, still_going

    get_state(client, id)

    def show(line: dict[str, Any]) -> bool:
        if options.is_document:
            print(json_text(line), flush=True)
        else:
            print(_log_line(line), *_stack(line["stack"]), sep="\n", flush=True)
        return True

    variables = {"id": id, **({"stepKey": step} if step else {})}
    try:
        follow_field(
            client,
            operation("follow_logs"),
            variables,
            "executionLogs",
            show,
            seconds=options.timeout,
        )
    except KeyboardInterrupt:
        raise detached(id) from None
    except TimeoutError:
        status = word(get_state(client, id)["status"])
        raise still_going(id, status, options.timeout) from None


def _log_line(line: Mapping[str, Any]) -> str:
    """Time, level, step, text, facts: on one line."""
    facts = " ".join(f"{name}={compact(value)}" for name, value in (line["fields"] or {}).items())
    attempt = f" attempt {line['attempt']}" if line["attempt"] > 1 else ""
    place = f"{step_place(line) or '-'}{attempt}"
    parts = (line["at"], f"{line['level']:<7}", place, line["message"], facts)
    return on_one_line("  ".join(part for part in parts if part))


def _with_what_undoes(steps: Iterable[Mapping[str, Any]]) -> Iterator[Mapping[str, Any]]:
    """Every step, and right after it what undoes it, if that is decided."""
    for step in steps:
        yield step
        if step["compensation"]:
            yield step["compensation"]


def _items(progress: Mapping[str, Any] | None) -> str | None:
    """`40/100`, and how many failed."""
    if progress is None:
        return None
    failed = f", {progress['failed']} failed" if progress["failed"] else ""
    return f"{progress['completed']}/{progress['total']}{failed}"


def _stack(text: str | None) -> list[str]:
    """A stack as lines below what it belongs to."""
    return [f"    {line}" for line in visible(text).splitlines()] if text else []


def _draw(options: Options, found: dict[str, Any]) -> None:
    error = found["error"]
    waits = found["waitingFor"]
    show_fields(
        {
            "id": found["id"],
            "workflow": f"{found['workflow']['name']}@{found['workflowVersion']['version']}",
            "status": word(found["status"]),
            "waiting for": f"{word(waits['kind'])} {waits['until'] or ''}".strip()
            if waits
            else None,
            "parent": found["parent"] and found["parent"]["id"],
            "generation": str(found["generation"]) if found["generation"] else None,
            "namespace": found["namespace"],
            "purpose": found["purpose"],
            "key": found["idempotencyKey"],
            "created": f"{found['createdAt']} by {found['createdBy']['subject']} ({word(found['trigger']['kind'])})",
            "finished": found["finishedAt"],
            "duration": found["duration"],
            "error": f"{error['message']} ({error['type']})" if error else None,
            "cost": money(found["cost"]),
            "input": found["input"],
            "output": found["output"],
        }
    )
    print()
    # Few workflows have steps that cost something; others are spared the empty column.
    more = [_ITEMS] if any(step["progress"] for step in found["steps"]) else []
    more += [_CHILD] if any(step["childExecution"] for step in found["steps"]) else []
    more += [_CACHED] if any(step["cachedFrom"] for step in found["steps"]) else []
    more += [_COST] if found["cost"] else []
    columns = (*_STEP_COLUMNS[:4], *more, *_STEP_COLUMNS[4:])
    steps = [*_with_what_undoes(found["steps"])]
    rows = [
        {
            **step,
            "items": _items(step.get("progress")),
            "child": (step.get("childExecution") or {}).get("id"),
            "cached": (step.get("cachedFrom") or {}).get("executionId"),
        }
        for step in steps
    ]
    show_rows(options, rows, columns, empty="No steps.")
    for step in steps:
        if stack := _stack((step["error"] or {}).get("stack")):
            print(f"\n{step['stepKey']}:", *stack, sep="\n")
    if waits and waits["kind"] == "IN_DOUBT":
        for step in found["steps"]:
            if step["status"] == "IN_DOUBT":
                what = "--made [--output JSON] | --not-made | --fail"
                options.say(
                    f"look at the other side, then: mc resolve {found['id']} {step['stepKey']} {what}"
                )
            elif step["progress"] and step["status"] == "RUNNING":
                one = f"{found['id']} {step['stepKey']}"
                options.say(
                    f"for items in doubt: mc executions items {one} --status in_doubt, then: "
                    f"mc resolve {one} --item N"
                )

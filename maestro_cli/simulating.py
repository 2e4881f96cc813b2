"""Simulations, in the shape of the graph: made here from a file, or by the server; and how they are shown."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from maestro_cli.documents import read_definition
from maestro_cli.errors import refused
from maestro_cli.moments import span
from maestro_cli.options import Options
from maestro_cli.output import Column, compact, print_document, show_fields, show_rows, word

_COLUMNS = (
    Column("#", "order"),
    Column("STEP", "key"),
    Column("STATUS", "status", kind="status"),
    Column("FROM", "startedAfter", kind="duration"),
    Column("TO", "endedAfter", kind="duration"),
    Column("TRIES", "attempts"),
    Column("WHY", "why"),
    Column("INPUT", "renderedInput"),
    Column("OUTPUT", "mockedOutput", wide=True),
    Column("OUTPUT FROM", "outputSource", wide=True),
)


_ITEMS = Column("ITEMS", "of")


@dataclass(frozen=True, slots=True)
class Asked:
    """What the command line gave: JSON, and words that were checked."""

    input: Any
    mocks: dict[str, Any]
    fails: list[dict[str, Any]]
    durations: dict[str, str]
    costs: dict[str, str]
    from_execution: str | None


def of_server(
    options: Options, target: str, asked: Asked, document: tuple[str, str] | None
) -> dict[str, Any]:
    """What the server says of a workflow by name, or of a document."""
    from maestro_cli.client import Client, check_payload
    from maestro_cli.names import id_of, named

    client = Client.of(options)
    given: dict[str, Any] = {
        "input": asked.input,
        "mocks": asked.mocks,
        "fail": asked.fails,
        "durations": asked.durations,
        "costs": asked.costs,
        "fromExecution": asked.from_execution,
    }
    if document is not None:
        given |= {"source": document[0], "format": document[1]}
    else:
        workflow, version = named(target)
        given |= {"workflowId": id_of(client, workflow), "version": version}
    payload: dict[str, Any] = client.run("simulate_workflow", input=given)["simulateWorkflow"]
    check_payload(payload, file=target if document is not None else None)
    return payload


def of_file(file: str, asked: Asked, imports: Sequence[str]) -> dict[str, Any]:
    """What this machine says of a file; raises CliError with the findings of a broken one."""
    from runtime.clock import SystemClock
    from runtime.connectors.registry import Registry
    from runtime.connectors.rehearsal import rehearse
    from runtime.deep import deeply
    from runtime.definition import apply_params, validate
    from runtime.engine.simulation import Failing, Script
    from runtime.model.durable import durable_input
    from runtime.model.errors import StepErrorKind
    from runtime.model.values import Duration, Money
    from runtime.model.workflow import DefinitionFormat

    source, form = read_definition(file)
    registry = Registry.load(imports)
    catalog = registry.catalog()
    found = deeply(lambda: validate(source, DefinitionFormat(form.lower()), catalog))
    if found.plan is None:
        raise refused(file, found.problems)
    script = Script(
        mocks=asked.mocks,
        fails={
            one["step"]: Failing(one["attempts"], StepErrorKind(one["kind"].lower()))
            for one in asked.fails
        },
        durations={key: Duration.parse(text) for key, text in asked.durations.items()},
        costs={key: Money.parse(text) for key, text in asked.costs.items()},
    )
    durable_input(asked.input)
    plan = found.plan
    params = deeply(lambda: apply_params(plan, asked.input))
    durable_input(params)
    simulation = rehearse(found.plan, registry, params, script, now=SystemClock().now())
    return _as_graph(simulation)


def _as_graph(found: Any) -> dict[str, Any]:
    """A simulation as the graph writes it."""
    from runtime.model.values import Duration

    def after(milliseconds: int | None) -> str | None:
        return None if milliseconds is None else str(Duration(milliseconds))

    return {
        "status": found.status.name,
        "output": found.output,
        "duration": after(found.duration_ms),
        "cost": [str(one) for one in found.costs],
        "unknownDurations": list(found.unknown_durations),
        "stopped": found.stopped,
        "plan": [
            {
                "key": one.key,
                "type": one.type,
                "order": one.order,
                "taken": one.is_taken,
                "status": one.status.name,
                "reason": one.reason,
                "condition": one.condition,
                "reads": [
                    {"path": read.path, "value": read.value, "isCut": read.is_cut}
                    for read in one.reads
                ],
                "attempts": one.attempts,
                "startedAfter": after(one.started_ms),
                "endedAfter": after(one.ended_ms),
                "renderedInput": one.rendered_input,
                "mockedOutput": one.output,
                "outputSource": None if one.source is None else one.source.name,
                "isCut": one.is_cut,
                "items": one.items,
                "failedItems": one.failed_items,
                "error": _error(one.error.of_execution(one.key) if one.error else None),
            }
            for one in sorted(found.steps, key=lambda one: one.order)
        ],
        "timers": [
            {
                "stepKey": one.step,
                "setAfter": after(one.set_ms),
                "signal": one.signal,
                "due": one.due.isoformat() if one.due else None,
            }
            for one in found.timers
        ],
        "humanTasks": [
            {
                "stepKey": one.step,
                "createdAfter": after(one.created_ms),
                "fields": one.fields,
                "due": one.due.isoformat() if one.due else None,
            }
            for one in found.tasks
        ],
        "events": [
            {
                "after": after(one.at_ms),
                "type": one.kind.name,
                "stepKey": one.step,
                "data": one.data,
            }
            for one in found.events
        ],
        "error": _error(found.error),
    }


def _error(error: Any) -> dict[str, Any] | None:
    if error is None:
        return None
    return {
        "type": error.type,
        "message": error.message,
        "stepKey": error.step_key,
        "retryable": error.retryable,
    }


def show(options: Options, found: dict[str, Any], *, with_events: bool) -> None:
    """Steps in their order, then what waits, then what it comes to."""
    if options.is_document:
        print_document(options, _in_words(found))
        return
    steps = [{**one, "why": _why(one), "of": _items(one)} for one in found["plan"]]
    with_items = any(one["of"] for one in steps)
    columns = (*_COLUMNS[:3], _ITEMS, *_COLUMNS[3:]) if with_items else _COLUMNS
    show_rows(options, steps, columns, name="key")
    if options.format == "name":
        return
    for one in found["humanTasks"]:
        print(f"task {one['stepKey']}: {compact(one['fields'])}, due {one['due'] or 'never'}")
    for one in found["timers"]:
        what = f"the signal {one['signal']!r}" if one["signal"] else "time"
        print(f"wait {one['stepKey']}: for {what}, until {one['due'] or 'it comes'}")
    if with_events:
        for one in found["events"]:
            item = (one["data"] or {}).get("item")
            place = f"{one['stepKey'] or ''}{'' if item is None else f'[{item}]'}"
            print(f"{span(one['after']):>8}  {word(one['type'])} {place}".rstrip())
    show_fields(
        {
            "status": word(found["status"]),
            "output": found["output"],
            "error": found["error"]["message"] if found["error"] else None,
            "duration": span(found["duration"]),
            "cost": ", ".join(found["cost"]) or None,
            "stopped": found["stopped"],
        }
    )
    if found["unknownDurations"] and not options.quiet:
        names = ", ".join(found["unknownDurations"][:5])
        count = len(found["unknownDurations"])
        more = f" and {count - 5} more" if count > 5 else ""  # noqa: PLR2004 - what fits into one line
        hint = f"nobody knows how long these take, they count as nothing: {names}{more} (--takes STEP=TIME)"
        print(hint, file=sys.stderr)


def _in_words(found: dict[str, Any]) -> dict[str, Any]:
    """The graph's words in this program's spelling; what users' workflows hold stays as it is."""
    plan = [
        {
            **one,
            "status": word(one["status"]),
            "outputSource": word(one["outputSource"]) if one["outputSource"] else None,
        }
        for one in found["plan"]
    ]
    events = [{**one, "type": word(one["type"])} for one in found["events"]]
    return {**found, "status": word(found["status"]), "plan": plan, "events": events}


def _items(step: dict[str, Any]) -> str | None:
    """How many items a map went over, and how many of them failed."""
    if step["items"] is None:
        return None
    failed = step["failedItems"]
    return f"{step['items']}" + (f", {failed} failed" if failed else "")


def _why(step: dict[str, Any]) -> str | None:
    """The reason, and what the condition looked at."""
    if step["error"] is not None:
        return str(step["error"]["message"])
    if step["condition"] is None or step["reason"] is None:
        return None if step["reason"] is None else str(step["reason"])
    read = ", ".join(
        f"{one['path']} = {'...' if one['isCut'] else compact(one['value'])}"
        for one in step["reads"]
    )
    return f"{step['reason']}: {step['condition']}" + (f" ({read})" if read else "")

"""Two executions beside each other, for `mc diff`: where they part, and how long each step took in both."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from maestro_cli.client import Client
from maestro_cli.moments import span
from maestro_cli.options import Options
from maestro_cli.output import Column, show_one, show_rows, word


def show_comparison(options: Options, a: str, b: str) -> None:
    """Ask for it, and show it; `-o name` the steps that differ."""
    found = Client.of(options).run("compare_executions", a=a, b=b)["compareExecutions"]
    if options.format == "name":
        show_rows(options, found["steps"], (), name="stepKey")
        return
    show_one(options, found, lambda: _draw(options, found))


def _draw(options: Options, found: Mapping[str, Any]) -> None:
    for side in ("a", "b"):
        one = found[side]
        took = span(one["duration"]) if one["duration"] else "-"
        version = f"{one['workflow']['name']}@{one['workflowVersion']['version']}"
        print(f"{side}  {one['id']}  {version}  {word(one['status'])}  {took}")
    differences = [word(one) for one in found["differences"]]
    print(f"differ in: {', '.join(differences) or 'nothing'}")
    first = found["firstDivergence"]
    if first is not None:
        print(f"part at: {first['stepKey']} ({', '.join(map(word, first['differences']))})")
    if not found["steps"]:
        return
    print()
    rows = [
        {
            "step": step["stepKey"],
            "differs": ", ".join(map(word, step["differences"])),
            **{side: _said(step[side]) for side in ("a", "b")},
        }
        for step in found["steps"]
    ]
    columns = (
        Column("STEP", "step"),
        Column("A", "a"),
        Column("B", "b"),
        Column("DIFFERS IN", "differs"),
    )
    show_rows(options, rows, columns)


def _said(step: Mapping[str, Any] | None) -> str | None:
    """`completed 1.2s`, or nothing where there is no such step."""
    if step is None:
        return None
    return (
        f"{word(step['status'])} {span(step['duration'])}"
        if step["duration"]
        else word(step["status"])
    )

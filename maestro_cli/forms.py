"""A form at the terminal: each field of a JSON Schema is asked for, in words, and read as what it is to be."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from typing import Any

import click

from maestro_cli.documents import parse_value
from maestro_cli.errors import usage
from maestro_cli.visible import visible


def fill_in(task: Mapping[str, Any], outcome: str | None) -> tuple[str, Any]:
    """Ask for the outcome of a task, unless it is known, and for the fields of its form; what was said."""
    if not sys.stdin.isatty():
        raise usage("--form asks at a terminal; say the outcome and --data instead.")
    if outcome is None:
        choices = click.Choice([str(one) for one in task["outcomes"]])
        outcome = click.prompt(visible(task["title"]), type=choices, err=True)
    form = task["form"]
    return outcome, None if form is None else _object(form, "")


def _object(schema: Any, above: str) -> dict[str, Any]:
    properties = schema.get("properties") if isinstance(schema, Mapping) else None
    if not isinstance(properties, Mapping):
        raise usage("This form is no list of fields: give the answer with --data.")
    needed = schema.get("required", ())
    found = {}
    for name, one in properties.items():
        field = one if isinstance(one, Mapping) else {}
        answer = _field(f"{above}{name}", field, needed=name in needed)
        if answer is not None:
            found[name] = answer
    return found


def _field(name: str, schema: Mapping[str, Any], *, needed: bool) -> Any:
    """What is said of a field; None where it is left out."""
    kind = schema.get("type")
    if kind == "object" and "properties" in schema:
        return _object(schema, f"{name}.")
    title = visible(str(schema.get("title") or schema.get("description") or name))
    label = title if needed or "default" in schema else f"{title} (optional)"
    choices = schema.get("enum")
    if isinstance(choices, list) and choices and all(isinstance(one, str) for one in choices):
        label += f" [{', '.join(map(visible, choices))}]"
    default = schema.get("default")
    while True:
        said = click.prompt(
            label,
            default="" if default is None else _shown(default),
            show_default=default is not None,
            err=True,
        )
        if said == "":
            if not needed:
                return None
            click.echo("This field is needed.", err=True)
            continue
        found, fault = _read(said, kind)
        if fault is None:
            return found
        click.echo(fault, err=True)


def _shown(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _read(said: str, kind: Any) -> tuple[Any, str | None]:
    """The value of a word by its type in the schema, or what is wrong with it; the server judges the rest."""
    if kind in {"string", None} or isinstance(kind, list):
        return said, None
    if kind == "boolean" and said.lower() in {"y", "yes", "true", "n", "no", "false"}:
        return said.lower()[0] in "yt", None
    try:
        found = parse_value(said, "this field")
    except Exception as error:  # noqa: BLE001 - whatever is wrong with it, it is asked for again
        return None, str(error)
    matches = {
        "integer": isinstance(found, int) and not isinstance(found, bool),
        "number": isinstance(found, int | float) and not isinstance(found, bool),
        "boolean": isinstance(found, bool),
        "array": isinstance(found, list),
        "object": isinstance(found, dict),
        "null": found is None,
    }
    return (found, None) if matches.get(str(kind), True) else (None, f"This is to be: {kind}.")

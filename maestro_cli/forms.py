"""A form at the terminal: each field of a JSON Schema is asked for, in words, and read as what it is to be."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from typing import Any, Final

import click

from maestro_cli.documents import parse_value
from maestro_cli.errors import usage
from maestro_cli.visible import on_one_line, visible

_LEFT_OUT: Final = object()


def fill_in(task: Mapping[str, Any], outcome: str | None) -> tuple[str, Any]:
    """Ask for the outcome of a task, unless it is known, and for the fields of its form; what was said."""
    if not sys.stdin.isatty():
        raise usage("--form asks at a terminal; say the outcome and --data instead.")
    if outcome is None:
        outcome = _outcome(visible(task["title"]), [str(one) for one in task["outcomes"]])
    form = task["form"]
    return outcome, None if form is None else _object(form, "")


def _outcome(title: str, outcomes: list[str]) -> str:
    """One of them; as they are shown they hold nothing that drives a terminal."""
    shown = {on_one_line(one): one for one in outcomes}
    if len(shown) < len(set(outcomes)):
        raise usage("Outcomes of this task look alike: say the outcome and --data instead.")
    return shown[click.prompt(title, type=click.Choice([*shown]), err=True)]


def _object(schema: Any, above: str) -> dict[str, Any]:
    properties = schema.get("properties") if isinstance(schema, Mapping) else None
    if not isinstance(properties, Mapping):
        raise usage("This form is no list of fields: give the answer with --data.")
    needed = schema.get("required", ())
    found = {}
    for name, one in properties.items():
        field = one if isinstance(one, Mapping) else {}
        answer = _field(f"{above}{name}", field, needed=name in needed)
        if answer is not _LEFT_OUT:
            found[name] = answer
    return found


def _field(name: str, schema: Mapping[str, Any], *, needed: bool) -> Any:
    """What is said of a field, or that it is left out."""
    kind = schema.get("type")
    kinds = kind if isinstance(kind, list) else [kind]
    if kind == "object" and "properties" in schema:
        return _object(schema, f"{name}.")
    title = visible(str(schema.get("title") or schema.get("description") or name))
    label = title if needed or "default" in schema else f"{title} (optional)"
    choices = schema.get("enum")
    if isinstance(choices, list) and choices and all(isinstance(one, str) for one in choices):
        label += f" [{', '.join(map(visible, choices))}]"
    default = schema.get("default")
    shown = "" if default is None else on_one_line(_shown(default))
    while True:
        said = click.prompt(label, default=shown, show_default=default is not None, err=True)
        if default is not None and said == shown:
            return default
        if said == "":
            if not needed:
                return _LEFT_OUT
            if "null" in kinds:
                return None
            click.echo("This field is needed.", err=True)
            continue
        found, fault = _read_as(said, kinds)
        if fault is None:
            return found
        click.echo(fault, err=True)


def _shown(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _read_as(said: str, kinds: list[Any]) -> tuple[Any, str | None]:
    """The value of a word by the types of its schema, which it may have one of; as a text where it has no other."""
    found: list[tuple[Any, str | None]] = []
    for kind in sorted(kinds, key=lambda one: one in ("string", None)):
        found.append(_read(said, kind))
        if found[-1][1] is None:
            return found[-1]
    others = ", ".join(str(one) for one in kinds)
    return found[0] if len(found) == 1 else (None, f"This is to be one of: {others}.")


def _read(said: str, kind: Any) -> tuple[Any, str | None]:
    """The value of a word by its type in the schema, or what is wrong with it; the server judges the rest."""
    if kind is None or kind == "string":
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

"""Two definitions, wherever they are, and what differs between them: for people, and as a document."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import click

from maestro_cli.client import Client
from maestro_cli.documents import looks_like_file, read_definition
from maestro_cli.errors import CliError, refused
from maestro_cli.names import check_version, reference, unknown
from maestro_cli.options import Options
from maestro_cli.output import compact, word
from maestro_cli.visible import on_one_line

_DRAFT: Final = "draft"
_SIGNS: Final = {"added": ("+", "green"), "removed": ("-", "red"), "changed": ("~", "yellow")}
_COLORS: Final = {"breaking": "red", "unknown": "yellow", "compatible": "green"}
_SHOWN_DIGITS: Final = len("sha256:") + 12


@dataclass(frozen=True, slots=True)
class Side:
    """One of the two: what it is called here, and its canonical definition."""

    label: str
    name: str
    version: str | None
    digest: str
    definition: dict[str, Any]


def load_side(options: Options, target: str, catalog: Any) -> Side:
    """A file's definition, or that of `NAME[@VERSION]` on the server; `NAME@draft` is what would be published."""
    if looks_like_file(target):
        return _from_file(target, catalog)
    return _from_server(Client.of(options), target)


def compare(before: Side, after: Side, catalog: Any) -> Any:
    """What differs, as the engine's own comparison says."""
    from runtime.definition import diff_definitions

    return diff_definitions(before.definition, after.definition, catalog)


def as_document(before: Side, after: Side, diff: Any) -> dict[str, Any]:
    """The difference for programs."""
    hashes = {one.key: one for one in diff.hashes}
    return {
        "from": _head(before),
        "to": _head(after),
        "compatibility": diff.compatibility.value,
        "suggestedBump": diff.suggested_bump.value,
        "effects": [
            {
                "rule": one.rule,
                "message": one.message,
                "path": one.path,
                "compatibility": one.compatibility.value,
            }
            for one in diff.effects
        ],
        "added": [{"key": key, "configHash": str(hashes[key].after)} for key in diff.added],
        "removed": [{"key": key, "configHash": str(hashes[key].before)} for key in diff.removed],
        "changed": [
            {
                "key": one.key,
                "configHashBefore": str(hashes[one.key].before),
                "configHashAfter": str(hashes[one.key].after),
                "changes": [_field(change) for change in one.changes],
            }
            for one in diff.changed
        ],
        "moved": [{"key": one.key, "before": one.before, "after": one.after} for one in diff.moved],
        "metadata": [_field(change) for change in diff.metadata],
        "unchanged": diff.unchanged,
    }


def as_lines(diff: Any, *, colored: bool) -> Iterator[str]:
    """The difference for people: steps, then what lies outside them, then what it means."""
    paint = _painter(colored=colored)
    hashes = {one.key: one for one in diff.hashes}
    for key in diff.removed:
        yield paint(f"- step {key}  {_short(hashes[key].before)}", "red")
    for key in diff.added:
        yield paint(f"+ step {key}  {_short(hashes[key].after)}", "green")
    for one in diff.changed:
        pair = hashes[one.key]
        yield paint(f"~ step {one.key}  {_short(pair.before)} -> {_short(pair.after)}", "yellow")
        yield from (f"    {line}" for line in _field_lines(one.changes, paint))
    for one in diff.moved:
        yield paint(f"> step {one.key}  from place {one.before + 1} to {one.after + 1}", "cyan")
    yield from _field_lines(diff.metadata, paint)
    yield summary(diff, colored=colored)
    for one in diff.effects:
        verdict = one.compatibility.value
        yield f"  {paint(verdict, _COLORS[verdict])} {one.rule}: {on_one_line(one.message)}"


def summary(diff: Any, *, colored: bool) -> str:
    """What the difference means, in one line."""
    if diff.is_empty:
        return "no difference"
    paint = _painter(colored=colored)
    verdict = diff.compatibility.value
    counts = ", ".join(
        f"{len(found)} {what}"
        for what in ("added", "removed", "changed", "moved")
        if (found := getattr(diff, what))
    )
    steps = f"steps: {counts}; " if counts else ""
    return f"{steps}{paint(verdict, _COLORS[verdict])}, a {diff.suggested_bump.value} version"


def _from_file(file: str, catalog: Any) -> Side:
    from runtime.definition import validate
    from runtime.model.workflow import DefinitionFormat

    source, form = read_definition(file)
    found = validate(source, DefinitionFormat(form.lower()), catalog)
    if found.definition is None:
        raise refused(file, found.problems)
    version = None if found.version is None else str(found.version)
    return Side(file, str(found.name), version, str(found.digest), found.definition)


def _from_server(client: Client, target: str) -> Side:
    workflow, _, version = target.partition("@")
    numbered = version not in {"", _DRAFT}
    if numbered:
        check_version(target, version)
    found = client.run(
        "get_definition",
        numbered=numbered,
        version=version if numbered else "1.0.0",
        **reference(client, workflow),
    )["workflow"]
    if found is None:
        raise unknown(workflow)
    field = "version" if numbered else "draft" if version == _DRAFT else "currentVersion"
    shown = found[field]
    if shown is None:
        raise _nothing(target, version, numbered=numbered)
    number = None if word(shown["state"]) == _DRAFT else shown["version"]
    label = f"{found['name']}@{number or _DRAFT}"
    return Side(label, found["name"], number, shown["digest"], shown["definition"])


def _nothing(target: str, version: str, *, numbered: bool) -> CliError:
    if numbered:
        message, hint = f"There is no version {target}.", "see `mc workflows versions`"
    elif version == _DRAFT:
        message, hint = f"{target}: nothing was changed since it was published.", None
    else:
        message, hint = (
            f"No version of {target} is published.",
            f"its draft is `{target}@{_DRAFT}`",
        )
    return CliError(message, code="NOT_FOUND", reason="VERSION_NOT_FOUND", hint=hint)


def _head(side: Side) -> dict[str, Any]:
    return {"name": side.name, "version": side.version, "digest": side.digest, "label": side.label}


def _field(change: Any) -> dict[str, Any]:
    found: dict[str, Any] = {"path": change.path, "kind": change.kind.value}
    if change.kind.value != "added":
        found["before"] = change.before
    if change.kind.value != "removed":
        found["after"] = change.after
    return found


def _field_lines(changes: Sequence[Any], paint: Callable[[str, str], str]) -> Iterator[str]:
    for one in changes:
        sign, color = _SIGNS[one.kind.value]
        values = {
            "added": compact(one.after),
            "removed": compact(one.before),
            "changed": f"{compact(one.before)} -> {compact(one.after)}",
        }
        yield paint(f"{sign} {on_one_line(one.path)}: {values[one.kind.value]}", color)


def _short(digest: Any) -> str:
    return str(digest)[:_SHOWN_DIGITS]


def _painter(*, colored: bool) -> Callable[[str, str], str]:
    return lambda text, color: click.style(text, fg=color) if colored else text

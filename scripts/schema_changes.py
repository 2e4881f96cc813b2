"""What a change of schema.graphql means for its users: breaking, dangerous or safe, since the last release.

`make check` runs it. A breaking change fails unless CHANGELOG.md names it under *Unreleased*. What clients notice is
judged by graphql-core; what gateways and other subgraphs notice (keys, sharing, access, cost) is judged here.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final

from graphql import (
    ConstDirectiveNode,
    DocumentNode,
    GraphQLSchema,
    TypeDefinitionNode,
    build_ast_schema,
    parse,
    print_ast,
)
from graphql.utilities import BreakingChange, DangerousChange, find_schema_changes

ROOT: Final = Path(__file__).resolve().parent.parent
SCHEMA: Final = "schema.graphql"
RELEASES: Final = "v[0-9]*"
SKIPPED: Final = 77
# Who may use a field: a caller that was let in before may be refused now.
_ACCESS: Final = frozenset({"authenticated", "requiresScopes", "policy"})
# What a field is reckoned to cost: a document that was taken before may be too dear now.
_COST: Final = frozenset({"cost", "listSize"})
_WORD: Final = re.compile(r"@?\w+(?:\.\w+)?")


class Severity(StrEnum):
    """How much of what exists a change may break."""

    BREAKING = "breaking"
    DANGEROUS = "dangerous"
    SAFE = "safe"


@dataclass(frozen=True, slots=True)
class Change:
    """One change: how grave it is, where, and in a sentence."""

    severity: Severity
    place: str
    sentence: str


def find_changes(old: str, new: str) -> list[Change]:
    """Every change from one SDL of the subgraph to another, the gravest first."""
    before, after = parse(old), parse(new)
    found = [*_seen_by_clients(before, after), *_seen_by_gateways(before, after)]
    gravest = list(Severity)
    return sorted(found, key=lambda one: (gravest.index(one.severity), one.place, one.sentence))


def unannounced(changes: list[Change], changelog: str) -> list[Change]:
    """The breaking changes that the changelog does not name under *Unreleased*."""
    _, _, rest = changelog.partition("## Unreleased")
    section = re.split(r"^## ", rest, maxsplit=1, flags=re.MULTILINE)[0]
    named = {word for text in re.findall(r"`([^`]+)`", section) for word in _WORD.findall(text)}
    return [
        change
        for change in changes
        if change.severity is Severity.BREAKING and change.place not in named
    ]


def _seen_by_clients(before: DocumentNode, after: DocumentNode) -> Iterator[Change]:
    old, new = _schema(before), _schema(after)
    for change in find_schema_changes(old, new):
        severity = Severity.SAFE
        if isinstance(change, BreakingChange):
            severity = Severity.BREAKING
        elif isinstance(change, DangerousChange):
            severity = Severity.DANGEROUS
        yield Change(severity, _place(change.description, old, new), change.description)


def _schema(document: DocumentNode) -> GraphQLSchema:
    # The directives of federation are defined by whoever composes, not here.
    return build_ast_schema(document, assume_valid=True, assume_valid_sdl=True)


def _place(sentence: str, old: GraphQLSchema, new: GraphQLSchema) -> str:
    """The first word of a sentence that names something of the schema: `Type` or `Type.field`."""
    for word in _WORD.findall(sentence):
        name = word.partition(".")[0]
        if name in old.type_map or name in new.type_map or name.startswith("@"):
            return str(word)
    return sentence


def _seen_by_gateways(before: DocumentNode, after: DocumentNode) -> Iterator[Change]:
    old, new = _directives(before), _directives(after)
    for place in old.keys() & new.keys():
        yield from _differences(place.partition("(")[0], old[place], new[place])


def _differences(place: str, old: Counter[str], new: Counter[str]) -> Iterator[Change]:
    for text in (old - new).keys() | (new - old).keys():
        name = _name(text)
        is_gone = new[text] < old[text]
        severity = Severity.SAFE
        if name == "inaccessible":
            # A composed graph shows what lost it, and no longer shows what got it.
            severity = Severity.SAFE if is_gone else Severity.BREAKING
        elif name in _ACCESS and not is_gone:
            # `@authenticated` in place of something stricter lets more callers in.
            is_looser = name == "authenticated" and any(_name(each) in _ACCESS for each in old)
            severity = Severity.SAFE if is_looser else Severity.BREAKING
        elif name in {"key", "shareable"} and is_gone:
            severity = Severity.BREAKING
        elif name in _COST and not is_gone:
            severity = Severity.DANGEROUS
        yield Change(severity, place, f"{place} {'lost' if is_gone else 'got'} {text}.")


def _name(directive: str) -> str:
    return directive.removeprefix("@").partition("(")[0]


def _directives(document: DocumentNode) -> Mapping[str, Counter[str]]:
    """The directives of every type, field, argument and value, as text, by place: `Type.field(argument:)`."""
    found: dict[str, Counter[str]] = {}
    for node in document.definitions:
        if not isinstance(node, TypeDefinitionNode):
            continue
        found[node.name.value] = _texts(node.directives)
        parts = [*(getattr(node, "fields", None) or ()), *(getattr(node, "values", None) or ())]
        for part in parts:
            place = f"{node.name.value}.{part.name.value}"
            found[place] = _texts(part.directives)
            for argument in getattr(part, "arguments", None) or ():
                found[f"{place}({argument.name.value}:)"] = _texts(argument.directives)
    return found


def _texts(directives: tuple[ConstDirectiveNode, ...] | None) -> Counter[str]:
    return Counter(print_ast(node) for node in directives or ())


def last_release(against: str | None = None) -> tuple[str, str] | None:
    """What the schema is compared with, as (name, SDL): the last tagged release, or where main was left before one."""
    revision = against or _git("describe", "--tags", "--abbrev=0", "--match", RELEASES)
    name = f"release {revision}" if revision and not against else revision
    if not revision:
        revision = os.environ.get("BASE") or _left_main_at()
        name = f"commit {revision[:10]} (there is no release yet)" if revision else ""
    text = _git("show", f"{revision}:{SCHEMA}") if revision else ""
    return (name or "", text) if text else None


def _left_main_at() -> str:
    head = _git("rev-parse", "HEAD")
    for main in ("origin/main", "main"):
        base = _git("merge-base", main, "HEAD")
        if base and base != head:
            return base
    return _git("rev-parse", "HEAD^")


def _git(*arguments: str) -> str:
    done = subprocess.run(
        ["git", *arguments],  # noqa: S607 - whichever git the caller has
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout.strip() if done.returncode == 0 else ""


def main(arguments: list[str] | None = None) -> int:
    """Say what changed; 1 when something broke and nobody said so, 77 when there is nothing to compare with."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--against", metavar="REVISION", help="compare with this instead")
    options = parser.parse_args(arguments)
    base = last_release(options.against)
    if base is None:
        sys.stdout.write("no release, no main and no parent with a schema.graphql\n")
        return SKIPPED
    name, old = base
    changes = find_changes(old, (ROOT / SCHEMA).read_text(encoding="utf-8"))
    counts = Counter(change.severity for change in changes)
    told = ", ".join(f"{counts[severity]} {severity}" for severity in Severity)
    sys.stdout.write(f"since {name}: {told}\n")
    for change in changes:
        if change.severity is not Severity.SAFE:
            sys.stdout.write(f"{change.severity}: {change.sentence}\n")
    hidden = unannounced(changes, (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"))
    for change in hidden:
        sys.stdout.write(
            f"{change.place}: say in CHANGELOG.md, under Unreleased, what breaks and what to do; "
            f"name `{change.place}`.\n"
        )
    return 1 if hidden else 0


if __name__ == "__main__":
    sys.exit(main())

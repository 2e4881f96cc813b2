"""What a change means for those who start a workflow, send it signals, answer its tasks and read its outputs.

Rules, each with a stable name (docs/language/versions.md lists them). How steps do their work is nobody's
business but their author's: only a step that is gone counts, because people watch and retry steps by name.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from runtime.abi.catalog import Catalog
from runtime.definition.document import Document, Step
from runtime.definition.graph import Graph
from runtime.definition.narrowing import form_narrowings, narrowings
from runtime.definition.types import Types, in_words, kind_of, widened
from runtime.expression import Kinds
from runtime.model.plan import DEFAULT_OUTCOMES, StepKind
from runtime.model.values import Json
from runtime.model.workflow_diff import Compatibility, Effect, FieldChange

_BREAKING: Final = Compatibility.BREAKING
_PEOPLE: Final = frozenset((StepKind.HUMAN_APPROVAL.value, StepKind.HUMAN_TASK.value))
# Words about a workflow, as opposed to what it does.
_ABOUT: Final = frozenset(("name", "display_name", "description", "labels", "owner"))


@dataclass(frozen=True, slots=True)
class Facts:
    """Both definitions, their steps by id, and which of those changed."""

    before: Mapping[str, Json]
    after: Mapping[str, Json]
    old: Mapping[str, dict[str, Any]]
    new: Mapping[str, dict[str, Any]]
    changed: Collection[str]


def effects_of(facts: Facts, catalog: Catalog) -> Iterator[Effect]:
    """Everything that callers may notice."""
    for key in facts.old:
        if key not in facts.new:
            message = f"the step {key!r} was removed"
            yield Effect("step-removed", message, f"steps.{key}", _BREAKING)
    yield from _signals(facts)
    yield from _answers(facts)
    yield from narrowings(facts.before.get("params"), facts.after.get("params"))
    yield from _outputs(facts, catalog)


def is_addition(change: FieldChange) -> bool:
    """Whether a change outside the steps is more than words: it gives or takes something new."""
    return re.split(r"[.\[]", change.path, maxsplit=1)[0] not in _ABOUT


def _signals(facts: Facts) -> Iterator[Effect]:
    known = {step.get("signal") for step in facts.new.values()}
    for key, step in facts.old.items():
        signal = step.get("signal")
        if key in facts.new and signal is not None and signal not in known:
            message = f"no step waits for the signal {signal!r} any more"
            yield Effect("signal-removed", message, f"steps.{key}.signal", _BREAKING)


def _answers(facts: Facts) -> Iterator[Effect]:
    """What people may no longer answer, or must answer now, in steps that ask before and after."""
    for key in facts.changed:
        old, new = facts.old[key], facts.new[key]
        if old.get("type") not in _PEOPLE:
            continue
        path = f"steps.{key}.outcomes"
        if new.get("type") not in _PEOPLE:
            yield Effect(
                "outcome-removed", f"the step {key!r} asks nobody any more", path, _BREAKING
            )
            continue
        known = frozenset(_outcomes(new))
        gone = [one for one in _outcomes(old) if one not in known]
        if gone:
            shown = ", ".join(repr(one)[:40] for one in gone[:3])
            message = f"the step {key!r} does not take the answer {shown} any more"
            yield Effect("outcome-removed", message, path, _BREAKING)
        yield from form_narrowings(key, old.get("form"), new.get("form"))


def _outcomes(step: Mapping[str, Any]) -> Sequence[str]:
    found = step.get("outcomes")
    return found if isinstance(found, list) else DEFAULT_OUTCOMES


def _outputs(facts: Facts, catalog: Catalog) -> Iterator[Effect]:
    before, after = facts.before.get("outputs"), facts.after.get("outputs")
    if before is None:
        return
    if before == after and not _feeds_outputs(facts):
        return
    old_types, new_types = _types(facts.before, catalog), _types(facts.after, catalog)
    yield from _compared("outputs", (before, old_types), (after, new_types))


def _feeds_outputs(facts: Facts) -> bool:
    """Whether the same expressions may give something else: what steps give or take in has changed."""
    shapes = (
        "uses",
        "type",
        "form",
        "output_schema",
        "workflow",
        "on_error",
        "on_expiry",
        "escalate",
    )
    return facts.before.get("params") != facts.after.get("params") or any(
        facts.old[key].get(name) != facts.new[key].get(name)
        for key in facts.changed
        for name in shapes
    )


def _compared(path: str, old: tuple[Any, Types], new: tuple[Any, Types]) -> Iterator[Effect]:
    before, after = old[0], new[0]
    if isinstance(before, dict) and isinstance(after, dict):
        for name, one in before.items():
            below = f"{path}.{name}"
            if name not in after:
                message = f"the output {below.removeprefix('outputs.')!r} was removed"
                yield Effect("output-removed", message, below, _BREAKING)
            else:
                yield from _compared(below, (one, old[1]), (after[name], new[1]))
        return
    yield from _retyped(path, (before, _kinds(*old)), (after, _kinds(*new)))


def _retyped(path: str, old: tuple[Json, Kinds], new: tuple[Json, Kinds]) -> Iterator[Effect]:
    name = path.removeprefix("outputs.")
    (before, were), (after, are) = old, new
    if were is not None and are is not None:
        if not are <= widened(were):
            message = f"the output {name!r} was {in_words(were)} and may now be {in_words(are)}"
            yield Effect("output-changed", message, path, _BREAKING)
    elif before != after or were != are:
        message = f"whether the output {name!r} keeps its type can't be seen"
        yield Effect("output-unknown", message, path, Compatibility.UNKNOWN)


def _kinds(value: Json, types: Types) -> Kinds:
    if isinstance(value, str):
        return types.of(value)
    return frozenset((kind_of(value),))


def _types(definition: Mapping[str, Json], catalog: Catalog) -> Types:
    """Types by what is canonical already: nothing is judged a second time."""
    written: Any = definition.get("steps", [])
    steps = [
        Step(index, one, one, (), StepKind(one.get("type", "task")))
        for index, one in enumerate(written)
    ]
    graph = Graph(steps, index_of={step.id: step.index for step in steps})
    return Types(Document(dict(definition), steps), graph, catalog)

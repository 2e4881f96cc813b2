"""WfCommons WfFormat 1.5 as a definition: the graph of a real scientific run, its durations as waits.

What a run did (programs, files, machines) is not a connector's work and can't be mapped; all of it that a
document holds is counted and named, nothing is left out silently. Pure: text in, text out.
"""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from graphlib import CycleError, TopologicalSorter
from typing import Any, Final

from runtime.definition.graph import MAX_STEPS
from runtime.definition.source import read_source
from runtime.model.errors import Invalid, Problem, Severity
from runtime.model.values import Json
from runtime.model.workflow import DefinitionFormat

VERSION: Final = "1.5"
_ODD_ID: Final = re.compile(r"[^A-Za-z0-9_.-]+")
_ODD_NAME: Final = re.compile(r"[^a-z0-9._-]+")
_LONGEST_ID: Final = 190
_LONGEST_NAME: Final = 90
_SHOWN: Final = 10
_LONGEST_RUN: Final = 31_536_000  # Seconds: a year.
_MAPPED: Final = {
    "document": frozenset(("name", "description", "schemaVersion", "workflow")),
    "workflow": frozenset(("specification", "execution")),
    "specification": frozenset(("tasks",)),
    "execution": frozenset(("tasks",)),
    "task": frozenset(("id", "name", "parents", "children")),
    "run": frozenset(("id", "runtimeInSeconds")),
}
_WHY: Final[Mapping[str, str]] = {
    "command": "programs are not run by connectors; the step waits as long as it took",
    "inputFiles": "files are not passed between steps; the dependencies are kept",
    "outputFiles": "files are not passed between steps; the dependencies are kept",
    "files": "files are not passed between steps; the dependencies are kept",
    "machines": "where a task ran is not part of a definition",
    "makespanInSeconds": "a simulation computes it again, without the queueing of the real run",
    "executedAt": "the run of a workflow is no part of its definition",
}


@dataclass(frozen=True, slots=True)
class Unmapped:
    """Something of the document that the definition does not carry: where, how often, and for example."""

    path: str
    count: int
    why: str


@dataclass(frozen=True, slots=True)
class Imported:
    """A definition in the flat spelling, as YAML, and what it does not carry."""

    source: str
    unmapped: tuple[Unmapped, ...]
    tasks: int


@dataclass(slots=True)
class _Reading:
    problems: list[Problem] = field(default_factory=list)
    lost: Counter[tuple[str, str]] = field(default_factory=Counter)

    def lose(self, path: str, why: str, count: int = 1) -> None:
        self.lost[path, why] += count

    def lose_keys(self, where: str, path: str, given: Mapping[str, Any]) -> None:
        """Every key that has no place in a definition, however it is called."""
        for key, value in given.items():
            if key not in _MAPPED[where] and value not in (None, [], {}, ""):
                self.lose(f"{path}.{key}" if path else key, _WHY.get(key, "has no counterpart"))


def import_wfformat(text: str) -> Imported:
    """The definition of a WfFormat document; raises Invalid for what is none."""
    read = read_source(text, DefinitionFormat.JSON)
    if not read.is_read or read.findings.has_errors:
        raise Invalid([one.as_problem() for one in read.findings.found])
    reading = _Reading()
    document = _mapping(read.value, "", reading)
    version = document.get("schemaVersion")
    if version != VERSION:
        reading.problems.append(
            _problem(f"schemaVersion must be {VERSION}, not {version!r}", "schemaVersion")
        )
    workflow = _mapping(document.get("workflow"), "workflow", reading)
    specification = _mapping(workflow.get("specification"), "workflow.specification", reading)
    runs = _runs(workflow, reading)
    tasks = _tasks(specification.get("tasks"), reading)
    if reading.problems:
        raise Invalid(reading.problems)
    for where, path, given in (
        ("document", "", document),
        ("workflow", "workflow", workflow),
        ("specification", "workflow.specification", specification),
    ):
        reading.lose_keys(where, path, given)
    steps = _steps(tasks, runs, reading)
    lines = [
        f"name: {_name(document.get('name'))}",
        "version: 1.0.0",
        f"description: {json.dumps(_about(document), ensure_ascii=False)}",
        "steps:",
        *(line for step in steps for line in step),
    ]
    unmapped = tuple(
        Unmapped(path, count, why) for (path, why), count in sorted(reading.lost.items())
    )
    return Imported("\n".join(lines) + "\n", unmapped, len(steps))


def _tasks(given: Json, reading: _Reading) -> list[dict[str, Any]]:
    place = "workflow.specification.tasks"
    if not isinstance(given, list) or not given:
        reading.problems.append(_problem("there are no tasks", place))
        return []
    if len(given) > MAX_STEPS:
        reading.problems.append(_problem(f"a workflow has at most {MAX_STEPS:,} steps", place))
        return []
    found = []
    seen: set[str] = set()
    for index, one in enumerate(given):
        name = one.get("id") if isinstance(one, dict) else None
        if not isinstance(one, dict) or not isinstance(name, str) or not name:
            reading.problems.append(_problem("a task is a mapping with an id", f"{place}.{index}"))
            continue
        if name in seen:
            reading.problems.append(
                _problem(f"the id {name[:60]!r} stands here twice", f"{place}.{index}.id")
            )
            continue
        seen.add(name)
        found.append(one)
    return found


def _runs(workflow: Mapping[str, Any], reading: _Reading) -> dict[str, dict[str, Any]]:
    """What is known of how tasks ran, by id; a document may hold the specification alone."""
    if "execution" not in workflow:
        return {}
    execution = _mapping(workflow["execution"], "workflow.execution", reading)
    reading.lose_keys("execution", "workflow.execution", execution)
    listed = execution.get("tasks")
    found: dict[str, dict[str, Any]] = {}
    for one in listed if isinstance(listed, list) else []:
        if not isinstance(one, dict) or not isinstance(one.get("id"), str):
            reading.lose("workflow.execution.tasks[]", "has no id")
            continue
        if one["id"] in found:
            reading.lose("workflow.execution.tasks[]", "is told of once more: the last is taken")
        found[one["id"]] = one
    return found


def _steps(
    tasks: list[dict[str, Any]], runs: dict[str, dict[str, Any]], reading: _Reading
) -> list[list[str]]:
    ids = _ids(one["id"] for one in tasks)
    parents = _parents(tasks, ids, reading)
    _refuse_cycle(parents)
    for name in runs.keys() - ids.keys():
        reading.lose("workflow.execution.tasks[]", "is no task of the specification")
        del runs[name]
    steps = []
    for task in tasks:
        name = task["id"]
        reading.lose_keys("task", "workflow.specification.tasks[]", task)
        run = runs.get(name, {})
        reading.lose_keys("run", "workflow.execution.tasks[]", run)
        lines = [f"  - id: {_quoted(ids[name])}"]
        shown = task.get("name")
        if isinstance(shown, str) and shown.strip() and shown != ids[name]:
            lines.append(f"    name: {_quoted(shown[:200])}")
        lines += _work(run.get("runtimeInSeconds"), reading)
        if parents[name]:
            needs = ", ".join(_quoted(ids[one]) for one in parents[name])
            lines.append(f"    depends_on: [{needs}]")
        steps.append(lines)
    return steps


def _work(seconds: Any, reading: _Reading) -> list[str]:
    """A wait as long as the task took; nothing where that is not known."""
    known = isinstance(seconds, int | float) and not isinstance(seconds, bool)
    if known and math.isfinite(seconds) and 0 <= seconds < _LONGEST_RUN:
        return ["    uses: core.sleep@1", f"    with: {{duration: {round(seconds * 1000)}ms}}"]
    why = "is not known: the step takes no time" if seconds is None else "is no duration"
    reading.lose("workflow.execution.tasks[].runtimeInSeconds", why)
    return ["    uses: core.noop@1"]


def _parents(
    tasks: list[dict[str, Any]], ids: Mapping[str, str], reading: _Reading
) -> dict[str, dict[str, None]]:
    """Who waits for whom: what parents say and what children say, in the order of the document."""
    found: dict[str, dict[str, None]] = {task["id"]: {} for task in tasks}
    for task in tasks:
        for key in ("parents", "children"):
            listed = task.get(key)
            for other in listed if isinstance(listed, list) else []:
                if not isinstance(other, str) or other not in ids:
                    path = f"workflow.specification.tasks[].{key}"
                    reading.lose(path, "names a task that is not there")
                elif key == "parents":
                    found[task["id"]][other] = None
                else:
                    found[other][task["id"]] = None
    return found


def _refuse_cycle(parents: Mapping[str, Mapping[str, None]]) -> None:
    """Raise Invalid for tasks that wait for each other: nothing could run them."""
    try:
        TopologicalSorter(parents).prepare()
    except CycleError as error:
        path = error.args[1]
        shown = " -> ".join(path[:_SHOWN]) + (" -> ..." if len(path) > _SHOWN else "")
        message = f"these tasks wait for each other: {shown}"
        raise Invalid([_problem(message, "workflow.specification.tasks")]) from None


def _ids(names: Iterable[str]) -> dict[str, str]:
    """Ids of steps for ids of tasks: the same where that is allowed, and never the same for two."""
    found: dict[str, str] = {}
    taken: set[str] = set()
    numbers: Counter[str] = Counter()
    for name in names:
        base = _ODD_ID.sub("_", name)[:_LONGEST_ID]
        base = base if base[:1].isalpha() or base[:1] == "_" else f"t_{base}"
        made = base
        while made in taken:
            numbers[base] += 1
            made = f"{base}_{numbers[base] + 1}"
        taken.add(made)
        found[name] = made
    return found


def _name(given: Any) -> str:
    text = given.removesuffix(".json").lower() if isinstance(given, str) else ""
    return _quoted(_ODD_NAME.sub("-", text)[:_LONGEST_NAME].strip("-._") or "imported")


def _about(document: Mapping[str, Any]) -> str:
    given = document.get("description")
    told = given.strip() if isinstance(given, str) else ""
    return f"{told[:2_000]} (imported from WfFormat {VERSION}; steps wait as long as the tasks took)".strip()


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def _mapping(given: Json, path: str, reading: _Reading) -> dict[str, Any]:
    if isinstance(given, dict):
        return given
    reading.problems.append(_problem("a mapping is expected here", path or "document"))
    return {}


def _problem(message: str, path: str) -> Problem:
    return Problem("wfformat", message, Severity.ERROR, path=tuple(path.split(".")))

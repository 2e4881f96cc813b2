"""The graph of a document's steps: who waits for whom, what is upstream, and whether it ends.

Edges that are wrong (unknown or repeated ids) are reported and left out, so that the other checks
still see the rest. Sets of ancestors are bit sets in Python integers: 10,000 steps cost 12 MB at most.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from runtime.definition.document import Document, Step
from runtime.definition.finding import Findings

MAX_STEPS = 20_000
_SHOWN = 20


@dataclass(slots=True)
class Graph:
    """Steps by position in the document; `order` is topological, shorter if there are cycles."""

    steps: list[Step]
    index_of: dict[str, int] = field(default_factory=dict)
    needs: list[list[int]] = field(default_factory=list)
    successors: list[list[int]] = field(default_factory=list)
    order: list[int] = field(default_factory=list)
    _needed: list[frozenset[int]] | None = None
    _ancestors: list[int] | None = None

    def is_needed(self, step: int, by: int) -> bool:
        """Whether `by` names `step` in its `depends_on`; asked for each reference, of steps that may need thousands."""
        if self._needed is None:
            self._needed = [frozenset(needs) for needs in self.needs]
        return step in self._needed[by]

    def is_upstream(self, step: int, of: int) -> bool:
        """Whether `of` cannot start before `step` has ended."""
        if self.is_needed(step, of):
            return True
        if self._ancestors is None:
            self._ancestors = self._all_ancestors()
        return bool(self._ancestors[of] >> step & 1)

    def _all_ancestors(self) -> list[int]:
        found = [0] * len(self.steps)
        for step in self.order:
            mask = 0
            for need in self.needs[step]:
                mask |= found[need] | 1 << need
            found[step] = mask
        return found


def read_graph(document: Document, findings: Findings) -> Graph:
    """Build the graph; says what is wrong with ids and dependencies."""
    graph = Graph(document.steps)
    _index(graph, findings)
    for position, step in enumerate(graph.steps):
        graph.needs.append(_needs(graph, position, step, findings))
    graph.successors = [[] for _ in graph.steps]
    for position, needs in enumerate(graph.needs):
        for need in needs:
            graph.successors[need].append(position)
    _sort(graph)
    if len(graph.order) < len(graph.steps):
        _report_cycles(graph, findings)
    return graph


def _index(graph: Graph, findings: Findings) -> None:
    for position, step in enumerate(graph.steps):
        if not step.id:
            continue
        first = graph.index_of.setdefault(step.id, position)
        if first != position:
            findings.step = step.id
            findings.error(
                "duplicate-step",
                f"the id {step.id!r} is taken by an earlier step",
                step.place("id"),
            )
    findings.step = None


def _needs(graph: Graph, position: int, step: Step, findings: Findings) -> list[int]:
    needs: dict[int, None] = {}
    written, known = step.value.get("depends_on"), graph.index_of
    for index, name in enumerate(written if isinstance(written, list) else ()):
        target = known.get(str(name))
        if target is not None and target != position and target not in needs:
            needs[target] = None
            continue
        findings.step = step.id or None
        is_list = isinstance(step.raw.get("depends_on", step.raw.get("dependsOn")), list)
        place = step.place("depends_on", index) if is_list else step.place("depends_on")
        if target is None:
            findings.error(
                "unknown-dependency", f"there is no step {name!r}", place,
                hint=findings.near(str(name), graph.index_of),
            )  # fmt: skip
        elif target == position:
            findings.error("cycle", f"{name} waits for itself: {name} -> {name}", place)
        else:
            findings.warning("duplicate-dependency", f"{name!r} stands here twice", place)
    findings.step = None
    return list(needs)


def _sort(graph: Graph) -> None:
    """Topological order, by document order where it is free: O(steps + edges)."""
    open_needs = [len(needs) for needs in graph.needs]
    ready = deque(i for i, count in enumerate(open_needs) if count == 0)
    while ready:
        step = ready.popleft()
        graph.order.append(step)
        for successor in graph.successors[step]:
            open_needs[successor] -= 1
            if open_needs[successor] == 0:
                ready.append(successor)


def _report_cycles(graph: Graph, findings: Findings) -> None:
    """One finding per circle, with its path in the order in which the steps would run."""
    stuck = set(range(len(graph.steps))) - set(graph.order)
    visited: set[int] = set()
    for start in sorted(stuck):
        trail: dict[int, int] = {}
        step = start
        while step not in visited and step not in trail:
            trail[step] = len(trail)
            step = next(need for need in graph.needs[step] if need in stuck)
        if step in trail:
            circle = list(trail)[trail[step] :]
            _report_cycle(graph, circle, findings)
        visited.update(trail)


def _report_cycle(graph: Graph, circle: list[int], findings: Findings) -> None:
    first = min(circle)
    turn = circle.index(first)
    circle = circle[turn:] + circle[:turn]
    names = [graph.steps[i].id for i in (first, *reversed(circle[1:]), first)]
    if len(names) > _SHOWN:
        half = _SHOWN // 2
        names[half:-half] = [f"... {len(names) - 2 * half:,} more ..."]
    step = graph.steps[first]
    findings.step = step.id
    needed = graph.steps[circle[1]].id
    place = step.place("depends_on", step.depends_on.index(needed))
    findings.error("cycle", f"these steps wait for each other: {' -> '.join(names)}", place)
    findings.step = None

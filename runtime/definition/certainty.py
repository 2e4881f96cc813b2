"""Which outputs are surely there when somebody reads them.

An output is null when its step was skipped, when it failed and `on_error` (or `on_expiry`) led on, and for whoever
comes after a `join` that began before it had ended. Ways lead on as ADR-080 says. Three things are worked out, each in
one pass in topological order and only when somebody asks:

- `given`: what surely has its output once a step runs, whatever was chosen;
- `seen`: what has surely ended when a step begins;
- `runs`: under which choice of which step it surely runs: a case of a gateway, or an end of a step whose failure is
  provided for.

Sets of steps are bit sets in integers, as those of ancestors are. The last is a lower bound: what can't be told is
"perhaps".
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property, reduce
from heapq import heapify, heappop, heappush
from operator import and_, or_
from typing import Final

from runtime.definition.document import Step
from runtime.definition.graph import Graph
from runtime.model.plan import StepKind
from runtime.model.values import Json

Guard = tuple[int, int] | None  # The step that chooses and which of its ends; None: perhaps never.
_ALWAYS: Final = (-1, 0)
_MOST_PAIRS: Final = 200_000
_CHOICES: Final = frozenset(("when", "join", "cases", "on_error", "on_expiry"))


@dataclass(slots=True)
class Ends:
    """The ways in which a step that runs can end, as bits: where each leads, and which leave an output."""

    all: int = 1
    good: int = 1
    usual: int = 1  # The ends that lead to every successor without an entry in `to`.
    to: dict[int, int] = field(default_factory=dict)

    def add(self) -> int:
        """One more end."""
        bit = self.all + 1
        self.all |= bit
        return bit

    def leading(self, to: int) -> int:
        """The ends that lead to a successor."""
        return self.to.get(to, self.usual)


class Certainty:
    """What is sure about the outputs of one graph's steps."""

    def __init__(self, graph: Graph) -> None:
        self._graph = graph
        self._pairs = _MOST_PAIRS
        self._is_plain = all(_CHOICES.isdisjoint(step.value) for step in graph.steps)

    def doubt(self, reader: int | None, target: int) -> str | None:
        """Why the output of a step may be null for a later one, or (None) for the outputs of the execution."""
        if self._is_plain or (reader is not None and self._given[reader] >> target & 1):
            return None
        ends = self._ends.get(target)
        if self._runs[target] != _ALWAYS:
            return "may be skipped"
        if ends is not None and ends.all != ends.good:
            return "may have failed"
        is_whole = len(self._graph.order) == len(self._graph.steps)
        if reader is not None and is_whole and not self._seen[reader] >> target & 1:
            return "may not have ended yet"
        return None

    @cached_property
    def _ends(self) -> dict[int, Ends]:
        """Of the steps that can end in more than one way, or that choose."""
        found = {}
        for position, step in enumerate(self._graph.steps):
            if not _CHOICES.isdisjoint(step.value):
                ends = _ends_of(step, self._graph.index_of)
                if ends.all > 1 or ends.to:
                    found[position] = ends
        return found

    def _leading(self, need: int, step: int) -> int:
        ends = self._ends.get(need)
        return 1 if ends is None else ends.leading(step)

    def _choosers(self, step: int) -> list[int]:
        """Those of its needs of which one must have chosen it."""
        needs = self._graph.needs[step]
        return [one for one in needs if one in self._ends and step in self._ends[one].to]

    def _wanted(self, step: int) -> int:
        """How many of its needs must lead to a step that does not wait for the end of all; 0: it waits."""
        join, count = self._graph.steps[step].value.get("join", "all"), len(self._graph.needs[step])
        wanted = 1 if join == "any" else join if isinstance(join, int) else count
        return wanted if wanted < count else 0

    @cached_property
    def _given(self) -> list[int]:
        found = [0] * len(self._graph.steps)

        def along(need: int, step: int) -> int:
            ends = self._ends.get(need)
            is_good = ends is None or not ends.leading(step) & ~ends.good
            return found[need] | is_good << need

        for step in self._graph.order:
            needs = [one for one in self._graph.needs[step] if self._leading(one, step)]
            if not needs:
                continue
            join = self._graph.steps[step].value.get("join")
            must_all = isinstance(join, int) and not self._wanted(step)
            ways = {one: along(one, step) for one in needs}
            if not self._wanted(step):
                for need, other in self._followers(step):
                    ways[need] |= found[other] | 1 << other
            found[step] = reduce(or_ if must_all else and_, ways.values())
            choosers = self._choosers(step)
            if choosers:
                found[step] |= reduce(and_, (ways[one] for one in choosers))
        return found

    def _followers(self, step: int) -> Iterator[tuple[int, int]]:
        """Pairs of needs of a step that waits for all of them: whenever the first leads to it, the second has run.

        That is so where the edge from the first is redundant. Looks at so many pairs at most.
        """
        together = reduce(or_, (1 << one for one in self._graph.needs[step]))
        for other in self._graph.needs[step]:
            shared = self._carriers[other] & together if other not in self._ends else 0
            while shared and self._pairs:
                self._pairs -= 1
                need = shared.bit_length() - 1
                shared ^= 1 << need
                here, there = self._leading(need, step), self._leading(need, other)
                if here and (need not in self._ends or not here & ~there):
                    yield need, other

    @cached_property
    def _carriers(self) -> list[int]:
        """Of each step those that make it run when they lead on: directly, or through steps that do nothing else."""
        found = [0] * len(self._graph.steps)
        for step in self._graph.order:
            join = self._graph.steps[step].value.get("join")
            if "when" in self._graph.steps[step].value or (isinstance(join, int) and join > 1):
                continue
            for need in self._choosers(step) or self._graph.needs[step]:
                found[step] |= 1 << need
                if need not in self._ends:
                    found[step] |= found[need] & self._plain
        return found

    @cached_property
    def _plain(self) -> int:
        """The steps that can end in one way only."""
        count = len(self._graph.steps)
        return ((1 << count) - 1) & ~reduce(or_, (1 << one for one in self._ends), 0)

    @cached_property
    def _seen(self) -> list[int]:
        found = [0] * len(self._graph.steps)
        for step in self._graph.order:
            needs = self._graph.needs[step]
            if needs:
                together = and_ if self._wanted(step) else or_
                found[step] = reduce(together, (found[one] | 1 << one for one in needs))
        return found

    @cached_property
    def _runs(self) -> list[Guard]:
        found: list[Guard] = [_ALWAYS] * len(self._graph.steps)
        for step in self._graph.order:
            if "when" in self._graph.steps[step].value:
                found[step] = None
            elif self._graph.needs[step]:
                found[step] = self._guard(step, found)
        return found

    def _guard(self, step: int, runs: list[Guard]) -> Guard:
        join = self._graph.steps[step].value.get("join")
        choosers = self._choosers(step)
        ways = [self._way(one, step, runs) for one in choosers or self._graph.needs[step]]
        if isinstance(join, int) and join > 1:
            sure = [self._way(one, step, runs) for one in self._graph.needs[step]].count(_ALWAYS)
            if sure < join:
                return None
        return self._either((one for one in ways if one is not None), runs)

    def _way(self, need: int, step: int, runs: list[Guard]) -> Guard:
        """When a need surely leads to a step."""
        ends = self._ends.get(need)
        if runs[need] is None or ends is None:
            return runs[need]
        leading = ends.leading(step)
        if leading == ends.all:
            return runs[need]
        return (need, leading) if leading else None

    def _either(self, guards: Iterable[tuple[int, int]], runs: list[Guard]) -> Guard:
        """When one of several is enough: all ends of one step together are as good as the step itself."""
        place = self._places
        todo = [(-place[chooser] if chooser >= 0 else 1, chooser, ends) for chooser, ends in guards]
        heapify(todo)
        left: Guard = None
        while todo:
            _, chooser, ends = heappop(todo)
            if chooser < 0:
                return _ALWAYS
            while todo and todo[0][1] == chooser:
                ends |= heappop(todo)[2]
            outer = runs[chooser]
            if ends != self._ends[chooser].all:
                left = (chooser, ends)
            elif outer is not None:
                heappush(todo, (-place[outer[0]] if outer[0] >= 0 else 1, *outer))
        return left

    @cached_property
    def _places(self) -> list[int]:
        found = [0] * len(self._graph.steps)
        for place, step in enumerate(self._graph.order):
            found[step] = place
        return found


def _ends_of(step: Step, index_of: dict[str, int]) -> Ends:
    ends = Ends()
    is_gateway = step.kind is StepKind.GATEWAY
    if is_gateway:
        ends.all = ends.good = ends.usual = 0
        cases = step.value.get("cases")
        for case in cases if isinstance(cases, list) else ():
            bit = ends.add()
            ends.good |= bit
            if isinstance(case, dict):
                _lead(ends, case.get("then", case.get("else")), bit, index_of)
    rule, expiry = step.value.get("on_error"), step.value.get("on_expiry")
    for way in (rule, expiry):
        if isinstance(way, dict) and "goto" in way:
            _lead(ends, way["goto"], ends.add(), index_of)
    if isinstance(rule, dict) and rule.get("action") == "continue":
        bit = ends.add()
        if not is_gateway:
            ends.usual |= bit
            ends.to = {one: bits | bit for one, bits in ends.to.items()}
        if rule.get("output") is not None:
            ends.good |= bit
    return ends


def _lead(ends: Ends, names: Json, bit: int, index_of: dict[str, int]) -> None:
    for name in names if isinstance(names, list) else [names]:
        to = index_of.get(name) if isinstance(name, str) else None
        if to is not None:
            ends.to[to] = ends.to.get(to, 0) | bit

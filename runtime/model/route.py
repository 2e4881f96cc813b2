"""Routes: which ways through its graph a plan leaves to be chosen while it runs. Part of a Plan, pure data.

An edge leads on or it does not: a skipped step leads nowhere, a gateway to the steps of the cases it took, a step
that failed for good to where its `on_error` says, any other end to all that wait for it but the target of a `goto`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field

from runtime.model.execution import StepStatus
from runtime.model.values import Json

_COMPLETED = int(StepStatus.COMPLETED)
_SKIPPED = int(StepStatus.SKIPPED)


@dataclass(frozen=True, slots=True)
class Case:
    """A condition as written (None: else) and the steps that it leads to."""

    when: Json
    then: tuple[int, ...]
    is_else: bool = False


@dataclass(frozen=True, slots=True)
class Gateway:
    """Its cases in the order of the document; inclusive: all that hold are taken, else the first."""

    cases: tuple[Case, ...]
    is_inclusive: bool = False


@dataclass(frozen=True, slots=True)
class Join:
    """What a step needs to begin, beyond what is usual.

    `wants` is how many edges must lead to it, 0: all must have ended, and one must lead to it. When there are
    `choosers` (steps that name it in a case or a `goto`), one of them must have chosen it.
    """

    wants: int = 0
    choosers: frozenset[int] = frozenset()

    def is_decided(self, open_edges: int, leading: int, chosen: int) -> bool:
        """Whether it begins or is skipped, with so many edges open, leading to it, leading from a chooser."""
        if not open_edges:
            return True
        return 0 < self.wants <= leading and (chosen > 0 or not self.choosers)


@dataclass(frozen=True, slots=True)
class Routes:
    """All of a plan. `recoveries` are the steps whose failure does not end the execution: the target, or None.

    `followed` are the steps whose ends need a look at this; `blind` those that don't see all that lies
    upstream, because a join began before everything it waits for had ended.
    """

    gateways: Mapping[int, Gateway] = field(default_factory=dict)
    recoveries: Mapping[int, int | None] = field(default_factory=dict)
    joins: Mapping[int, Join] = field(default_factory=dict)
    followed: frozenset[int] = frozenset()
    blind: frozenset[int] = frozenset()

    def ways(
        self, step: int, status: int, cases: Iterable[int], successors: Collection[int]
    ) -> Collection[int]:
        """The successors that the end of this step leads to."""
        if status == _SKIPPED:
            return ()
        goto = self.recoveries.get(step)
        if status != _COMPLETED:
            if goto is not None:
                return (goto,)
            return () if step in self.gateways else successors
        gateway = self.gateways.get(step)
        if gateway is not None:
            return {one for case in cases for one in gateway.cases[case].then}
        return successors if goto is None else [one for one in successors if one != goto]


def cases_of(output: Json) -> list[int]:
    """The numbers of the cases that a gateway took, by its output."""
    cases = output.get("cases") if isinstance(output, dict) else None
    return [one for one in cases if isinstance(one, int)] if isinstance(cases, list) else []

"""Routes: which ways through its graph a plan leaves to be chosen while it runs. Part of a Plan, pure data.

An edge leads on or it does not: a skipped step leads nowhere, a gateway to the steps of the cases it took, a step
that failed for good to where its `on_error` says, a task that nobody answered in time to where its `on_expiry` says,
any other end to all that wait for it but the targets of a `goto`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from runtime.model.execution import StepStatus
from runtime.model.values import Json

_COMPLETED = int(StepStatus.COMPLETED)
_SKIPPED = int(StepStatus.SKIPPED)
_TIMED_OUT = int(StepStatus.TIMED_OUT)


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


_ALL: Final = Join()


@dataclass(frozen=True, slots=True)
class Routes:
    """All of a plan. `recoveries` are the steps whose failure does not end the execution: the target, or None.

    `expiries` are human steps that lead to one step only when nobody has answered in time: then they have timed out.
    `followed` are the steps whose ends need a look at this; `blind` those that don't see all that lies
    upstream, because a join began before everything it waits for had ended.
    """

    gateways: Mapping[int, Gateway] = field(default_factory=dict)
    recoveries: Mapping[int, int | None] = field(default_factory=dict)
    expiries: Mapping[int, int] = field(default_factory=dict)
    joins: Mapping[int, Join] = field(default_factory=dict)
    followed: frozenset[int] = frozenset()
    blind: frozenset[int] = frozenset()

    def edges(
        self, step: int, status: int, cases: Iterable[int], successors: Iterable[int]
    ) -> Iterator[tuple[int, bool, bool]]:
        """For each successor whether the end of this step leads there, and whether it chose it: O(successors)."""
        ways, but = self._ways(step, status, cases)
        for one in successors:
            leads = one not in but if ways is None else one in ways
            join = self.joins.get(one)
            yield one, leads, leads and join is not None and step in join.choosers

    def is_decided(self, step: int, open_edges: int, leading: int, chosen: int) -> bool:
        """`Join.is_decided` of a step; one without a join waits for all."""
        return self.joins.get(step, _ALL).is_decided(open_edges, leading, chosen)

    def _ways(
        self, step: int, status: int, cases: Iterable[int]
    ) -> tuple[Collection[int] | None, Collection[int | None]]:
        """The only steps that an end leads to; or None for all, but some."""
        if status == _SKIPPED:
            return (), ()
        goto, expiry = self.recoveries.get(step), self.expiries.get(step)
        if status == _TIMED_OUT and expiry is not None:
            return (expiry,), ()
        gateway = self.gateways.get(step)
        if status != _COMPLETED:
            only = () if goto is None else (goto,)
            return (None if goto is None and gateway is None else only), (expiry,)
        if gateway is not None:
            return {one for case in cases for one in gateway.cases[case].then}, ()
        return None, (goto, expiry)


def cases_of(output: Json) -> list[int]:
    """The numbers of the cases that a gateway took, by its output."""
    cases = output.get("cases") if isinstance(output, dict) else None
    return [one for one in cases if isinstance(one, int)] if isinstance(cases, list) else []

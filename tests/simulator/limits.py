"""Limits on running executions of a seed: whose they are, who finds a place, and a judge of how many run."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any
from uuid import UUID

from tests.simulator.tables import QUEUED, RUNNING


def has_limits(seed: int) -> bool:
    """In some seeds, of which some have maps, children, tags or lanes. The others tell the stories that they always told."""
    return seed % 50 in {4, 22, 31, 36, 44}


@dataclass(slots=True)
class Limits:
    """How many executions of a tenant, and of a workflow, may run at once."""

    tenants: Mapping[UUID, int] = field(default_factory=dict)
    workflows: Mapping[UUID, int] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.tenants or self.workflows)

    def bound(self, tenant: UUID, workflow: UUID) -> bool:
        """Whether one of this tenant and workflow has a limit."""
        return tenant in self.tenants or workflow in self.workflows

    def rooms(self, executions: Iterable[Any]) -> dict[UUID, int]:
        """How many more of each tenant and workflow with a limit may begin; running is what a worker owns."""
        rooms = {**self.tenants, **self.workflows}
        for e in executions:
            if e.status == RUNNING:
                for one in (e.tenant, e.workflow):
                    if one in rooms:
                        rooms[one] -= 1
        return rooms

    def within(self, executions: Iterable[Any], found: Sequence[Any], now: float) -> list[Any]:
        """Those that may begin, by priority and age; what is to end needs no place: `mc_within_limits`."""
        if not self:
            return list(found)
        rooms, fit = self.rooms(executions), []
        for e in sorted(found, key=lambda e: (-e.priority, e.id)):
            if not is_ending(e, now):
                asked = [one for one in (e.tenant, e.workflow) if one in rooms]
                if any(rooms[one] <= 0 for one in asked):
                    continue
                for one in asked:
                    rooms[one] -= 1
            fit.append(e)
        return fit

    def tagged(self, executions: Iterable[Any], found: Sequence[Any]) -> list[Any]:
        """Of what waits for tags, in the order of its turns, as many of each as there are places for: `mc_tagged`."""
        if not self:
            return list(found)
        rooms, fit = self.rooms(executions), []
        taken: dict[UUID, int] = {}
        for e in found:
            most = [max(0, rooms[one]) for one in (e.tenant, e.workflow) if one in rooms]
            if taken.get(e.workflow, 0) >= min(most, default=len(found)):
                continue
            taken[e.workflow] = taken.get(e.workflow, 0) + 1
            fit.append(e)
        out, of_tenant = [], dict.fromkeys(self.tenants, 0)
        for e in fit:
            if e.tenant in of_tenant:
                of_tenant[e.tenant] += 1
                if of_tenant[e.tenant] > rooms[e.tenant]:
                    continue
            out.append(e)
        return out

    def handed_out(
        self,
        executions: Collection[Any],
        queued: Sequence[Any],
        old: Sequence[Any],
        share: int,
        now: float,
    ) -> list[Any]:
        """Of what is queued of one tenant, in its order, what the dispatcher may hand out: of what is `old` as much as there are places for."""
        rooms = self.rooms(executions)
        fit = [e for e in old if rooms.get(e.workflow, 1) > 0]
        fit = fit[: max(0, min([share, *(rooms[e.tenant] for e in old[:1])]))]
        late = sorted((e for e in queued if _is_late(e, now)), key=lambda e: e.deadline)[:share]
        cancelled = sorted((e for e in queued if e.cancel_requested), key=lambda e: e.id)[:share]
        kept = {e.id for e in (*fit, *late, *cancelled)}
        return [e for e in queued if e.id in kept]

    def suspects(self, found: Sequence[Any]) -> list[Any]:
        """Of suspects the oldest of each workflow, all in one look: `mc_claim_alone`."""
        return list({e.workflow: e for e in reversed(found)}.values()) if self else list(found)

    def held_back(self, executions: Collection[Any]) -> int:
        """Tenants with a backlog and a limit that is reached."""
        rooms, waiting = (
            self.rooms(executions),
            {e.tenant for e in executions if e.status == QUEUED},
        )
        owners = {e.workflow: e.tenant for e in executions}
        full = {owners.get(one, one) for one, room in rooms.items() if room <= 0}
        return len(waiting & full)


def limits_of(seed: int, tenant: UUID, workflows: Iterable[UUID]) -> Limits:
    """Those of a seed: of the tenant, of some of its programs, or of both."""
    if not has_limits(seed):
        return Limits()
    random = Random(f"limits {seed}")
    of_tenant = {tenant: random.choice((1, 1, 2))} if random.random() < 0.7 else {}
    some = {one: random.choice((1, 1, 2)) for one in workflows if random.random() < 0.5}
    return Limits(of_tenant or {tenant: 2}, some)


def is_ending(e: Any, now: float) -> bool:
    """Whether it begins only to end."""
    return bool(e.cancel_requested) or _is_late(e, now)


def _is_late(e: Any, now: float) -> bool:
    return e.deadline is not None and bool(e.deadline <= now)


class LimitJudge:
    """Looks at each commit how many run."""

    def __init__(
        self, executions: Mapping[UUID, Any], limits: Limits, say: Callable[[str], None]
    ) -> None:
        self._executions = executions
        self._limits = limits
        self._say = say

    def look(self, now: float) -> None:
        """Never more than the limit run, but for what begins only to end."""
        if not self._limits:
            return
        going_on = [e for e in self._executions.values() if not is_ending(e, now)]
        for one, room in self._limits.rooms(going_on).items():
            if room < 0:
                self._say(f"limit: {-room} more of {one} run than may")

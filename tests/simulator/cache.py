"""Step cache of a seed: which steps have one, its table, and a judge of what was given again."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from random import Random
from typing import Any, Final
from uuid import UUID

import orjson

from runtime.model.execution import StepStatus
from runtime.model.plan import CachePlan
from runtime.model.values import Duration
from tests.simulator.tables import Row, rows_of

_SAME: Final = ("in", "out", "code", "code_digest")


def has_cache(seed: int) -> bool:
    """In some seeds, of which some have maps, children, tags, lanes, or undo. The others tell what they always told."""
    return seed % 50 in {16, 25, 27, 34, 41, 49}


def with_cache(steps: tuple[Any, ...], seed: int, version: UUID) -> tuple[Any, ...]:
    """Most steps that call are given outputs again, for a while that is short or longer than a seed."""
    if not has_cache(seed):
        return steps
    random = Random(f"cache {seed} {version}")
    return tuple(
        replace(step, cache_ms=random.choice((None, 300, 2_000, 600_000))) if step.calls else step
        for step in steps
    )


def cache_plan(milliseconds: int | None) -> CachePlan | None:
    """As a plan has it."""
    return None if milliseconds is None else CachePlan(Duration(milliseconds))


@dataclass(frozen=True, slots=True)
class Entry:
    """A row of `step_cache`."""

    expires_at: float
    execution: UUID
    step: str
    item: int
    digest: str
    output: Any


@dataclass(slots=True)
class CacheTable:
    """The rows, by tenant and key; and for those who check: when each source was kept last and for how long, and what was given."""

    entries: dict[tuple[UUID, bytes], Entry] = field(default_factory=dict)
    kept: dict[tuple[UUID, str, int], tuple[float, float]] = field(default_factory=dict)
    given: list[tuple[float, Entry]] = field(default_factory=list)

    def find(self, tenant: UUID, key: bytes, now: float, mutants: frozenset[str]) -> list[Row]:
        found = [
            one
            for (whose, what), one in self.entries.items()
            if what == key and (whose == tenant or "cache_of_all" in mutants)
            if one.expires_at > now or "cache_for_ever" in mutants
        ]
        self.given += [(now, one) for one in found[:1]]
        return rows_of(
            "execution_id step item digest output",
            [(one.execution, one.step, one.item, one.digest, one.output) for one in found[:1]],
        )

    def keep(self, columns: Sequence[Sequence[Any]], now: float) -> None:
        for tenant, key, ms, execution, step, item, digest, output in zip(*columns, strict=True):
            self.entries[tenant, key] = Entry(
                now + ms / 1000, execution, step, item, digest, orjson.loads(output)
            )
            self.kept[execution, step, item] = (now, ms / 1000)

    def sweep(self, now: float) -> int:
        gone = [key for key, one in self.entries.items() if one.expires_at <= now]
        for key in gone:
            del self.entries[key]
        return len(gone)


class CacheJudge:
    """What was given again is what a call has given before: same tenant, input and code, recorded by then, in its time."""

    def __init__(
        self, executions: Mapping[UUID, Any], table: CacheTable, say: Callable[[str], None]
    ) -> None:
        self._executions = executions
        self._table = table
        self._say = say
        self._seen: set[tuple[Any, ...]] = set()

    def look(self, e: Any) -> None:
        """At what was committed now, and at what was found before that."""
        for at, one in self._table.given:
            self._look_at(one, at)
        self._table.given.clear()
        for place, (status, _, result) in e.steps.items():
            if (e.id, *place) in self._seen or "cached_from" not in (result or {}):
                continue
            self._seen.add((e.id, *place))
            problem = self._problem(e, place, result)
            if problem is not None or status != StepStatus.COMPLETED:
                self._say(f"cache: {place} of {e.id} was given {result}: {problem}")

    def _look_at(self, one: Entry, at: float) -> None:
        since, seconds = self._table.kept[one.execution, one.step, one.item]
        if at > since + seconds:
            self._say(f"cache: {one}, kept at {since}, was given at {at}")
        source = self._executions.get(one.execution)
        ends = [
            ended
            for (step, item, *_), (status, ended, found) in (source.steps if source else {}).items()
            if (f"s{step}", item, status) == (one.step, one.item, StepStatus.COMPLETED)
            if found["out"] == one.digest
        ]
        if not ends or min(ends) > at:
            self._say(f"cache: {one} was given at {at}, and recorded at {ends}")

    def _problem(self, e: Any, place: tuple[int, int, int, int], result: Any) -> str | None:
        said = result["cached_from"]
        source = self._executions.get(UUID(said["execution"]))
        if source is None or source.tenant != e.tenant:
            return "it is of nobody in this tenant"
        item = said.get("item", -1)
        if not any(
            (int(said["step"][1:]), item) == (step, at)
            and status == StepStatus.COMPLETED
            and "cached_from" not in found
            and found["output"] == result["output"]
            and [found[one] for one in _SAME] == [result[one] for one in _SAME]
            for (step, at, *_), (status, _, found) in source.steps.items()
        ):
            return "no call that is recorded gave that"
        return None


def given_again(e: Any) -> set[tuple[int, int]]:
    """The steps and items of its generation that ended well without a call of their own."""
    return {
        (step, item)
        for (step, item, generation, _), (_, _, result) in e.steps.items()
        if generation == e.generation and "cached_from" in (result or {})
    }

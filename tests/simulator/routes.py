"""Ways that a program leaves to be chosen: gateways, joins, `on_error`; and what must be chosen, without the engine."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from random import Random
from typing import Any, Final

from runtime.model.plan import StepKind
from runtime.model.route import Case, Gateway, Join, Routes
from tests.simulator.people import LATE

COMPLETED, SKIPPED, HANDLED, FAILED = "completed", "skipped", "handled", "failed"
CONTINUE: Final = -1


@dataclass(frozen=True, slots=True)
class Choice:
    """A gateway: (word, need) and targets, case by case; without a condition it is the else."""

    cases: tuple[tuple[tuple[str, int] | None, tuple[int, ...]], ...]
    is_inclusive: bool

    def taken(self, statuses: Mapping[int, str]) -> list[int]:
        """The cases that hold, by what the gateway sees of its needs."""
        found = [
            number
            for number, (condition, _) in enumerate(self.cases)
            if condition is not None and statuses[condition[1]] == condition[0]
        ]
        if not found:
            return [n for n, (condition, _) in enumerate(self.cases) if condition is None]
        return found if self.is_inclusive else found[:1]

    def targets(self, taken: Collection[int]) -> list[int]:
        """Where these cases lead."""
        return list(dict.fromkeys(one for case in taken for one in self.cases[case][1]))

    @property
    def plan(self) -> dict[str, Any]:
        """As `plan_of` takes it."""
        return {"kind": StepKind.GATEWAY, "uses": None}


@dataclass(frozen=True, slots=True)
class Way:
    """What is chosen at one step: `on_error` is a target, CONTINUE, or None; `gives`: with an output of its own."""

    wants: int = 0
    on_error: int | None = None
    choice: Choice | None = None
    gives: bool = False


NO_WAY: Final = Way()


def choosers_of(steps: Collection[Any], step: int) -> set[int]:
    """The steps without whose word this one does not run."""
    found = set()
    for index, one in enumerate(steps):
        choice = one.way.choice
        named = [] if choice is None else choice.targets(range(len(choice.cases)))
        if step in named or one.way.on_error == step or _expiry(one) == step:
            found.add(index)
    return found


def _expiry(one: Any) -> int | None:
    return None if one.ask is None else one.ask.goto


def leads(one: Any, end: str, taken: list[int], to: int) -> bool:
    """Whether a step that ended so leads to another that waits for it."""
    way = one.way
    if end == LATE:
        return _expiry(one) == to
    if end == HANDLED:
        goes_on = way.on_error == CONTINUE and way.choice is None
        return way.on_error == to or (goes_on and _expiry(one) != to)
    if end != COMPLETED:
        return False
    if way.choice is not None:
        return to in way.choice.targets(taken)
    return to not in {way.on_error, _expiry(one)}


def routes_of(steps: Collection[Any]) -> Routes | None:
    """As a plan has them."""
    if all(one.way == NO_WAY and _expiry(one) is None for one in steps):
        return None
    gateways = {
        i: Gateway(
            tuple(
                Case(None if c is None else f"steps.s{c[1]}.status == '{c[0]}'", then, c is None)
                for c, then in one.way.choice.cases
            ),
            one.way.choice.is_inclusive,
        )
        for i, one in enumerate(steps)
        if one.way.choice is not None
    }
    recoveries = {
        i: None if one.way.on_error == CONTINUE else one.way.on_error
        for i, one in enumerate(steps)
        if one.way.on_error is not None
    }
    joins = {}
    for i, one in enumerate(steps):
        join = Join(one.way.wants, frozenset(choosers_of(steps, i)))
        if join != Join():
            joins[i] = join
    blind: set[int] = set()
    for i, one in enumerate(steps):
        if one.way.wants or blind & set(one.needs):
            blind.add(i)
    expiries = {i: to for i, one in enumerate(steps) if (to := _expiry(one)) is not None}
    followed = {
        *gateways,
        *recoveries,
        *expiries,
        *(need for i in joins for need in list(steps)[i].needs),
    }
    return Routes(gateways, recoveries, expiries, joins, frozenset(followed), frozenset(blind))


def with_ways(steps: tuple[Any, ...], seed: int) -> tuple[Any, ...]:
    """In one seed of five, some steps choose. The other seeds tell the stories that they always told."""
    if seed % 5 != 4:
        return steps
    random = Random(f"routes {seed} {len(steps)}")
    return tuple(_with_way(random, steps, index) for index in range(len(steps)))


def gives_in(seed: int) -> bool:
    """In one seed of thirty that has ways; all of these have rewinds, and most of them steps that are undone."""
    return seed % 40 == 29 or seed % 120 == 84


def with_outputs_given(steps: tuple[Any, ...], seed: int) -> tuple[Any, ...]:
    """The same steps, of which many go on with an output when they have failed, and more fail than usual."""
    if not gives_in(seed):
        return steps
    random = Random(f"given {seed} {len(steps)}")
    found = []
    for step in steps:
        scripts, way = step.scripts, step.way
        if step.wait is None and way.choice is None and random.random() < 0.4:
            bad = [replace(one, kind="permanent") for one in scripts[:2]]
            scripts, way = (*bad, *scripts[2:]), replace(way, on_error=CONTINUE)
        gives = way.on_error == CONTINUE and random.random() < 0.8
        found.append(replace(step, scripts=scripts, way=replace(way, gives=gives)))
    return tuple(found)


def given_by(number: Any, seen: Collection[Any]) -> list[Any]:
    """The output with which a step goes on that has failed."""
    return [number, *seen]


def _with_way(random: Random, steps: tuple[Any, ...], index: int) -> Any:
    one = steps[index]
    after = [i for i, other in enumerate(steps) if index in other.needs]
    wants = random.randint(1, len(one.needs)) if one.needs and random.random() < 0.4 else 0
    luck = random.random()
    on_error = None
    if one.wait is None and luck < 0.5:
        on_error = random.choice([CONTINUE, *after])
    if not after or random.random() > 0.35:
        return replace(one, way=Way(wants, on_error))
    words = (COMPLETED, COMPLETED, SKIPPED, "pending")
    cases: list[tuple[tuple[str, int] | None, tuple[int, ...]]] = [
        ((random.choice(words), random.choice(one.needs)), _some(random, after))
        for _ in range(random.randint(1, 2))
        if one.needs
    ]
    if not cases or random.random() < 0.7:
        cases.append((None, _some(random, after)))
    choice = Choice(tuple(cases), random.random() < 0.5)
    return replace(one, wait=None, way=Way(wants, on_error, choice))


def _some(random: Random, after: list[int]) -> tuple[int, ...]:
    return tuple(sorted(random.sample(after, random.randint(1, len(after)))))

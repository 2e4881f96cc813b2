"""Random programs, and what must come of them: a reference interpreter that knows nothing of the engine."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from random import Random
from typing import Any
from uuid import UUID

from runtime.model.plan import (
    Backoff,
    ConcurrencyPlan,
    ConnectorRef,
    InDoubt,
    Jitter,
    Plan,
    RetryPolicy,
)
from runtime.model.values import Duration
from tests.simulator.cache import cache_plan, with_cache
from tests.simulator.children import BELOW, ChildEnd, child_plan, with_children
from tests.simulator.lanes import concurrency_of
from tests.simulator.maps import Many, kind_of, number_of, with_maps
from tests.simulator.people import LATE, Ask, Task, with_people
from tests.simulator.rewinds import has_edits
from tests.simulator.routes import (
    HANDLED,
    NO_WAY,
    Way,
    choosers_of,
    given_by,
    leads,
    routes_of,
    with_outputs_given,
    with_ways,
)
from tests.simulator.tags import with_tags
from tests.simulator.undoing import with_undoing
from tests.simulator.waits import Wait, draw_wait
from tests.support.plans import plan_of

OK, TRANSIENT, THROTTLED, HANG, PERMANENT = "ok", "transient", "throttled", "hang", "permanent"
INLINE, CALL, ONCE, FOUND = "sim.inline", "sim.call", "sim.once", "sim.found"
AT_MOST_ONCE = frozenset({ONCE, FOUND})
COMPLETED, SKIPPED = "completed", "skipped"
STEP_TIMEOUT_MS = 800


@dataclass(frozen=True, slots=True)
class Script:
    """How the calls of a step end in one generation: the first `times` of them by `kind`, then well."""

    kind: str = OK
    times: int = 0
    seconds: float = 0.0

    def outcome(self, attempt: int) -> str:
        if self.kind == PERMANENT:
            return PERMANENT
        return self.kind if attempt <= self.times else OK


@dataclass(frozen=True, slots=True)
class Step:
    """A step: what it needs, how it is called, how its calls end (by generation)."""

    needs: tuple[int, ...]
    uses: str
    condition: tuple[str, int] | None
    tries: int
    delay_ms: int
    scripts: tuple[Script, ...]
    in_doubt: InDoubt = InDoubt.FAIL
    wait: Wait | None = None
    way: Way = NO_WAY
    many: Many | None = None
    # The version that it starts as a child.
    child: UUID | None = None
    tags: tuple[str, ...] = ()
    # What it asks people.
    ask: Ask | None = None
    # What undoes it, which needs it.
    undo: Step | None = None
    # For how long what it gives may be given again.
    cache_ms: int | None = None

    # It gives the output of another one that has failed, and calls nobody.
    is_given: bool = False

    @property
    def calls(self) -> bool:
        is_other = self.wait is not None or self.ask is not None or self.child is not None
        return not (is_other or self.is_given) and self.way.choice is None

    @property
    def hangs(self) -> bool:
        return any(script.kind == HANG for script in self.scripts)

    def script(self, generation: int, item: int = -1) -> Script:
        found = self.scripts[min(generation, len(self.scripts) - 1)]
        if self.many is not None and item not in self.many.troubled:
            return Script(seconds=found.seconds)
        return found

    def succeeds(self, generation: int, item: int = -1) -> bool:
        script = self.script(generation, item)
        if script.kind == PERMANENT:
            return False
        if self.uses in AT_MOST_ONCE and script.kind == TRANSIENT:
            return script.times == 0
        if self.uses in AT_MOST_ONCE and script.kind == HANG and script.times:
            # The call was made: a look-up finds it, and a person who is asked says so.
            return self.uses == FOUND or self.in_doubt is InDoubt.ASK or self._is_repeated(script)
        return script.times < self.tries

    def _is_repeated(self, script: Script) -> bool:
        return self.in_doubt is InDoubt.RETRY and script.times < self.tries


GIVES = Step((), INLINE, None, 3, 1_000, (Script(),), is_given=True)


@dataclass(frozen=True, slots=True)
class Expected:
    """How a generation ends when no person and no lost worker interferes."""

    succeeds: bool
    ends: dict[int, str]
    values: dict[int, Any]


@dataclass(frozen=True, slots=True)
class Program:
    """A graph and its scripts."""

    version: UUID
    steps: tuple[Step, ...]
    max_parallel: int | None
    concurrency: ConcurrencyPlan | None = None
    # Its steps compute from the input, too.
    reads_input: bool = False

    @property
    def every(self) -> tuple[Step, ...]:
        """The steps, and behind them what undoes some and gives outputs for others, as the plan numbers them."""
        undoes = tuple(step.undo for step in self.steps if step.undo is not None)
        return self.steps + undoes + tuple(GIVES for step in self.steps if step.way.gives)

    def given(self, index: int) -> int | None:
        """The number of what gives the output of a step that has failed."""
        if not self.steps[index].way.gives:
            return None
        before = sum(step.undo is not None for step in self.steps)
        return len(self.steps) + before + sum(step.way.gives for step in self.steps[:index])

    @property
    def plan(self) -> Plan:
        name = "s{}".format
        plan = plan_of(
            {name(i): [name(n) for n in step.needs] for i, step in enumerate(self.steps)},
            when={
                name(i): f"steps.s{step.condition[1]}.status == '{step.condition[0]}'"
                for i, step in enumerate(self.steps)
                if step.condition is not None
            },
            retry={
                name(i): _policy(step)
                for i, step in enumerate(self.steps)
                if step.calls or step.child is not None
            },
            steps={name(i): self._calls(i, step) for i, step in enumerate(self.steps)},
            outputs={"all": [f"{{{{ steps.s{i}.output }}}}" for i in range(len(self.steps))]},
            max_parallel_steps=self.max_parallel,
            routes=routes_of(self.steps),
            compensate={
                name(i): {
                    "retry": _policy(step.undo),
                    **self._calls(len(self.steps) + i, step.undo),
                }
                for i, step in enumerate(self.steps)
                if step.undo is not None
            },
            fallback={
                name(i): given_by(
                    f"{{{{ {900 + i} if steps.s{i}.error is defined else 0 }}}}", self._reads(step)
                )
                for i, step in enumerate(self.steps)
                if step.way.gives
            },
        )
        return replace(plan, concurrency=self.concurrency)

    def _calls(self, index: int, step: Step) -> dict[str, Any]:
        if step.wait is not None:
            return step.wait.plan
        if step.way.choice is not None:
            return step.way.choice.plan
        if step.child is not None:
            return child_plan(index, step)
        if step.ask is not None:
            return step.ask.plan(self.numbers(step))
        config: dict[str, Any] = {
            "step": index,
            "seen": self._reads(step),
        }
        if self.reads_input:
            config["given"] = "{{ params }}"
        if step.many is not None:
            config |= {"element": "{{ item }}", "index": "{{ index }}"}
        return {
            **kind_of(step.many),
            "uses": ConnectorRef(step.uses, 1),
            "config": config,
            "timeout": Duration(STEP_TIMEOUT_MS) if step.hangs else None,
            "in_doubt": step.in_doubt,
            "runs_on": step.tags,
            "cache": cache_plan(step.cache_ms),
        }

    def _reads(self, step: Step) -> list[str]:
        return [f"{{{{ steps.s{need}.output }}}}" for need in self.numbers(step)]

    def numbers(self, step: Step) -> list[int]:
        """What a step computes from: gateways give no numbers."""
        return [need for need in step.needs if self.steps[need].way.choice is None]

    def expect(
        self,
        generation: int,
        kept: Mapping[int, str],
        waited: Mapping[int, int | None],
        seen: Mapping[int, list[int]],
        done: Mapping[int, Collection[int]],
        children: Mapping[int, ChildEnd],
        tasks: Mapping[int, Task],
        again: Collection[tuple[int, int]] = (),
        given: Mapping[int, int] | None = None,
        stood: Mapping[int, Any] | None = None,
    ) -> Expected:
        """`kept` are the ends of steps that an earlier generation has brought to a good end.

        `waited` is what came of the waits: which signals people send is not written in the program. Nor
        is who came first at a join: `seen` are the needs that a step saw, where it did not see all. `done` are the
        items of maps that earlier generations have completed. `children` is how the newest child of each step ended, which
        is judged by itself; `tasks` how people answered those of each step. `again` are the steps and items that were given
        what an earlier call gave, `given` is what each step computes from of the input with which it ran, `stood` what the
        calls gave that were kept.
        """
        ends: dict[int, str] = {}
        values: dict[int, Any] = {}
        taken: dict[int, list[int]] = {}
        succeeds = True
        for index, step in enumerate(self.steps):
            shown = {
                n: ends[n] if n in seen.get(index, step.needs) else "pending" for n in step.needs
            }
            taken[index] = [] if step.way.choice is None else step.way.choice.taken(shown)
            many = step.many
            failed = [
                item
                for item in range(0 if many is None else len(many.elements(values)))
                # What has ended in an earlier generation has collected what failed then.
                if item not in done.get(index, ())
                and (index in kept or not step.succeeds(generation, item))
                and (index, item) not in again
            ]
            ends_well = not failed or (many is not None and many.is_collecting)
            if many is None:
                ends_well = (index, -1) in again or step.succeeds(generation)
            if step.child is not None:
                ends_well = index in children and children[index].is_completed
            asked = tasks.get(index)
            if step.ask is not None:
                ends_well = asked is not None and asked.outcome is not None
            end = kept.get(index) or self._end(index, ends, taken, shown, ends_well=ends_well)
            ends[index] = end
            succeeds = succeeds and end in {COMPLETED, SKIPPED, HANDLED, LATE}
            known = [values[n] if shown[n] != "pending" else None for n in self.numbers(step)]
            number = (given or {}).get(index, 0)
            values[index] = value_of(index, known, given=number)
            if many is not None:
                values[index] = [
                    _told(value_of(index, known, element, item, number), item in failed, many)
                    for item, element in enumerate(many.elements(values))
                ]
            if step.way.choice is not None:
                then = [f"s{one}" for one in step.way.choice.targets(taken[index])]
                values[index] = {"cases": taken[index], "then": then}
            if step.wait is not None:
                values[index] = waited.get(index)
            if step.child is not None and index in children:
                values[index] = children[index].output
            if step.ask is not None:
                values[index] = None if asked is None else asked.output
            if stood and index in stood:
                values[index] = stood[index]
            if end != COMPLETED:
                gives = step.way.gives and end == HANDLED
                values[index] = given_by(900 + index, known) if gives else None
        return Expected(succeeds, ends, values)

    def _end(
        self,
        index: int,
        ends: Mapping[int, str],
        taken: Mapping[int, list[int]],
        shown: Mapping[int, str],
        *,
        ends_well: bool,
    ) -> str:
        """What follows a failure never runs; as the whole fails then, its end does not matter."""
        step = self.steps[index]
        here = {n for n in step.needs if leads(self.steps[n], ends[n], taken[n], index)}
        choosers = choosers_of(self.steps, index)
        if step.needs and len(here) < max(1, step.way.wants):
            return SKIPPED
        if choosers and not choosers & here:
            return SKIPPED
        if step.condition is not None and shown[step.condition[1]] != step.condition[0]:
            return SKIPPED
        ends_well = step.wait is not None or ends_well
        if step.way.choice is not None:
            ends_well = bool(taken[index])
        if ends_well:
            return COMPLETED
        if step.ask is not None and step.ask.goto is not None:
            return LATE
        return "failed" if step.way.on_error is None else HANDLED


def value_of(
    index: int, seen: list[Any], element: Any = None, item: int | None = None, given: int = 0
) -> int:
    """What a step gives back: a function of what it was given."""
    number = index + 1 + 7 * sum(map(number_of, seen)) + 17 * given
    return (number + 13 * number_of(element) + (item or 0)) % 100_003


def _told(value: int, is_failed: bool, many: Many) -> Any:
    """How an item stands in the output of its map."""
    if not many.is_collecting:
        return value
    return {"status": "failed"} if is_failed else {"status": COMPLETED, "output": value}


def _policy(step: Step) -> RetryPolicy:
    delay = Duration(step.delay_ms)
    return RetryPolicy(step.tries, Backoff.FIXED, delay, 2.0, delay, Jitter.NONE)


def draw_program(random: Random, version: UUID, seed: int = 0) -> Program:
    """A chain, a diamond or any other graph without circles, in document order."""
    shape, count = random.choice(("chain", "wide", "any", "any")), random.randint(1, 7)
    steps = []
    for index in range(count):
        if shape == "chain":
            needs: tuple[int, ...] = (index - 1,) if index else ()
        elif shape == "wide":
            needs = () if index == 0 else (0,) if index < count - 1 else tuple(range(1, index))
        else:
            needs = tuple(sorted(random.sample(range(index), random.randint(0, min(3, index)))))
        steps.append(_draw_step(random, needs))
    # What only children run may have maps as well, in the same seeds.
    one = seed + 3 if version in BELOW else seed
    ways = with_outputs_given(with_ways(tuple(steps), one), one)
    drawn = with_children(with_maps(ways, one), seed, version)
    drawn = with_tags(with_people(drawn, seed), seed)
    drawn = with_cache(with_undoing(drawn, seed, _draw_undo), seed, version)
    most = random.choice((None, None, 1, 2))
    return Program(version, drawn, most, concurrency_of(seed, version), has_edits(seed))


def _draw_step(random: Random, needs: tuple[int, ...]) -> Step:
    uses = random.choice((INLINE, CALL, CALL, ONCE, FOUND))
    condition = None
    if needs and random.random() < 0.25:
        condition = (random.choice((COMPLETED, COMPLETED, SKIPPED)), random.choice(needs))
    return Step(
        needs=needs,
        uses=uses,
        condition=condition,
        tries=random.choice((1, 2, 3)),
        delay_ms=random.choice((10, 10, 300, 6_000)),
        scripts=(_draw_script(random, uses, 0.3), _draw_script(random, uses, 0.1), Script()),
        in_doubt=random.choice(tuple(InDoubt)),
        wait=draw_wait(random),
    )


def _draw_undo(random: Random, uses: str) -> Step:
    scripts = (_draw_script(random, uses, 0.35), _draw_script(random, uses, 0.2), Script())
    return Step((), uses, None, random.choice((1, 2, 3)), random.choice((10, 300, 6_000)), scripts)


def _draw_script(random: Random, uses: str, trouble: float) -> Script:
    seconds = random.choice((0.0, 0.0, 0.02, 0.3)) * random.random()
    if random.random() >= trouble:
        return Script(seconds=seconds)
    kinds = [TRANSIENT, TRANSIENT, TRANSIENT, THROTTLED, THROTTLED, PERMANENT]
    if uses != INLINE:
        kinds.append(HANG)
    return Script(random.choice(kinds), random.randint(1, 2), seconds)

"""The outside: what the steps call. It counts effects by Idempotency-Key and judges each call as it comes."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from math import inf
from typing import Any, Final
from uuid import UUID

from pydantic import BaseModel, RootModel

from runtime.abi.connector import Connector, InlineConnector, NotMade, StepContext, Unknown
from runtime.connectors.registry import Registry
from runtime.model.errors import StepErrorKind, StepFailed
from runtime.model.plan import Effect, InDoubt
from runtime.registry import Found
from tests.simulator.loop import PROCESS
from tests.simulator.maps import key_of
from tests.simulator.model import Model
from tests.simulator.program import (
    AT_MOST_ONCE,
    CALL,
    FOUND,
    HANG,
    INLINE,
    OK,
    ONCE,
    PERMANENT,
    THROTTLED,
    TRANSIENT,
    Program,
    Step,
    value_of,
)
from tests.simulator.rewinds import inputs_of, kept_now, number_in
from tests.simulator.undoing import counting

_CANCELLED: Final = 9
_GOOD: Final = frozenset({6, 8})


class World:
    """Everything outside, of one seed."""

    def __init__(self, model: Model, programs: dict[UUID, Program]) -> None:
        self.model = model
        self.programs = programs
        self.effects: Counter[str] = Counter()
        # What the other side has done, by key; how often it was said that nothing was done there; of which
        # calls somebody has found out nothing; and which generations a person has given up.
        self.made: dict[str, int] = {}
        self.cleared: Counter[str] = Counter()
        self.unsure: set[str] = set()
        self.given_up: set[tuple[UUID, int]] = set()
        self.calls: Counter[str] = Counter()
        self.violations: list[str] = []
        # The tags of each worker, by the name of its process.
        self.tags: dict[str, frozenset[str]] = {}
        self.on_call: Callable[[], None] = lambda: None
        self.luck: Callable[[], float] = lambda: 1.0

    def judge(self, context: StepContext, uses: str, given: Given) -> str:
        """How this call ends, after a look at whether it may be made at all."""
        execution = self.model.executions[context.execution_id]
        program = self.programs[execution.version]
        step = program.every[context.step]
        item = context.item
        key = key_of(context.execution_id, context.step, item, context.generation)
        if context.idempotency_key != key:
            self.violations.append(f"I13: {context.idempotency_key} is not {key}")
        durable = {
            key[0]
            for key, (status, _, result) in execution.steps.items()
            if (status in _GOOD or result.get("handled"))
            and key[1] < 0
            and key[2] <= context.generation
        }
        if item >= 0 and (given.index, step.many is None) != (item, False):
            self.violations.append(f"map: item {item} of {key} was given {given.index}")
        here = self.tags.get(PROCESS.get().name, frozenset())
        if not here.issuperset(step.tags):
            self.violations.append(
                f"tags: {key} asks for {step.tags}, and was called by {sorted(here)}"
            )
        if program.reads_input and given.number != self._number_of(execution, program, context):
            self.violations.append(f"input: {key} was given {given.given}")
        waited_for = {need for need in step.needs if self._waits_for(execution, need, durable)}
        if program.reads_input:
            if context.step in kept_now(execution, program.steps):
                self.violations.append(f"keep: {key} was called, and is kept")
            durable = self._counting(execution, program, context)
        durable -= waited_for
        met = len(durable.intersection(step.needs))
        if met < (step.way.wants or len(step.needs)):
            missing = sorted(set(step.needs) - durable)
            self.violations.append(f"I1: step {context.step} of {key} began before {missing}")
        # An attempt that was found not to have been made does not count.
        uncounted = sum(
            status == _CANCELLED
            and ended != inf
            and row[:2] == (context.step, item)
            and row[2] == context.generation
            for row, (status, ended, _) in execution.steps.items()
        )
        outcome = step.script(context.generation, item).outcome(context.attempt - uncounted)
        self.calls[key] += 1
        self.on_call()
        if context.step % 2:
            context.charge(f"0.{context.step:02} {'USD' if context.step % 3 else 'EUR'}")
        if uses in AT_MOST_ONCE and outcome != THROTTLED:
            self._effect(key, step, outcome, given)
            intent = (context.step, item, context.generation, context.attempt)
            if execution.steps.get(intent, (_CANCELLED,))[0] == _CANCELLED:
                self.violations.append(f"at most once: {key} was called without an intent")
        return outcome

    @staticmethod
    def _counting(execution: Any, program: Program, context: StepContext) -> set[int]:
        """The steps with an end that counts in the generation of a call."""
        now = {
            row[0]
            for row, (status, _, result) in execution.steps.items()
            if (status in _GOOD or result.get("handled")) and row[1:3] == (-1, context.generation)
        }
        return now.union(counting(execution, program.steps)[-1])

    @staticmethod
    def _number_of(execution: Any, program: Program, context: StepContext) -> int:
        """What of the input a call computes from: what undoes a step sees the one with which that ran."""
        generation = context.generation
        if context.step >= len(program.steps):
            undoers = [n for n, one in enumerate(program.steps) if one.undo is not None]
            undone = undoers[context.step - len(program.steps)]
            _, generation = max(
                (row[2], result.get("cached_from", {}).get("generation", row[2]))
                for row, (status, _, result) in execution.steps.items()
                if row[:2] == (undone, -1) and status in _GOOD
            )
        return number_in(inputs_of(execution)[generation])

    def _waits_for(self, execution: Any, need: int, durable: set[int]) -> bool:
        """Whether a step has failed, and the output with which it goes on is not durable."""
        steps = self.programs[execution.version].steps
        given = self.programs[execution.version].given(need) if need < len(steps) else None
        return (
            given is not None
            and given not in durable
            and any(
                row[0] == need and result.get("handled")
                for row, (_, _, result) in execution.steps.items()
            )
        )

    def _effect(self, key: str, step: Step, outcome: str, given: Given) -> None:
        """Twice only when it was said that the first one did not happen, or the author allows it blindly."""
        self.effects[key] += 1
        blindly = step.in_doubt is InDoubt.RETRY and (step.uses == ONCE or key in self.unsure)
        if self.effects[key] > 1 + self.cleared[key] and not blindly:
            self.violations.append(f"at most once: {key} had {self.effects[key]} effects")
        if outcome in {OK, HANG}:
            if key in self.made and not blindly:
                self.violations.append(f"at most once: {key} was made twice")
            self.made[key] = given.value

    def look_up(self, key: str) -> Any:
        """The truth about a call, as a rule."""
        luck = self.luck()
        if luck < 0.1:
            self.unsure.add(key)
            return Unknown()
        if luck < 0.2:
            self.unsure.add(key)
            raise StepFailed("nobody answers", kind=StepErrorKind.TRANSIENT, type="away")
        return self.truth(key)

    def truth(self, key: str) -> Any:
        """What the other side has given for a call, or that it was not made."""
        if key in self.made:
            return Number(self.made[key])
        self.cleared[key] += 1
        return NotMade()

    def seconds(self, context: StepContext) -> float:
        program = self.programs[self.model.executions[context.execution_id].version]
        return program.every[context.step].script(context.generation, context.item).seconds


class Current:
    """The world of the seed that runs now."""

    world: World


class Given(BaseModel):
    step: int
    seen: list[Any]
    element: Any = None
    index: int | None = None
    given: dict[str, int] | None = None

    @property
    def number(self) -> int:
        return number_in(self.given)

    @property
    def value(self) -> int:
        return value_of(self.step, list(self.seen), self.element, self.index, self.number)


class Number(RootModel[int]):
    pass


_KINDS: Final = {
    TRANSIENT: StepErrorKind.TRANSIENT,
    THROTTLED: StepErrorKind.THROTTLED,
    PERMANENT: StepErrorKind.PERMANENT,
}


def _end(outcome: str, given: Given) -> Number:
    if outcome in _KINDS:
        raise StepFailed(f"{outcome}, as written", kind=_KINDS[outcome], type=outcome)
    return Number(given.value)


class Inline(InlineConnector):
    name = INLINE
    version = "1.0.0"
    summary = "Answer at once."
    effect_class = Effect.PURE
    Input = Given
    Output = Number

    def answer(self, context: StepContext, input: Given) -> Number:
        return _end(Current.world.judge(context, INLINE, input), input)


class Call(Connector):
    name = CALL
    version = "1.0.0"
    summary = "Call, and call again if need be."
    effect_class = Effect.IDEMPOTENT
    Input = Given
    Output = Number

    async def execute(self, context: StepContext, input: Given) -> Number:
        world = Current.world
        outcome = world.judge(context, self.name, input)
        try:
            await asyncio.sleep(1e9 if outcome == HANG else world.seconds(context))
        except asyncio.CancelledError:
            # A step of the stubborn kind answers being stopped with a failure of its own.
            if input.step % 2 and context.cancel.reason is not None:
                await asyncio.sleep(world.seconds(context))
                outcome = PERMANENT
            else:
                raise
        return _end(outcome, input)


class Once(Call):
    name = ONCE
    summary = "Call once."
    effect_class = Effect.AT_MOST_ONCE


class Findable(Once):
    name = FOUND
    summary = "Call once, and find it again."

    async def look_up(self, context: StepContext, input: Given) -> Any:
        world = Current.world
        await asyncio.sleep(world.seconds(context))
        return world.look_up(context.idempotency_key)


REGISTRY: Final = Registry(
    [
        Found(one, f"{__name__}:{type(one).__name__}")
        for one in (Inline(), Call(), Once(), Findable())
    ]
)

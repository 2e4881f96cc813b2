"""Connectors for tests of the worker: they count, fail on demand, wait to be let go. Loaded as a user's package would be."""

from __future__ import annotations

import asyncio
import threading
from collections import Counter, defaultdict
from typing import Any

import orjson
from pydantic import BaseModel, ConfigDict, RootModel, field_validator

from maestro import step
from runtime.abi.connector import Connector, InlineConnector, StepContext, Unknown
from runtime.model.errors import StepErrorKind, StepFailed
from runtime.model.plan import Effect


class Anything(RootModel[Any]):
    """Whatever is given."""


class Calls:
    """What was called, by marker: keys and attempts, in order. Gates hold calls back."""

    def __init__(self) -> None:
        self.keys: defaultdict[str, list[str]] = defaultdict(list)
        self.attempts: defaultdict[str, list[int]] = defaultdict(list)
        self.gates: defaultdict[str, asyncio.Event] = defaultdict(asyncio.Event)
        self.begun: defaultdict[str, asyncio.Event] = defaultdict(asyncio.Event)
        self.contexts: dict[str, StepContext] = {}
        # Lets functions in threads return.
        self.released = threading.Event()
        # What look-ups answer, and how often they were asked.
        self.found: dict[str, Any] = {}
        self.asked: Counter[str] = Counter()

    def note(self, context: StepContext, marker: str) -> None:
        self.keys[marker].append(context.idempotency_key)
        self.attempts[marker].append(context.attempt)
        self.contexts[marker] = context
        self.begun[marker].set()

    def clear(self) -> None:
        for part in (self.keys, self.attempts, self.gates, self.begun, self.contexts):
            part.clear()
        self.released.clear()
        self.found.clear()
        self.asked.clear()


CALLS = Calls()


class FlakyInput(BaseModel):
    model_config = ConfigDict(extra="forbid")
    marker: str
    failures: int = 0
    kind: StepErrorKind = StepErrorKind.TRANSIENT
    retry_after: float | None = None


class Flaky(Connector):
    """Fails so many times, then succeeds."""

    name = "probe.flaky"
    version = "1.0.0"
    summary = "Fail some times."
    effect_class = Effect.IDEMPOTENT
    Input = FlakyInput
    Output = Anything

    async def execute(self, context: StepContext, input: FlakyInput) -> Any:
        CALLS.note(context, input.marker)
        if context.attempt <= input.failures:
            raise StepFailed("busy", kind=input.kind, type="Busy", retry_after=input.retry_after)
        return {"attempt": context.attempt}


class GateInput(BaseModel):
    model_config = ConfigDict(extra="forbid")
    marker: str
    value: Any = None


class Gate(Connector):
    """Waits until the test opens its gate, or until it is told to stop."""

    name = "probe.gate"
    version = "1.0.0"
    summary = "Wait for the test."
    effect_class = Effect.IDEMPOTENT
    Input = GateInput
    Output = Anything

    async def execute(self, context: StepContext, input: GateInput) -> Any:
        CALLS.note(context, input.marker)
        gate = asyncio.ensure_future(CALLS.gates[input.marker].wait())
        stop = asyncio.ensure_future(context.cancel.wait())
        try:
            await asyncio.wait((gate, stop), return_when=asyncio.FIRST_COMPLETED)
        finally:
            gate.cancel()
            stop.cancel()
        context.cancel.raise_if_cancelled()
        return input.value


class Once(Gate):
    """The same, but a second call would do it twice."""

    name = "probe.once"
    effect_class = Effect.AT_MOST_ONCE


class Sometimes(Gate):
    """The same, and it says of each call whether a second one would do it twice: it would."""

    name = "probe.sometimes"
    effect_class = None  # type: ignore[assignment] # it depends on the input

    def effect(self, input: GateInput) -> Effect:
        return Effect.AT_MOST_ONCE


class Findable(Once):
    """The same, and its calls can be looked up."""

    name = "probe.findable"

    async def look_up(self, context: StepContext, input: GateInput) -> Any:
        CALLS.asked[input.marker] += 1
        assert context.idempotency_key in CALLS.keys[input.marker]
        found = CALLS.found.get(input.marker, Unknown())
        if isinstance(found, BaseException):
            raise found
        return found


class Numbered(BaseModel):
    number: int


class Typed(Once):
    """The same, and what it gives has a form."""

    name = "probe.typed"
    Output = Numbered  # type: ignore[assignment] # a narrower one


class TargetedInput(BaseModel):
    marker: str
    target: str


class Targeted(Connector):
    """Says what it calls; fails as the test says."""

    name = "probe.targeted"
    version = "1.0.0"
    summary = "Call a target."
    effect_class = Effect.IDEMPOTENT
    Input = TargetedInput
    Output = Anything

    def target(self, input: TargetedInput) -> str:
        return input.target

    async def execute(self, context: StepContext, input: TargetedInput) -> Any:
        CALLS.note(context, input.marker)
        found = CALLS.found.get(input.marker)
        if isinstance(found, Exception):
            raise found
        return found


class Deaf(Gate):
    """Hears neither its token nor a cancellation at first."""

    name = "probe.deaf"

    async def execute(self, context: StepContext, input: GateInput) -> Any:
        CALLS.note(context, input.marker)
        while not CALLS.gates[input.marker].is_set():
            try:
                await CALLS.gates[input.marker].wait()
            except asyncio.CancelledError:
                continue
        return input.value


class Broken(InlineConnector):
    """Raises, two calls deep, whatever it is given."""

    name = "probe.broken"
    version = "1.0.0"
    summary = "Raise."
    effect_class = Effect.PURE
    Input = Anything
    Output = Anything

    def answer(self, context: StepContext, input: Anything) -> Any:
        return self._look_up(input.root["item"])

    def _look_up(self, item: str) -> Any:
        raise LookupError(f"no {item} here")


class Echo(InlineConnector):
    """Gives back what it is given, at once, unchecked."""

    name = "probe.echo"
    version = "1.0.0"
    summary = "Give back the input."
    effect_class = Effect.PURE
    Input = Anything
    Output = Anything

    def answer(self, context: StepContext, input: Anything) -> Any:
        CALLS.note(context, context.step_key)
        value = input.root
        if isinstance(value, dict) and "cost" in value:
            context.charge(value["cost"])
        if isinstance(value, dict) and "zeros" in value:
            return "\x00" * int(value["zeros"])
        if isinstance(value, dict) and "bytes" in value:
            return "x" * int(value["bytes"])
        if isinstance(value, dict) and "levels" in value:
            return orjson.loads("[" * int(value["levels"]) + "]" * int(value["levels"]))
        return value


class Instant(Echo):
    """The same, but a second answer would do it twice."""

    name = "probe.instant"
    effect_class = Effect.AT_MOST_ONCE


class Chatty(Connector):
    """Logs as many lines as it is told."""

    name = "probe.chatty"
    version = "1.0.0"
    summary = "Log lines."
    effect_class = Effect.PURE
    Input = Anything
    Output = Anything

    async def execute(self, context: StepContext, input: Anything) -> Any:
        for number in range(input.root["lines"]):
            context.log.info("a line", number=number, secret=input.root.get("secret"))
        return None


class PickyInput(BaseModel):
    value: Any = None

    @field_validator("value")
    @classmethod
    def _refuse(cls, value: Any) -> Any:
        raise KeyError(f"no such thing as {value}")


class Picky(Connector):
    """Its input model raises what no validator should."""

    name = "probe.picky"
    version = "1.0.0"
    summary = "Break while the input is read."
    effect_class = Effect.PURE
    Input = PickyInput
    Output = Anything

    async def execute(self, context: StepContext, input: PickyInput) -> Any:
        return input.value


class Unsure(Connector):
    """Its effect can't be found out."""

    name = "probe.unsure"
    version = "1.0.0"
    summary = "Break while the effect is asked for."
    effect_class = None
    Input = Anything
    Output = Anything

    def effect(self, input: BaseModel) -> Effect:
        raise LookupError("nobody knows")

    async def execute(self, context: StepContext, input: BaseModel) -> Any:
        return 1


class ListInput(BaseModel):
    items: Any


@step(name="probe.stubborn", effect="at_most_once", timeout=0.2)
def stubborn(marker: str, ctx: StepContext) -> str:
    """Hears nothing: returns when the test lets it, in a thread that can't be stopped."""
    CALLS.note(ctx, marker)
    CALLS.released.wait(20)
    return marker


@stubborn.on_doubt
def find_stubborn(marker: str) -> Any:
    """What the test says."""
    CALLS.asked[marker] += 1
    return CALLS.found[marker]


class Mutate(Connector):
    """Changes the input it was given."""

    name = "probe.mutate"
    version = "1.0.0"
    summary = "Append to the items of the input."
    effect_class = Effect.PURE
    Input = ListInput
    Output = Anything

    async def execute(self, context: StepContext, input: ListInput) -> Any:
        input.items.append("changed")
        return len(input.items)

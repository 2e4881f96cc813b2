"""One run of a plan: level by level, each field of a level asked for all its objects before anything is awaited.

A run either gives the whole answer or raises `Unplanned`; it never gives a part. What the root fields of a mutation
came to is kept in its `Attempt`, so that whoever answers instead does not ask them a second time.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from strawberry.execution import optimized_is_awaitable as is_awaitable
from strawberry.schema import Schema

from subgraph.compiled.declare import Later
from subgraph.compiled.info import RawInfo, Request
from subgraph.compiled.leaf import dispose
from subgraph.compiled.plan import Pair, Plan, Step, Waiting
from subgraph.compiled.reasons import Reason, Unplanned


@dataclass(frozen=True, slots=True)
class Raised:
    """A root field's exception, kept in the place of its value."""

    error: Exception


@dataclass(slots=True)
class Attempt:
    """How far a run came: what root fields gave or raised, and the answers that are complete."""

    known: dict[str, Any] = field(default_factory=dict)
    done: dict[str, Any] = field(default_factory=dict)


class _Place(NamedTuple):
    """Where an awaited value goes, and what is made of it before."""

    values: list[Any]
    place: int
    found: Awaitable[Any]
    then: Callable[[Any], Any] | None

    def fill(self, value: Any) -> None:
        self.values[self.place] = value if self.then is None else self.then(value)


@dataclass(slots=True)
class Run:
    """One request's way through a plan."""

    plan: Plan
    schema: Schema
    request: Request

    async def answer(self, attempt: Attempt) -> dict[str, Any]:
        """The whole answer; raises Unplanned when the library has to give it."""
        try:
            return await self._answer(attempt)
        except Unplanned:
            raise
        except Exception as error:
            raise Unplanned(Reason.ERROR, type(error).__name__) from error

    async def _answer(self, attempt: Attempt) -> dict[str, Any]:
        steps = self.plan.steps
        waiting: Waiting = [[] for _ in steps]
        data = self.plan.begin(self.request.root_value, waiting)
        if not self.plan.is_serial:
            await self._levels(list(zip(steps, waiting, strict=True)))
            return data
        for step in steps:
            value = await self._once(step, attempt)
            below: Waiting = [[] for _ in step.steps]
            data[step.key] = step.complete(value, below)
            await self._levels(list(zip(step.steps, below, strict=True)))
            attempt.done[step.key] = data[step.key]
        return data

    async def _once(self, step: Step, attempt: Attempt) -> Any:
        """The value of a mutation's root field; what it came to is kept, for it is never asked again."""
        arguments = self._arguments(step)
        try:
            value = _call(step, self.request.root_value, arguments)
            if is_awaitable(value):
                value = await value
        except Exception as error:
            attempt.known[step.key] = Raised(error)
            raise
        attempt.known[step.key] = value
        return value

    async def _levels(self, work: list[tuple[Step, list[Pair]]]) -> None:
        """Fill in a level, then what hangs on it, until nothing does."""
        while work:
            asked = [(step, pairs) for step, pairs in work if pairs]
            values = await self._values(asked)
            work = []
            for (step, pairs), found in zip(asked, values, strict=True):
                key, complete = step.key, step.complete
                below: Waiting = [[] for _ in step.steps]
                for (_, answer), value in zip(pairs, found, strict=True):
                    answer[key] = complete(value, below)
                work += zip(step.steps, below, strict=True)

    async def _values(self, asked: list[tuple[Step, list[Pair]]]) -> list[list[Any]]:
        """What the resolvers of a level give, awaited together."""
        values: list[list[Any]] = []
        try:
            for step, pairs in asked:
                found: list[Any] = []
                values.append(found)
                self._ask(step, pairs, found)
        except BaseException:
            for found in values:
                for value in found:
                    dispose(value)
            raise
        places = [
            place
            for (step, _), found in zip(asked, values, strict=True)
            for place in _places(step, found)
        ]
        if places:
            await _settle(places)
        return values

    def _ask(self, step: Step, pairs: list[Pair], found: list[Any]) -> None:
        """Call a resolver for each object of a level."""
        if step.is_root and self.plan.is_event:
            found.append(self.request.root_value)
            return
        resolver = step.resolver
        if len(pairs) > 1 and _is_changeable(step):
            self._ask_each(step, pairs, found)
            return
        arguments = self._arguments(step)
        if resolver.takes_self and not resolver.sources:
            function, add = resolver.function, found.append
            for source, _ in pairs:
                add(function(source, **arguments))
            return
        for source, _ in pairs:
            found.append(_call(step, source, arguments))

    def _ask_each(self, step: Step, pairs: list[Pair], found: list[Any]) -> None:
        """Call a resolver that may change what it is given: each call gets a list or an input object of its own."""
        for source, _ in pairs:
            found.append(_call(step, source, self._arguments(step)))

    def _arguments(self, step: Step) -> dict[str, Any]:
        """The keyword arguments of a resolver, the info among them."""
        raw: Any = RawInfo(self.plan, step, self.request)
        info = self.schema.config.info_class(_raw_info=raw, _field=step.declared)
        values = step.given.values(self.request.variables) if step.definition.args else {}
        arguments: dict[str, Any] = {}
        for each in step.resolver.arguments:
            if each.name not in values:
                continue
            value = values[each.name]
            convert = each.convert
            arguments[each.python_name] = value if convert is None else convert(value, info)
        if step.resolver.info:
            arguments[step.resolver.info] = info
        return arguments


def _is_changeable(step: Step) -> bool:
    """Whether a resolver is given something that it could change."""
    return not step.given.is_plain or any(each.convert for each in step.resolver.arguments)


def _call(step: Step, source: Any, arguments: dict[str, Any]) -> Any:
    resolver = step.resolver
    named = dict.fromkeys(resolver.sources, source)
    if resolver.takes_self:
        return resolver.function(source, **named, **arguments)
    return resolver.function(**named, **arguments)


def _places(step: Step, found: list[Any]) -> Iterator[_Place]:
    """What of these values has to be awaited, the items of a list too."""
    is_async = step.resolver.is_async
    for index, value in enumerate(found):
        kind = value.__class__
        if kind is Later:
            yield _Place(found, index, value.found, value.then)
        elif is_async or is_awaitable(value):
            yield _Place(found, index, value, None)
        elif step.is_list and (kind is list or kind is tuple) and any(map(is_awaitable, value)):
            items = found[index] = list(value)
            for place, item in enumerate(items):
                if item.__class__ is Later:
                    yield _Place(items, place, item.found, item.then)
                elif is_awaitable(item):
                    yield _Place(items, place, item, None)


async def _settle(places: list[_Place]) -> None:
    """Await all of them, whatever becomes of one, and fill in what they came to."""
    if len(places) == 1:
        places[0].fill(await places[0].found)
        return
    if not all(asyncio.isfuture(place.found) for place in places):
        results = await asyncio.gather(*(place.found for place in places), return_exceptions=True)
        for result in results:
            if isinstance(result, BaseException):
                raise result
        for place, result in zip(places, results, strict=True):
            place.fill(result)
        return
    try:
        # Futures run by themselves: one task can look at them in turn.
        for place in places:
            place.fill(await place.found)
    except Exception:
        await asyncio.gather(*(place.found for place in places), return_exceptions=True)
        raise

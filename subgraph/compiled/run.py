"""One run of a plan: level by level, each field of a level asked for all its objects before anything is awaited.

A run gives the whole answer or raises `Unplanned`; it never gives a part. A field that fails where a null may stand
is null in it, and its error beside it; any other failure is the library's to tell. What resolvers came to is kept in
the run's `Attempt`, so that whoever answers instead asks none of them a second time.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeAlias

from graphql import ExecutionResult
from strawberry.execution import optimized_is_awaitable as is_awaitable
from strawberry.schema import Schema

from subgraph.compiled.declare import Columns, Later, Whole
from subgraph.compiled.failures import Failure, told
from subgraph.compiled.info import RawInfo, Request
from subgraph.compiled.leaf import dispose
from subgraph.compiled.plan import Pair, Plan, Step, Waiting
from subgraph.compiled.reasons import Reason, Unplanned
from subgraph.compiled.size import Bound, Size, TooLarge

# A step, the objects that it was asked for, and what its resolver gave or raised for each.
Asked: TypeAlias = tuple[Step, list[Pair], list[Any]]
# An object and all nodes of a field: a fragment gives fields whose selections differ the same first node.
Asking: TypeAlias = tuple[int, tuple[int, ...]]


def asking(source: Any, nodes: Iterable[Any]) -> Asking:
    """By what it is known that a resolver has been asked for an object; whoever keeps it keeps the object."""
    return id(source), tuple(map(id, nodes))


@dataclass(slots=True)
class Attempt:
    """How far a run came.

    What a mutation's root fields gave or raised, and their answers that are complete; what other resolvers gave or
    raised; and the result, when that is known and only has to be shown as the library shows its own.
    """

    known: dict[str, Any] = field(default_factory=dict)
    done: dict[str, Any] = field(default_factory=dict)
    asked: list[Asked] = field(default_factory=list)
    awaited: list[Place] = field(default_factory=list)
    result: ExecutionResult | None = None

    def given(self) -> dict[Asking, Given]:
        """What resolvers came to, by the object and the nodes of the field."""
        awaited = {(id(place.values), place.place) for place in self.awaited}
        return {
            asking(source, step.nodes): Given(step, source, found, place, awaited)
            for step, pairs, found in self.asked
            for place, (source, _) in enumerate(pairs)
        }


class Given(NamedTuple):
    """What a resolver gave for an object, which is kept so that its id stays its own."""

    step: Step
    source: Any
    found: list[Any]
    place: int
    awaited: set[tuple[int, int]]

    @property
    def is_columns(self) -> bool:
        """Whether it is no value for anybody but the plan, and the answer itself is to be had."""
        return self.found[self.place].__class__ is Columns

    def completed(self, size: Size) -> Any:
        """The answer made of columns, which hold all of it; counted in a size."""
        return self.step.complete(self.found[self.place], [], size)

    def again(self) -> Any:
        """The value, to be awaited where it had to be the first time; raises what the resolver raised."""
        value = self._at(self.found, self.place)
        if isinstance(value, Exception):
            raise value
        if value.__class__ is not list or not any(
            (id(value), place) in self.awaited for place in range(len(value))
        ):
            return value
        return [self._at(value, place) for place in range(len(value))]

    def _at(self, values: list[Any], place: int) -> Any:
        value = values[place]
        return _later(value) if (id(values), place) in self.awaited else value


async def _later(value: Any) -> Any:
    if isinstance(value, Exception):
        raise value
    return value


class Place(NamedTuple):
    """Where an awaited value goes, and what is made of it before."""

    values: list[Any]
    place: int
    found: Awaitable[Any]
    then: Callable[[Any], Any] | None

    def fill(self, value: Any) -> None:
        """Put in what was awaited, or the exception that it came to."""
        if self.then is not None and not isinstance(value, Exception):
            try:
                value = self.then(value)
            except (Unplanned, TooLarge):
                raise
            except Exception as error:  # noqa: BLE001 - told at its place
                value = error
        self.values[self.place] = value


class WholePlace(Place):
    """Where the values of as many objects go as `place` says, awaited as one list; its failure is that of each."""

    __slots__ = ()

    def fill(self, value: Any) -> None:
        """Put in all of them."""
        if isinstance(value, Exception):
            value = [value] * self.place
        if value.__class__ is not list or len(value) != self.place:
            raise Unplanned(Reason.RESOLVER, "a batch of another length")
        self.values[:] = value


class Run:
    """One request's way through a plan."""

    def __init__(
        self, plan: Plan, schema: Schema, request: Request, bound: Bound, attempt: Attempt
    ) -> None:
        self.plan = plan
        self.schema = schema
        self.request = request
        self._bound = bound
        self._size = Size(bound)
        self._failures: list[Failure] = []
        self._attempt = attempt

    async def answer(self) -> dict[str, Any] | None:
        """The whole answer; raises Unplanned when the library has to give it.

        With errors, or too large, it is the attempt's result instead, and None.
        """
        attempt = self._attempt
        try:
            data = await self._answer(attempt)
            if not self._failures:
                return data
            definitions = (self.plan.operation, *self.plan.fragments.values())
            attempt.result = ExecutionResult(data, told(data, self._failures, definitions))
        except Unplanned:
            raise
        except TooLarge:
            attempt.result = ExecutionResult(
                None, [self._bound.refusal(is_done=self.plan.is_serial)]
            )
        except Exception as error:
            raise Unplanned(Reason.ERROR, type(error).__name__) from error
        return None

    async def _answer(self, attempt: Attempt) -> dict[str, Any]:
        steps = self.plan.steps
        waiting: Waiting = [[] for _ in steps]
        data = self.plan.begin(self.request.root_value, waiting, self._size)
        if not self.plan.is_serial:
            await self._levels(list(zip(steps, waiting, strict=True)))
            return data
        for step in steps:
            value = await self._once(step, attempt)
            if self._size.is_over:
                continue  # What a mutation was asked for is done, whether or not there is room to tell of it.
            before = len(self._failures)
            try:
                below = self._filled(step, [(self.request.root_value, data)], [value])
                await self._levels(list(zip(step.steps, below, strict=True)))
            except TooLarge:
                self._size.overflow()  # Also where it is a resolver that says so, of what it has not read.
                continue
            if len(self._failures) == before:
                attempt.done[step.key] = data[step.key]
        self._check_size()
        return data

    async def _once(self, step: Step, attempt: Attempt) -> Any:
        """The value of a mutation's root field; what it came to is kept, for it is never asked again."""
        try:
            value = _call(step, self.request.root_value, self._arguments(step))
            if is_awaitable(value):
                value = await value
        except Unplanned as error:
            attempt.known[step.key] = error
            raise
        except TooLarge as error:
            value = error
            self._size.overflow()
        except Exception as error:  # noqa: BLE001 - told at its place
            value = error
        attempt.known[step.key] = value
        return value

    async def _levels(self, work: list[tuple[Step, list[Pair]]]) -> None:
        """Fill in a level, then what hangs on it, until nothing does."""
        while work:
            self._check_size()
            asked = [(step, pairs) for step, pairs in work if pairs]
            values = await self._values(asked)
            work = []
            for (step, pairs), found in zip(asked, values, strict=True):
                work += zip(step.steps, self._filled(step, pairs, found), strict=True)
        self._check_size()

    def _filled(self, step: Step, pairs: list[Pair], found: list[Any]) -> Waiting:
        """Fill in the values of one step; what waits below it."""
        key, complete, size = step.key, step.complete, self._size
        below: Waiting = [[] for _ in step.steps]
        for (_, answer), value in zip(pairs, found, strict=True):
            if value.__class__ is list and step.spares_items:
                value = self._spared(step, answer, value)  # noqa: PLW2901 - the same with nulls in it
            try:
                answer[key] = complete(value, below, size)
            except Exception:
                if not (isinstance(value, Exception) and step.is_nullable):
                    raise
                answer[key] = None
                self._failures.append(Failure(answer, (key,), step.nodes, value))
            if size.is_over:
                raise TooLarge  # One level alone may be many times too large.
        return below

    def _spared(self, step: Step, answer: dict[str, Any], value: list[Any]) -> list[Any]:
        """The same list with nulls in the place of errors, which are told."""
        kept = list(value)
        for place, item in enumerate(value):
            if isinstance(item, Exception):
                kept[place] = None
                self._failures.append(Failure(answer, (step.key, place), step.nodes, item))
        return kept

    def _check_size(self) -> None:
        if self._size.is_over:
            raise TooLarge

    async def _values(self, asked: list[tuple[Step, list[Pair]]]) -> list[list[Any]]:
        """What the resolvers of a level give or raise, awaited together."""
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
            for (step, pairs), found in zip(asked, values, strict=True)
            for place in _places(step, found, len(pairs))
        ]
        if places:
            await _settle(places)
            self._attempt.awaited += places
        self._attempt.asked += [
            (step, pairs, found) for (step, pairs), found in zip(asked, values, strict=True)
        ]
        return values

    def _ask(self, step: Step, pairs: list[Pair], found: list[Any]) -> None:
        """Call a resolver for each object of a level."""
        if step.is_root and self.plan.is_event:
            found.append(self.request.root_value)
            return
        resolver = step.resolver
        if len(pairs) > 1 and _is_changeable(step):
            # Each call gets a list or an input object of its own: it may change what it is given.
            for source, _ in pairs:
                found.append(_tried(lambda: _call(step, source, self._arguments(step))))  # noqa: B023 - called at once
            return
        arguments = _tried(lambda: self._arguments(step))
        if isinstance(arguments, Exception):
            found += [arguments] * len(pairs)
            return
        if resolver.batch is not None and not step.is_root:
            sources = [source for source, _ in pairs]
            whole = _tried(lambda: resolver.batch(sources, **arguments))  # type: ignore[misc]
            if whole is not None:
                found += [whole] * len(pairs) if isinstance(whole, Exception) else [Whole(whole)]
                return
        if resolver.takes_self and not resolver.sources:
            function, add = resolver.function, found.append
            for source, _ in pairs:
                try:
                    add(function(source, **arguments))
                except (Unplanned, TooLarge):
                    raise
                except Exception as error:  # noqa: BLE001 - told at its place
                    add(error)
            return
        for source, _ in pairs:
            found.append(_tried(lambda: _call(step, source, arguments)))  # noqa: B023 - called at once

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


def _tried(call: Callable[[], Any]) -> Any:
    """What a call gives, or the exception that it raises."""
    try:
        return call()
    except (Unplanned, TooLarge):
        raise
    except Exception as error:  # noqa: BLE001 - told at its place
        return error


def _is_changeable(step: Step) -> bool:
    """Whether a resolver is given something that it could change."""
    given = step.given
    if not given.is_plain:
        return True
    names = given.constants.keys() | given.variables.keys()
    return any(each.convert is not None and each.name in names for each in step.resolver.arguments)


def _call(step: Step, source: Any, arguments: dict[str, Any]) -> Any:
    resolver = step.resolver
    named = dict.fromkeys(resolver.sources, source)
    if resolver.takes_self:
        return resolver.function(source, **named, **arguments)
    return resolver.function(**named, **arguments)


def _places(step: Step, found: list[Any], count: int) -> Iterator[Place]:
    """What of these values, of so many objects, has to be awaited, the items of a list too."""
    if found and found[0].__class__ is Whole:
        yield WholePlace(found, count, found[0].found, None)
        return
    is_async = step.resolver.is_async
    for index, value in enumerate(found):
        kind = value.__class__
        if kind is Later:
            yield Place(found, index, value.found, value.then)
        elif is_awaitable(value) or (is_async and not isinstance(value, Exception)):
            yield Place(found, index, value, None)
        elif step.is_list and (kind is list or kind is tuple) and any(map(is_awaitable, value)):
            items = found[index] = list(value)
            for place, item in enumerate(items):
                if item.__class__ is Later:
                    yield Place(items, place, item.found, item.then)
                elif is_awaitable(item):
                    yield Place(items, place, item, None)


async def _settle(places: list[Place]) -> None:
    """Await all of them, whatever becomes of one, and fill in what they came to."""
    if len(places) > 1 and not all(asyncio.isfuture(place.found) for place in places):
        results = await asyncio.gather(*(place.found for place in places), return_exceptions=True)
        for place, result in zip(places, results, strict=True):
            if isinstance(result, BaseException) and not _is_told(result):
                raise result
            place.fill(result)
        return
    if len(places) == 1:
        (place,) = places
        # Nobody else is going to ask: a loader need not wait for the end of the turn.
        now = getattr(place.found, "now", None)
        try:
            found = await (place.found if now is None else now())
        except (Unplanned, TooLarge):
            raise
        except Exception as error:  # noqa: BLE001 - told at its place
            found = error
        place.fill(found)
        return
    # Futures run by themselves: one task can look at them in turn.
    for place in places:
        place.fill(await _awaited(place.found))


def _is_told(error: BaseException) -> bool:
    """Whether an error is told at its place; anything else ends the run."""
    return isinstance(error, Exception) and not isinstance(error, Unplanned | TooLarge)


async def _awaited(found: Awaitable[Any]) -> Any:
    """What something awaited gives, or the exception that it raises."""
    try:
        return await found
    except (Unplanned, TooLarge):
        raise
    except Exception as error:  # noqa: BLE001 - told at its place
        return error

"""Streams: an answer is written once for all who asked the same about the same and may see the same, and for nobody else."""

from __future__ import annotations

import asyncio
import gc
import itertools
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass, replace
from types import SimpleNamespace
from typing import Any

import orjson
import pytest
import strawberry

from resolvers.context import Resume
from resolvers.room import Room as AnswerRoom
from runtime.model.errors import NotFound
from runtime.model.identity import Principal
from subgraph.document.documents import Documents, Operation
from subgraph.streams import Streams, below_root
from tests import make

GATE = asyncio.Event
TEXT = "subscription($n: Int, $times: Int = 1) { said(n: $n) { word(times: $times) } }"


@dataclass(eq=False)
class Word:
    """A record that several may be handed."""

    text: str


@strawberry.type
class Said:
    """What is told of it."""

    record: strawberry.Private[Any]

    @strawberry.field
    async def word(self, info: strawberry.Info, times: int = 1) -> str:
        """Its text, which has to be waited for if the room says so."""
        room = info.context.room
        room.asked.append(info.context.who.subject)
        info.context.cost_room.takes(room.more)
        if room.gate is not None:
            await room.gate.wait()
        if self.record.text == "secret":
            raise RuntimeError("hunter2")
        return str(self.record.text * times)


@strawberry.type
class Query:
    """There must be one."""

    nothing: int = 0


@strawberry.type
class Subscription:
    """The source."""

    @strawberry.subscription
    async def said(self, info: strawberry.Info, n: int | None = None) -> AsyncGenerator[Said, None]:
        """The room's records."""
        for number, record in enumerate(info.context.room.records[: n or 99]):
            info.context.resume.at = str(number)
            yield Said(record=record)
        if n == 0:
            raise NotFound("There is no such thing.", reason="NOTHING")


class Room:
    """A schema, records, and callers."""

    def __init__(self, *records: str) -> None:
        self.schema = strawberry.Schema(query=Query, subscription=Subscription)
        self.documents = Documents(self.schema)
        self.streams = Streams(self.schema, owe=self.owe)  # type: ignore[arg-type] # what it needs of ours this one has
        self.records = [Word(each) for each in records]
        self.asked: list[str] = []
        self.gate: asyncio.Event | None = None
        self.more = 0
        self.owed: list[tuple[str, int]] = []

    async def owe(self, who: Principal, cost: int) -> None:
        """Note who owes what."""
        self.owed.append((who.subject, cost))

    async def follow(self, text: str = TEXT, who: str = "ann", **variables: Any) -> list[Any]:
        """All that one is told."""
        return [one async for one in self.told(text, who, **variables)]

    def told(
        self, text: str = TEXT, who: str = "ann", **variables: Any
    ) -> AsyncGenerator[Any, None]:
        """What one is told, for as long as he stays."""
        operation = self.documents.operation(text, None, variables)
        assert isinstance(operation, Operation), operation
        context: Any = SimpleNamespace(
            room=self,
            who=replace(make.principal(), subject=who),
            loaders=SimpleNamespace(forget=lambda: None),
            answer_room=AnswerRoom(),
            cost_room=AnswerRoom(taken=10),
            resume=Resume(),
            trace_id="0" * 32,
            tell_cost=None,
        )
        return self.streams.run(operation, variables, context)


def words(payloads: list[Any]) -> list[str]:
    return [orjson.loads(one.body)["data"]["said"]["word"] for one in payloads]


async def test_streams_with_much_to_tell_let_others_have_the_loop() -> None:
    room = Room(*map(str, range(90)))
    ticks = itertools.count(0, 0.001)
    room.streams = Streams(room.schema, now=lambda: next(ticks))  # type: ignore[arg-type] # as above
    told = asyncio.gather(*(room.follow() for _ in range(10)))
    turns = 0

    while not told.done():
        await asyncio.sleep(0)
        turns += 1

    assert [len(each) for each in told.result()] == [90] * 10
    assert (
        turns > 45
    )  # of ten milliseconds each, by a clock that moves one whenever it is looked at


async def test_who_asks_the_same_is_told_the_same_bytes() -> None:
    room = Room("a", "b")

    one, two = await asyncio.gather(room.follow(), room.follow(n=2))

    assert words(one) == words(two) == ["a", "b"]
    assert [each.body for each in one] == [each.body for each in two]
    assert [each.cursor for each in two] == ["0", "1"]
    assert len(room.asked) == 2


@pytest.mark.parametrize(
    "other", [{"times": 2}, {"who": "bob"}, {"text": TEXT.replace("word", "w: word")}]
)
async def test_who_asks_another_thing_or_is_another_has_an_answer_of_his_own(other: Any) -> None:
    room = Room("a")

    await asyncio.gather(room.follow(), room.follow(**other))

    assert len(room.asked) == 2


async def test_what_was_asked_is_known_for_as_long_as_somebody_asks_it() -> None:
    room = Room("a", "b")
    asked = room.streams._asked

    async with aclosing(room.told()) as one, aclosing(room.told(who="bob")) as two:
        await asyncio.gather(anext(one), anext(two))
        assert len(asked) == 2
    room.streams._written.clear()
    gc.collect()

    assert not asked


async def test_each_event_is_owed_once_by_whoever_it_was_made_for() -> None:
    room = Room("a", "b")
    room.more = 3

    await asyncio.gather(room.follow(), room.follow())

    assert room.owed == [("ann", 3)] * 2


async def test_who_leaves_with_an_event_owes_it_all_the_same() -> None:
    room = Room("a", "b")
    room.more = 3

    async with aclosing(room.told()) as told:
        await anext(told)

    assert room.owed == [("ann", 3)]


async def test_one_who_leaves_while_he_writes_takes_nobody_with_him() -> None:
    room = Room("a")
    room.gate = asyncio.Event()
    first = asyncio.create_task(room.follow())
    while not room.asked:
        await asyncio.sleep(0)
    second = asyncio.create_task(room.follow())
    await asyncio.sleep(0)

    first.cancel()
    await asyncio.gather(first, return_exceptions=True)
    room.gate.set()

    assert words(await second) == ["a"]


async def test_what_was_written_is_not_told_for_ever() -> None:
    room = Room("a")
    room.streams._shared_seconds = -1

    await room.follow()
    await room.follow()

    assert len(room.asked) == 2


async def test_an_answer_that_took_long_is_told_to_all_who_waited_for_it() -> None:
    room = Room("a")
    room.gate, clock = asyncio.Event(), [0.0]
    room.streams._now = lambda: clock[0]
    told = [asyncio.create_task(room.follow()) for _ in range(3)]
    while not room.asked:
        await asyncio.sleep(0)
    clock[0] = 60.0
    room.gate.set()

    assert [words(one) for one in await asyncio.gather(*told)] == [["a"]] * 3
    assert len(room.asked) == 1


async def test_what_nobody_can_be_told_any_more_is_not_held() -> None:
    room = Room(*"abcdef")
    clock = iter(range(0, 1_000, 10))
    room.streams._now = lambda: next(clock)

    await room.follow()

    assert len(room.streams._written) == 1


async def test_a_fault_is_told_in_its_place_and_masked() -> None:
    told = await Room("secret", "b").follow()

    assert [bool(one.errors) for one in told] == [True, False]
    assert b"hunter2" not in told[0].body
    assert orjson.loads(told[0].body)["errors"][0]["extensions"]["code"] == "INTERNAL"


async def test_a_source_that_ends_badly_says_why() -> None:
    told = await Room().follow(n=0)

    assert orjson.loads(told[-1].body)["errors"][0]["extensions"]["reason"] == "NOTHING"


def test_only_variables_below_the_root_make_a_difference() -> None:
    text = """subscription($a: Int, $b: Boolean!, $c: Int, $d: Int) {
      said(n: $a) { ...F w: word(times: $d) @include(if: $b) } }
      fragment F on Said { word(times: $c) }"""
    operation = Room().documents.operation(text, None, {"b": True})

    assert isinstance(operation, Operation)
    assert below_root(operation) == ("b", "c", "d")

"""A schema that has everything a plan must get right, over data that fails here and there.

What a thing holds follows from its number alone, so that two executors see the same.
"""

import asyncio
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from enum import Enum, IntEnum
from itertools import repeat
from operator import itemgetter
from typing import Annotated, Any, Union

import strawberry
from graphql import GraphQLError
from strawberry.dataloader import DataLoader
from strawberry.scalars import JSON

from subgraph.compiled.declare import Columns, batched, column, columns_of, later, record_field
from subgraph.compiled.executor import TidyExecutor
from subgraph.compiled.plans import Plans
from subgraph.compiled.size import UNBOUND, Bound


@strawberry.enum
class Colour(Enum):
    RED = "r"
    GREEN = "g"
    BLUE = strawberry.enum_value("b", name="AZURE")


@strawberry.enum
class Rank(IntEnum):
    LOW = 0
    HIGH = 1


@dataclass(frozen=True, slots=True)
class Record:
    """What a thing is made of."""

    number: int

    @property
    def title(self) -> str | None:
        return None if self.number % 5 == 0 else f"thing {self.number}"

    @property
    def at(self) -> datetime:
        return datetime(2026, 1, 1, tzinfo=UTC) + timedelta(hours=self.number)


@dataclass(slots=True)
class Context:
    """One request's loader, and what mutations did."""

    done: list[str] = field(default_factory=list)
    batches: list[list[int]] = field(default_factory=list)
    loader: DataLoader[int, Record | None] = field(init=False)

    def __post_init__(self) -> None:
        self.loader = DataLoader(self._load)

    async def _load(self, keys: list[int]) -> list[Record | None]:
        self.batches.append(keys)
        await asyncio.sleep(0)
        return [None if key % 7 == 6 else Record(key) for key in keys]


Info = strawberry.Info[Context, Any]


@strawberry.interface
class Named:
    name: str

    @strawberry.field
    def loud(self) -> str:
        return self.name.upper()


@strawberry.interface
class Numbered:
    number: int


@strawberry.type
class Small(Named):
    size: float


@strawberry.type
class Big(Named, Numbered):
    colours: list[Colour]

    @strawberry.field
    def maybe(self) -> list[int | None] | None:
        return None if self.number % 3 == 0 else [self.number, None, 1]


@strawberry.type
class Alone:
    values: list[list[int]]
    note: str | None = None


Any_ = Annotated[Union[Small, Big, Alone], strawberry.union("Any_")]  # noqa: UP007 - Strawberry's way


@strawberry.input
class Wanted:
    least: int = 0
    colour: Colour | None = None
    words: list[str] = strawberry.field(default_factory=list)
    inner: "Wanted | None" = None


def _doubled(things: "list[Thing]", info: Info, times: int = 2, fail_at: int = -1) -> Any:
    """Of a whole level; not if one of its numbers is a multiple of eleven."""
    if any(thing.record.number % 11 == 0 for thing in things):
        return None
    return _doubles(info, [thing.record.number for thing in things], times, fail_at)


async def _doubles(
    info: Info, numbers: list[int], times: int, fail_at: int
) -> list[int | ValueError]:
    """Each by itself, as a batch must: whoever fails stands at its own place."""
    info.context.batches.append(numbers)
    await asyncio.sleep(0)
    return [ValueError("asked to") if n == fail_at else n * times for n in numbers]


@strawberry.type
class Thing(Named, Numbered):
    """Read from its record, but for what is its own."""

    record: strawberry.Private[Record]
    name: str = record_field(lambda record: f"n{record.number}", description="Its name.")
    number: int = record_field(
        description="Its number.", column=column(itemgetter("number"), "number")
    )
    title: str | None = record_field(
        description="Its title.", column=column(itemgetter("title"), "title")
    )
    must: str = record_field("title", description="Its title, which it must have.")
    at: datetime = record_field(description="When.")
    day: date = record_field(lambda record: record.at.date(), description="The day.")
    share: float = record_field(lambda record: record.number / 4, description="A share.")
    odd: bool = record_field(lambda record: record.number % 2 == 1, description="Whether.")
    price: Decimal | None = record_field(lambda record: Decimal(record.number), description="It.")
    rank: Rank = record_field(
        lambda record: Rank(record.number % 2),
        description="Its rank.",
        column=column(lambda table: [Rank(n % 2).name for n in table["number"]], "number"),
    )
    nothing: str | None = record_field(
        lambda _record: None,
        description="Nothing.",
        column=column(lambda table: repeat(None, table["size"])),
    )
    facts: JSON | None = record_field(
        lambda record: [None, {"n": record.number, "none": None}, 1.5, "x"][record.number % 4],
        description="Facts.",
    )
    colour: Colour | None = record_field(
        lambda record: [None, *Colour][record.number % 4], description="Its colour."
    )
    wrong: int | None = record_field(
        lambda record: "no number" if record.number % 9 == 8 else record.number, description="It."
    )

    @strawberry.field
    def fails(self) -> str | None:
        if self.record.number % 6 == 5:
            raise ValueError(f"{self.record.number} fails")
        return "fine"

    @strawberry.field
    def gives_error(self) -> str | None:
        return ValueError("given") if self.record.number % 8 == 7 else "fine"  # type: ignore[return-value]

    @strawberry.field
    def others(self) -> "list[Thing]":
        return [Thing.of(Record(self.record.number + n)) for n in range(self.record.number % 3)]

    @strawberry.field
    def beside(self, info: Info) -> "list[Thing] | None":
        numbers = range(self.record.number, self.record.number + self.record.number % 4)
        return in_columns(info, numbers) if numbers else None

    @strawberry.field
    @batched(_doubled)
    def double(self, info: Info, times: int = 2, fail_at: int = -1) -> int:
        if self.record.number == fail_at:
            raise ValueError("asked to")
        return self.record.number * times

    @strawberry.field
    def holes(self) -> "list[Thing | None]":
        return [None if n == 1 else Thing.of(Record(n)) for n in range(self.record.number % 4)]

    @strawberry.field
    def next(self, info: Info) -> "Thing | None":
        return later(info.context.loader.load(self.record.number + 1), Thing.maybe)

    @strawberry.field
    def surely(self, info: Info) -> "Thing":
        return later(info.context.loader.load(self.record.number + 2), Thing.maybe)  # type: ignore[return-value]

    @strawberry.field
    async def awaited(self, info: Info, by: int = 1) -> "Thing | None":
        found = await info.context.loader.load(self.record.number + by)
        return Thing.maybe(found)

    @strawberry.field
    async def loaded_then_failed(self, info: Info, at: int) -> int:
        await asyncio.sleep(0)
        if self.record.number == at:
            raise RuntimeError("asked to")
        return at

    @strawberry.field
    def matching(self, wanted: Wanted | None = None, most: int = 3) -> list[str]:
        if wanted is None:
            return [f"all of {most}"]
        inner = f" in {wanted.inner.least}" if wanted.inner else ""
        return [f"{wanted.least} {wanted.colour} {word}{inner}" for word in ("", *wanted.words)]

    @strawberry.field
    def any(self) -> Any_ | None:
        return kind_of(self.record.number)

    @strawberry.field
    def all(self, info: Info) -> list[Any_]:
        return [found for n in range(self.record.number % 3) if (found := kind_of(n + 1))]

    @strawberry.field
    def named(self) -> Named:
        return Thing.of(self.record) if self.record.number % 2 else Small(name="s", size=1.0)

    @strawberry.field
    def seen(self, info: Info) -> str:
        return f"{info.field_name} {info.python_name} {sorted(info.variable_values)}"

    @classmethod
    def of(cls, record: Record) -> "Thing":
        return cls(record=record)

    @classmethod
    def maybe(cls, record: Record | None) -> "Thing | None":
        return None if record is None else cls(record=record)


def in_columns(info: Info, numbers: range) -> list[Thing]:
    """Things, in columns where that is enough; no more of them than were asked for."""
    names = columns_of(info)
    if names is None:
        return [Thing.of(Record(number)) for number in numbers]
    whole: dict[str, list[Any]] = {
        "number": list(numbers),
        "title": [Record(number).title for number in numbers],
    }
    columns: Any = Columns({name: whole[name] for name in names} | {"size": len(numbers)})
    return columns  # type: ignore[no-any-return]


def kind_of(number: int) -> Any_ | None:
    """Another type for each number."""
    match number % 4:
        case 0:
            return None
        case 1:
            return Small(name=f"s{number}", size=number / 2)
        case 2:
            return Big(name=f"b{number}", number=number, colours=list(Colour)[: number % 3])
    return Alone(values=[[number], []], note=None)


@strawberry.type
class Query:
    @strawberry.field
    def thing(self, number: int) -> Thing | None:
        return None if number < 0 else Thing.of(Record(number))

    @strawberry.field
    async def things(self, first: int | None = 3, start: int = 0) -> list[Thing]:
        return [Thing.of(Record(start + n)) for n in range(first or 0)]

    @strawberry.field
    def table(self, info: Info, first: int = 3, start: int = 0) -> list[Thing]:
        return in_columns(info, range(start, start + first))

    @strawberry.field
    def mixed(self, info: Info, start: int = 0) -> list[Thing | None]:
        """A list of things to await, of errors and of nothing, as `_entities` gives it."""
        found: list[Any] = [
            later(info.context.loader.load(start + n), Thing.maybe) for n in range(3)
        ]
        if start % 5 == 4:
            found.append(ValueError("in its place"))
        return found

    @strawberry.field
    def any(self, number: int = 1) -> Any_ | None:
        return kind_of(number)

    @strawberry.field
    def place(self, info: Info) -> str:
        return ".".join(map(str, info.path.as_list()))


@strawberry.type
class Done:
    what: str
    thing: Thing | None
    count: int


@strawberry.type
class Mutation:
    @strawberry.mutation
    async def do(self, info: Info, what: str, number: int = 1, fail: bool = False) -> Done:
        info.context.done.append(what)
        await asyncio.sleep(0)
        if fail:
            raise ValueError("asked to")
        return Done(what=what, thing=Thing.of(Record(number)), count=len(info.context.done))

    @strawberry.mutation
    def undo(self, info: Info, wanted: Wanted) -> list[Done]:
        info.context.done.append(f"undo {wanted.least}")
        return [Done(what="undo", thing=None, count=len(info.context.done))]


@strawberry.type
class Subscription:
    @strawberry.subscription
    async def count(self, to: int) -> AsyncGenerator[Thing, None]:
        for number in range(to):
            yield Thing.of(Record(number))


class Schema(strawberry.Schema):
    """Strawberry's, without its log."""

    def process_errors(self, errors: list[GraphQLError], execution_context: Any = None) -> None:
        """The errors are expected."""


def schema(
    *, planned: bool, fell_back: Any = None, extensions: Any = (), bound: Bound = UNBOUND
) -> strawberry.Schema:
    """The schema, with plans or without."""
    made = Schema(
        query=Query,
        mutation=Mutation,
        subscription=Subscription,
        types=[Thing, Small, Big],
        extensions=list(extensions),
        execution_context_class=type("Bounded", (TidyExecutor,), {"bound": bound}),
    )
    if planned:
        Plans(made, fell_back=fell_back or (lambda _reason: None), bound=bound)
    return made

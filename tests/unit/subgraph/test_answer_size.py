"""How large an answer may be: what fits is answered, what does not is refused as a whole, by either executor."""

from __future__ import annotations

from random import Random
from typing import Any

import orjson
import pytest
import strawberry
from strawberry.scalars import JSON

from subgraph.compiled import size as sizes
from subgraph.compiled.executor import TidyExecutor
from subgraph.compiled.plans import Plans
from subgraph.compiled.size import Bound, Size
from tests.property.made_up_graph import Context, schema
from tests.property.test_compiled_executor import asked

SAYS = "The answer is larger than {} bytes."
LONG = "x" * 1_000


async def answered(text: str, most: int, *, planned: bool, variables: Any = None) -> Any:
    graph = schema(planned=planned, bound=Bound(most))
    context = Context()
    result = await graph.execute(text, variable_values=variables, context_value=context)
    return result, context


@pytest.mark.parametrize("planned", [True, False])
@pytest.mark.parametrize("seed", range(25))
async def test_what_fits_to_the_byte_is_answered(seed: int, *, planned: bool) -> None:
    what = asked(Random(seed), "mutation" if seed % 4 == 0 else "query")
    whole, _ = await answered(what.text, 1 << 30, planned=planned, variables=dict(what.variables))
    if whole.errors:
        return  # What is made and then nulled counts too.
    size = len(orjson.dumps(whole.data, default=str))

    found, _ = await answered(what.text, size, planned=planned, variables=dict(what.variables))

    assert (found.data, found.errors) == (whole.data, whole.errors)


@pytest.mark.parametrize("planned", [True, False])
@pytest.mark.parametrize(
    "text",
    [
        f'{{ thing(number: 1) {{ matching(wanted: {{words: ["{LONG}"]}}) }} }}',
        "{ " + " ".join(f"a{n}: thing(number: 1) {{ name }}" for n in range(60)) + " }",
        "{ things(first: 60) { number name } }",
        "{ things(first: 30) { others { name } holes { name } } }",
        "{ things(first: 40) { facts loud } }",
        "{ things(first: 60) { all { __typename ... on Big { colours } } } }",
        "{ things(first: 40) { next { name surely { name } } } }",
    ],
)
async def test_what_is_larger_is_refused_as_a_whole(text: str, *, planned: bool) -> None:
    most = 900
    whole, _ = await answered(text, 1 << 30, planned=planned)
    assert len(orjson.dumps(whole.data)) > most

    found, _ = await answered(text, most, planned=planned)

    assert found.data is None
    assert [error.message for error in found.errors] == [SAYS.format(most)]


@pytest.mark.parametrize("planned", [True, False])
async def test_what_is_handed_to_the_library_in_columns_counts(*, planned: bool) -> None:
    broken = "broken: thing(number: 0) { must }"
    text = f"{{ table(first: 30) {{ number title }} {broken} more: things(first: 30) {{ number name }} }}"
    whole, _ = await answered(text, 1 << 30, planned=planned)
    assert [error.path for error in whole.errors] == [["broken", "must"]]
    most = len(orjson.dumps(whole.data)) - 500  # Numbers and columns count little

    found, _ = await answered(text, most, planned=planned)

    assert found.data is None
    assert [error.message for error in found.errors] == [SAYS.format(most)]


@pytest.mark.parametrize("planned", [True, False])
async def test_nothing_is_asked_any_more_once_there_is_no_room(*, planned: bool) -> None:
    awaited = "awaited(by: 100) { name awaited(by: 100) { name awaited(by: 100) { name } } }"
    text = f"{{ things(first: 30) {{ number {awaited} }} }}"

    _, whole = await answered(text, 1 << 30, planned=planned)
    _, context = await answered(text, 1_000, planned=planned)

    assert len(whole.batches) == 3
    assert len(context.batches) < 3


@strawberry.type
class Holder:
    """What holds a long value."""

    @strawberry.field
    def facts(self) -> JSON:
        """A value that nothing else holds."""
        return JSON({"text": "x" * 10_000})


@strawberry.type
class Holders:
    """A list of them, which nobody waits for."""

    @strawberry.field
    def many(self) -> list[Holder]:
        """As many as one execution may have steps."""
        return [Holder() for _ in range(500)]


@pytest.mark.parametrize("planned", [True, False])
async def test_long_values_within_a_list_are_measured_no_further_than_there_is_room(
    monkeypatch: pytest.MonkeyPatch, *, planned: bool
) -> None:
    measured: list[int] = []
    length, bound = sizes._length, Bound(50_000)

    def noted(value: Any) -> int:
        measured.append(length(value))
        return measured[-1]

    monkeypatch.setattr(sizes, "_length", noted)
    executor = type("Bounded", (TidyExecutor,), {"bound": bound})
    graph = strawberry.Schema(query=Holders, execution_context_class=executor)
    if planned:
        Plans(graph, bound=bound)

    found = await graph.execute("{ many { facts } }", context_value=Context())

    assert [error.message for error in found.errors or ()] == [SAYS.format(50_000)]
    assert len(measured) <= 6


@pytest.mark.parametrize("planned", [True, False])
async def test_a_mutation_is_done_whether_or_not_there_is_room_to_tell(*, planned: bool) -> None:
    does = " ".join(f'{n}: do(what: "{n}{LONG}") {{ what }}' for n in ("a", "b", "c"))

    found, context = await answered(f"mutation {{ {does} }}", 1_500, planned=planned)

    assert [what[0] for what in context.done] == ["a", "b", "c"]
    assert found.data is None
    assert [error.message for error in found.errors] == [SAYS.format(1_500)]


async def test_events_are_bounded_one_by_one() -> None:
    graph = schema(planned=True, bound=Bound(40))
    text = "subscription { count(to: 3) { others { name } } }"

    found = [result async for result in await graph.subscribe(text, context_value=Context())]

    assert [result.data is not None for result in found] == [True, True, False]


def test_a_long_value_is_measured_once_and_others_exactly() -> None:
    size = Size(Bound())
    long = {"a": ["x" * 5_000, None]}

    assert size.of(long) == len(orjson.dumps(long))
    assert size.of(long) == len(orjson.dumps(long))
    assert size.of("four") == 6
    assert size.of(["a", 1]) == len(b'["a",1]')


def test_a_value_deeper_than_orjson_writes_has_a_length() -> None:
    deep: Any = []
    for _ in range(400):
        deep = [deep]

    assert Size(Bound()).of(deep) == 2 * 401

"""The compiled executor's promises that random operations don't show: batches, once, bounds, reasons, hooks."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
import strawberry
from graphql import parse
from strawberry.extensions import ParserCache, SchemaExtension

from resolvers.batch import Batch
from subgraph.compiled import declare
from subgraph.compiled import plans as plans_module
from subgraph.compiled.declare import Columns
from subgraph.compiled.plans import Plans
from subgraph.compiled.reasons import Reason
from tests.property import made_up_graph
from tests.property.made_up_graph import Context, schema


@pytest.fixture
def reasons() -> list[Reason]:
    return []


@pytest.fixture
def graph(reasons: list[Reason]) -> strawberry.Schema:
    return schema(planned=True, fell_back=reasons.append, extensions=(ParserCache,))


async def test_a_level_is_asked_for_at_once_where_a_resolver_says_how(
    graph: strawberry.Schema, reasons: list[Reason]
) -> None:
    context, alone = Context(), Context()
    query = "{ things(first: 3, start: 1) { double(times: 3) holes { others { double } } } }"

    found = await graph.execute(query, context_value=context)
    expected = await schema(planned=False).execute(query, context_value=alone)
    failed = await graph.execute(
        "{ things { double(failAt: 1) } thing(number: 1) { double(failAt: 1) } }",
        context_value=Context(),
    )

    assert (found.data, found.errors) == (expected.data, None)
    assert context.batches == [[1, 2, 3], [2, 3]]
    assert alone.batches == []
    assert sorted(map(str, (error.path for error in failed.errors or ()))) == [
        "['thing', 'double']",
        "['things', 1, 'double']",
    ]
    assert reasons == [Reason.ERROR]


async def test_a_batch_may_leave_a_level_to_the_resolver(
    graph: strawberry.Schema, reasons: list[Reason]
) -> None:
    context = Context()

    found = await graph.execute("{ things(first: 2) { double } }", context_value=context)

    assert (found.data, context.batches, reasons) == (
        {"things": [{"double": 0}, {"double": 2}]},
        [],
        [],
    )


async def test_a_level_is_one_batch(graph: strawberry.Schema, reasons: list[Reason]) -> None:
    context = Context()

    result = await graph.execute(
        "{ things(first: 3) { next { number } surely { number next { number } } } }",
        context_value=context,
    )

    assert result.errors is None
    assert [sorted(batch) for batch in context.batches] == [[1, 2, 3, 4], [5]]
    assert reasons == []


@pytest.mark.parametrize(
    ("selected", "columns"),
    [
        ("number", {"number"}),
        ("a: title b: rank __typename", {"title", "number"}),
        ("nothing", set()),
        ("...on Named { ...on Thing { number } }", {"number"}),
        ("__typename", None),
        ("number at", None),
        ("number next { number }", None),
        ("number others { number }", None),
    ],
)
async def test_a_list_is_read_in_columns_when_nothing_else_is_read_of_its_objects(
    graph: strawberry.Schema,
    reasons: list[Reason],
    monkeypatch: pytest.MonkeyPatch,
    selected: str,
    columns: set[str] | None,
) -> None:
    told: list[Any] = []

    def noted(info: Any) -> Any:
        told.append(declare.columns_of(info))
        return told[-1]

    monkeypatch.setattr(made_up_graph, "columns_of", noted)
    query = f"{{ table(first: 2, start: 1) {{ {selected} }} }}"

    found = await graph.execute(query, context_value=Context())
    expected = await schema(planned=False).execute(query, context_value=Context())

    assert (found.data, reasons) == (expected.data, [])
    assert told == [columns, None]


@pytest.mark.parametrize(
    ("query", "reason"),
    [
        ("{ __schema { types { name } } }", Reason.INTROSPECTION),
        ("{ thing(number: 5) { fails } }", Reason.ERROR),
        ("{ thing(number: 5) { must } }", Reason.ERROR),
        ("{ thing(number: 7) { givesError } }", Reason.ERROR),
        ("{ thing(number: 8) { wrong } }", Reason.ERROR),
    ],
)
async def test_why_the_library_answered_is_told(
    graph: strawberry.Schema, reasons: list[Reason], query: str, reason: Reason
) -> None:
    await graph.execute(query, context_value=Context())

    assert reasons == [reason]


@pytest.mark.parametrize(
    "query",
    [
        'mutation { do(what: "a") { what thing { must } } }',
        'mutation { do(what: "a", number: 5) { what thing { fails must } } }',
        'mutation { do(what: "a", fail: true) { what } }',
        'mutation { a: do(what: "a") { what } b: do(what: "a", number: 5) { thing { fails } } c: do(what: "a") { count } }',
    ],
)
async def test_a_mutation_is_done_once_however_its_answer_comes_about(
    graph: strawberry.Schema, query: str
) -> None:
    plain, planned = Context(), Context()

    expected = await schema(planned=False).execute(query, context_value=plain)
    found = await graph.execute(query, context_value=planned)

    assert planned.done == plain.done
    assert found.data == expected.data
    assert found.errors == expected.errors


async def test_columns_that_fail_are_told_at_their_place(
    graph: strawberry.Schema, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> Any:
        return Columns({"size": 1})

    monkeypatch.setattr(made_up_graph, "in_columns", broken)

    found = await graph.execute(
        "{ thing(number: 3) { name beside { number } } }", context_value=Context()
    )

    assert found.data == {"thing": {"name": "n3", "beside": None}}
    assert [error.path for error in found.errors or ()] == [["thing", "beside"]]


async def test_resolvers_see_where_they_stand_at_the_root(
    graph: strawberry.Schema, reasons: list[Reason]
) -> None:
    result = await graph.execute("{ here: place }", context_value=Context())

    assert result.data == {"here": "here"}
    assert reasons == []


async def test_an_operation_without_a_loop_is_the_librarys(reasons: list[Reason]) -> None:
    @strawberry.type
    class Root:
        number: strawberry.auto = strawberry.field(resolver=lambda: 1, graphql_type=int)

    graph = strawberry.Schema(query=Root)
    Plans(graph, fell_back=reasons.append)

    assert graph.execute_sync("{ number }").data == {"number": 1}
    assert (await graph.execute("{ number }")).data == {"number": 1}


async def test_hooks_see_what_they_saw_before() -> None:
    seen: list[Any] = []

    class Watching(SchemaExtension):
        def on_execute(self) -> Iterator[None]:
            yield
            seen.append(getattr(self.execution_context.result, "data", None))

    graph = schema(planned=True, extensions=(Watching,))
    await graph.execute("{ thing(number: 1) { number } }", context_value=Context())

    assert seen == [{"thing": {"number": 1}}]


async def test_an_extension_around_resolvers_is_called_for_each(reasons: list[Reason]) -> None:
    seen: list[str] = []

    class Watching(SchemaExtension):
        def resolve(self, _next: Any, root: Any, info: Any, *args: Any, **kwargs: Any) -> Any:
            seen.append(info.field_name)
            return _next(root, info, *args, **kwargs)

    graph = schema(planned=True, fell_back=reasons.append, extensions=(Watching,))
    await graph.execute("{ thing(number: 1) { number } }", context_value=Context())

    assert seen == ["thing", "number"]
    assert reasons == [Reason.EXTENSION]


async def test_each_event_of_a_subscription_is_answered_by_the_plan(
    graph: strawberry.Schema, reasons: list[Reason]
) -> None:
    text = "subscription { count(to: 3) { number title } }"

    found = [result.data async for result in await graph.subscribe(text, context_value=Context())]

    assert [each and each["count"]["number"] for each in found] == [0, 1, 2]
    assert reasons == []


async def test_a_plan_is_made_once_and_forgotten_when_there_are_too_many(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(plans_module, "_MOST_LETTERS", 900)
    graph = schema(planned=False)
    plans = Plans(graph)
    made: list[str] = []
    planned = plans._planner.plan

    def counted(operation: Any, *more: Any) -> Any:
        made.append(operation.name.value)
        return planned(operation, *more)

    monkeypatch.setattr(plans._planner, "plan", counted)
    documents = {
        name: parse(f"query {name} {{ thing(number: 1) {{ number a: title b: title c: title }} }}")
        for name in ("A", "B", "C")
    }

    async def otherwise() -> Any:
        raise AssertionError("the library was asked")

    for name in ("A", "A", "B", "A", "C", "C", "B"):
        result = await plans.execute(documents[name], otherwise, context=Context())
        assert result.data == {
            "thing": {"number": 1, "a": "thing 1", "b": "thing 1", "c": "thing 1"}
        }

    assert made == ["A", "B", "C", "B"]


async def test_settings_of_switches_are_bounded() -> None:
    plans = Plans(schema(planned=False))
    names = "abcde"
    switched = " ".join(f"{each}: title @include(if: ${each})" for each in names)
    declared = ", ".join(f"${each}: Boolean!" for each in names)
    document = parse(f"query ({declared}) {{ thing(number: 1) {{ number {switched} }} }}")
    fallen: list[int] = []

    async def otherwise() -> Any:
        fallen.append(1)

    for setting in range(32):
        variables = {each: bool(setting >> place & 1) for place, each in enumerate(names)}
        await plans.execute(document, otherwise, context=Context(), variables=variables)

    (known,) = plans._known.values()
    assert (len(known.plans), len(fallen)) == (16, 16)
    assert plans._letters == known.letters


async def test_a_switch_of_another_operation_may_be_called_like_a_list_of_this_one() -> None:
    plans = Plans(schema(planned=False))
    document = parse("""
      query Mine($it: [String!]!) { thing(number: 1) { matching(wanted: {words: $it}) } ...Reached }
      query Other($it: Boolean!) { ...NotReached }
      fragment Reached on Query { thing(number: 1) { number } }
      fragment NotReached on Query { thing(number: 1) { title @skip(if: $it) } }
    """)

    async def otherwise() -> Any:
        raise AssertionError("the library was asked")

    async def ask(name: str, it: object) -> Any:
        result = await plans.execute(
            document, otherwise, context=Context(), operation_name=name, variables={"it": it}
        )
        return result.data

    assert (await ask("Mine", ["a"]))["thing"]["number"] == 1
    assert await ask("Other", it=True) == {"thing": {}}
    assert await ask("Other", it=False) == {"thing": {"title": "thing 1"}}


async def test_a_plan_counts_by_its_fields(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plans_module, "_MOST_LETTERS", 6_000)
    plans = Plans(schema(planned=False))
    inner = " ".join(f"a{n}: title" for n in range(20))

    async def otherwise() -> Any:
        raise AssertionError("the library was asked")

    for n in range(9):
        spread = " ".join(f"b{m}: thing(number: 1) {{ ...F }}" for m in range(5))
        document = parse(f"query Q{n} {{ {spread} }} fragment F on Thing {{ {inner} }}")
        await plans.execute(document, otherwise, context=Context())

    # A document of 150 tokens, written out 105 fields.
    assert len(plans._known) == 1


async def test_what_is_alone_in_its_level_does_not_wait_for_others(reasons: list[Reason]) -> None:
    turns: list[str] = []

    async def fetch(keys: list[int]) -> list[str]:
        turns.append(f"fetched {sorted(keys)}")
        return [f"n{key}" for key in keys]

    @strawberry.type
    class Query:
        @strawberry.field
        def word(self, info: strawberry.Info, key: int) -> str:
            found: str = declare.later(info.context.load(key), lambda word: word)
            return found

    graph = strawberry.Schema(query=Query, extensions=[ParserCache])
    Plans(graph, fell_back=reasons.append)
    for query in ("{ word(key: 1) }", "{ a: word(key: 1) b: word(key: 2) }"):
        asyncio.get_running_loop().call_soon(turns.append, "a turn")
        found = await graph.execute(query, context_value=Batch(fetch))
        assert (found.errors, reasons) == (None, [])
        await asyncio.sleep(0)

    assert turns == ["fetched [1]", "a turn", "a turn", "fetched [1, 2]"]

"""The compiled executor answers as Strawberry's own does: on operations made up at random, byte by byte.

Two properties. What both answer is the same text: data in the order of its keys, errors with message, path and place.
And what the library answers without an error, the plan answers itself: it does not hide behind its fallback.
`test_a_planted_defect_is_found` plants what could be wrong and expects the same comparison to say so.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from random import Random
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from strawberry.extensions import ParserCache

from subgraph.compiled import arguments, executor, leaf, objects, plan, planner, plans, run
from subgraph.compiled.reasons import Reason, Unplanned
from tests.property.made_up_graph import Context, schema
from tests.property.queries import Asked, Queries

REASONS: list[Reason] = []
PLAIN = schema(planned=False)
# Documents that are parsed once, so that a plan is used again, with other variables.
CACHED = (ParserCache,)
PLANNED = schema(planned=True, fell_back=REASONS.append, extensions=CACHED)


def asked(random: Random, kind: str = "query") -> Asked:
    def values(path: str, chance: Random) -> Any:
        return chance.randint(0, 4) if path.endswith((".first", ".most")) else None

    return Queries(PLAIN._schema, random, values, left_out=frozenset({"seen"})).query(kind)


async def answer(graph: Any, what: Asked) -> tuple[bytes, list[str], bool]:
    """Data and errors as text, what mutations did, and whether there were errors."""
    context = Context()
    result = await graph.execute(
        what.text, variable_values=dict(what.variables), context_value=context
    )
    errors = [error.formatted for error in result.errors or ()]
    # Errors of fields that run at the same time come in whichever order.
    errors.sort(key=lambda error: str(error.get("path")))
    text = orjson.dumps({"data": result.data, "errors": errors}, default=str)
    return text, context.done, bool(errors)


def changed(value: Any) -> Any:
    """Another value of the same type."""
    if isinstance(value, bool):
        return not value
    return value + 1 if isinstance(value, int) else value


async def differ(what: Asked, planned: Any = None) -> str | None:
    """How the executors differ on an operation, or on the same with other variables."""
    again = replace(
        what, variables={name: changed(value) for name, value in what.variables.items()}
    )
    return await differ_once(what, planned) or await differ_once(again, planned)


async def differ_once(what: Asked, planned: Any) -> str | None:
    """How the executors differ on one request."""
    expected, did, failed = await answer(PLAIN, what)
    REASONS.clear()
    found, done, _ = await answer(planned or PLANNED, what)
    if found != expected:
        return f"{what}\n{expected.decode()}\n{found.decode()}"
    if done != did:
        return f"{what}\n{did}\n{done}"
    if REASONS and not failed:
        return f"{what}\nneeded no fallback: {REASONS}"
    return None


@settings(max_examples=60, deadline=None)
@given(st.randoms(use_true_random=False))
def test_both_executors_answer_a_query_alike(random: Random) -> None:
    assert asyncio.run(differ(asked(random))) is None


@settings(max_examples=30, deadline=None)
@given(st.randoms(use_true_random=False))
def test_both_executors_answer_a_mutation_alike_and_do_it_once(random: Random) -> None:
    assert asyncio.run(differ(asked(random, "mutation"))) is None


# Of what chance asks for, little is read in columns alone.
IN_COLUMNS = Asked("{ table(first: 4) { __typename title rank number } }", {})


def _first_operation_that_differs() -> str | None:
    """Of some fixed ones, for a schema with plans that were not made before."""

    async def search() -> str | None:
        planned = schema(planned=True, fell_back=REASONS.append, extensions=CACHED)
        for seed in range(-1, 160):
            what = asked(Random(seed), "mutation" if seed % 4 == 0 else "query")
            what = IN_COLUMNS if seed < 0 else what
            if (difference := await differ(what, planned)) is not None:
                return difference
        return None

    return asyncio.run(search())


def test_nothing_differs_where_nothing_is_planted() -> None:
    assert _first_operation_that_differs() is None


DEFECTS: dict[str, Callable[[pytest.MonkeyPatch], None]] = {}


def defect(plant: Callable[[pytest.MonkeyPatch], None]) -> Callable[[pytest.MonkeyPatch], None]:
    DEFECTS[plant.__name__] = plant
    return plant


@defect
def a_null_stands_where_none_may(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        planner,
        "long_way",
        lambda kind, *, non_null: leaf.long_way(kind, non_null=non_null and False),
    )


@defect
def enums_are_written_by_value(monkeypatch: pytest.MonkeyPatch) -> None:
    def by_value(kind: Any, python_class: type | None) -> leaf.Short | None:
        short = leaf.short_way(kind, python_class)
        if short is not None and "members" in short.names:
            return replace(short, written="{v}.value")
        return short

    monkeypatch.setattr(planner, "short_way", by_value)


@defect
def columns_are_mixed_up(monkeypatch: pytest.MonkeyPatch) -> None:
    columns = planner._Writing._columns

    def mixed_up(self: Any, type_: Any, details: Any) -> Any:
        found = columns(self, type_, details)
        return found and dict(zip(found, reversed(found.values()), strict=True))

    monkeypatch.setattr(planner._Writing, "_columns", mixed_up)


@defect
def keys_come_in_another_order(monkeypatch: pytest.MonkeyPatch) -> None:
    body = planner._Writing._body

    def sorted_body(self: Any, type_: Any, fields: Any, steps: Any, **more: Any) -> list[str]:
        return body(self, type_, dict(sorted(fields.items())), steps, **more)

    monkeypatch.setattr(planner._Writing, "_body", sorted_body)


@defect
def switches_are_not_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plans, "switches_of", lambda _operation, _fragments: ())


@defect
def a_mutation_is_done_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(executor._Once, "get_field_resolver", lambda _self, resolver: resolver)


@defect
def what_was_loaded_goes_to_its_neighbour(monkeypatch: pytest.MonkeyPatch) -> None:
    settle = run._settle

    async def swapped(places: list[Any]) -> None:
        found = [place.found for place in places]
        await settle(
            [place._replace(found=each) for place, each in zip(places, found[::-1], strict=True)]
        )

    monkeypatch.setattr(run, "_settle", swapped)


@defect
def a_null_is_no_argument(monkeypatch: pytest.MonkeyPatch) -> None:
    def forgetful(definition: Any, node: Any) -> Any:
        given = arguments.given_of(definition, node)
        kept = {name: value for name, value in given.constants.items() if value is not None}
        return replace(given, constants=kept)

    monkeypatch.setattr(planner, "given_of", forgetful)


@defect
def values_of_variables_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    values = plan.Given.values
    seen: dict[int, Any] = {}
    monkeypatch.setattr(
        plan.Given,
        "values",
        lambda self, given: seen.setdefault(id(self.node.name.value), values(self, given)),
    )


@defect
def a_type_is_taken_for_another(monkeypatch: pytest.MonkeyPatch) -> None:
    link = objects.Dispatch.link

    def crossed(self: Any, get: Any) -> None:
        link(self, get)
        names = list(self._functions)
        self._functions = dict(zip(names, [*list(self._functions.values())[1:], None], strict=True))

    monkeypatch.setattr(objects.Dispatch, "link", crossed)


@defect
def errors_are_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    long_way = leaf.long_way

    def lenient(kind: Any, *, non_null: bool) -> Callable[[Any], Any]:
        complete = long_way(kind, non_null=non_null)

        def forgiving(value: Any) -> Any:
            try:
                return complete(value)
            except ValueError:
                return None

        return forgiving

    monkeypatch.setattr(planner, "long_way", lenient)


@defect
def it_always_falls_back(monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*_anything: Any) -> Any:
        raise Unplanned(Reason.SIZE)

    monkeypatch.setattr(planner.Planner, "plan", never)


@pytest.mark.parametrize("name", DEFECTS)
def test_a_planted_defect_is_found(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    DEFECTS[name](monkeypatch)

    assert _first_operation_that_differs() is not None

"""Cost: counted by hand from the SDL, by the rules that gateways follow."""

from __future__ import annotations

from typing import Any

import pytest
from graphql import (
    FieldDefinitionNode,
    InterfaceTypeDefinitionNode,
    ListTypeNode,
    NonNullTypeNode,
    ObjectTypeDefinitionNode,
    parse,
)

from subgraph.document.documents import Documents, Operation
from subgraph.document.limits import Limits
from subgraph.document.prices import Price, Prices
from subgraph.schema.build import Schema, build_schema
from subgraph.schema.sdl import write_sdl

ENQUEUE = "mutation($i: EnqueueExecutionInput!) { enqueueExecution(input: $i) { execution { id } errors { code } } }"
SHARED = """{ executions(first: 10) { ...F } a: executions(first: 2) { ...F } }
fragment F on ExecutionConnection { edges { node { events(first: 5) { ...G } } } }
fragment G on ExecutionEventConnection { edges { cursor } }"""
PAST = 'query($at: BigInt) { execution(id: "x", at: $at) { id } }'
FOUND = """query($f: ExecutionFilter, $o: ExecutionOrder) {
  executions(filter: $f, orderBy: $o) { edges { node { id } } } }"""
MANY = "mutation($i: [EnqueueExecutionInput!]!) { enqueueExecutions(input: $i) { results { created } } }"


@pytest.fixture(scope="module")
def schema() -> Schema:
    return build_schema()


@pytest.fixture(scope="module")
def documents(schema: Schema) -> Documents:
    return Documents(schema)


def cost(documents: Documents, text: str, **variables: Any) -> int:
    found = documents.operation(text, None, variables)
    assert isinstance(found, Operation), found
    return found.cost


@pytest.mark.parametrize(
    ("text", "variables", "expected"),
    [
        ("{ __typename }", {}, 0),
        # One object.
        ('{ workflow(name: "x") { id name } }', {}, 1),
        # A value with a weight.
        ("{ workflows { totalCount } }", {}, 1 + 5),
        # The connection, and `first` times an edge with its node.
        ("{ workflows { edges { node { id } } } }", {}, 1 + 20 * 2),
        ("{ workflows(first: 3) { edges { cursor } pageInfo { endCursor } } }", {}, 1 + 3 + 1),
        ("{ workflows(last: 4, first: null) { edges { node { id } } } }", {}, 1 + 20 * 2),
        ("{ workflows(last: 50) { edges { node { id } } } }", {}, 1 + 50 * 2),
        ("query($n: Int) { workflows(first: $n) { edges { node { id } } } }", {"n": 7}, 1 + 14),
        ("query($n: Int) { workflows(first: $n) { edges { node { id } } } }", {"n": 7.0}, 1 + 14),
        ("query($n: Int) { workflows(first: $n) { edges { node { id } } } }", {}, 1 + 40),
        ("query($n: Int) { workflows(first: $n) { edges { node { id } } } }", {"n": None}, 1 + 40),
        ("query($n: Int) { workflows(first: $n) { edges { node { id } } } }", {"n": "7"}, 1 + 40),
        ("query($n: Int) { workflows(first: $n) { edges { node { id } } } }", {"n": -7}, 1),
        ("query($n: Int = 9) { workflows(first: $n) { edges { node { id } } } }", {}, 1 + 18),
        # Pages inside pages multiply; fragments are where they are spread.
        (
            "{ executions(first: 10) { edges { node { ...F } } } } fragment F on Execution { steps { id } }",
            {},
            1 + 10 * (1 + 1 + 50),
        ),
        (
            SHARED,
            {},
            (1 + 10 * (1 + 1 + 1 + 5)) + (1 + 2 * (1 + 1 + 1 + 5)),
        ),
        (
            "query($a: Int, $b: Int) { executions(first: $a) { edges { node { events(first: $b) { edges { cursor } } } } } }",
            {"a": 3, "b": 4},
            1 + 3 * (1 + 1 + 1 + 4),
        ),
        # What is left out for certain costs nothing; what a variable decides may cost.
        ('{ workflow(name: "x") { id draft @skip(if: true) { id } } }', {}, 1),
        ('{ workflow(name: "x") { id draft @include(if: false) { id } } }', {}, 1),
        (
            'query($s: Boolean!) { workflow(name: "x") { id draft @skip(if: $s) { id } } }',
            {"s": True},
            2,
        ),
        # As many as are asked for, where a gateway can only assume.
        ('{ nodes(ids: ["a", "b", "c"]) { id } }', {}, 3),
        (
            "query($r: [_Any!]!) { _entities(representations: $r) { ... on Execution { steps { id } } } }",
            {"r": [{}] * 9},
            9 * 51,
        ),
        # An input object costs one, so does each inside it; a mutation ten.
        ("{ workflows(filter: {}) { totalCount } }", {}, 1 + 1 + 5),
        (ENQUEUE, {"i": {"workflowName": "x"}}, 10 + 10 + 1 + 1 + 5),
        (
            ENQUEUE,
            {
                "i": {
                    "workflowName": "x",
                    "labels": [{"key": "a", "value": "b"}] * 3,
                    "input": {"a": [{}]},
                }
            },
            10 + 10 + 1 + 3 + 1 + 5,
        ),
        (MANY, {"i": [{"workflowName": "x"}] * 7}, 10 + 50 + 7 + 100),
        # What reads through a range is dearer than a page by key, and says so before it runs; the usual order is not.
        (FOUND, {"f": {"search": "declined"}}, 1 + 20 * 2 + 1 + 1_000),
        (FOUND, {"f": {"search": None}}, 1 + 20 * 2 + 1),
        (FOUND, {"o": {"field": "FINISHED_AT"}}, 1 + 20 * 2 + 1 + 300),
        (FOUND, {"o": {"direction": "ASC"}}, 1 + 20 * 2 + 1),
        (
            '{ executions(filter: {search: "x"}, orderBy: {field: PRIORITY}) { edges { node { id } } } }',
            {},
            1 + 20 * 2 + 1 + 1_000 + 1 + 300,
        ),
        # A history that is read, and values that may be large.
        ('{ execution(id: "x", at: 3) { id } }', {}, 1 + 50),
        (PAST, {"at": "3"}, 1 + 50),
        (PAST, {"at": None}, 1),
        (
            '{ execution(id: "x") { input output a: input steps { input output } } }',
            {},
            1 + 6 + 50 * (1 + 5 + 2),
        ),
    ],
)
def test_the_cost_is_what_a_gateway_counts(
    documents: Documents, text: str, variables: dict[str, Any], expected: int
) -> None:
    assert cost(documents, text, **variables) == expected


def test_what_costs_too_much_is_refused_with_the_numbers(schema: Schema) -> None:
    documents = Documents(schema, Limits(cost=100))
    text = "query($n: Int) { workflows(first: $n) { edges { node { id } } } }"

    fits = documents.operation(text, None, {"n": 49})
    errors = documents.operation(text, None, {"n": 50})

    assert isinstance(fits, Operation)
    assert isinstance(errors, tuple)
    assert errors[0].extensions == {
        "code": "QUERY_TOO_COMPLEX",
        "reason": "COST",
        "most": 100,
        "asked": 101,
    }


@pytest.mark.parametrize(
    ("text", "variables", "items"),
    [
        ("query($i: [ID!]!) { nodes(ids: $i) { id } }", {"i": ["x"] * 11}, 11),
        (
            "query($f: ExecutionFilter) { executions(filter: $f) { totalCount } }",
            {"f": {"status": ["RUNNING"] * 11}},
            11,
        ),
    ],
)
def test_long_lists_in_variables_are_refused(
    schema: Schema, text: str, variables: dict[str, Any], items: int
) -> None:
    documents = Documents(schema, Limits(values=10))

    errors = documents.operation(text, None, variables)

    assert isinstance(errors, tuple)
    assert (errors[0].extensions or {})["reason"] == "VALUES"
    assert (errors[0].extensions or {})["asked"] == items


def test_a_value_of_any_form_is_scored(documents: Documents) -> None:
    deep: Any = 1
    for _ in range(500):
        deep = {"filter": [deep], "labels": deep}

    assert (
        cost(
            documents,
            "query($f: ExecutionFilter) { executions(filter: $f) { totalCount } }",
            f=deep,
        )
        > 0
    )


def _list_fields(sdl: str) -> list[tuple[str, FieldDefinitionNode]]:
    document = parse(sdl)
    return [
        (definition.name.value, field)
        for definition in document.definitions
        if isinstance(definition, ObjectTypeDefinitionNode | InterfaceTypeDefinitionNode)
        for field in definition.fields or ()
        if _is_list(field)
    ]


def _is_list(field: FieldDefinitionNode) -> bool:
    type_ = field.type.type if isinstance(field.type, NonNullTypeNode) else field.type
    return isinstance(type_, ListTypeNode)


def test_every_list_of_objects_says_how_long_it_is(schema: Schema) -> None:
    """Else a gateway takes a number of its own, and its costs are not ours."""
    prices = Prices(schema)
    silent = [
        f"{kind}.{field.name.value}"
        for kind, field in _list_fields(write_sdl(schema))
        if (price := prices.of(kind, field.name.value)) is not None
        and price.weight
        and field.name.value not in prices.sized
        and not any(each.name.value == "listSize" for each in field.directives or ())
    ]

    assert silent == []


def test_prices_are_those_of_the_sdl(schema: Schema) -> None:
    prices = Prices(schema)
    declared: dict[str, dict[str, Any]] = {}
    for definition in parse(write_sdl(schema)).definitions:
        if isinstance(definition, ObjectTypeDefinitionNode | InterfaceTypeDefinitionNode):
            for field in definition.fields or ():
                for directive in field.directives or ():
                    if directive.name.value in {"cost", "listSize"}:
                        found = declared.setdefault(
                            f"{definition.name.value}.{field.name.value}", {}
                        )
                        for argument in directive.arguments or ():
                            found[argument.name.value] = argument.value
    assert declared
    for place, said in declared.items():
        price = prices.of(*place.split("."))
        assert isinstance(price, Price)
        if "weight" in said:
            assert price.weight == price.leaf == int(said["weight"].value), place
        if "assumedSize" in said:
            assert price.slicing.assumed == int(said["assumedSize"].value), place
        if "slicingArguments" in said:
            names = {each.value for each in said["slicingArguments"].values}
            assert set(price.slicing.numbers) == names, place
        if "sizedFields" in said:
            assert price.slicing.sized == {each.value for each in said["sizedFields"].values}, place


NESTED = """query($n: Int) { executions(first: $n) { totalCount edges { node { id ...F } } } }
fragment F on Execution { workflow { id name } steps { id } s: steps { attempts { status } } }"""
STEPS = [{"attempts": [{"number": 1}, {"number": 2}]}, {"attempts": []}]
ANSWER: dict[str, Any] = {
    "executions": {
        "totalCount": 2,
        "edges": [
            {"node": {"id": "a", "workflow": {"id": "w"}, "steps": [{"id": 1}], "s": STEPS}},
            {"node": {"id": "b", "workflow": None, "steps": [], "s": []}},
        ],
    }
}


@pytest.mark.parametrize(
    ("text", "data", "expected"),
    [
        # Connection and count, two edges with their nodes, a workflow, a step, two steps with two attempts.
        (NESTED, ANSWER, 1 + 5 + 2 * 2 + 1 + 1 + 2 + 2),
        (
            "{ executions(filter: {}) { totalCount } }",
            {"executions": {"totalCount": None}},
            1 + 1 + 5,
        ),
        ('{ workflow(name: "x") { id } }', {"workflow": None}, 0),
        ("{ nodes(ids: []) { id } }", {"nodes": [{"id": 1}, None]}, 1),
        ("{ __schema { queryType { name } } }", {"__schema": {"queryType": {"name": "Query"}}}, 0),
    ],
)
def test_the_actual_cost_counts_what_came_back(
    documents: Documents, text: str, data: dict[str, Any], expected: int
) -> None:
    operation = documents.operation(text, None, {"n": 10})
    assert isinstance(operation, Operation)

    tell = documents.teller(operation, {"n": 10}, is_asked=True)

    assert tell is not None
    assert tell(data) == {"estimated": operation.cost, "actual": expected}
    assert documents.teller(operation, {"n": 10}, is_asked=False) is None

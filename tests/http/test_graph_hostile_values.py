"""Values that no database can hold and lists without an end: the caller's mistake, never a fault."""

from __future__ import annotations

import json
from contextlib import aclosing
from datetime import UTC, datetime
from typing import Any

import pytest
from gql import gql

from runtime.store import cursor
from subgraph.http.stream import EVENTS
from tests.http.serving import GREET, Served, asking

NUL = "a\x00b"
NOBODY = "01890a5d-ac96-774b-bcce-b302099a8057"
PERSON = """query($representations: [_Any!]!) { _entities(representations: $representations) {
  ... on Workflow { id } } }"""
ENQUEUE = """mutation($input: EnqueueExecutionInput!) { enqueueExecution(input: $input) {
  errors { code path } } }"""
CREATE = """mutation($input: CreateWorkflowInput!) { createWorkflow(input: $input) { errors { code path } } }"""
CANCEL = """mutation($input: CancelExecutionInput!) { cancelExecution(input: $input) { errors { code path } } }"""
EXECUTIONS = "query($filter: ExecutionFilter) { executions(filter: $filter) { totalCount } }"
WORKFLOWS = "query($filter: WorkflowFilter) { workflows(filter: $filter) { totalCount } }"


@pytest.fixture
def server(tenant_server: Served) -> Served:
    """These tests only speak to it."""
    return tenant_server


@pytest.mark.parametrize(
    ("query", "variables"),
    [
        ("query($x: String) { found: workflow(name: $x) { id } }", {"x": NUL}),
        ('query($x: String!) { found: workflow(name: "a", namespace: $x) { id } }', {"x": NUL}),
        ("query($x: ID!) { found: workflow(id: $x) { id } }", {"x": NUL}),
        ("query($x: ID!) { found: node(id: $x) { id } }", {"x": NUL}),
        ("query($x: String!) { found: executionByIdempotencyKey(key: $x) { id } }", {"x": NUL}),
    ],
)
async def test_nothing_is_named_with_a_nul(
    server: Served, query: str, variables: dict[str, Any]
) -> None:
    answer = await server.ask(query, variables)

    assert answer.body == {"data": {"found": None}}


async def test_a_gateway_finds_nothing_by_a_name_with_a_nul(server: Served) -> None:
    reference = {"__typename": "Workflow", "name": NUL}

    answer = await server.ask(PERSON, {"representations": [reference]})

    assert answer.body["data"] == {"_entities": [None]}
    assert answer.codes == ["NOT_FOUND"]


@pytest.mark.parametrize(
    ("query", "filter"),
    [
        (WORKFLOWS, {"nameContains": NUL}),
        (WORKFLOWS, {"namespace": ["ok", NUL]}),
        (WORKFLOWS, {"labels": [{"key": "a", "value": NUL}]}),
        (WORKFLOWS, {"labels": [{"key": str(n), "value": "a"} for n in range(17)]}),
        (WORKFLOWS, {"namespace": ["a"] * 101}),
        (WORKFLOWS, {"nameContains": "a" * 5_000}),
        (EXECUTIONS, {"workflowName": [NUL]}),
        (EXECUTIONS, {"namespace": [NUL]}),
        (EXECUTIONS, {"idempotencyKey": NUL}),
        (EXECUTIONS, {"labels": [{"key": NUL, "value": "a"}]}),
        (EXECUTIONS, {"labels": [{"key": str(n), "value": "a"} for n in range(17)]}),
        (EXECUTIONS, {"workflowName": ["a"] * 101}),
        (EXECUTIONS, {"workflowId": ["a"] * 101}),
        (EXECUTIONS, {"status": ["QUEUED"] * 101}),
        (EXECUTIONS, {"search": NUL, "created": {"from": "2026-01-01T00:00:00Z"}}),
        (EXECUTIONS, {"trigger": ["API"] * 101}),
        (EXECUTIONS, {"created": {"from": "9999-12-31T23:59:59-10:00"}}),
    ],
)
async def test_a_filter_that_cannot_be_met_is_the_callers_mistake(
    server: Served, query: str, filter: dict[str, Any]
) -> None:
    answer = await server.ask(query, {"filter": filter})

    assert answer.codes == ["BAD_USER_INPUT"]


@pytest.mark.parametrize(
    "filter",
    [
        {"labels": [{"key": str(n), "value": "a"} for n in range(16)]},
        {"workflowName": ["a"] * 100},
        {"created": {"from": "0001-01-01T00:00:00Z", "to": "9999-12-31T23:59:59Z"}},
        {"finished": {"from": "0001-01-01T00:00:00Z", "to": "9999-12-31T23:59:59Z"}},
    ],
)
async def test_the_widest_filters_are_taken(server: Served, filter: dict[str, Any]) -> None:
    answer = await server.ask(EXECUTIONS, {"filter": filter})

    assert answer.body == {"data": {"executions": {"totalCount": 0}}}


@pytest.mark.parametrize("number", [1 << 64, -(1 << 63) - 1])
async def test_a_number_beyond_64_bits_is_never_another_number(server: Served, number: int) -> None:
    """Read as floating point it would be another one, and be stored as that."""
    await server.publish()
    named = {"workflowName": "greet", "input": {"name": number}}
    written = f'{{workflowName: "greet", input: {{name: {number}}}}}'
    literal = ENQUEUE.replace("($input: EnqueueExecutionInput!)", "").replace("$input", written)

    async with server.listener() as session:
        over_socket = await session.execute(asking(gql(ENQUEUE), {"input": named}))
    told = [
        (await server.ask(ENQUEUE, {"input": named})).body["data"],
        (await server.ask(literal)).body["data"],
        over_socket,
    ]
    kept = await server.ask(ENQUEUE, {"input": named | {"input": {"name": "ab", "n": number}}})
    as_int = await server.ask(
        "query($n: Int) { executions(first: $n) { totalCount } }", {"n": number}
    )
    unused = await server.ask("{ executions { totalCount } }", {"n": {"n": [number]}})

    for one in (*told, kept.body["data"]):
        (error,) = one["enqueueExecution"]["errors"]
        assert error == {"code": "VALIDATION_FAILED", "path": ["input", "input"]}
    assert as_int.codes == ["BAD_USER_INPUT"]
    assert unused.body["data"]["executions"]["totalCount"] == 0


@pytest.mark.parametrize("field", ["workflowName", "namespace", "region", "idempotencyKey"])
async def test_an_enqueue_with_a_nul_is_refused_as_data(server: Served, field: str) -> None:
    await server.publish()

    answer = await server.ask(ENQUEUE, {"input": {"workflowName": "greet", field: NUL}})

    (error,) = answer.body["data"]["enqueueExecution"]["errors"]
    assert error["code"] == "BAD_USER_INPUT"


@pytest.mark.parametrize("field", ["name", "namespace", "displayName", "description"])
async def test_a_workflow_with_a_nul_is_refused_as_data(server: Served, field: str) -> None:
    answer = await server.ask(CREATE, {"input": {"name": "greet", "source": GREET, field: NUL}})

    (error,) = answer.body["data"]["createWorkflow"]["errors"]
    assert (error["code"], error["path"]) == ("BAD_USER_INPUT", ["input", field])


@pytest.mark.parametrize("change", ["createWorkflow", "updateWorkflow"])
async def test_what_is_said_about_a_workflow_is_as_short_as_in_a_document(
    server: Served, change: str
) -> None:
    workflow_id = await server.publish()
    given = (
        {"name": "greet", "source": GREET}
        if change.startswith("c")
        else {"workflowId": workflow_id}
    )
    kind = f"{change[0].upper()}{change[1:]}Input!"
    query = (
        f"mutation($input: {kind}) {{ done: {change}(input: $input) {{ errors {{ code path }} }} }}"
    )
    words: dict[str, list[Any]] = {
        "labels": [
            [{"key": "a", "value": NUL}],
            [{"key": "", "value": "a"}],
            [{"key": "a" * 256, "value": "a"}],
            [{"key": str(n), "value": "a"} for n in range(65)],
        ],
        "displayName": ["x" * 201],
        "description": ["x" * 10_001],
        "namespace": ["A", "x" * 101] if change == "createWorkflow" else [],
    }

    for field, values in words.items():
        for value in values:
            answer = await server.ask(query, {"input": {**given, field: value}})

            assert answer.body["data"]["done"]["errors"] == [
                {"code": "BAD_USER_INPUT", "path": ["input", field]}
            ]


async def test_a_reason_with_a_nul_is_refused_as_data(server: Served) -> None:
    await server.publish()
    async with server.client() as session:
        execution = await server.enqueue(session)

    answer = await server.ask(CANCEL, {"input": {"executionId": execution, "reason": NUL}})

    (error,) = answer.body["data"]["cancelExecution"]["errors"]
    assert error["code"] == "BAD_USER_INPUT"


@pytest.mark.parametrize(
    "change",
    [
        *("cancelExecution", "pauseExecution", "resumeExecution", "retryExecution"),
        *("rewindExecution", "resolveInDoubt"),
    ],
)
async def test_a_reason_without_an_end_is_refused_as_data(server: Served, change: str) -> None:
    more = {
        "resolveInDoubt": 'stepKey: "a", decision: FAIL, ',
        "rewindExecution": 'stepKey: "a", ',
    }.get(change, "")
    query = f"""mutation($id: ID!, $reason: String) {{
      done: {change}(input: {{executionId: $id, {more}reason: $reason}}) {{ errors {{ code path }} }} }}"""

    answer = await server.ask(query, {"id": NOBODY, "reason": "x" * 2_001})

    (error,) = answer.body["data"]["done"]["errors"]
    assert error == {"code": "BAD_USER_INPUT", "path": ["input", "reason"]}


async def test_an_instant_that_utc_cannot_hold_is_the_callers_mistake(server: Served) -> None:
    variables = {"input": {"workflowName": "a", "runAt": "9999-12-31T23:59:59-10:00"}}

    answer = await server.ask(ENQUEUE, variables)

    assert answer.codes == ["BAD_USER_INPUT"]


@pytest.mark.parametrize("value", [5, NUL])
async def test_a_forged_cursor_is_the_callers_mistake(server: Served, value: object) -> None:
    key = "01890a5d-ac96-774b-bcce-b302099a8057"
    after = cursor.encode("workflows:name:desc", value, key)
    query = """query($after: String) {
      workflows(after: $after, orderBy: {field: NAME}) { totalCount edges { cursor } } }"""

    answer = await server.ask(query, {"after": after})

    assert answer.codes == ["BAD_USER_INPUT"]


@pytest.mark.parametrize("field", ["workflows", "executions"])
@pytest.mark.parametrize(
    ("first", "last", "codes"),
    [(1, 1, ["BAD_USER_INPUT"]), (None, 1, []), (1, None, []), (None, None, [])],
)
async def test_a_page_has_one_size(
    server: Served, field: str, first: int | None, last: int | None, codes: list[str]
) -> None:
    query = f"query($f: Int, $l: Int) {{ {field}(first: $f, last: $l) {{ totalCount }} }}"

    answer = await server.ask(query, {"f": first, "l": last})

    assert answer.codes == codes


async def test_the_default_size_may_stand_beside_a_last(server: Served) -> None:
    query = """query($f: Int) { workflows(first: $f, last: 1) { totalCount }
      executions(last: 1, first: null) { totalCount } }"""

    assert (await server.ask(query)).codes == []


async def test_two_sizes_in_the_document_are_refused(server: Served) -> None:
    answer = await server.ask("{ executions(first: 1, last: 1) { totalCount } }")

    assert answer.codes == ["BAD_USER_INPUT"]


@pytest.mark.parametrize("filter", [{"queue": NUL}, {"status": ["OPEN"] * 101}])
async def test_a_filter_of_dead_letters_that_cannot_be_met_is_the_callers_mistake(
    server: Served, filter: dict[str, Any]
) -> None:
    query = "query($filter: DeadLetterFilter) { deadLetters(filter: $filter) { totalCount } }"

    answer = await server.ask(query, {"filter": filter})

    assert answer.codes == ["BAD_USER_INPUT"]


FREE = """
name: free
version: 1.0.0
params: {value: {type: array}}
steps: [{id: nothing, uses: core.noop@1}]
"""
DEEPEST = 253  # with the object around it, what an input may be: as deep as orjson writes
SHOWN = """query { executions(first: 5) { edges { node { input } } } }"""
TOLD = gql("""subscription($id: ID!) { executionEvents(id: $id) { execution { input } } }""")


def depth_of(value: Any) -> int:
    depth = 0
    while value:
        value, depth = value[0], depth + 1
    return depth + 1


async def test_the_deepest_value_is_shown_however_much_the_answer_puts_around_it(
    server: Served,
) -> None:
    await server.publish(FREE, "free")
    value: list[Any] = []
    for _ in range(DEEPEST - 1):
        value = [value]
    async with server.client() as session:
        execution = await server.enqueue(session, workflowName="free", input={"value": value})

    plain = await server.ask(SHOWN)
    streamed = await server.ask(SHOWN, None, **server.bearer(), Accept=EVENTS.media_type)
    async with (
        server.listener() as session,
        aclosing(session.subscribe(asking(TOLD, {"id": execution}))) as told,
    ):
        first = await anext(told)
        one = await session.execute(gql(SHOWN))

    data = json.loads(streamed.body.splitlines()[1].removeprefix("data: "))
    for answer in (plain.body["data"], data["data"], one):
        (edge,) = answer["executions"]["edges"]
        assert depth_of(edge["node"]["input"]["value"]) == DEEPEST
    assert depth_of(first["executionEvents"]["execution"]["input"]["value"]) == DEEPEST


async def test_lists_that_are_read_through_leave_connections_to_others(
    own_server: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    places = own_server.rt.services.executions.places
    monkeypatch.setattr(places, "patience_seconds", 0)
    tenant = (
        await own_server.rt.authenticator.principal(own_server.bearer()["Authorization"], None)
    ).tenant_id
    today = {"from": datetime.now(UTC).isoformat()}
    through = """query($filter: ExecutionFilter, $order: ExecutionOrder) {
      executions(filter: $filter, orderBy: $order) { edges { cursor } } }"""
    counted = "query($filter: ExecutionFilter) { workflows { totalCount } executions(filter: $filter) { totalCount } }"
    searched = {"filter": {"search": "word", "created": today}}
    ordered = {"filter": {"created": today}, "order": {"field": "PRIORITY"}}

    async with places.taken(tenant), places.taken(tenant):
        refused = [
            (await own_server.ask(query, given)).codes
            for query, given in ((through, searched), (through, ordered), (counted, searched))
        ]
        usual = await own_server.ask(through, {"filter": {"created": today}})
    free = await own_server.ask(through, searched)

    assert refused == [["RATE_LIMITED"]] * 3
    assert usual.body == free.body == {"data": {"executions": {"edges": []}}}

"""The main job through the graph with a real client: create, publish, start, watch, look at what happened."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from gql import gql

from tests.http.serving import CREATE, ENQUEUE, EVENTS, GREET, PUBLISH, Served, asking

LOOK = gql("""
query Look($id: ID!) {
  execution(id: $id) {
    id status input output generation duration createdAt finishedAt
    createdBy { subject kind }
    trigger { kind }
    workflow { name }
    workflowVersion { version digest }
    steps { id stepKey type status attempt input output duration error { message } attempts { attempt status } }
    shout: step(key: "shout") { output }
    stepsConnection(first: 1) { totalCount edges { cursor node { stepKey } } pageInfo { hasNextPage endCursor } }
    events(first: 3) { edges { cursor node { type } } pageInfo { hasNextPage } }
  }
}
""")


async def watch(session: Any, execution_id: str, **more: Any) -> list[dict[str, Any]]:
    found = session.subscribe(asking(EVENTS, {"id": execution_id, **more}))
    return [answer["executionEvents"] async for answer in found]


async def test_a_workflow_is_created_published_started_and_watched_to_its_end(
    server: Served, worker: None
) -> None:
    async with server.client() as session, server.listener() as listener:
        made = await session.execute(asking(CREATE, {"input": {"name": "greet", "source": GREET}}))
        workflow_id = made["createWorkflow"]["workflow"]["id"]
        published = await session.execute(asking(PUBLISH, {"input": {"workflowId": workflow_id}}))
        execution_id = await server.enqueue(session)
        events = await watch(listener, execution_id)
        found = (await session.execute(asking(LOOK, {"id": execution_id})))["execution"]

    assert published["publishWorkflow"]["version"]["steps"] == [
        {"key": "hello", "dependsOn": [], "type": "core.set@1"},
        {"key": "shout", "dependsOn": ["hello"], "type": "core.set@1"},
    ]
    assert [int(event["sequence"]) for event in events] == list(range(1, len(events) + 1))
    assert [events[0]["type"], events[-1]["type"]] == ["EXECUTION_QUEUED", "EXECUTION_COMPLETED"]
    assert events[-1]["executionStatus"] == "COMPLETED"
    assert found["status"] == "COMPLETED"
    assert found["output"] == {"text": "hello Ada!"}
    assert found["createdBy"] == {"subject": "alice", "kind": "USER"}
    assert [(step["stepKey"], step["status"]) for step in found["steps"]] == [
        ("hello", "COMPLETED"),
        ("shout", "COMPLETED"),
    ]
    assert found["steps"][1]["input"] == {"text": "hello Ada!"}
    assert found["shout"] == {"output": {"text": "hello Ada!"}}
    assert found["stepsConnection"]["totalCount"] == 2
    assert found["stepsConnection"]["pageInfo"]["hasNextPage"] is True
    assert found["events"]["pageInfo"]["hasNextPage"] is True


async def test_publishing_the_same_again_gives_the_version_that_exists(server: Served) -> None:
    workflow_id = await server.publish()

    async with server.client() as session:
        again = await session.execute(asking(PUBLISH, {"input": {"workflowId": workflow_id}}))

    assert again["publishWorkflow"]["errors"] == []
    assert again["publishWorkflow"]["created"] is False
    assert again["publishWorkflow"]["version"]["version"] == "1.0.0"


async def test_a_definition_with_faults_is_refused_with_their_places(server: Served) -> None:
    broken = GREET.replace("core.set@1", "core.nothing@1", 1).replace("[hello]", "[hallo]")

    async with server.client() as session:
        made = await session.execute(asking(CREATE, {"input": {"name": "greet", "source": broken}}))

    payload = made["createWorkflow"]
    errors = payload["errors"]
    assert payload["workflow"] is None
    assert payload["findings"][0]["severity"] == "ERROR"
    assert {error["__typename"] for error in errors} == {"DefinitionError"}
    assert {error["code"] for error in errors} == {"VALIDATION_FAILED"}
    assert len({error["rule"] for error in errors}) >= 2
    assert all(error["line"] > 1 and error["column"] >= 1 for error in errors)


async def test_the_same_key_gives_the_first_answer_and_another_body_is_refused(
    server: Served,
) -> None:
    await server.publish()
    wanted = {"workflowName": "greet", "input": {"name": "Ada"}, "idempotencyKey": "k1"}

    async with server.client() as session:
        first = (await session.execute(asking(ENQUEUE, {"input": wanted})))["enqueueExecution"]
        second = (await session.execute(asking(ENQUEUE, {"input": wanted})))["enqueueExecution"]
        wanted["input"] = {"name": "Bob"}
        other = (await session.execute(asking(ENQUEUE, {"input": wanted})))["enqueueExecution"]

    assert (first["created"], second["created"], other["created"]) == (True, False, False)
    assert first["execution"]["id"] == second["execution"]["id"]
    assert [error["code"] for error in other["errors"]] == ["IDEMPOTENCY_CONFLICT"]


async def test_an_input_that_does_not_fit_is_refused_field_by_field(server: Served) -> None:
    await server.publish()

    async with server.client() as session:
        done = await session.execute(
            asking(ENQUEUE, {"input": {"workflowName": "greet", "input": {"name": 5}}})
        )

    errors = done["enqueueExecution"]["errors"]
    assert done["enqueueExecution"]["execution"] is None
    assert [error["code"] for error in errors] == ["VALIDATION_FAILED"]
    assert errors[0]["path"][:2] == ["input", "input"]
    assert "name" in errors[0]["path"]


@pytest.mark.parametrize(
    ("wanted", "code"),
    [
        ({"workflowName": "nobody"}, "NOT_FOUND"),
        ({"workflowId": "wf_x"}, "NOT_FOUND"),
        ({}, "BAD_USER_INPUT"),
        ({"workflowName": "greet", "workflowId": "x"}, "BAD_USER_INPUT"),
        ({"workflowName": "greet", "version": "9.0.0"}, "NOT_FOUND"),
    ],
)
async def test_a_workflow_that_cannot_be_meant_is_refused_as_data(
    server: Served, wanted: dict[str, Any], code: str
) -> None:
    await server.publish()

    async with server.client() as session:
        done = await session.execute(
            asking(ENQUEUE, {"input": {"input": {"name": "Ada"}, **wanted}})
        )

    assert [error["code"] for error in done["enqueueExecution"]["errors"]] == [code]


async def test_many_are_started_at_once_each_for_itself(server: Served) -> None:
    await server.publish()
    inputs = [{"workflowName": "greet", "input": {"name": f"n{n}"}} for n in range(20)]
    inputs[3] = {"workflowName": "nobody"}
    inputs[5] = {}

    answer = await server.ask(
        """mutation Many($input: [EnqueueExecutionInput!]!) { enqueueExecutions(input: $input) {
        createdCount errors { code } results { created execution { id } errors { code path } } } }""",
        {"input": inputs},
    )

    done = answer.body["data"]["enqueueExecutions"]
    assert done["createdCount"] == 18
    assert done["results"][3]["errors"][0] == {
        "code": "NOT_FOUND",
        "path": ["input", "3", "workflowName"],
    }
    assert done["results"][5]["errors"][0]["path"][:2] == ["input", "5"]
    assert len({each["execution"]["id"] for each in done["results"] if each["created"]}) == 18


async def test_an_execution_is_cancelled_and_tried_again(server: Served) -> None:
    await server.publish()

    async with server.client() as session:
        execution_id = await server.enqueue(session)
        cancelled = await server.ask(
            """mutation($id: ID!) { cancelExecution(input: {executionId: $id, reason: "enough"}) {
            execution { status } errors { code } } }""",
            {"id": execution_id},
        )
        retried = await server.ask(
            """mutation($id: ID!) { retryExecution(input: {executionId: $id}) {
            execution { status generation } errors { code } } }""",
            {"id": execution_id},
        )

    assert cancelled.body["data"]["cancelExecution"]["execution"]["status"] in {
        "CANCELLED",
        "CANCELLING",
    }
    assert retried.body["data"]["retryExecution"]["errors"] in ([], [{"code": "INVALID_STATE"}])


async def test_an_execution_is_paused_resumed_and_signalled(server: Served) -> None:
    await server.publish()
    said = """mutation($id: ID!) {
      pauseExecution(input: {executionId: $id, reason: "look"}) { execution { id } errors { code } }
      resumeExecution(input: {executionId: $id}) { execution { id } errors { code } }
      signalExecution(input: {executionId: $id, name: "go", payload: {n: 1}}) {
        execution { id } errors { code } }
      refused: signalExecution(input: {executionId: $id, name: ""}) { execution { id } errors { code path } } }"""

    async with server.client() as session:
        execution_id = await server.enqueue(session, runAt="2030-01-01T00:00:00Z")
        data = (await server.ask(said, {"id": execution_id})).body["data"]
        reader = server.bearer(None, scopes=["executions:read"])
        read = await server.ask(said, {"id": execution_id}, **reader)

    for field in ("pauseExecution", "resumeExecution", "signalExecution"):
        assert data[field] == {"execution": {"id": execution_id}, "errors": []}
    assert data["refused"]["errors"] == [{"code": "BAD_USER_INPUT", "path": ["input", "name"]}]
    assert "FORBIDDEN" in str(read.body)


async def test_lists_go_forward_and_backward_by_cursor(server: Served) -> None:
    await server.publish()
    query = """query($first: Int, $after: String, $last: Int, $before: String) {
      executions(first: $first, after: $after, last: $last, before: $before) {
        totalCount totalCountIsCapped
        pageInfo { hasNextPage hasPreviousPage startCursor endCursor } edges { cursor node { id } } } }"""

    async with server.client() as session:
        started = [await server.enqueue(session) for _ in range(5)]
        first = (await server.ask(query, {"first": 2})).body["data"]["executions"]
        second = (
            await server.ask(query, {"first": 2, "after": first["pageInfo"]["endCursor"]})
        ).body
        second = second["data"]["executions"]
        back = await server.ask(query, {"last": 2, "before": second["pageInfo"]["startCursor"]})

    newest = list(reversed(started))
    assert [edge["node"]["id"] for edge in first["edges"]] == newest[:2]
    assert [edge["node"]["id"] for edge in second["edges"]] == newest[2:4]
    assert back.body["data"]["executions"]["edges"] == first["edges"]
    assert first["totalCount"] == 5
    assert first["totalCountIsCapped"] is False
    assert (first["pageInfo"]["hasNextPage"], first["pageInfo"]["hasPreviousPage"]) == (True, False)


async def test_lists_are_filtered(server: Served) -> None:
    workflow_id = await server.publish()
    query = """query($filter: ExecutionFilter, $orderBy: ExecutionOrder) {
      executions(filter: $filter, orderBy: $orderBy) { edges { node { id } } } }"""
    recent = {"from": (datetime.now(UTC) - timedelta(days=6)).isoformat()}
    filters = [
        {"workflowId": [workflow_id]},
        {"workflowName": ["greet"]},
        {"labels": [{"key": "team", "value": "pay"}]},
        {"status": ["QUEUED"], "version": "1.0.0"},
        {"idempotencyKey": "one"},
        {"trigger": ["API"], "namespace": ["default"]},
        {"created": {"from": "2020-01-01T00:00:00Z"}},
        {"created": recent, "search": "pay Ada"},
    ]

    async with server.client() as session:
        started = await server.enqueue(
            session, labels=[{"key": "team", "value": "pay"}], idempotencyKey="one"
        )

    for wanted in filters:
        found = await server.ask(query, {"filter": wanted})
        assert found.body["data"]["executions"]["edges"] == [{"node": {"id": started}}], wanted
    for wanted in [
        {"workflowId": ["wf_x"]},
        {"workflowName": ["other"]},
        {"labels": [{"key": "team", "value": "ship"}]},
        {"status": ["FAILED"]},
        {"created": {"to": "2020-01-01T00:00:00Z"}},
        {"created": recent, "search": "pay -Ada"},
    ]:
        found = await server.ask(query, {"filter": wanted})
        assert found.body["data"]["executions"]["edges"] == [], wanted
    for field in ("STARTED_AT", "FINISHED_AT", "PRIORITY"):
        variables: dict[str, Any] = {"filter": {"created": recent}, "orderBy": {"field": field}}
        found = await server.ask(query, variables)
        assert found.body["data"]["executions"]["edges"] == [{"node": {"id": started}}], field
    for variables in (
        {"filter": {"search": "pay"}},
        {"orderBy": {"field": "FINISHED_AT"}},
        {"filter": {"search": "pay", "created": {"from": "2020-01-01T00:00:00Z"}}},
    ):
        refused = await server.ask(query, variables)
        assert refused.body["data"] is None
        assert refused.codes == ["BAD_USER_INPUT"]
        assert refused.body["errors"][0]["extensions"]["reason"] == "CREATED_RANGE"


async def test_workflows_are_found_listed_and_versioned(server: Served) -> None:
    workflow_id = await server.publish()
    body = """id name status createdBy { subject } currentVersion { version inputSchema }
      version(version: "1.0.0") { source workflow { id } } versions { edges { node { version state } } }
      executions { totalCount }"""

    answer = await server.ask(
        f"""query($id: ID!) {{ byId: workflow(id: $id) {{ {body} }} byName: workflow(name: "greet") {{ {body} }}
        none: workflow(name: "nobody") {{ id }} workflows(filter: {{nameContains: "REE"}}) {{
        totalCount edges {{ node {{ name }} }} }} }}""",
        {"id": workflow_id},
    )

    data = answer.body["data"]
    assert data["byId"] == data["byName"]
    assert data["byId"]["status"] == "PUBLISHED"
    assert data["byId"]["version"] == {"source": GREET, "workflow": {"id": workflow_id}}
    assert data["byId"]["versions"]["edges"] == [
        {"node": {"version": "1.0.0", "state": "PUBLISHED"}}
    ]
    assert data["byId"]["currentVersion"]["inputSchema"]["properties"]["name"]["type"] == "string"
    assert data["none"] is None
    assert data["workflows"] == {"totalCount": 1, "edges": [{"node": {"name": "greet"}}]}


async def test_a_document_is_validated_without_being_saved(server: Served) -> None:
    query = """query($source: String!) { validateWorkflow(source: $source) {
      valid digest findings { rule severity line column message } } workflows { totalCount } }"""

    good = (await server.ask(query, {"source": GREET})).body["data"]
    bad = (await server.ask(query, {"source": GREET.replace("[hello]", "[shout]")})).body["data"]

    assert good["validateWorkflow"]["valid"] is True
    assert good["validateWorkflow"]["digest"].startswith("sha256:")
    assert bad["validateWorkflow"]["valid"] is False
    assert bad["validateWorkflow"]["digest"] is None
    assert bad["validateWorkflow"]["findings"][0]["line"] == 12
    assert bad["workflows"]["totalCount"] == 0


async def test_node_finds_whatever_has_an_id(server: Served, worker: None) -> None:
    workflow_id = await server.publish()
    async with server.client() as session, server.listener() as listener:
        execution_id = await server.enqueue(session)
        await watch(listener, execution_id)
    version = await server.ask('{ workflow(name: "greet") { currentVersion { id } } }')
    version_id = version.body["data"]["workflow"]["currentVersion"]["id"]
    ids = [
        workflow_id,
        version_id,
        execution_id,
        f"{execution_id}.s.0",
        "x",
        f"{execution_id}.s.99",
    ]

    answer = await server.ask(
        "query($ids: [ID!]!) { nodes(ids: $ids) { __typename id } }", {"ids": ids}
    )

    kinds = ["Workflow", "WorkflowVersion", "Execution", "StepExecution"]
    assert answer.body["data"]["nodes"] == [
        *({"__typename": kind, "id": key} for kind, key in zip(kinds, ids, strict=False)),
        None,
        None,
    ]


async def test_another_tenant_sees_nothing_of_it(server: Served) -> None:
    workflow_id = await server.publish()
    async with server.client() as session:
        execution_id = await server.enqueue(session)
    query = """query($w: ID!, $e: ID!) { workflow(id: $w) { id } execution(id: $e) { id } node(id: $e) { id }
      workflows { totalCount } executions { totalCount } executionByIdempotencyKey(key: "k") { id } }"""

    answer = await server.ask(
        query, {"w": workflow_id, "e": execution_id}, **server.bearer(tenant="other")
    )

    assert answer.body["data"] == {
        "workflow": None,
        "execution": None,
        "node": None,
        "workflows": {"totalCount": 0},
        "executions": {"totalCount": 0},
        "executionByIdempotencyKey": None,
    }

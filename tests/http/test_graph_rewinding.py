"""`rewindExecution` and `rewindPreview`: shown before it happens, done once, refused with the state named."""

from __future__ import annotations

from tests.http.serving import Served
from tests.http.test_downloads import got
from tests.http.test_graph_generation_preview import ended
from tests.support.steps import CALLS

FLOW = """
name: order
version: 1.0.0
steps:
  - {id: reserve, uses: probe.flaky@1, with: {marker: reserve}}
  - {id: charge, uses: probe.flaky@1, depends_on: [reserve], with: {marker: charge}}
  - {id: mail, uses: core.noop@1, depends_on: [charge]}
"""
PREVIEW = """query ($id: ID!, $step: String!) { rewindPreview(id: $id, stepKey: $step) {
  generation runs reuses repeats steps { stepKey action status repeats { calls completed effect } } } }"""
REWIND = """mutation ($input: RewindExecutionInput!) { rewindExecution(input: $input) {
  execution { status generation } errors { code message path ... on OperationError { reason } } } }"""
EVENTS = """query ($id: ID!) { execution(id: $id) { status
  events(first: 100) { edges { node { type executionStatus stepKey data } } } } }"""


async def test_a_rewind_is_shown_before_it_happens_and_does_that(
    server: Served, worker: None
) -> None:
    CALLS.clear()
    await server.publish(FLOW, "order")
    async with server.client() as session:
        one = await server.enqueue(session, workflowName="order", input={})
    await ended(server, one)

    before = (await server.ask(EVENTS, {"id": one})).body
    found = (await server.ask(PREVIEW, {"id": one, "step": "charge"})).body["data"]["rewindPreview"]
    after = (await server.ask(EVENTS, {"id": one})).body
    asked = {"executionId": one, "stepKey": "charge", "reason": "twice", "idempotencyKey": "k"}
    first = (await server.ask(REWIND, {"input": asked})).body["data"]["rewindExecution"]
    again = (await server.ask(REWIND, {"input": asked})).body["data"]["rewindExecution"]
    await ended(server, one)
    told = (await server.ask(EVENTS, {"id": one})).body["data"]["execution"]

    assert after == before
    assert [found[name] for name in ("generation", "runs", "reuses", "repeats")] == [1, 2, 1, 1]
    assert [step["action"] for step in found["steps"]] == ["REUSE", "RUN", "RUN"]
    assert found["steps"][1]["repeats"] == {"calls": 1, "completed": 1, "effect": "IDEMPOTENT"}
    assert (first["errors"], again["errors"]) == ([], [])
    assert first["execution"] == {"status": "QUEUED", "generation": 1}
    assert again["execution"]["generation"] == 1
    assert told["status"] == "COMPLETED"
    [event] = [
        edge["node"]
        for edge in told["events"]["edges"]
        if edge["node"]["type"] == "EXECUTION_REWOUND"
    ]
    assert (event["executionStatus"], event["stepKey"]) == ("QUEUED", "charge")
    assert event["data"]["reason"] == "twice"
    assert {marker: len(keys) for marker, keys in CALLS.keys.items()} == {"reserve": 1, "charge": 2}


async def test_what_is_refused_says_why_and_a_stranger_learns_nothing(
    tenant_server: Served,
) -> None:
    await tenant_server.publish()
    async with tenant_server.client() as session:
        queued = await tenant_server.enqueue(session)
    stranger = tenant_server.bearer(tenant="somebody-else")
    ask = tenant_server.ask
    variables = {"input": {"executionId": queued, "stepKey": "hello"}}

    refused = await ask(PREVIEW, {"id": queued, "step": "hello"})
    [rewound] = (await ask(REWIND, variables)).body["data"]["rewindExecution"]["errors"]
    absent = await ask(PREVIEW, {"id": queued, "step": "nothing"})
    foreign = await ask(PREVIEW, {"id": queued, "step": "hello"}, **stranger)
    theirs = await ask(REWIND, variables, **stranger)

    assert (rewound["code"], rewound["reason"]) == ("INVALID_STATE", "NOT_REWINDABLE")
    assert [error["message"] for error in refused.body["errors"]] == [rewound["message"]]
    assert refused.body["data"]["rewindPreview"] is None
    assert absent.codes == ["NOT_FOUND"]
    assert foreign.codes == ["NOT_FOUND"]
    [error] = theirs.body["data"]["rewindExecution"]["errors"]
    assert error["code"] == "NOT_FOUND"


EDITED = """
name: edited
version: 1.0.0
params: {n: {type: integer}}
steps:
  - {id: a, uses: probe.echo@1, with: {n: "{{ params.n }}"}}
  - {id: b, uses: probe.echo@1, depends_on: [a], with: {n: "{{ params.n }}"}}
"""
WITH_INPUT = """query ($id: ID!, $input: JSON) { rewindPreview(id: $id, stepKey: "b", input: $input) { runs } }"""
AT = """query ($id: ID!, $at: BigInt) { execution(id: $id, at: $at) { input steps { stepKey input } } }"""


async def test_another_input_is_checked_taken_and_told_from_the_old_one(
    server: Served, worker: None
) -> None:
    await server.publish(EDITED, "edited")
    async with server.client() as session:
        one = await server.enqueue(session, workflowName="edited", input={"n": 1})
    await ended(server, one)
    said = {"executionId": one, "stepKey": "b"}

    wrong = (await server.ask(WITH_INPUT, {"id": one, "input": {"n": "no"}})).codes
    [refused] = (await server.ask(REWIND, {"input": {**said, "input": {"n": "no"}}})).body["data"][
        "rewindExecution"
    ]["errors"]
    kept = {**said, "stepKey": "a", "keep": ["a"]}
    [not_kept] = (await server.ask(REWIND, {"input": kept})).body["data"]["rewindExecution"][
        "errors"
    ]
    sound = (await server.ask(WITH_INPUT, {"id": one, "input": {"n": 2}})).body["data"]
    before = (await server.ask(EVENTS, {"id": one})).body["data"]["execution"]["events"]["edges"]
    await server.ask(REWIND, {"input": {**said, "input": {"n": 2}}})
    await ended(server, one)
    now = (await server.ask(AT, {"id": one})).body["data"]["execution"]
    then = (await server.ask(AT, {"id": one, "at": len(before)})).body["data"]["execution"]

    assert wrong == [refused["code"]]
    assert refused["path"] == ["input", "input", "n"]
    assert (not_kept["reason"], not_kept["path"]) == ("KEEP_NOT_BEHIND", ["input", "keep"])
    assert sound["rewindPreview"]["runs"] == 1
    path = f"/api/executions/{one}/input"
    given = [await got(server, f"{path}{at}") for at in ("", f"?at={len(before)}", "?at=x")]
    assert [status for status, *_ in given] == [200, 200, 400]
    assert [body for *_, body in given[:2]] == [b'{"n":2}', b'{"n":1}']
    assert (now["input"], then["input"]) == ({"n": 2}, {"n": 1})
    assert [step["input"] for step in now["steps"]] == [{"n": 1}, {"n": 2}]
    assert [step["input"] for step in then["steps"]] == [{"n": 1}, {"n": 1}]

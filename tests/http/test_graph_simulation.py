"""simulateWorkflow: documents, versions and past executions of the caller's tenant, without any effect."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from runtime.connectors.rehearsal import rehearse
from runtime.services import simulation
from tests.http.serving import EVENTS, Served, asking

QUERY = """query($input: SimulateWorkflowInput!) { simulateWorkflow(input: $input) {
  status duration cost unknownDurations output stopped
  plan { key order taken status reason attempts renderedInput mockedOutput outputSource reads { path value } error { type } }
  timers { stepKey signal due } humanTasks { stepKey fields due } events { type stepKey after }
  findings { rule } errors { code message path } } }"""
SOURCE = """
name: greet
params: {name: string}
steps:
  - {id: hello, uses: core.set@1, with: {text: "Hello {{ params.name }}", key: "{{ secrets.KEY }}"}}
  - {id: loud, uses: core.noop@1, depends_on: [hello], when: params.name == 'x'}
  - {id: ask, type: human_task, depends_on: [hello], title: "{{ steps.hello.output.text }}", sla: 1h}
outputs: {text: "{{ steps.hello.output.text }}"}
"""


async def simulated(server: Served, headers: dict[str, str] | None = None, **given: Any) -> Any:
    answer = await server.ask(QUERY, {"input": given}, **(headers or {}))
    assert "errors" not in answer.body, answer.body
    return answer.body["data"]["simulateWorkflow"]


async def test_a_document_is_simulated_and_nothing_is_left_behind(server: Served) -> None:
    found = await simulated(
        server,
        source=SOURCE,
        input={"name": "Ada"},
        fail=[{"step": "hello", "attempts": 1}],
        durations={"ask": "30m"},
        costs={"ask": "5.00 EUR"},
    )
    kept = await server.ask("{ workflows { totalCount } executions { totalCount } }")

    steps = {one["key"]: one for one in found["plan"]}
    assert found["status"] == "FAILED"
    assert steps["hello"]["error"]["type"] == "simulated"
    assert steps["hello"]["renderedInput"] == {"text": "Hello Ada", "key": "***"}
    assert {one["rule"] for one in found["findings"]} == {"unknown-secret"}
    assert kept.body["data"]["workflows"]["totalCount"] == 0
    assert kept.body["data"]["executions"]["totalCount"] == 0
    assert server.rt.metrics.simulations.labels("failed")._value.get() == 1


async def test_branches_tasks_time_and_cost(server: Served) -> None:
    found = await simulated(
        server,
        source=SOURCE,
        input={"name": "Ada"},
        mocks={"ask": {"outcome": "rejected"}},
        durations={"ask": "30m"},
        costs={"ask": "5.00 EUR"},
    )

    steps = {one["key"]: one for one in found["plan"]}
    assert (found["status"], found["duration"], found["cost"]) == (
        "COMPLETED", "PT30M", ["5.00 EUR"],
    )  # fmt: skip
    assert found["output"] == {"text": "Hello Ada"}
    assert (steps["loud"]["taken"], steps["loud"]["reads"]) == (
        False, [{"path": "params.name", "value": "Ada"}],
    )  # fmt: skip
    assert (steps["ask"]["mockedOutput"], steps["ask"]["outputSource"]) == (
        {"outcome": "rejected"}, "MOCK",
    )  # fmt: skip
    assert found["humanTasks"][0]["fields"]["title"] == "Hello Ada"


async def test_a_version_is_simulated_with_what_an_execution_gave(
    server: Served, worker: None
) -> None:
    del worker
    workflow = await server.publish()
    async with server.listener() as session:
        execution = await server.enqueue(session)
        async for _ in session.subscribe(asking(EVENTS, {"id": execution})):
            pass

    given: Any = {"workflowId": workflow, "input": {"name": "x"}, "fromExecution": execution}
    found = await simulated(server, **given)
    others = await simulated(server, server.bearer(tenant="others"), **given)

    outputs = {one["key"]: one["mockedOutput"] for one in found["plan"]}
    assert (found["status"], found["unknownDurations"]) == ("COMPLETED", [])
    assert outputs == {"hello": {"text": "hello Ada"}, "shout": {"text": "hello Ada!"}}
    assert {one["outputSource"] for one in found["plan"]} == {"PAST"}
    assert [one["code"] for one in others["errors"]] == ["NOT_FOUND"]


async def test_refusals_are_data(server: Served) -> None:
    asked: list[tuple[dict[str, Any], str]] = [
        ({}, "BAD_USER_INPUT"),
        ({"source": SOURCE, "input": {"name": 5}}, "VALIDATION_FAILED"),
        ({"source": "name: x"}, "VALIDATION_FAILED"),
        ({"source": SOURCE, "version": "1.0.0"}, "BAD_USER_INPUT"),
        ({"source": SOURCE, "input": {"name": "a"}, "mocks": [1]}, "BAD_USER_INPUT"),
        (
            {"source": SOURCE, "input": {"name": "a"}, "durations": {"ask": "soon"}},
            "BAD_USER_INPUT",
        ),
        ({"source": SOURCE, "input": {"name": "a"}, "mocks": {"nobody": 1}}, "BAD_USER_INPUT"),
        ({"workflowId": "wf_01890a5d-ac96-774b-bcce-b302099a8057"}, "NOT_FOUND"),
        ({"workflowId": "nonsense"}, "NOT_FOUND"),
        (
            {
                "source": SOURCE,
                "input": {"name": "a"},
                "fromExecution": "01890a5d-ac96-774b-bcce-b302099a8057",
            },
            "NOT_FOUND",
        ),
    ]

    for given, code in asked:
        found = await simulated(server, **given)
        assert [one["code"] for one in found["errors"]][:1] == [code], given
        assert (found["status"], found["plan"]) == (None, [])


@pytest.mark.parametrize(
    ("value", "why"),
    [(1 << 64, "Integer exceeds 64-bit range"), ("\x00", "holds the character U+0000")],
    ids=["beyond 64 bits", "U+0000"],
)
async def test_an_input_is_refused_as_it_would_be_when_it_is_enqueued(
    server: Served, value: Any, why: str
) -> None:
    found = await simulated(server, source=SOURCE, input={"name": value})

    (refused,) = found["errors"]
    assert refused["code"] == "VALIDATION_FAILED"
    assert why in refused["message"]


async def test_an_input_is_as_large_as_one_may_be(
    server: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server.rt.services.simulations, "_max_input_bytes", 20)

    assert (await simulated(server, source=SOURCE, input={"name": "x" * 9}))["errors"] == []
    (refused,) = (await simulated(server, source=SOURCE, input={"name": "x" * 10}))["errors"]
    assert (refused["code"], refused["path"]) == ("PAYLOAD_TOO_LARGE", ["input", "input"])
    assert "21 bytes long; at most 20" in refused["message"]


async def test_the_simulations_of_a_request_take_no_longer_than_one_may(
    server: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    two = threading.Barrier(2)
    together: list[bool] = []

    def meeting(*arguments: Any, **more: Any) -> Any:
        try:
            two.wait(0.2)
        except threading.BrokenBarrierError:
            two.reset()
        else:
            together.append(True)
        return rehearse(*arguments, **more)

    monkeypatch.setattr(simulation, "rehearse", meeting)
    fields = "status errors { code }"
    query = f"""query($input: SimulateWorkflowInput!) {{
      a: simulateWorkflow(input: $input) {{ {fields} }} b: simulateWorkflow(input: $input) {{ {fields} }} }}"""
    given = {"input": {"source": SOURCE, "input": {"name": "Ada"}}}

    both = await server.ask(query, given)
    monkeypatch.setattr(simulation, "LONGEST_SECONDS", 0)
    one = await server.ask(query, given)

    assert {each["status"] for each in both.body["data"].values()} == {"COMPLETED"}
    assert together == []
    assert [each["errors"] for each in one.body["data"].values()] == [
        [],
        [{"code": "BAD_USER_INPUT"}],
    ]

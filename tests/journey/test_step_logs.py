"""What a step logs is stored, seen in the graph, followed live by subscription and by `mc`, and ends with the execution."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from gql import GraphQLRequest

from runtime.connectors.code import module_digest
from runtime.worker.encode import digest
from tests.support.processes import eventually
from tests.support.stack import Stack

TALK = """
name: talk
version: 1.0.0
params: {gate: {type: string}}
steps:
  - {id: first, uses: talk.lines@1, with: {lines: [alpha, beta], gate: "{{ params.gate }}"}}
  - {id: second, uses: talk.lines@1, depends_on: [first], with: {lines: [gamma]}}
"""
DEAR = """
name: dear
version: 1.0.0
steps:
  - {id: first, uses: talk.lines@1, with: {lines: [alpha, beta], price: 0.0125 EUR}}
  - {id: second, uses: talk.lines@1, depends_on: [first], with: {lines: [gamma], price: 2 USD}}
  - {id: third, uses: talk.lines@1, depends_on: [first], with: {lines: [delta]}}
"""
COST = """query ($id: ID!) { execution(id: $id) { cost { amount currency }
  steps { stepKey input inputHash outputHash code codeHash cost { amount currency }
    attempts { code codeHash cost { amount currency } } }
  events { edges { node { type data } } } } }"""
WRONG = """
name: wrong
version: 1.0.0
steps:
  - {id: first, uses: talk.lines@1, with: {lines: [alpha], price: no money}, retry: {max_attempts: 1}}
"""
MUCH = """
name: much
version: 1.0.0
steps:
  - {id: big, uses: talk.much@1, with: {bytes: 300000}}
"""
FOLLOW = """subscription ($id: ID!, $after: String, $step: String) {
  executionLogs(id: $id, after: $after, stepKey: $step) { cursor at level stepKey attempt message fields } }"""
STEPS = """query ($id: ID!) { execution(id: $id) {
  steps { stepKey logs { edges { cursor node { cursor at level attempt message fields } } } }
  logs { edges { node { message } } } } }"""
SPOKEN = ["alpha", "beta", "done", "gamma", "done"]


@pytest.fixture
def gate(tmp_path):
    return tmp_path / "gate"


async def follow(stack, execution, heard, **variables):
    async with stack.socket() as session:
        asked = GraphQLRequest(FOLLOW, variable_values={"id": execution, **variables})
        async for answer in session.subscribe(asked):
            heard.append(answer["executionLogs"])


async def test_logs_stand_with_their_step(stack, gate):
    gate.touch()
    execution = await stack.enqueue(await stack.publish(TALK), {"gate": str(gate)})
    await stack.finished(execution)

    found = (await stack.ask(STEPS, id=execution))["execution"]

    first, second = ([edge["node"] for edge in step["logs"]["edges"]] for step in found["steps"])
    assert [line["message"] for line in first] == ["alpha", "beta", "done"]
    assert [line["level"] for line in first] == ["info", "info", "warning"]
    assert [line["fields"] for line in first] == [{"number": 1}, {"number": 2}, {"count": 2}]
    assert [line["message"] for line in second] == ["gamma", "done"]
    assert [edge["node"]["message"] for edge in found["logs"]["edges"]] == SPOKEN


async def test_a_subscription_gets_lines_while_the_step_runs(stack, gate):
    execution = await stack.enqueue(await stack.publish(TALK), {"gate": str(gate)})
    heard: list[dict[str, Any]] = []
    listening = asyncio.create_task(follow(stack, execution, heard))
    await eventually(lambda: len(heard) == 2, what="two lines from a step that still runs")
    assert not gate.exists()

    gate.touch()
    async with asyncio.timeout(20):
        await listening

    assert [line["message"] for line in heard] == SPOKEN
    assert len({line["cursor"] for line in heard}) == len(SPOKEN)


async def test_following_goes_on_after_a_cursor_and_keeps_to_a_step(stack, gate):
    gate.touch()
    execution = await stack.enqueue(await stack.publish(TALK), {"gate": str(gate)})
    every: list[dict[str, Any]] = []
    rest: list[dict[str, Any]] = []
    second: list[dict[str, Any]] = []
    await stack.finished(execution)
    await follow(stack, execution, every)

    await follow(stack, execution, rest, after=every[1]["cursor"])
    await follow(stack, execution, second, step="second")

    assert rest == every[2:]
    assert [line["message"] for line in second] == ["gamma", "done"]


async def test_mc_follows_the_lines_and_ends_with_the_execution(stack, gate):
    execution = await stack.enqueue(await stack.publish(TALK), {"gate": str(gate)})
    logs = stack.mc.start(
        "executions", "logs", execution, "--follow", MC_URL=stack.mc.url, MC_TOKEN=stack.token
    )
    await logs.printed("beta")
    assert "done" not in logs.output()

    gate.touch()

    assert await logs.ended() == 0, logs.output()
    places = [logs.output().index(word) for word in ("alpha", "beta", "done", "gamma")]
    assert places == sorted(places)
    assert logs.output().count("done") == 2


async def test_mc_prints_the_lines_of_an_execution_that_has_ended(stack, gate):
    gate.touch()
    execution = await stack.enqueue(await stack.publish(TALK), {"gate": str(gate)})
    await stack.finished(execution)
    reach = {"MC_URL": stack.mc.url, "MC_TOKEN": stack.token}

    every = await stack.mc.run("executions", "logs", execution, **reach)
    one = await stack.mc.run("executions", "logs", execution, "--step", "second", **reach)

    assert [every.stdout.count(word) for word in ("alpha", "beta", "gamma", "done")] == [1, 1, 1, 2]
    assert "gamma" in one.stdout
    assert "beta" not in one.stdout


async def test_what_steps_cost_and_which_code_ran_is_told(stack):
    execution = await stack.enqueue(await stack.publish(DEAR))
    await stack.finished(execution)

    found = (await stack.ask(COST, id=execution))["execution"]
    shown = await stack.mc.run(
        "executions", "get", execution, MC_URL=stack.mc.url, MC_TOKEN=stack.token
    )

    euros = {"amount": "0.025", "currency": "EUR"}
    dollars = {"amount": "2.00", "currency": "USD"}
    assert found["cost"] == [euros, dollars]
    assert [step["cost"] for step in found["steps"]] == [[euros], [dollars], []]
    assert [step["attempts"][0]["cost"] for step in found["steps"]] == [euros, dollars, None]
    code = str(module_digest("tests.support.talking"))
    for step in found["steps"]:
        assert (step["code"], step["codeHash"]) == ("talk.lines@1.0.0", code)
        assert step["attempts"][0]["codeHash"] == code
        assert step["inputHash"] == digest(step["input"])
    told = [
        edge["node"]["data"]["cost"]
        for edge in found["events"]["edges"]
        if edge["node"]["type"] == "STEP_COMPLETED" and "cost" in edge["node"]["data"]
    ]
    assert sorted(told) == ["0.025 EUR", "2.00 USD"]
    assert "0.025 EUR + 2.00 USD" in shown.stdout
    assert "0.025 EUR" in next(
        line for line in shown.stdout.splitlines() if line.startswith("first")
    )


async def test_mc_shows_a_stack_to_who_may_debug(stack, service):
    execution = await stack.enqueue(await stack.publish(WRONG))
    await stack.finished(execution)
    viewer = Stack.of_tenant(service, stack.tenant, "viewer")

    shown = {}
    for who in (stack, viewer):
        reach = {"MC_URL": stack.mc.url, "MC_TOKEN": who.token}
        got = await stack.mc.run("executions", "get", execution, **reach)
        told = await stack.mc.run("executions", "logs", execution, **reach)
        followed = await stack.mc.run("executions", "logs", execution, "--follow", **reach)
        assert (got.code, told.code, followed.code) == (0, 0, 0)
        assert told.stdout == followed.stdout
        assert "The step raised an exception." in told.stdout
        shown[who.token] = got.stdout, told.stdout

    place = '      File "tests/support/talking.py", line '
    assert [place in text for text in shown[stack.token]] == [True, True]
    assert [place in text for text in shown[viewer.token]] == [False, False]
    assert "\nfirst:\n    Traceback (most recent call last):\n" in shown[stack.token][0]


async def test_mc_has_an_output_of_any_size(stack, tmp_path):
    execution = await stack.enqueue(await stack.publish(MUCH))
    await stack.finished(execution)
    reach = {"MC_URL": stack.mc.url, "MC_TOKEN": stack.token}
    file = tmp_path / "big.json"

    had = await stack.mc.run("ex", "output", execution, "big", "-f", str(file), **reach)
    none = await stack.mc.run("ex", "output", execution, "small", **reach)

    assert (had.code, file.stat().st_size) == (0, 300_000), had.stderr
    assert none.code == 3
    assert "no step 'small'" in none.stderr

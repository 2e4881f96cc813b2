"""The main promise, through real processes: create, run, view, watch live, hand data on, read the history."""

from __future__ import annotations

HELLO = """
name: hello
version: 1.0.0
params: {who: {type: string, default: world}}
steps:
  - {id: ask, uses: core.set@1, with: {name: "{{ params.who }}", count: 2}}
  - {id: left, uses: core.sleep@1, depends_on: [ask], with: {duration: 50ms}}
  - {id: right, uses: core.set@1, depends_on: [ask], with: {twice: "{{ steps.ask.output.count }}"}}
  - {id: never, uses: core.noop@1, depends_on: [ask], when: "{{ steps.ask.output.count > 5 }}"}
  - {id: both, uses: core.set@1, depends_on: [left, right], with: {text: "hello {{ steps.ask.output.name }}"}}
outputs: {text: "{{ steps.both.output.text }}", count: "{{ steps.right.output.twice }}"}
"""
CANCEL = "mutation ($i: CancelExecutionInput!) { cancelExecution(input: $i) { execution { status } errors { code } } }"
RETRY = (
    "mutation ($i: RetryExecutionInput!) { retryExecution(input: $i) { errors { code message } } }"
)
SIGNAL = "mutation ($i: SignalExecutionInput!) { signalExecution(input: $i) { errors { code message } } }"
LIST = """query ($after: String) { executions(first: 2, after: $after, filter: {workflowName: ["hello"]}) {
  edges { node { id status } } pageInfo { hasNextPage endCursor } } }"""


async def test_create_and_run(stack):
    name = await stack.publish(HELLO)

    execution = await stack.finished(await stack.enqueue(name, {"who": "ann"}))

    assert execution["status"] == "COMPLETED"
    assert execution["output"] == {"text": "hello ann", "count": 2}


async def test_view_steps_and_pages_of_executions(stack):
    name = await stack.publish(HELLO)
    ids = [await stack.enqueue(name) for _ in range(3)]
    execution = await stack.finished(ids[0])

    first = (await stack.ask(LIST))["executions"]
    second = (await stack.ask(LIST, after=first["pageInfo"]["endCursor"]))["executions"]

    assert {step["stepKey"]: step["status"] for step in execution["steps"]} == {
        "ask": "COMPLETED", "left": "COMPLETED", "right": "COMPLETED", "never": "SKIPPED", "both": "COMPLETED",
    }  # fmt: skip
    seen = [edge["node"]["id"] for page in (first, second) for edge in page["edges"]]
    assert seen == ids[::-1]
    assert (first["pageInfo"]["hasNextPage"], second["pageInfo"]["hasNextPage"]) == (True, False)


async def test_live_updates_have_no_gap_and_go_on_from_a_cursor(stack):
    name = await stack.publish(HELLO)
    execution = await stack.enqueue(name)

    live = await stack.watch(execution)
    again = await stack.watch(execution, after=live[3]["cursor"])

    assert [event["sequence"] for event in live] == [str(n) for n in range(1, len(live) + 1)]
    assert live[-1]["type"] == "EXECUTION_COMPLETED"
    assert again == live[4:]


async def test_data_flows_from_step_to_step_and_keeps_its_type(stack):
    execution = await stack.finished(await stack.enqueue(await stack.publish(HELLO), {"who": "bo"}))

    outputs = {step["stepKey"]: step["output"] for step in execution["steps"]}
    assert outputs["right"] == {"twice": 2}
    assert outputs["both"] == {"text": "hello bo"}


async def test_the_history_shows_order_and_parallel_branches(stack):
    execution = await stack.finished(await stack.enqueue(await stack.publish(HELLO)))

    events = [edge["node"] for edge in execution["events"]["edges"]]
    place = {(event["type"], event["stepKey"]): index for index, event in enumerate(events)}
    assert (
        place["STEP_COMPLETED", "ask"]
        < place["STEP_STARTED", "left"]
        < place["STEP_COMPLETED", "right"]
    )
    assert place["STEP_STARTED", "right"] < place["STEP_COMPLETED", "left"]
    assert (
        max(place["STEP_COMPLETED", "left"], place["STEP_COMPLETED", "right"])
        < place["STEP_STARTED", "both"]
    )
    assert events[0]["type"] == "EXECUTION_QUEUED"


async def test_a_cancelled_execution_ends_and_a_retry_goes_on(stack):
    name = await stack.publish(
        "name: slow\nversion: 1.0.0\nsteps:\n  - {id: a, uses: core.noop@1}\n"
        "  - {id: b, type: wait, depends_on: [a], signal: go}\n"
    )
    execution = await stack.enqueue(name)
    await stack.until(execution, "STEP_STARTED", "b")

    cancelled = await stack.ask(CANCEL, i={"executionId": execution, "reason": "no longer wanted"})
    ended = await stack.finished(execution, 10)
    again = await stack.ask(RETRY, i={"executionId": execution})
    await stack.ask(SIGNAL, i={"executionId": execution, "name": "go"})
    done = await stack.finished(execution, 10)

    assert cancelled["cancelExecution"]["execution"]["status"] in {"CANCELLING", "CANCELLED"}
    assert ended["status"] == "CANCELLED"
    assert again["retryExecution"]["errors"] == []
    assert (done["status"], done["generation"]) == ("COMPLETED", 1)
    events = [edge["node"] for edge in done["events"]["edges"]]
    started = [event["stepKey"] for event in events if event["type"] == "STEP_STARTED"]
    assert started == ["a", "b", "b"], "what was completed is not run again"


async def test_the_same_key_starts_one_execution(stack):
    name = await stack.publish(HELLO)

    first = await stack.enqueue(name, {"who": "ann"}, idempotencyKey="order-1")
    second = await stack.enqueue(name, {"who": "ann"}, idempotencyKey="order-1")

    assert first == second

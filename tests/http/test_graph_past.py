"""Time travel: `execution(id, at:)` is, at every event after which somebody looked, what was shown then."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.http.serving import EVENTS, Served, asking, working
from tests.support.steps import CALLS

LIFE = json.dumps(
    {
        "name": "greet",
        "version": "1.0.0",
        "params": {"name": {"type": "string"}},
        "steps": [
            {"id": "first", "uses": "core.set@1", "with": {"n": 1}},
            {"id": "left", "uses": "core.noop@1", "when": "steps.first.output.n == 2", "depends_on": "first"},
            {"id": "bell", "type": "wait", "signal": "go", "timeout": "1h", "depends_on": "first"},
            {"id": "call", "uses": "probe.once@1", "with": {"marker": "life", "value": "{{ steps.bell.output }}"},
             "depends_on": "bell"},
            {"id": "end", "uses": "core.fail@1", "with": {"message": "no"}, "depends_on": "call"},
        ],
    }
)  # fmt: skip
ALL = """
  id status generation priority namespace error { type message stepKey retryable details } input output
  waitingFor { kind until } createdAt startedAt finishedAt duration cost { amount }
  steps { id stepKey type status attempt maxAttempts attempts { attempt status startedAt finishedAt
    error { type message } workerId code codeHash } input output inputHash outputHash codeHash skipReason workerId
    startedAt finishedAt duration error { type message } execution { status generation } }
  step(key: "call") { status } stepsConnection(first: 2) { totalCount edges { node { status } } }
  last: events(first: 500) { edges { node { sequence type } } }"""
BLOCKED = "blockedBy { cause stepKey } steps { blockedBy { cause since until summary steps signal actor { subject } } }"
NOW = f"query Now($id: ID!) {{ execution(id: $id) {{ {ALL} }} }}"
THEN = f"query Then($id: ID!, $at: BigInt) {{ execution(id: $id, at: $at) {{ {ALL} }} }}"
NOW_BLOCKED = f"query Now($id: ID!) {{ execution(id: $id) {{ {BLOCKED} }} }}"
THEN_BLOCKED = (
    f"query Then($id: ID!, $at: BigInt) {{ execution(id: $id, at: $at) {{ {BLOCKED} }} }}"
)


class Watch:
    """Looks at an execution after chosen events, and remembers what it saw."""

    def __init__(self, server: Served, listener: Any, execution_id: str) -> None:
        self.server, self.listener, self.id = server, listener, execution_id
        self.seen: dict[int, Any] = {}
        self.blocked: dict[int, Any] = {}
        self._after = "0"

    async def look(self, *, blocked: bool = False) -> None:
        """Remember what is shown now."""
        found = await self._answer(NOW, {"id": self.id})
        at = int(found["last"]["edges"][-1]["node"]["sequence"])
        self.seen[at] = found
        if blocked:
            self.blocked[at] = await self._answer(NOW_BLOCKED, {"id": self.id})

    async def after(self, kind: str) -> None:
        """Wait until the next event of a kind is told of."""
        asked = asking(EVENTS, {"id": self.id, "after": self._after})
        async for answer in self.listener.subscribe(asked):
            self._after = answer["executionEvents"]["cursor"]
            if answer["executionEvents"]["type"] == kind:
                return

    async def then(self, at: int, query: str = THEN) -> Any:
        return await self._answer(query, {"id": self.id, "at": at})

    async def _answer(self, query: str, variables: dict[str, Any]) -> Any:
        body = (await self.server.ask(query, variables)).body
        assert "errors" not in body, body
        return body["data"]["execution"]


async def change(server: Served, mutation: str, kind: str, **given: Any) -> None:
    """One mutation, accepted."""
    query = (
        f"mutation M($input: {kind}!) {{ {mutation}(input: $input) {{ errors {{ message }} }} }}"
    )
    body = (await server.ask(query, {"input": given})).body
    assert body["data"][mutation]["errors"] == []


async def lived(server: Served, listener: Any, execution_id: str) -> Watch:
    """What was seen of an execution that waited, was paused, made a call, failed, and was retried."""
    watch, one = Watch(server, listener, execution_id), {"executionId": execution_id}
    await watch.look()
    async with working(server.rt):
        await watch.after("EXECUTION_WAITING")
        await watch.look(blocked=True)
        await change(server, "pauseExecution", "ExecutionActionInput", **one)
        await watch.after("EXECUTION_WAITING")
        await watch.look(blocked=True)
        await change(server, "resumeExecution", "ExecutionActionInput", **one)
        await watch.after("EXECUTION_WAITING")
        await watch.look(blocked=True)
        await change(server, "signalExecution", "SignalExecutionInput", **one, name="go", payload=7)
        await watch.after("STEP_CALL_ANNOUNCED")
        await watch.look(blocked=True)
        CALLS.gates["life"].set()
        await watch.after("EXECUTION_FAILED")
        await watch.look(blocked=True)
        await change(server, "retryExecution", "RetryExecutionInput", **one, reason="again")
        await watch.after("EXECUTION_FAILED")
        await watch.look(blocked=True)
    return watch


async def test_at_every_event_it_is_what_was_shown_then(server: Served) -> None:
    CALLS.clear()
    await server.publish(LIFE)
    async with server.client() as session, server.listener() as listener:
        watch = await lived(server, listener, await server.enqueue(session))

    assert len(watch.seen) == 7
    for at, shown in watch.seen.items():
        assert await watch.then(at) == shown
    for at, shown in watch.blocked.items():
        assert await watch.then(at, THEN_BLOCKED) == shown
    # Each event has a past, also those that nobody saw alone; they don't go back in time.
    sizes = [len((await watch.then(at))["last"]["edges"]) for at in range(1, max(watch.seen) + 1)]
    assert sizes == list(range(1, max(watch.seen) + 1))


@pytest.mark.parametrize(("at", "reason"), [(0, "UNKNOWN_SEQUENCE"), (2, "UNKNOWN_SEQUENCE")])
async def test_an_event_that_there_is_not_is_refused_with_those_that_there_are(
    tenant_server: Served, at: int, reason: str
) -> None:
    await tenant_server.publish()
    async with tenant_server.client() as session:
        execution_id = await tenant_server.enqueue(session)

    (error,) = (await tenant_server.ask(THEN, {"id": execution_id, "at": at})).body["errors"]

    assert error["extensions"]["reason"] == reason
    assert error["message"].endswith("its events are numbered from 1 to 1.")


async def test_what_is_not_kept_or_not_ones_own_has_no_past(tenant_server: Served) -> None:
    await tenant_server.publish()
    async with tenant_server.client() as session:
        execution_id = await tenant_server.enqueue(session)
    stranger = tenant_server.bearer(tenant="somebody-else")

    foreign = await tenant_server.ask(THEN, {"id": execution_id, "at": 1}, **stranger)
    gone = await tenant_server.ask(THEN, {"id": "01930000-0000-7000-8000-00000000ffff", "at": 1})

    assert foreign.codes == gone.codes == ["NOT_FOUND"]


async def test_logs_have_no_past(tenant_server: Served) -> None:
    await tenant_server.publish()
    async with tenant_server.client() as session:
        execution_id = await tenant_server.enqueue(session)
    query = "query($id: ID!) { execution(id: $id, at: 1) { status logs { edges { cursor } } } }"

    answer = await tenant_server.ask(query, {"id": execution_id})

    (error,) = answer.body["errors"]
    assert (error["extensions"]["reason"], error["path"]) == ("NO_PAST", ["execution", "logs"])


async def test_a_download_of_the_past_is_the_one_of_that_event(server: Served) -> None:
    CALLS.clear()
    await server.publish(LIFE)
    async with server.client() as session, server.listener() as listener:
        watch = await lived(server, listener, await server.enqueue(session))
    path = f"/api/executions/{watch.id}/steps/bell/output?at="
    begun, ended = min(watch.seen), max(watch.seen)

    early = await server.request("GET", f"{path}{begun}", headers=server.bearer())
    late = await server.request("GET", f"{path}{ended}", headers=server.bearer())
    wrong = await server.request("GET", f"{path}soon", headers=server.bearer())

    assert (early.status, late.status, late.body, wrong.status) == (404, 200, 7, 400)

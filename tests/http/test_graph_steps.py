"""The steps of what is over are read in columns, and in no other way is anything else said of them."""

from __future__ import annotations

import json
from typing import Any
from uuid import UUID

import asyncpg
import orjson
import pytest

from runtime.identity.development import DevIssuer
from runtime.model.step_table import StepTable
from runtime.services.execution import ExecutionService
from runtime.store.execution_record import ExecutionRecords
from subgraph.context import Door, Trace
from subgraph.document.documents import Documents, Operation
from subgraph.schema.build import build_schema
from tests.http.serving import EVENTS, Served, asking, working
from tests.support.steps import CALLS

LIFE = json.dumps(
    {
        "name": "greet",
        "version": "1.0.0",
        "params": {"failures": {"type": "integer"}, "stop": {"type": "boolean"}},
        "steps": [
            {"id": "first", "uses": "core.set@1", "with": {"n": 1}},
            {"id": "left", "uses": "core.noop@1", "when": "steps.first.output.n == 2", "depends_on": "first"},
            {"id": "flaky", "uses": "probe.flaky@1", "retry": {"max_attempts": 3, "initial": "1ms"},
             "with": {"marker": "life", "failures": "{{ params.failures }}"}},
            {"id": "end", "uses": "core.fail@1", "with": {"message": "no"}, "when": "params.stop", "depends_on": "flaky"},
        ],
    }
)  # fmt: skip
COLUMNS = """id stepKey mapIndex type status attempt maxAttempts skipReason workerId inputHash outputHash code codeHash
  startedAt finishedAt duration __typename again: status"""
IN_COLUMNS = f"query Steps($id: ID!) {{ execution(id: $id) {{ id steps {{ {COLUMNS} }} }} }}"
WHOLE = f"""query Steps($id: ID!) {{ execution(id: $id) {{ steps {{ {COLUMNS} input output error {{ message }}
  cost {{ amount }} attempts {{ attempt status startedAt finishedAt error {{ message }} }} blockedBy {{ cause }} }} }} }}"""


async def ended(server: Served, listener: Any, execution_id: str) -> str:
    """Wait for an end."""
    async for _ in listener.subscribe(asking(EVENTS, {"id": execution_id})):
        pass
    return execution_id


class Both:
    """Asks the plan and the library the same, and wants the same answer, by bytes."""

    def __init__(self, server: Served) -> None:
        self.server = server
        self.reasons: list[str] = []
        self.alone = build_schema()
        self.planned = build_schema(compiled=True, fell_back=self.reasons.append)
        self.documents = Documents(self.alone)

    async def ask(self, query: str, execution_id: str) -> list[dict[str, Any]]:
        rt = self.server.rt
        token = DevIssuer.open(rt.settings.home, rt.clock).issue(
            tenant="default", subject="alice", roles=["admin"]
        )
        door = Door(rt)
        who = await door.admit({"authorization": f"Bearer {token}"})
        operation = self.documents.operation(query, None, {"id": execution_id})
        assert isinstance(operation, Operation)
        answers = []
        for schema in (self.alone, self.planned):
            result = await schema.execute(
                query,
                variable_values={"id": execution_id},
                context_value=door.context(who, operation.document, Trace(id="0" * 32)),
            )
            assert result.errors is None
            answers.append(orjson.dumps(result.data))
        assert answers[0] == answers[1]
        assert self.reasons == []
        steps: list[dict[str, Any]] = orjson.loads(answers[0])["execution"]["steps"]
        return steps


async def test_steps_are_the_same_however_they_are_read(
    server: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    CALLS.clear()
    await server.publish(LIFE)
    by_name: dict[str, str] = {}
    async with server.client() as session, server.listener() as listener:
        async with working(server.rt):
            for name, given in {
                "plain": {"failures": 0, "stop": False},
                "tried_again": {"failures": 1, "stop": False},
                "failed": {"failures": 0, "stop": True},
                "retried": {"failures": 0, "stop": True},
            }.items():
                started = await server.enqueue(session, input=given)
                by_name[name] = await ended(server, listener, started)
            retry = "mutation M($id: ID!) { retryExecution(input: {executionId: $id}) { errors { message } } }"
            await server.ask(retry, {"id": by_name["retried"]})
            await ended(server, listener, by_name["retried"])
        by_name["queued"] = await server.enqueue(session, input={"failures": 0, "stop": False})
    both = Both(server)
    full: list[str] = []
    long: list[str] = []
    steps, attempts = ExecutionService.steps, ExecutionRecords.attempts

    async def noted(self: Any, who: Any, ids: Any) -> Any:
        full.extend(map(str, ids))
        return await steps(self, who, ids)

    async def with_events(self: Any, tenant: Any, ids: Any) -> Any:
        long.extend(map(str, ids))
        return await attempts(self, tenant, ids)

    monkeypatch.setattr(ExecutionService, "steps", noted)
    monkeypatch.setattr(ExecutionRecords, "attempts", with_events)

    found = {name: await both.ask(IN_COLUMNS, one) for name, one in by_name.items()}
    in_columns, by_rows = [full.count(one) for one in by_name.values()], list(long)
    whole = {name: await both.ask(WHOLE, one) for name, one in by_name.items()}

    # The library always asks for objects; the plan does where rows alone, or one row for each step, don't say it.
    assert in_columns == [1, 2, 2, 2, 2]
    assert {by_name[name] for name in ("failed", "retried", "queued")} == set(by_rows)
    assert set(long) == set(by_rows)
    statuses = {name: [step["status"] for step in steps] for name, steps in found.items()}
    assert statuses == {
        "plain": ["COMPLETED", "SKIPPED", "COMPLETED", "SKIPPED"],
        "tried_again": ["COMPLETED", "SKIPPED", "COMPLETED", "SKIPPED"],
        "failed": ["COMPLETED", "SKIPPED", "COMPLETED", "FAILED"],
        "retried": ["COMPLETED", "SKIPPED", "COMPLETED", "FAILED"],
        "queued": ["READY", "PENDING", "READY", "PENDING"],
    }
    assert [step["attempt"] for step in found["tried_again"]] == [1, 0, 2, 0]
    assert found["plain"][1]["skipReason"]
    again = whole["tried_again"][2]
    first, newest = (one["startedAt"] for one in again["attempts"])
    assert again["startedAt"] == first < newest
    shown = '{ __type(name: "StepExecution") { fields { name description } } }'
    fields = (await server.ask(shown)).body["data"]["__type"]["fields"]
    said = {field["name"]: field["description"] for field in fields}
    assert said["startedAt"] == "When the first of its attempts started."
    assert said["duration"].startswith("From the start of its first attempt to its end")


async def test_a_duration_in_columns_is_rounded_as_it_is_of_a_step(
    server: Served, worker: None
) -> None:
    steps = [{"id": f"s{n}", "uses": "core.noop@1"} for n in range(64)]
    await server.publish(json.dumps({"name": "greet", "version": "1.0.0", "steps": steps}))
    async with server.client() as session, server.listener() as listener:
        one = await ended(server, listener, await server.enqueue(session, input={}))
    connection = await asyncpg.connect(server.rt.settings.database_url)
    # Halves of a millisecond; then days; the last one ends before it began.
    await connection.execute(
        """update maestro.step_executions set started_at = '2026-03-28T23:59:59.9995Z', finished_at =
             '2026-03-28T23:59:59.9995Z'::timestamptz + case when step = 63 then '-1 s' when step > 50 then
             make_interval(secs => step * 86399.9995) else make_interval(secs => step * 0.0005) end
            where execution_id = $1""",
        one,
    )
    await connection.close()

    found = await Both(server).ask(IN_COLUMNS, one)

    assert [step["duration"] for step in found[:7]] == [
        "PT0S", "PT0S", "PT0.001S", "PT0.002S", "PT0.002S", "PT0.002S", "PT0.003S",
    ]  # fmt: skip
    assert found[63]["duration"] == "PT0S"
    assert found[51]["finishedAt"] > found[51]["startedAt"] == "2026-03-28T23:59:59.999500Z"


@pytest.mark.parametrize(
    "change",
    [
        "update maestro.workflow_executions set generation = 1 where id = $1",
        "update maestro.workflow_executions set status = 4 where id = $1",
        "update maestro.step_executions set finished_at = 'infinity' where execution_id = $1 and step = 1",
        "update maestro.step_executions set step = 0, attempt = 2 where execution_id = $1 and step = 1",
        "delete from maestro.step_executions where execution_id = $1 and step = 1",
    ],
)
async def test_there_is_a_table_only_where_rows_alone_say_everything(
    server: Served, worker: None, change: str
) -> None:
    await server.publish()
    async with server.client() as session, server.listener() as listener:
        one = await ended(server, listener, await server.enqueue(session))
    token = DevIssuer.open(server.rt.settings.home, server.rt.clock).issue(
        tenant="default", subject="a", roles=["admin"]
    )
    who = await Door(server.rt).admit({"authorization": f"Bearer {token}"})
    read, key = server.rt.services.executions.step_tables, UUID(one)

    before = (await read(who, [key], frozenset()))[key]
    connection = await asyncpg.connect(server.rt.settings.database_url)
    await connection.execute(change, key)
    await connection.close()
    after = (await read(who, [key], frozenset()))[key]

    assert isinstance(before, StepTable)
    assert isinstance(after, tuple)


async def test_columns_of_another_tenant_are_not_read(server: Served, worker: None) -> None:
    await server.publish()
    async with server.client() as session, server.listener() as listener:
        one = await ended(server, listener, await server.enqueue(session))
    rt, door = server.rt, Door(server.rt)
    issuer = DevIssuer.open(rt.settings.home, rt.clock)
    names = ("default", "somebody-else")
    tokens = [issuer.issue(tenant=each, subject="a", roles=["admin"]) for each in names]
    await server.ask("{ __typename }", **server.bearer(tenant="somebody-else"))
    own, other = [await door.admit({"authorization": f"Bearer {each}"}) for each in tokens]
    executions = rt.services.executions
    key = UUID(one)

    assert set(await executions.step_tables(own, [key], frozenset())) == {key}
    assert await executions.step_tables(other, [key], frozenset()) == {}


SAME_FRAGMENT = """query($id: ID!) {
  executions(first: 1) { x: edges { node { ...F steps { output } } } y: edges { node { ...F } } }
  refused: execution(id: $id) { events(first: 5000) { edges { cursor } } } }
fragment F on Execution { steps { status } }"""


async def test_a_column_alone_and_fields_that_share_a_fragment_have_their_own_answers(
    server: Served, worker: None
) -> None:
    await server.publish()
    async with server.client() as session, server.listener() as listener:
        one = await ended(server, listener, await server.enqueue(session))
    names = COLUMNS.replace("again: ", "").split()
    both = Both(server)

    alone = [
        await both.ask(f"query($id: ID!) {{ execution(id: $id) {{ steps {{ {name} }} }} }}", one)
        for name in names
    ]
    shared = await server.ask(SAME_FRAGMENT, {"id": one})

    assert len({len(steps) for steps in alone}) == 1
    (x,), (y,) = shared.body["data"]["executions"].values()
    assert [step.keys() for step in x["node"]["steps"]] == [{"status", "output"}] * len(alone[0])
    assert [step.keys() for step in y["node"]["steps"]] == [{"status"}] * len(alone[0])
    assert [error["path"][0] for error in shared.body["errors"]] == ["refused"]

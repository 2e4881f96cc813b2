"""The stack of a step's failure is shown by scope, without secrets, and stands nowhere but where it is shown."""

from __future__ import annotations

import json
from typing import Any

import asyncpg
import pytest
from gql import gql

from tests.http.serving import EVENTS, Served, asking

BREAK = """
name: break
version: 1.0.0
steps:
  - {id: call, uses: probe.broken@1, with: {item: "{{ secrets.TOKEN }}"}, retry: {max_attempts: 2, initial: 1ms}}
"""
FAIL = """
name: break
version: 1.0.0
steps:
  - {id: call, uses: core.fail@1, with: {message: as asked}}
"""
LOOK = """query ($id: ID!) { execution(id: $id) {
  error { type message stepKey stack }
  steps { stepKey error { message details stack } attempts { error { message stack } } }
  events { edges { node { type data } } }
  logs { edges { node { message fields stack } } } } }"""
_LOGS = gql(
    'subscription ($id: ID!) { executionLogs(id: $id, stepKey: "call") { message fields stack } }'
)
CANARY = "hunter2hunter2"
PLACE = 'File "tests/support/steps.py", line '
BEGIN = "Traceback (most recent call last)"
TOLD = "LookupError: no *** here"


@pytest.fixture
def home(home):
    """With a secret for steps."""
    file = home / "secrets.yaml"
    file.write_text(f"TOKEN: {CANARY}\n", encoding="utf-8")
    file.chmod(0o600)
    return home


async def broken(server: Served, source: str = BREAK) -> str:
    """An execution that failed in its only step; its id."""
    await server.publish(source, "break")
    async with server.client() as session, server.listener() as listener:
        one = await server.enqueue(session, workflowName="break", input={})
        async for answer in listener.subscribe(asking(EVENTS, {"id": one})):
            assert answer["executionEvents"]
    return one


async def look(server: Served, one: str, role: str | None, **more: Any) -> dict[str, Any]:
    answer = await server.ask(LOOK, {"id": one}, **server.bearer(role, **more))
    assert "errors" not in answer.body
    found: dict[str, Any] = answer.body["data"]["execution"]
    return found


async def lines(server: Served, one: str, role: str) -> list[dict[str, Any]]:
    async with server.listener(role) as listener:
        found = listener.subscribe(asking(_LOGS, {"id": one}))
        return [answer["executionLogs"] async for answer in found]


async def test_who_may_debug_sees_where_it_was_raised(server: Served, worker: None):
    one = await broken(server)

    found = await look(server, one, "operator")

    (call,) = found["steps"]
    stacks = [call["error"]["stack"], *(each["error"]["stack"] for each in call["attempts"])]
    assert len(stacks) == 3
    for stack in stacks:
        assert PLACE in stack
        assert "in _look_up" in stack
        assert stack.endswith(TOLD)
    assert found["error"]["stack"] == stacks[0]
    logged = [edge["node"] for edge in found["logs"]["edges"]]
    assert [(line["fields"], line["stack"]) for line in logged] == [(None, stacks[0])] * 2
    assert await lines(server, one, "operator") == logged
    by_scope = await look(server, one, None, scopes=("executions:read", "executions:debug"))
    assert by_scope == found


async def test_who_may_only_read_sees_class_and_message(server: Served, worker: None):
    one = await broken(server)

    found = await look(server, one, "viewer")

    (call,) = found["steps"]
    followed = await lines(server, one, "viewer")
    assert call["error"]["message"] == TOLD
    assert [each["error"]["stack"] for each in (call, *call["attempts"])] == [None] * 3
    assert found["error"]["stack"] is None
    assert [(line["fields"], line["stack"]) for line in followed] == [(None, None)] * 2
    assert BEGIN not in json.dumps([found, followed])


async def test_a_connector_that_comes_with_the_engine_has_none(server: Served, worker: None):
    one = await broken(server, FAIL)

    found = await look(server, one, "admin")

    assert found["steps"][0]["error"]["message"] == "as asked"
    assert found["steps"][0]["error"]["stack"] is None


async def test_it_stands_in_the_rows_of_attempts_and_lines_alone(
    server: Served, worker: None, database_url: str
):
    one = await broken(server)

    connection = await asyncpg.connect(database_url, server_settings={"search_path": "maestro"})
    tables = await connection.fetch(
        "select c.relname from pg_class c join pg_namespace n on n.oid = c.relnamespace"
        " where n.nspname = 'maestro' and c.relkind in ('r', 'p') and not c.relispartition"
    )
    having = set()
    for (table,) in tables:
        text = await connection.fetchval(
            f"select string_agg(to_jsonb(t)::text, ' ') from {table} t"
        )
        assert CANARY not in (text or "")
        if BEGIN in (text or ""):
            having.add(table)
    await connection.close()

    assert having == {"step_executions", "step_logs"}
    assert CANARY not in json.dumps(await look(server, one, "admin"))

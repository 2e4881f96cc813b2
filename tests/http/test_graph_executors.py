"""Our own graph over real rows: plans and Strawberry alone answer alike, on operations made up at random."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from random import Random
from typing import Any

import orjson
import pytest

from runtime.identity.development import DevIssuer
from runtime.model.errors import SetupError
from runtime.settings import Settings
from subgraph.app import create_app
from subgraph.context import Door, Trace
from subgraph.document.documents import Documents, Operation
from subgraph.schema.build import build_schema
from tests.http.serving import EVENTS, Served, asking, listening
from tests.property.queries import Queries

OPERATIONS = 120
# What is no stored fact (a document's text by itself, what a simulation says of the time), takes long, or is another
# with every look.
LEFT_OUT = frozenset(
    {"validateWorkflow", "simulateWorkflow", "_service", "backlogAge", "token", "expiresAt"}
)


async def seeded(server: Served) -> dict[str, list[Any]]:
    """Executions, one of them at its end, and what the operations may ask for, by the name of an argument."""
    workflow_id = await server.publish()
    async with server.client() as session, server.listener() as listener:
        ids = [await server.enqueue(session, idempotencyKey=key) for key in ("k1", "k2")]
        async for _ in listener.subscribe(asking(EVENTS, {"id": ids[0]})):
            pass
    found = await server.ask('{ workflow(name: "greet") { currentVersion { id } } }')
    version_id = found.body["data"]["workflow"]["currentVersion"]["id"]
    nodes = [*ids, f"{ids[0]}.s.1", workflow_id, version_id, "nothing"]
    return {
        "id": [*ids, "nothing"],
        "ids": [nodes, nodes[:2]],
        "workflowId": [workflow_id],
        "name": ["greet", "nobody"],
        "key": ["k1", "hello", "none"],
        "at": [None, None, 1, 3, 99],
        "first": [1, 2, 50],
        "last": [1],
        "after": [None, "1"],
        "from": ["1.0.0"],
        "to": ["1.0.0"],
        "version": ["1.0.0", "2.0.0"],
        "representations": [
            [
                {"__typename": "Execution", "id": ids[0]},
                {"__typename": "Workflow", "name": "greet"},
                {"__typename": "WorkflowVersion", "id": version_id},
                {"__typename": "StepExecution", "id": f"{ids[1]}.s.0"},
            ],
            [{"__typename": "Execution", "id": ids[1]}, {"__typename": "Execution", "id": "x"}],
        ],
    }


async def test_both_executors_answer_our_own_graph_alike(server: Served, worker: None) -> None:
    known = await seeded(server)
    reasons: list[str] = []
    alone, planned = build_schema(), build_schema(compiled=True, fell_back=reasons.append)
    documents, door = Documents(alone), Door(server.rt)
    issuer = DevIssuer.open(server.rt.settings.home, server.rt.clock)
    token = issuer.issue(tenant="default", subject="alice", roles=["admin"])
    who = await door.admit({"authorization": f"Bearer {token}"})

    def values(path: str, random: Random) -> Any:
        name = path.rpartition(".")[2]
        if path.endswith("node.id"):
            return random.choice(known["ids"][0])
        return random.choice(known[name]) if name in known else None

    async def answer(schema: Any, operation: Operation, text: str, given: Mapping[str, Any]) -> Any:
        result = await schema.execute(
            text,
            variable_values=dict(given),
            context_value=door.context(who, operation.document, Trace(id="0" * 32)),
        )
        errors = {orjson.dumps(each.formatted) for each in result.errors or ()}
        return orjson.dumps(result.data, default=str), errors

    asked = without_error = 0
    for seed in range(OPERATIONS):
        made = Queries(alone._schema, Random(seed), values, LEFT_OUT).query()
        operation = documents.operation(made.text, None, made.variables)
        if not isinstance(operation, Operation):
            continue
        expected, errors = await answer(alone, operation, made.text, made.variables)
        reasons.clear()
        found, seen = await answer(planned, operation, made.text, made.variables)
        asked += 1
        without_error += not errors

        assert found == expected, made
        # A null that goes up ends what runs beside it, so how many errors were seen before is a matter of time.
        assert bool(seen) == bool(errors), made
        assert seen <= errors or errors <= seen, made
        assert errors or reasons == [], made

    assert asked > OPERATIONS / 2
    assert without_error > asked / 4


@pytest.mark.parametrize(("executor", "counted"), [("compiled", 1.0), ("strawberry", None)])
async def test_who_executes_is_a_setting_and_fallbacks_are_counted(
    server: Served, executor: str, counted: float | None
) -> None:
    settings = server.rt.settings
    chosen = replace(settings, api=replace(settings.api, executor=executor))
    body = {"query": "{ __schema { queryType { name } } }"}

    async with listening(create_app(replace(server.rt, settings=chosen))) as url:
        there = Served(server.rt, url)
        answer = await there.request("POST", "/graphql", json=body, headers=there.bearer())

    assert answer.body == {"data": {"__schema": {"queryType": {"name": "Query"}}}}
    found = server.rt.metrics.registry.get_sample_value(
        "maestro_graphql_fallbacks_total", {"reason": "introspection"}
    )
    assert found == counted


def test_an_executor_that_there_is_not_is_refused() -> None:
    with pytest.raises(SetupError, match="MC_EXECUTOR must be one of compiled, strawberry"):
        Settings.from_env({"MC_EXECUTOR": "fast"})

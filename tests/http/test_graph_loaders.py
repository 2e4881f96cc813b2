"""No list costs a statement per row: what hangs on many rows is read for all of them at once."""

from __future__ import annotations

import gc
import threading
from collections.abc import Callable
from typing import Any

import asyncpg
import pytest

from resolvers import dataloaders
from resolvers.batch import Batch
from runtime.definition import Validation, compile_plan
from runtime.model.identity import Principal
from runtime.model.plan import Plan
from runtime.model.values import Digest
from runtime.services.workflow import WorkflowService
from runtime.store.execution_row import ExecutionRow
from tests.http.serving import EVENTS, GREET, Served, asking, working

DEEP = """query($first: Int) { executions(first: $first) { edges { node {
  id workflow { name currentVersion { version } draft { digest } } workflowVersion { digest }
  blockedBy { cause } steps { stepKey execution { id } blockedBy { cause position } }
  step(key: "hello") { status } } } } }"""


_UNCOUNTED = ("set_config('mc.tenant'", "mc_beat_", "mc_bury_")


@pytest.fixture
def statements(monkeypatch: pytest.MonkeyPatch) -> Callable[[], int]:
    """How many statements PostgreSQL was sent since the fixture was asked last.

    Those of this test's own loop: the lasting API of the other tests works in a thread of its own meanwhile.
    Telling a connection its tenant is not counted: how many connections are in use is not a matter of the rows. Nor is
    what a worker asks by the clock, beside whatever is asked of the graph.
    """
    sent: list[str] = []
    here = threading.get_ident()
    original = asyncpg.Connection._execute

    async def counted(self: Any, query: str, *arguments: Any, **more: Any) -> Any:
        if threading.get_ident() == here and not any(one in query for one in _UNCOUNTED):
            sent.append(query)
        return await original(self, query, *arguments, **more)

    monkeypatch.setattr(asyncpg.Connection, "_execute", counted)

    def count() -> int:
        found = len(sent)
        print(found, *sent, sep="\n")  # noqa: T201 - pytest shows it where the number was not the expected one
        sent.clear()
        return found

    return count


async def test_ten_executions_cost_the_statements_of_one(
    server: Served, statements: Callable[[], int]
) -> None:
    for name in ("greet", "meet", "treat"):
        await server.publish(GREET.replace("name: greet", f"name: {name}", 1), name)
    async with server.client() as session:
        for n in range(12):
            await server.enqueue(session, workflowName=("greet", "meet", "treat")[n % 3])
    await server.ask(DEEP, {"first": 12})

    counts = []
    for first in (1, 12):
        statements()
        answer = await server.ask(DEEP, {"first": first})
        counts.append(statements())
        assert len(answer.body["data"]["executions"]["edges"]) == first
        assert "errors" not in answer.body

    assert counts[0] == counts[1]
    assert counts[0] <= 12


ERRS = """query($id: ID!) { executions(first: 12) { edges { node { id
  workflow { name versions { edges { node { version } } } } events(first: 2) { edges { node { type } } }
  steps { stepKey execution { id } } short: steps { stepKey status } } } totalCount }
  execution(id: $id, at: %d) { status events(first: %d) { edges { node { type } } } } }"""


@pytest.mark.parametrize(("at", "first"), [(99, 1), (1, 5_000)])
async def test_what_fails_costs_no_more_statements_than_what_does_not(
    server: Served, statements: Callable[[], int], at: int, first: int
) -> None:
    await server.publish()
    async with server.client() as session, server.listener() as listener, working(server.rt):
        ids = [await server.enqueue(session) for _ in range(12)]
        for each in ids:  # what is over is read in columns
            async for _ in listener.subscribe(asking(EVENTS, {"id": each})):
                pass
    await server.ask(ERRS % (1, 1), {"id": ids[0]})

    statements()
    whole = await server.ask(ERRS % (1, 1), {"id": ids[0]})
    cost = statements()
    failed = await server.ask(ERRS % (at, first), {"id": ids[0]})

    assert "errors" not in whole.body
    assert len(failed.body["errors"]) == 1
    assert failed.body["data"]["executions"] == whole.body["data"]["executions"]
    assert statements() <= cost


async def test_a_difference_is_worked_out_once_per_request(
    server: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = await server.publish()
    asked: list[Any] = []
    diff = WorkflowService.diff

    async def counted(self: Any, who: Principal, *what: Any) -> Any:
        asked.append(what)
        return await diff(self, who, *what)

    monkeypatch.setattr(WorkflowService, "diff", counted)
    same = 'from: "1.0.0", to: "1.0.0"'
    answer = await server.ask(
        f"""{{ workflow(id: "{one}") {{ a: diff({same}) {{ unchanged }} b: diff({same}) {{ unchanged }} }}
        c: workflowDiff(workflowId: "{one}", {same}) {{ unchanged }}
        d: workflowDiff(workflowId: "{one}", from: "1.0.0", to: "9.0.0") {{ unchanged }} }}"""
    )

    assert answer.body["data"]["workflow"]["a"] == answer.body["data"]["c"] == {"unchanged": 2}
    assert answer.body["data"]["d"] is None
    assert [error["path"] for error in answer.body["errors"]] == [["d"]]
    assert len(asked) == 2


async def test_the_numbers_of_a_page_of_workflows_are_read_at_once(
    server: Served, statements: Callable[[], int]
) -> None:
    names = ("greet", "meet", "treat")
    for name in names:
        await server.publish(GREET.replace("name: greet", f"name: {name}", 1), name)
    async with server.client() as session:
        for name, count in zip(names, (0, 1, 2), strict=True):
            for _ in range(count):
                await server.enqueue(session, workflowName=name)
    numbers = "queued completed successRate oldestQueuedAt isPartial cost { amount }"
    listed = f"""query($first: Int) {{ workflows(first: $first, orderBy: {{field: NAME, direction: ASC}}) {{
      edges {{ node {{ name stats {{ {numbers} }} week: stats(window: "P7D") {{ queued }} }} }} }} }}"""
    one = (
        f"query($of: [String!]) {{ executionStats(filter: {{workflowName: $of}}) {{ {numbers} }} }}"
    )
    await server.ask(listed, {"first": 3})

    counts, found = [], []
    for first in (1, 3):
        statements()
        answer = await server.ask(listed, {"first": first})
        counts.append(statements())
        found = [edge["node"] for edge in answer.body["data"]["workflows"]["edges"]]
    alone = [await server.ask(one, {"of": [name]}) for name in names]
    half = await server.ask(
        '{ workflow(name: "treat") { stats { queued } short: stats(window: "PT1M") { queued } } }'
    )

    assert counts[0] == counts[1]
    assert [node["stats"] for node in found] == [
        each.body["data"]["executionStats"] for each in alone
    ]
    assert [node["week"]["queued"] for node in found] == [0, 1, 2]
    assert [error["path"] for error in half.body["errors"]] == [["workflow", "short"]]
    assert half.body["errors"][0]["extensions"]["reason"] == "STATS_WINDOW"


async def test_references_of_a_gateway_are_one_statement_of_each_kind(
    server: Served, statements: Callable[[], int]
) -> None:
    names = [f"greet-{n}" for n in range(4)]
    for name in names:
        await server.publish(GREET.replace("name: greet", f"name: {name}", 1), name)
    async with server.client() as session:
        ids = [await server.enqueue(session, workflowName=name) for name in names]
    look = "{ workflows { edges { node { id currentVersion { id } } } } }"
    nodes = [e["node"] for e in (await server.ask(look)).body["data"]["workflows"]["edges"]]
    references = {
        "Workflow": [{"id": node["id"]} for node in nodes],
        "Workflow by name": [{"name": name} for name in names],
        "WorkflowVersion": [{"id": node["currentVersion"]["id"]} for node in nodes],
        "Execution": [{"id": key} for key in ids],
        "StepExecution": [{"id": f"{key}.s.{n}"} for key in ids for n in (0, 1)],
        "DeadLetter": [{"id": f"{key}.d.0"} for key in ids],
        "BulkOperation": [{"id": f"blk_{key}"} for key in ids],
    }
    query = "query($r: [_Any!]!) { _entities(representations: $r) { __typename } }"

    cost: dict[str, list[int]] = {}
    for kind, keys in references.items():
        asked = [{"__typename": kind.partition(" ")[0], **key} for key in keys]
        for some in (asked[:1], asked):
            await server.ask(query, {"r": some})
            statements()
            await server.ask(query, {"r": some})
            cost.setdefault(kind, []).append(statements())

    # What a step is lies in its execution, its attempts and its events.
    assert cost == {kind: [1, 1] for kind in references} | {"StepExecution": [3, 3]}


async def test_a_version_is_compiled_once_for_all_who_ask_and_a_large_one_elsewhere(
    server: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads: list[threading.Thread] = []

    def compiled(definition: dict[str, Any], digest: Digest) -> Plan:
        threads.append(threading.current_thread())
        return compile_plan(definition, digest)

    await server.publish()
    async with server.client() as session:
        for _ in range(3):
            await server.enqueue(session)
    monkeypatch.setattr(dataloaders, "compile_plan", compiled)
    look = "{ executions { edges { node { workflowVersion { inputSchema steps { key } } } } } }"

    small = await server.ask(look)
    monkeypatch.setattr(dataloaders, "_LARGE", 0)
    large = await server.ask(look)

    assert small.body == large.body
    found = small.body["data"]["executions"]["edges"][2]["node"]["workflowVersion"]
    assert [step["key"] for step in found["steps"]] == ["hello", "shout"]
    assert [thread is threading.current_thread() for thread in threads] == [True, False]


async def test_a_document_is_validated_once_in_a_request_however_often_it_is_asked_for(
    server: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    original = WorkflowService.validate

    async def counted(self: WorkflowService, who: Principal, source: str, *more: Any) -> Validation:
        asked.append(source)
        return await original(self, who, source, *more)

    monkeypatch.setattr(WorkflowService, "validate", counted)
    fields = " ".join(f"a{n}: validateWorkflow(source: $greet) {{ valid }}" for n in range(20))
    query = f"query($greet: String!, $other: String!) {{ {fields} b: validateWorkflow(source: $other) {{ valid }} }}"

    answer = await server.ask(query, {"greet": GREET, "other": "no: workflow"})

    assert answer.body["data"] == {
        **{f"a{n}": {"valid": True} for n in range(20)},
        "b": {"valid": False},
    }
    assert asked == [GREET, "no: workflow"]


async def test_steps_under_several_names_are_read_at_once_and_what_is_refused_stands_at_its_place(
    server: Served, statements: Callable[[], int], worker: None
) -> None:
    await server.publish()
    async with server.client() as session, server.listener() as listener:
        one = await server.enqueue(session)
        async for _ in listener.subscribe(asking(EVENTS, {"id": one})):
            pass
    names = " ".join(
        f"a{n}: steps {{ {field} }}" for n, field in enumerate(("status", "id", "type"))
    )
    counts = []
    for asked in ("steps { status }", names):
        statements()
        answer = await server.ask(
            f"query($id: ID!) {{ execution(id: $id) {{ {asked} }} }}", {"id": one}
        )
        assert "errors" not in answer.body
        counts.append(statements())
    mixed = f"""{{ _entities(representations: [{{__typename: "Execution", id: "{one}"}}]) {{ __typename }}
      workflows {{ totalCount }} }}"""

    refused = await server.ask(mixed, **server.bearer(role=None, scopes=["workflows:read"]))

    assert counts[0] == counts[1]
    assert refused.body["data"] == {"_entities": [None], "workflows": {"totalCount": 1}}
    assert [error["path"] for error in refused.body["errors"]] == [["_entities", 0]]


async def test_what_a_request_has_read_is_gone_with_it(server: Served) -> None:
    """By its count of references: in a circle it would stay until the next look for garbage, seconds later."""
    if server.rt.settings.api.executor == "strawberry":
        pytest.skip("the library's own executor keeps what it read in circles of its own")
    await server.publish(GREET)
    async with server.client() as session:
        one = await server.enqueue(session, workflowName="greet")
        asked: tuple[tuple[str, dict[str, Any]], ...] = (
            (DEEP, {"first": 5}),
            ("query($id: ID!) { execution(id: $id) { id status } }", {"id": one}),
        )
        gc.disable()
        try:
            for query, variables in asked:
                gc.collect()
                answer = await server.ask(query, variables)
                assert "errors" not in answer.body
                kept = [
                    type(each).__name__
                    for each in gc.get_objects()
                    if type(each) in {dataloaders.Loaders, Batch, ExecutionRow}
                ]
                assert kept == []
        finally:
            gc.enable()

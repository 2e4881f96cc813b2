"""`StepExecution.cachedFrom`: whose output a step was given, over the graph."""

from __future__ import annotations

import asyncio
from typing import Any

from tests.http.serving import EVENTS, Served, asking

SOURCE = """
name: cached
steps:
  - {id: a, uses: core.set@1, with: {n: 1}, cache: {ttl: 1h}}
"""
STEPS = """query Steps($id: ID!) { execution(id: $id) {
  events(first: 20) { edges { node { type data } } }
  steps { stepKey status output cachedFrom { executionId stepKey item } } } }"""


async def ran(server: Served, **who: str) -> dict[str, Any]:
    """One execution to its end: its id, and what is shown of it."""
    async with server.client(**who) as session, server.listener(**who) as listener:
        one = await server.enqueue(session, workflowName="cached", input={})
        async for _ in listener.subscribe(asking(EVENTS, {"id": one})):
            pass
    return {"id": one, **(await server.ask(STEPS, {"id": one}, **who)).body["data"]["execution"]}


async def test_a_step_says_whose_output_it_was_given(server: Served, worker: None) -> None:
    await server.publish(SOURCE, "cached")
    first = await ran(server)
    # An entry is written after the commit of what it holds, and nobody waits for that.
    async with asyncio.timeout(20):
        while (found := await ran(server))["steps"][0]["cachedFrom"] is None:
            first = found

    source = {"executionId": found["steps"][0]["cachedFrom"]["executionId"], "stepKey": "a"}
    assert first["steps"][0]["cachedFrom"] is None
    assert found["steps"] == [
        {**first["steps"][0], "cachedFrom": {**source, "item": None}},
    ]
    ends = [e["node"] for e in found["events"]["edges"] if e["node"]["type"] == "STEP_COMPLETED"]
    told = ends[0]["data"]["cached_from"]
    assert told == {"execution": source["executionId"], "step": "a"}

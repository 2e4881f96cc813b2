"""An engine while something is broken: executions that take a while, and calls that may be refused but never hang."""

from __future__ import annotations

import asyncio
from typing import Any

import aiohttp

from tests.support.stack import ENQUEUE, Stack

PATIENCE = 10.0
CHAIN = """
name: chain
version: 1.0.0
params: {n: {type: integer}}
steps:
  - {id: a, uses: core.set@1, with: {n: "{{ params.n }}"}}
  - {id: b, uses: core.sleep@1, depends_on: [a], with: {duration: 1500ms}}
  - {id: c, uses: core.set@1, depends_on: [b], with: {n: "{{ steps.a.output.n }}"}}
  - {id: d, uses: core.sleep@1, depends_on: [c], with: {duration: 1500ms}}
outputs: {n: "{{ steps.c.output.n }}"}
"""


async def ready(stack: Stack) -> tuple[int, dict[str, Any]]:
    async with aiohttp.ClientSession() as session, session.get(f"{stack.mc.url}/readyz") as answer:
        return answer.status, await answer.json()


async def all_end_rightly(stack: Stack, ids: list[str], seconds: float = 60) -> None:
    ended = await asyncio.gather(*(stack.finished(one, seconds) for one in ids))
    assert {one["status"] for one in ended} == {"COMPLETED"}
    assert [one["output"] for one in ended] == [{"n": n} for n in range(len(ids))]
    for one in ended:
        events = [edge["node"]["type"] for edge in one["events"]["edges"]]
        assert events.count("EXECUTION_COMPLETED") == 1
        assert events.count("STEP_COMPLETED") == 4


async def try_to_start(stack: Stack, number: int) -> tuple[str | None, str | None]:
    """An execution, or the code of the refusal; never a wait without end."""
    body = {
        "query": ENQUEUE,
        "variables": {"input": {"workflowName": "chain", "input": {"n": number}}},
    }
    headers = {"Authorization": f"Bearer {stack.token}"}
    async with (
        asyncio.timeout(PATIENCE),
        aiohttp.ClientSession(headers=headers) as session,
        session.post(f"{stack.mc.url}/graphql", json=body) as answer,
    ):
        found = await answer.json()
    if errors := found.get("errors"):
        return None, errors[0]["extensions"]["code"]
    return found["data"]["enqueueExecution"]["execution"]["id"], None

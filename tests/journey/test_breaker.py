"""A target over real HTTP that fails and heals, two worker processes: left alone, probed, called again; nothing is lost by it."""

from __future__ import annotations

import asyncio
import json
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import pytest
from aiohttp import web

from tests.support.listening import listening
from tests.support.processes import Mc
from tests.support.stack import Stack, start_service

LIST = "{ circuitBreakers { connector target state failures } }"
CALL = """
name: caller
version: 1.0.0
params: {url: {type: string}}
steps:
  - id: call
    uses: http.request@1
    with: {url: "{{ params.url }}"}
    retry: {max_attempts: 60, initial: 100ms, max: 500ms}
"""
ATTEMPTS = "query ($id: ID!) { execution(id: $id) { steps { attempts { error { type } } } } }"


@dataclass
class Target:
    """Answers 500 until it is well."""

    url: str = ""
    is_well: bool = False

    async def answer(self, _request: web.Request) -> web.Response:
        return web.json_response({}, status=200 if self.is_well else 500)


@asynccontextmanager
async def open_target() -> AsyncIterator[Target]:
    target = Target()
    async with listening(target.answer) as url:
        target.url = url
        yield target


@pytest.fixture(scope="module")
def service(ground_run, databases, redis_server, tmp_path_factory):
    folder = tmp_path_factory.mktemp("service")
    (folder / "home").mkdir(mode=0o700)
    mc = Mc(home=folder / "home", folder=folder)
    mc.environ |= {"MC_BREAKER_FAILURES": "3", "MC_BREAKER_OPEN": "1s", "MC_BREAKER_LONGEST": "2s"}
    made = ground_run(start_service(mc, databases.clone(), redis_server))
    second = made.running["second"] = mc.start("worker", name="second")
    ground_run(second.printed("worker ready"))
    yield made
    mc.end_all()


async def not_closed(stack: Stack):
    return (await stack.ask(LIST))["circuitBreakers"]


async def is_put_off(stack: Stack, execution: str) -> bool:
    [step] = (await stack.ask(ATTEMPTS, id=execution))["execution"]["steps"]
    return any((one["error"] or {}).get("type") == "breaker.open" for one in step["attempts"])


@pytest.mark.long
async def test_a_target_that_fails_is_left_alone_by_all_workers_and_called_again(stack: Stack):
    workflow = await stack.publish(CALL)
    running = stack.service.running
    async with open_target() as target, asyncio.timeout(150):
        executions = [await stack.enqueue(workflow, {"url": target.url}) for _ in range(8)]
        while not (found := await not_closed(stack)):
            await asyncio.sleep(0.05)
        for execution in executions:
            while not await is_put_off(stack, execution):
                await asyncio.sleep(0.1)
        shown = await stack.mc.run(
            "breakers", "list", "-o", "json", MC_URL=stack.mc.url, MC_TOKEN=stack.token
        )
        # The one that is left knows what the one that leaves has found out.
        assert await running["worker"].stop(signal.SIGTERM) == 0
        still = await not_closed(stack)
        target.is_well = True
        ended = [await stack.finished(execution) for execution in executions]
        while await not_closed(stack):
            await asyncio.sleep(0.05)

    assert [(one["target"], one["failures"]) for one in found] == [(target.url, 3)]
    assert [one["target"] for one in still] == [target.url]
    assert [one["target"] for one in json.loads(shown.stdout)] == [target.url]
    assert {one["status"] for one in ended} == {"COMPLETED"}
    told = running["worker"].output() + running["second"].output()
    assert "breaker_opened" in told
    assert "breaker_closed" in told

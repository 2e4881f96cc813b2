"""The load of lines B, C and T: 3-step executions over HTTP, a thousand per request, for a while.

Everything a user has is on: authentication, tenancy, validation, events, metrics. API, worker and scheduler share
this process, as in `mc dev`; what counts are executions that ended between the first request and the last end.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import aiohttp
import orjson

from benchmarks.surroundings import Surroundings, cpu_seconds, one_process, publish
from maestro_cli.local.parts import address_of, bind, serving
from runtime.bootstrap import Runtime
from runtime.settings import ApiSettings
from runtime.telemetry.metrics import Metrics
from runtime.telemetry.tracing import Tracing
from runtime.worker import signals
from runtime.worker.loop import Worker

NAME = "three-steps"
WORKFLOW = f"""
name: {NAME}
version: 1.0.0
steps:
  - {{id: a, uses: core.noop@1}}
  - {{id: b, uses: core.noop@1, depends_on: [a]}}
  - {{id: c, uses: core.noop@1, depends_on: [b]}}
"""
ENQUEUE = """mutation Enqueue($input: [EnqueueExecutionInput!]!) {
  enqueueExecutions(input: $input) { createdCount errors { code message } } }"""
BATCH = 1000
IN_FLIGHT = 4000
_KEEP_ALIVE_SECONDS = (
    2.0  # Shorter than the server's: on a slow machine it would close what is about to be used.
)


@dataclass(frozen=True, slots=True)
class Drive:
    """What one stretch of load came to."""

    executions: int
    seconds: float
    cpu_seconds: float

    @property
    def per_second(self) -> float:
        """Executions ended per second."""
        return self.executions / self.seconds


class Load:
    """Keeps a few thousand executions in flight."""

    def __init__(
        self, worker: Worker, session: aiohttp.ClientSession, url: str, body: bytes
    ) -> None:
        self._worker = worker
        self._session = session
        self._url = url
        self._body = body

    async def run(self, seconds: float) -> Drive:
        """Enqueue for a while, then let everything end."""
        begin, cpu, accepted, start = time.perf_counter(), cpu_seconds(), 0, self._ended
        while time.perf_counter() - begin < seconds:
            if accepted - (self._ended - start) < IN_FLIGHT:
                await self._post()
                accepted += BATCH
            else:
                await asyncio.sleep(0.005)
        await self._worker.signals.wait(signals.CLOSED, start + accepted, timeout=120)
        return Drive(accepted, time.perf_counter() - begin, cpu_seconds() - cpu)

    @property
    def _ended(self) -> int:
        return self._worker.signals.counts[signals.CLOSED]

    async def _post(self) -> None:
        async with self._session.post(self._url, data=self._body) as answer:
            found = orjson.loads(await answer.read())
        if found["data"]["enqueueExecutions"]["createdCount"] != BATCH:
            raise RuntimeError(str(found))


@asynccontextmanager
async def load(
    around: Surroundings,
    *,
    name: str = NAME,
    metrics: Metrics | None = None,
    tracing: Tracing | None = None,
) -> AsyncIterator[Load]:
    """A running product, warm, and the load on it."""
    async with one_process(around, metrics=metrics, tracing=tracing) as (runtime, worker):
        await publish(runtime, name, WORKFLOW.replace(NAME, name))
        async with _session(runtime) as (session, url):
            variables = {"input": [{"workflowName": name}] * BATCH}
            made = Load(
                worker, session, url, orjson.dumps({"query": ENQUEUE, "variables": variables})
            )
            await made.run(2.0)
            yield made


@asynccontextmanager
async def _session(runtime: Runtime) -> AsyncIterator[tuple[aiohttp.ClientSession, str]]:
    headers = {
        "Authorization": "Bearer "
        + runtime.dev_token(tenant="bench", subject="b", roles=["admin"]),
        "Content-Type": "application/json",
    }
    with bind(ApiSettings(port=0)) as listener:
        connector = aiohttp.TCPConnector(keepalive_timeout=_KEEP_ALIVE_SECONDS)
        async with (
            serving(runtime, listener),
            aiohttp.ClientSession(headers=headers, connector=connector) as session,
        ):
            yield session, address_of(listener, "127.0.0.1") + "/graphql"

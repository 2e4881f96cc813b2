"""D: `enqueueExecution` over GraphQL at 200 a second, open loop, against a `mc dev` in a process of its own.

A request is sent at its time, however the ones before it fare, and its latency counts from that time: a server that
stalls is not excused by a client that waits. A second stretch asks until the execution has completed. When k6 is on
PATH or in MC_BIN_DIR, its two scripts run as well, and their thresholds are goals of this line.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import aiohttp
import orjson

from benchmarks.line import Effort, Line, at_most, spread
from benchmarks.load import WORKFLOW
from benchmarks.surroundings import Surroundings, publish
from maestro_cli.local.parts import bind
from runtime.bootstrap import open_runtime
from runtime.settings import ApiSettings

NAME = "acceptance"
PER_SECOND = 200
_ENQUEUE = """mutation Enqueue($input: EnqueueExecutionInput!) {
  enqueueExecution(input: $input) { created execution { id status } errors { code message } } }"""
_STATUS = "query Status($id: ID!) { execution(id: $id) { status } }"
_K6 = Path(__file__).parent / "k6"
_READY_SECONDS = 60.0


@dataclass(slots=True)
class Client:
    """One caller, many requests at once."""

    session: aiohttp.ClientSession
    url: str
    name: str
    errors: int = 0

    async def ask(self, query: str, **variables: Any) -> Any:
        """The data of an answer."""
        body = orjson.dumps({"query": query, "variables": variables})
        async with self.session.post(f"{self.url}/graphql", data=body) as answer:
            return orjson.loads(await answer.read())["data"]

    async def enqueue(self) -> str:
        """One execution; its id."""
        found = await self.ask(_ENQUEUE, input={"workflowName": self.name})
        if not found["enqueueExecution"]["created"]:
            raise ValueError(str(found))
        execution: str = found["enqueueExecution"]["execution"]["id"]
        return execution

    async def complete(self) -> None:
        """One execution, asked for until it has completed."""
        execution = await self.enqueue()
        while True:
            found = await self.ask(_STATUS, id=execution)
            status = found["execution"]["status"]
            if status == "COMPLETED":
                return
            if status not in {"QUEUED", "RUNNING"}:
                raise ValueError(status)
            await asyncio.sleep(0.02)

    async def open_loop(self, work: Callable[[], Awaitable[Any]], seconds: float) -> list[float]:
        """So many per second, for a while; the latency of each from the time at which it was due."""

        async def one(due: float) -> float:
            try:
                await work()
            except (aiohttp.ClientError, ValueError, KeyError, TypeError):
                self.errors += 1
            return time.perf_counter() - due

        begin, tasks = time.perf_counter(), []
        for number in range(int(PER_SECOND * seconds)):
            due = begin + number / PER_SECOND
            await asyncio.sleep(max(0.0, due - time.perf_counter()))
            tasks.append(asyncio.create_task(one(due)))
        return list(await asyncio.gather(*tasks))


async def measure(around: Surroundings, effort: Effort) -> Line:
    """Latencies of both stretches; k6's word where there is one."""
    seconds, home = effort.of(30, 2), around.home / "dev"
    home.mkdir(mode=0o700)
    async with open_runtime(replace(around.settings, home=home)) as runtime:
        _, name = await publish(runtime, "three-steps", WORKFLOW)
        token = runtime.dev_token(tenant="bench", subject="bench", roles=["admin"])
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    async with _product(around, home) as url, aiohttp.ClientSession(headers=headers) as session:
        client = Client(session, url, name)
        await client.open_loop(client.complete, 2)
        accepted = spread(await client.open_loop(client.enqueue, seconds))
        completed = spread(await client.open_loop(client.complete, seconds))
        failed = await _k6(url, token, name, seconds)
    goals = [at_most("measured", 15.0), at_most("p99_ms", 30.0), at_most("errors", 0)]
    goals += [at_most("completed_p95_ms", 300.0)]
    if failed is not None:
        goals.append(at_most("k6_failed", 0))
    return Line(
        bench=NAME,
        letter="D",
        unit="ms",
        measured=accepted["p95_ms"],
        goals=goals,
        facts={
            **accepted,
            "completed_p95_ms": completed["p95_ms"],
            "errors": client.errors,
            "per_second": PER_SECOND,
            "k6_failed": failed,
        },
    )


@contextlib.asynccontextmanager
async def _product(around: Surroundings, home: Path) -> AsyncIterator[str]:
    """`mc dev` on the servers of this measurement."""
    with bind(ApiSettings(port=0)) as listener:
        port = listener.getsockname()[1]
    environment = {
        **os.environ,
        "MC_HOME": str(home),
        "MC_PORT": str(port),
        "MC_DATABASE_URL": around.database_url,
        "MC_REDIS_URL": around.redis_url,
        "MC_LOG_LEVEL": "warning",
    }
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "maestro_cli",
        "dev",
        env=environment,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )
    url = f"http://127.0.0.1:{port}"
    try:
        await _ready(url)
        yield url
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        await process.wait()


async def _ready(url: str) -> None:
    async with asyncio.timeout(_READY_SECONDS), aiohttp.ClientSession() as session:
        while True:
            with contextlib.suppress(aiohttp.ClientError):
                async with session.get(f"{url}/readyz") as answer:
                    if answer.ok:
                        return
            await asyncio.sleep(0.1)


async def _k6(url: str, token: str, name: str, seconds: float) -> int | None:
    """How many of the scripts missed their thresholds; None without k6."""
    paths = os.pathsep.join([os.environ.get("MC_BIN_DIR", ""), os.environ.get("PATH", "")])
    program = shutil.which("k6", path=paths)
    if program is None:
        return None
    facts = {"MC_URL": url, "MC_TOKEN": token, "WORKFLOW": name, "DURATION": f"{seconds}s"}
    failed = 0
    for script in ("enqueue.js", "complete.js"):
        process = await asyncio.create_subprocess_exec(
            program,
            "run",
            "--quiet",
            *(part for fact, value in facts.items() for part in ("-e", f"{fact}={value}")),
            str(_K6 / script),
            stdout=asyncio.subprocess.DEVNULL,
        )
        failed += bool(await process.wait())
    return failed

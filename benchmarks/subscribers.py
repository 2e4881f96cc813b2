"""N: a thousand who watch one execution: processor time of the API per delivery, memory of each, commit to client.

The API has this process to itself: the worker runs in another, the clients in a third. Raw is the kernel's part: the
same bytes to as many sockets. Then as many sockets as the product is to hold, or as the machine allows, are told.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import resource
import sys
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from typing import Any, Final

import psutil

from benchmarks.line import Effort, Line, at_most
from benchmarks.surroundings import Surroundings, publish
from maestro_cli.local.parts import bind, serving
from runtime.bootstrap import Runtime, open_runtime
from runtime.model.execution import EnqueueRequest
from runtime.worker.quarantine import framed

NAME: Final = "subscribers"
_SOCKETS: Final = 5_000
_SPARE_FILES: Final = 500
_PAUSE: Final = "PT0.4S"
_SETTLE_SECONDS: Final = 1.0
_ROUND_SECONDS: Final = 0.4
_BACKLOG: Final = 1_024
_PATIENCE_SECONDS: Final = 60
_QUERY: Final = (
    "subscription($id: ID!, $after: String) { executionEvents(id: $id, after: $after, types: [STEP_COMPLETED]) "
    "{ sequence type stepKey executionStatus stepStatus at } }"
)


@dataclass(frozen=True, slots=True)
class Heard:
    """What one crowd came to."""

    deliveries: int
    cpu: float
    grown: int
    late: dict[str, float]
    size: int


async def measure(around: Surroundings, effort: Effort) -> Line:
    """A thousand who watch, then as many as may be."""
    few = effort.of(1_000, 50)
    many = min(effort.of(_SOCKETS, 100), _files() - _SPARE_FILES)
    events = effort.of(20, 3)
    async with open_runtime(around.settings) as runtime, _worker(around), _api(runtime) as port:
        await _heard(runtime, port, 10, 2)
        told = await _heard(runtime, port, few, events)
        raw = await _raw(few, events, told.size)
        crowd = await _heard(runtime, port, many, 3)
    measured = told.cpu / told.deliveries * 1e6
    return Line(
        bench=NAME,
        letter="N",
        unit="us CPU/delivery",
        measured=measured,
        raw=raw,
        ratio=measured / raw,
        goals=[
            at_most("measured", 25),
            at_most("kib_each", 40),
            at_most("p95_ms", 50),
        ],
        facts={
            "kib_each": told.grown / few / 1024,
            **told.late,
            "subscribers": few,
            "deliveries": told.deliveries,
            "bytes": told.size,
            "sockets": many,
            "sockets_us": crowd.cpu / crowd.deliveries * 1e6,
            "sockets_p95_ms": crowd.late["p95_ms"],
        },
    )


async def _raw(count: int, rounds: int, size: int) -> float:
    """What the kernel takes for it: as many bytes written to as many sockets, by nothing but the event loop."""
    loop = asyncio.get_running_loop()
    open_now: list[Any] = []

    class Bare(asyncio.Protocol):
        def connection_made(self, transport: Any) -> None:
            open_now.append(transport)

    server = await loop.create_server(Bare, "127.0.0.1", 0, backlog=_BACKLOG)
    told = {"host": "127.0.0.1", "port": server.sockets[0].getsockname()[1], "count": count}
    async with server, _clients({**told, "events": 0, "seconds": 0, "token": "", "asked": None}):
        await asyncio.sleep(_SETTLE_SECONDS)
        frame, begun = b"x" * size, time.process_time()
        for _ in range(rounds):
            for transport in open_now:
                transport.write(frame)
            await asyncio.sleep(_ROUND_SECONDS)
        cpu = time.process_time() - begun
        for transport in open_now:
            transport.abort()
    return cpu / rounds / count * 1e6


async def _heard(runtime: Runtime, port: int, count: int, events: int) -> Heard:
    """One execution, watched by so many: what that costs this process."""
    name, executions = f"watched-{count}", runtime.services.executions
    who, _ = await publish(runtime, name, _source(name, events))
    execution = (await executions.enqueue(who, EnqueueRequest(workflow_name=name))).execution
    me = psutil.Process()
    gc.collect()
    before = me.memory_info().rss
    told = {
        "host": "127.0.0.1",
        "port": port,
        "token": f"Bearer {runtime.dev_token(tenant='bench', subject='bench', roles=['admin'])}",
        "asked": {"query": _QUERY, "variables": {"id": str(execution.id)}},
        "count": count,
        "events": events,
        "seconds": _PATIENCE_SECONDS,
    }
    async with _clients(told) as clients:
        await asyncio.sleep(_SETTLE_SECONDS)
        gc.collect()
        grown = me.memory_info().rss - before
        begun = time.process_time()
        await executions.messages.signal(who, execution.id, "go", None)
        clients.stdin.write(b"go\n")
        found = json.loads(await clients.stdout.readline())
        cpu = time.process_time() - begun
    if found["deliveries"] < found["wanted"] or found["lost"]:
        raise RuntimeError(f"{found['deliveries']} of {found['wanted']}, {found['lost']} lost")
    await asyncio.sleep(_SETTLE_SECONDS)
    late = {name: value for name, value in found.items() if name.endswith("_ms")}
    return Heard(found["deliveries"], cpu, grown, late, found["bytes"])


def _source(name: str, steps: int) -> str:
    """Steps one after another, each of which waits a little: one event for each that ends."""
    lines = [f"name: {name}", "version: 1.0.0", "steps:", "  - {id: go, type: wait, signal: go}"]
    before = "go"
    for number in range(steps):
        lines.append(
            f"  - {{id: s{number}, uses: core.sleep@1, depends_on: [{before}], with: {{duration: {_PAUSE}}}}}"
        )
        before = f"s{number}"
    return "\n".join(lines)


def _files() -> int:
    """How many files this process may open, made as many as it is allowed."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    return most


@contextlib.asynccontextmanager
async def _api(runtime: Runtime) -> AsyncIterator[int]:
    """The product's own server on a free port."""
    listener = bind(replace(runtime.settings.api, host="127.0.0.1", port=0))
    async with serving(runtime, listener):
        yield listener.getsockname()[1]


@contextlib.asynccontextmanager
async def _clients(told: dict[str, Any]) -> AsyncIterator[Any]:
    """The clients, all subscribed."""
    async with _process("benchmarks.subscriber_process") as process:
        process.stdin.write(json.dumps(told).encode() + b"\n")
        if await process.stdout.readline() != b"open\n":
            raise RuntimeError("the clients did not subscribe")
        yield process


@contextlib.asynccontextmanager
async def _worker(around: Surroundings) -> AsyncIterator[None]:
    """A worker in a process of its own."""
    async with _process("benchmarks.worker_process") as process:
        process.stdin.write(framed(around.settings))
        if await process.stdout.readline() != b"ready\n":
            raise RuntimeError("the worker did not start")
        yield


@contextlib.asynccontextmanager
async def _process(module: str) -> AsyncIterator[Any]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", module, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
        limit=1 << 24,
    )  # fmt: skip
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()

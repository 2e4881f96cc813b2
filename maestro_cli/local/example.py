"""The example of `mc dev --example`: a shop that fails on purpose, and an order that is fulfilled all the same.

It runs once per data folder. What is printed comes from the server (the timeline) and from the shop's own counters, so
the sentence "nothing was charged twice" is the shop's, not ours.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
import sys
import urllib.request
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from maestro_cli.client import Client
from maestro_cli.errors import CliError
from maestro_cli.moments import parse_moment, seconds_of, span_seconds
from maestro_cli.options import Options
from maestro_cli.publishing import publish_file
from maestro_cli.starting import enqueue, wait

ROOT: Final = Path(__file__).resolve().parents[2]
WORKFLOW: Final = ROOT / "examples" / "order-fulfilment.yaml"
ORDER: Final = ROOT / "examples" / "order.json"
SHOP_PORT: Final = 8900
_STATE: Final = "example.json"
_KEY: Final = "mc-dev-example"
_READY_SECONDS: Final = 20.0
_END_SECONDS: Final = 5.0
_LONGEST_SECONDS: Final = 120.0
# With this seed the first order loses the connection after the money was taken, and gets a 503 after the label was
# printed: the two faults that make others charge twice.
_FAULTS: Final = (
    "--seed",
    "42",
    "--fail-rate",
    "0.35",
    "--slow-rate",
    "0.15",
    "--reset-rate",
    "0.15",
)


@dataclass(frozen=True, slots=True)
class Story:
    """What the example came to, line by line."""

    execution_id: str
    lines: tuple[str, ...]


def check_example() -> None:
    """The example lies beside the source; an installed package does not carry it."""
    if not WORKFLOW.exists():
        raise CliError(
            "The example is part of the source tree, and this is an installed package.",
            code="USAGE",
        )


def read_state(home: Path) -> dict[str, Any]:
    """What an earlier start left: the shop's port, and the execution when it has run."""
    try:
        state: dict[str, Any] = json.loads((home / _STATE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return state


def write_state(home: Path, **changes: Any) -> None:
    """Remember more for the next start."""
    draft = home / f"{_STATE}.new"
    draft.write_text(json.dumps({**read_state(home), **changes}), encoding="utf-8")
    draft.replace(home / _STATE)


@contextlib.asynccontextmanager
async def shop(home: Path) -> AsyncIterator[str]:
    """The shop as a process of its own, on the same port as last time; its address."""
    port = _free_port(read_state(home).get("port", SHOP_PORT))
    with (home / "shop.log").open("ab") as log:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "examples.shop", "--die-with-parent", *_FAULTS),
            *("--port", str(port), "--db", os.fspath(home / "shop.db")),
            cwd=ROOT,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=log,
            # A session of its own: Ctrl-C reaches only us, and the shop ends after the worker that calls it.
            start_new_session=True,
        )
    try:
        url = await _announced(process, home)
        write_state(home, port=int(url.rpartition(":")[2]))
        yield url
    finally:
        await _end(process)


async def _announced(process: asyncio.subprocess.Process, home: Path) -> str:
    assert process.stdout is not None  # noqa: S101 - it was asked for
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_READY_SECONDS):
            line = (await process.stdout.readline()).decode()
        if "http://" in line:
            return line.split()[-1]
    raise CliError("The example's shop did not start.", hint=f"see {home / 'shop.log'}")


async def _end(process: asyncio.subprocess.Process) -> None:
    for number in (signal.SIGTERM, signal.SIGKILL):
        if process.returncode is not None:
            return
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(number)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_END_SECONDS):
                await process.wait()


def run_example(client: Client, options: Options, shop_url: str) -> Story:
    """Publish, execute, wait, and tell what happened."""
    published = publish_file(client, options, str(WORKFLOW))
    order = {**json.loads(ORDER.read_text(encoding="utf-8")), "shop_url": shop_url}
    values = {
        "workflowName": published.name,
        "version": published.version,
        "input": order,
        "idempotencyKey": _KEY,
    }
    execution_id: str = enqueue(client, values)["execution"]["id"]
    wait(client, _patient(options), execution_id)
    found = client.run("get_execution", id=execution_id)["execution"]
    lines = (
        f"{published.name} {published.version}, execution {execution_id}",
        *_timeline(found["steps"]),
        _ending(found),
        _proof(shop_url, order["order_id"]),
    )
    return Story(execution_id, lines)


def _patient(options: Options) -> Options:
    return Options(timeout=_LONGEST_SECONDS, quiet=options.quiet)


def _timeline(steps: Sequence[dict[str, Any]]) -> list[str]:
    width = max(len(step["stepKey"]) for step in steps)
    lines = []
    for step in steps:
        retries = step["attempt"] - 1
        again = f"  {retries} {'retry' if retries == 1 else 'retries'}" if retries > 0 else ""
        beside = [
            other["stepKey"] for other in steps if other is not step and _overlap(step, other)
        ]
        parallel = f"  in parallel with {', '.join(beside)}" if beside else ""
        took = span_seconds(seconds_of(step["duration"])) if step["duration"] else ""
        lines.append(
            f"  {step['stepKey']:<{width}}  {step['status'].lower()}  {took:>6}{again}{parallel}"
        )
    return lines


def _overlap(one: dict[str, Any], other: dict[str, Any]) -> bool:
    times = [step[name] for step in (one, other) for name in ("startedAt", "finishedAt")]
    if not all(times):
        return False
    begin, end, other_begin, other_end = (parse_moment(text) for text in times)
    return begin < other_end and other_begin < end


def _ending(found: dict[str, Any]) -> str:
    took = f" in {span_seconds(seconds_of(found['duration']))}" if found["duration"] else ""
    error = f": {found['error']['message']}" if found["error"] else ""
    return f"{found['status'].lower()}{took}{error}"


def _proof(shop_url: str, order_id: str) -> str:
    """The shop's own books: how often it was called, how often it acted, and what it took for this order."""
    totals, order = _get(f"{shop_url}/counters"), _get(f"{shop_url}/orders/{order_id}")
    charged = len(order["charges"])
    return (
        f"the shop counts {totals['calls']} calls, {totals['effects']} effects, "
        f"at most {totals['max_effects_per_key']} per idempotency key; {order_id} was charged "
        + ("once" if charged == 1 else f"{charged} times")
    )


def _get(url: str) -> dict[str, Any]:
    with urllib.request.urlopen(url, timeout=10) as answer:  # noqa: S310 - the shop that we started
        found: dict[str, Any] = json.load(answer)
    return found


def _free_port(wanted: int) -> int:
    try:
        with socket.create_server(("127.0.0.1", wanted)):
            return wanted
    except OSError:
        return 0

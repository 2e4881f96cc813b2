"""`python -m benchmarks [NAME ...] [--quick] [--keep]`: one JSON line each on stdout, then a table on stderr."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import uvloop

from benchmarks import (
    acceptance,
    attacks,
    commits,
    comparison,
    cpu,
    definition,
    diff,
    enqueue,
    fairness,
    fan_out,
    gap,
    graph,
    human_tasks,
    latency,
    listing,
    map_items,
    observability,
    parked,
    pickup,
    retention,
    start,
    statistics,
    subscribers,
    takeover,
    throughput,
)
from benchmarks.line import Effort
from benchmarks.surroundings import surroundings
from maestro_cli.local.garbage import collect_by_the_clock
from runtime.engine import advance as core
from runtime.telemetry.log import configure_logging

BENCHES: Final = {
    module.NAME: module.measure
    for module in (
        throughput,
        commits,
        latency,
        pickup,
        fairness,
        gap,
        acceptance,
        fan_out,
        map_items,
        takeover,
        parked,
        listing,
        statistics,
        human_tasks,
        cpu,
        observability,
        retention,
        definition,
        diff,
        comparison,
        graph,
        enqueue,
        start,
        attacks,
        subscribers,
    )
}
RESULTS: Final = Path(__file__).parent / "results"


async def run(names: list[str], effort: Effort) -> list[dict[str, Any]]:
    """Each measurement on servers of its own, so that none inherits another's tables."""
    found = []
    for name in names:
        async with surroundings() as around:
            line = (await BENCHES[name](around, effort)).as_json()
        line |= {
            "quick": effort.is_quick,
            "python": platform.python_version(),
            "compiled": not core.__file__.endswith(".py"),
            "cores": os.cpu_count(),
            "load": round(os.getloadavg()[0], 1),
        }
        print(json.dumps(line), flush=True)
        found.append(line)
    return found


def table(found: list[dict[str, Any]]) -> str:
    """One row each: letter, name, measured, raw, ratio, target, whether it holds."""
    heads = ("line", "bench", "measured", "unit", "raw", "ratio", "target", "holds")
    rows = [heads] + [
        (
            one["line"],
            one["bench"],
            f"{one['measured']:g}",
            one["unit"],
            "" if one["raw"] is None else f"{one['raw']:g}",
            "" if one["ratio"] is None else f"{one['ratio']:g}",
            one["target"],
            "yes" if one["pass"] else "NO",
        )
        for one in found
    ]
    widths = [max(len(row[place]) for row in rows) for place in range(len(heads))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    )


def keep(found: list[dict[str, Any]]) -> Path:
    """Add the lines to the day's results."""
    path = RESULTS / f"{datetime.now(UTC):%Y-%m-%d}.jsonl"
    with path.open("a", encoding="utf-8") as file:
        file.writelines(json.dumps(line) + "\n" for line in found)
    return path


def main() -> int:
    """Parse, measure, print."""
    parser = argparse.ArgumentParser(prog="benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(BENCHES))
    parser.add_argument("--quick", action="store_true", help="little of everything: does it run?")
    parser.add_argument("--keep", action="store_true", help="add to benchmarks/results")
    options = parser.parse_args()
    if unknown := set(options.names) - set(BENCHES):
        parser.error(f"there is no {', '.join(sorted(unknown))}; there are {', '.join(BENCHES)}")
    configure_logging(form="json", level="warning")
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        collect_by_the_clock(runner.get_loop())
        found = runner.run(run(options.names or list(BENCHES), Effort(options.quick)))
    print(f"\n{table(found)}", file=sys.stderr)
    if options.keep:
        print(f"\nkept in {keep(found)}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())

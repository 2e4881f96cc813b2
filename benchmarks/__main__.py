"""`python -m benchmarks [NAME] [--seconds S] [--runs N] [--executions N]`: one JSON line each, then a table."""

from __future__ import annotations

import argparse
import asyncio
import json
import platform
import sys
from typing import Any

from benchmarks import latency, retention, throughput
from benchmarks.surroundings import surroundings
from runtime.telemetry.log import configure_logging


async def run(
    names: list[str], *, seconds: float, runs: int, executions: int
) -> list[dict[str, Any]]:
    """Each measurement on servers of its own, so that none inherits another's tables."""
    results = []
    for name in names:
        async with surroundings() as around:
            if name == throughput.NAME:
                result = await throughput.measure(around, seconds=seconds)
            elif name == retention.NAME:
                result = await retention.measure(around, executions=executions)
            else:
                result = await latency.measure(around, runs=runs)
        result["python"] = platform.python_version()
        print(json.dumps(result), flush=True)
        results.append(result)
    return results


def main() -> int:
    """Parse, measure, print."""
    known = [throughput.NAME, latency.NAME, retention.NAME]
    parser = argparse.ArgumentParser(prog="benchmarks", description=__doc__)
    parser.add_argument("name", nargs="?", choices=known)
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--runs", type=int, default=300)
    parser.add_argument(
        "--executions", type=int, default=100_000, help="in the day that is dropped"
    )
    options = parser.parse_args()
    configure_logging(form="json", level="warning")
    results = asyncio.run(
        run(
            [options.name] if options.name else known,
            seconds=options.seconds,
            runs=options.runs,
            executions=options.executions,
        )
    )
    for result in results:
        print(f"\n{result['bench']}", file=sys.stderr)
        for key, value in result.items():
            if key != "bench":
                print(f"  {key:<36} {value}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())

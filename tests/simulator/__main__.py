"""`python -m tests.simulator`: one seed in words (--seed N -v), or many (--seeds 400000), kept with --keep."""

from __future__ import annotations

import argparse
import json
import platform
import sys
import time
from collections import Counter
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Final

from tests.simulator.mutants import MUTANTS
from tests.simulator.run import Verdict, simulate

RESULTS: Final = Path(__file__).parents[2] / "benchmarks" / "results" / "simulator.jsonl"

say = partial(print, flush=True)


def _one(seed: int, mutant: str | None, is_verbose: bool) -> int:
    verdict = simulate(seed, mutant, is_verbose=is_verbose)
    say(_line(verdict), f"digest {verdict.digest}")
    return int(bool(verdict.violations))


def _many(first: int, count: int, mutant: str | None, *, is_kept: bool = False) -> int:
    began, broken = time.monotonic(), list[int]()
    statuses: Counter[str] = Counter()
    for seed in range(first, first + count):
        verdict = simulate(seed, mutant)
        statuses += verdict.statuses
        if verdict.violations:
            broken.append(seed)
            say(_line(verdict))
        if (seed - first + 1) % 1_000 == 0:
            rate = (seed - first + 1) / (time.monotonic() - began)
            say(f"{seed - first + 1} seeds, {len(broken)} broken, {rate:.0f}/s")
    say(f"{count} seeds, {len(broken)} broken; executions: {dict(statuses)}")
    if is_kept:
        _keep(first, count, broken, statuses, time.monotonic() - began)
    return int(bool(broken))


def _keep(
    first: int, count: int, broken: list[int], statuses: Counter[str], seconds: float
) -> None:
    """Add a line to the kept results: which seeds were tried, and which of them broke something."""
    line = {
        "date": f"{datetime.now(UTC):%Y-%m-%d}",
        "first": first,
        "seeds": count,
        "broken": broken,
        "executions": dict(sorted(statuses.items())),
        "seconds": round(seconds, 1),
        "python": platform.python_version(),
    }
    with RESULTS.open("a", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")


def _line(verdict: Verdict) -> str:
    words = "; ".join(verdict.violations) or "well"
    again = f"python -m tests.simulator --seed {verdict.seed} -v"
    return f"seed {verdict.seed}: {words} ({verdict.seconds:.1f} virtual seconds; {again})"


def main() -> int:
    """Run what the arguments say; 1 when something is broken."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulator", description=__doc__)
    parser.add_argument("--seed", type=int, help="one seed")
    parser.add_argument("--seeds", type=int, default=1_000, help="how many seeds")
    parser.add_argument("--first", type=int, default=0, help="the first of them")
    parser.add_argument("--mutant", choices=MUTANTS, help="with this defect in the product")
    parser.add_argument(
        "--keep", action="store_true", help=f"add to benchmarks/results/{RESULTS.name}"
    )
    parser.add_argument("-v", "--verbose", action="store_true", help="tell what happens")
    chosen = parser.parse_args()
    if chosen.seed is not None:
        return _one(chosen.seed, chosen.mutant, chosen.verbose)
    return _many(chosen.first, chosen.seeds, chosen.mutant, is_kept=chosen.keep)


if __name__ == "__main__":
    sys.exit(main())

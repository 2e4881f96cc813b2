"""`python -m tests.simulator`: one seed in words (--seed N -v), or many (--seeds 400000)."""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter
from functools import partial

from tests.simulator.mutants import MUTANTS
from tests.simulator.run import Verdict, simulate

say = partial(print, flush=True)


def _one(seed: int, mutant: str | None, is_verbose: bool) -> int:
    verdict = simulate(seed, mutant, is_verbose=is_verbose)
    say(_line(verdict), f"digest {verdict.digest}")
    return int(bool(verdict.violations))


def _many(first: int, count: int, mutant: str | None) -> int:
    began, found = time.monotonic(), 0
    statuses: Counter[str] = Counter()
    for seed in range(first, first + count):
        verdict = simulate(seed, mutant)
        statuses += verdict.statuses
        if verdict.violations:
            found += 1
            say(_line(verdict))
        if (seed - first + 1) % 1_000 == 0:
            rate = (seed - first + 1) / (time.monotonic() - began)
            say(f"{seed - first + 1} seeds, {found} broken, {rate:.0f}/s")
    say(f"{count} seeds, {found} broken; executions: {dict(statuses)}")
    return int(bool(found))


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
    parser.add_argument("-v", "--verbose", action="store_true", help="tell what happens")
    chosen = parser.parse_args()
    if chosen.seed is not None:
        return _one(chosen.seed, chosen.mutant, chosen.verbose)
    return _many(chosen.first, chosen.seeds, chosen.mutant)


if __name__ == "__main__":
    sys.exit(main())

"""`python -m tests.fuzz [--seconds S] [--seed N] [--keep]`: one JSON line; ends with 1 if anything was found."""

from __future__ import annotations

import argparse
import json
import platform
import sys
from dataclasses import asdict
from datetime import UTC, datetime

from tests.fuzz.mutation import ROOT
from tests.fuzz.run import fuzz


def main() -> int:
    parser = argparse.ArgumentParser(prog="fuzz", description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=int(datetime.now(UTC).timestamp()) * 1_000)
    parser.add_argument("--keep", action="store_true", help="add to benchmarks/results/fuzz.jsonl")
    options = parser.parse_args()
    score = fuzz(seed=options.seed, seconds=options.seconds)
    line = json.dumps(
        {
            "fuzz": "definitions",
            "date": f"{datetime.now(UTC):%Y-%m-%d}",
            "seconds": options.seconds,
            "seed": options.seed,
            **asdict(score),
            "python": platform.python_version(),
        }
    )
    sys.stdout.write(line + "\n")
    if options.keep:
        with (ROOT / "benchmarks/results/fuzz.jsonl").open("a", encoding="utf-8") as file:
            file.write(line + "\n")
    return 1 if score.failures else 0


if __name__ == "__main__":
    sys.exit(main())

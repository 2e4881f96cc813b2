"""`make samples IN=FOLDER`: every WfFormat document below a folder is imported, validated and simulated.

The folder is a clone of the WfInstances of WfCommons (records of real scientific workflows, WfFormat 1.5) or any other
with such documents. What is refused or does not complete is named; the exit code is 1 then.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path

from runtime.connectors.registry import Registry
from runtime.connectors.rehearsal import rehearse
from runtime.definition import validate
from runtime.definition.wfformat import import_wfformat
from runtime.engine.simulation import Script
from runtime.model.errors import Invalid

RESULTS = Path(__file__).parents[2] / "benchmarks" / "results" / "samples.jsonl"
START = datetime(2026, 1, 1, tzinfo=UTC)


def outcome(text: str, registry: Registry) -> tuple[str, int, int]:
    """What became of a document: `completed` or why it did not, its steps, and how many parts were named as not mapped."""
    try:
        imported = import_wfformat(text)
    except Invalid as error:
        return f"refused: {error.problems[0].message}", 0, 0
    found = validate(imported.source, None, registry.catalog())
    lost = len(imported.unmapped)
    if found.plan is None or found.problems:
        return f"found: {found.problems[0].message}", imported.tasks, lost
    done = rehearse(found.plan, registry, {}, Script(), now=START)
    return done.stopped or done.status.name.lower(), imported.tasks, lost


def main() -> int:
    """Go through a folder; the exit code."""
    parser = argparse.ArgumentParser(prog="samples", description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--keep", action="store_true", help="append the result to its file")
    asked = parser.parse_args()
    registry, begin = Registry.load(), time.monotonic()
    outcomes: Counter[str] = Counter()
    steps = most = unmapped = 0
    for file in sorted(asked.folder.rglob("*.json")):
        became, tasks, lost = outcome(file.read_text("utf-8"), registry)
        outcomes[became] += 1
        steps, most, unmapped = steps + tasks, max(most, tasks), unmapped + lost
        if became != "completed":
            sys.stderr.write(f"{file}: {became}\n")
    result = {
        "samples": asked.folder.name,
        "date": datetime.now(UTC).date().isoformat(),
        "documents": outcomes.total(),
        "outcomes": dict(outcomes),
        "steps": steps,
        "most_steps": most,
        "unmapped": unmapped,
        "seconds": round(time.monotonic() - begin, 1),
    }
    sys.stdout.write(json.dumps(result) + "\n")
    if asked.keep:
        with RESULTS.open("a", encoding="utf-8") as file_of_results:
            file_of_results.write(json.dumps(result) + "\n")
    return 0 if outcomes and outcomes.keys() == {"completed"} else 1


if __name__ == "__main__":
    sys.exit(main())

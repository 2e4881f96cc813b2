"""Comparing two large versions whose every step differs and stands elsewhere: the most that there is to say.

What is compared are canonical definitions, as they lie in the database; raw is reading both from JSON.
"""

from __future__ import annotations

import copy
import statistics
import time
from typing import Any

import orjson

from benchmarks.definition import document
from benchmarks.line import Effort, Line, at_most
from benchmarks.surroundings import Surroundings
from runtime.connectors.registry import Registry
from runtime.definition import diff_definitions, validate

NAME = "diff"
SIZES = {200: 50, 2_000: 15}


def changed(definition: dict[str, Any]) -> dict[str, Any]:
    """The same workflow with another value in every step, all in the opposite order."""
    found = copy.deepcopy(definition)
    for step in found["steps"]:
        step["with"]["number"] += 1
        step["timeout"] = "31s"
    found["steps"].reverse()
    found["outputs"] = {"last": "{{ steps.step_1.output.value }}"}
    return found


async def measure(_around: Surroundings, effort: Effort) -> Line:
    """Milliseconds for 2,000 steps; those for 200 are among the facts."""
    catalog = Registry.load().catalog()
    facts: dict[str, float] = {}
    for count, runs in SIZES.items():
        before: Any = validate(document(count), None, catalog).definition
        after = changed(before)
        texts = [orjson.dumps(before), orjson.dumps(after)]
        walls, cpus, raws = [], [], []
        for _ in range(effort.of(runs, 2)):
            began, used = time.perf_counter(), time.process_time()
            found = diff_definitions(before, after, catalog)
            cpus.append((time.process_time() - used) * 1000)
            walls.append((time.perf_counter() - began) * 1000)
            assert (len(found.changed), len(found.moved)) == (count, count - 1)
            began = time.perf_counter()
            for text in texts:
                orjson.loads(text)
            raws.append((time.perf_counter() - began) * 1000)
        facts |= {
            f"p50_ms_{count}": statistics.median(walls),
            f"cpu_p50_ms_{count}": statistics.median(cpus),
            f"json_ms_{count}": statistics.median(raws),
        }
    largest = max(SIZES)
    return Line(
        bench=NAME,
        letter="W",
        unit="ms",
        measured=facts[f"p50_ms_{largest}"],
        raw=facts[f"json_ms_{largest}"],
        ratio=facts[f"p50_ms_{largest}"] / facts[f"json_ms_{largest}"],
        goals=[at_most("measured", 200.0), at_most("p50_ms_200", 20.0)],
        facts=facts,
    )

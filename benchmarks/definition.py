"""Validation and compilation of large documents, beside the time that libyaml takes to read them.

The document is YAML as people write it: each step has a connector, a dependency or two, a timeout and an input with an
expression; every third one compares or filters, every tenth has a retry. No server is needed,
but the process looks for circles of garbage as seldom as a server does.
"""

from __future__ import annotations

import statistics
import time

import yaml
from yaml._yaml import CParser

from benchmarks.line import Effort, Line, at_most
from benchmarks.surroundings import Surroundings
from runtime.connectors.registry import Registry
from runtime.definition import validate

NAME = "definition"
SIZES = {200: 50, 10_000: 7}


def document(count: int) -> str:
    """A workflow of so many steps."""
    lines = ["name: large", "version: 1.0.0", "params: {order: {type: string}}", "steps:"]
    for index in range(count):
        lines += [f"  - id: step_{index}", "    uses: core.set@1", "    timeout: 30s"]
        if index:
            needs = {index - 1, index // 2}
            lines.append(f"    depends_on: [{', '.join(f'step_{one}' for one in sorted(needs))}]")
        if index % 10 == 0:
            lines.append("    retry: {max_attempts: 3, initial: 1s}")
        value = (
            "{{ params.order }}" if index == 0 else f"{{{{ steps.step_{index - 1}.output.value }}}}"
        )
        if index % 3 == 2:
            value = value.replace(" }}", " | upper }}")
        lines.append(f'    with: {{value: "{value}", number: {index}}}')
    return "\n".join(lines) + "\n"


async def measure(_around: Surroundings, effort: Effort) -> Line:
    """Milliseconds for 10,000 steps; those for 200 are among the facts."""
    catalog = Registry.load().catalog()
    facts: dict[str, float] = {}
    for count, runs in SIZES.items():
        text = document(count)
        walls, cpus, raws = [], [], []
        for _ in range(effort.of(runs, 2)):
            began, used = time.perf_counter(), time.process_time()
            found = validate(text, None, catalog)
            cpus.append((time.process_time() - used) * 1000)
            walls.append((time.perf_counter() - began) * 1000)
            assert found.problems == ()
            assert found.plan is not None
            raws.append(_read(text) * 1000)
        facts |= {
            f"p50_ms_{count}": statistics.median(walls),
            f"cpu_p50_ms_{count}": statistics.median(cpus),
            f"libyaml_ms_{count}": statistics.median(raws),
        }
    largest = max(SIZES)
    return Line(
        bench=NAME,
        letter="V",
        unit="ms",
        measured=facts[f"p50_ms_{largest}"],
        raw=facts[f"libyaml_ms_{largest}"],
        ratio=facts[f"p50_ms_{largest}"] / facts[f"libyaml_ms_{largest}"],
        goals=[at_most("measured", 1_000.0), at_most("cpu_p50_ms_200", 20.0)],
        facts=facts,
    )


def _read(text: str) -> float:
    """Seconds that libyaml needs for the events alone."""
    began = time.perf_counter()
    parser = CParser(text)
    while type(parser.get_event()) is not yaml.StreamEndEvent:
        pass
    return time.perf_counter() - began

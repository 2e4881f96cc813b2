"""Dependency graphs of real scientific runs: every step starts only after all that it depends on has completed."""

from __future__ import annotations

import pytest
import yaml

from tests.support.processes import ROOT


@pytest.mark.parametrize("name", ["sarek-variant-calling", "srasearch"])
async def test_every_step_starts_after_its_dependencies(stack, name):
    source = (ROOT / "examples" / f"{name}.yaml").read_text()
    await stack.publish(source)

    execution = await stack.finished(await stack.enqueue(name))

    events = [edge["node"] for edge in execution["events"]["edges"]]
    started = {e["stepKey"]: int(e["sequence"]) for e in events if e["type"] == "STEP_STARTED"}
    completed = {e["stepKey"]: int(e["sequence"]) for e in events if e["type"] == "STEP_COMPLETED"}
    steps = yaml.safe_load(source)["steps"]
    assert execution["status"] == "COMPLETED"
    assert set(started) == set(completed) == {step["id"] for step in steps}
    for step in steps:
        assert all(completed[need] < started[step["id"]] for need in step.get("depends_on", []))

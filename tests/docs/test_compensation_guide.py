"""The guide about undoing: its example runs as the page says, and a simulation of it tells the same beforehand."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path

from runtime.connectors.registry import Registry
from runtime.connectors.rehearsal import rehearse
from runtime.definition import apply_params, validate
from runtime.engine.simulation import Failing, Script
from runtime.model.errors import StepErrorKind
from runtime.model.execution import ExecutionStatus, StepStatus
from tests.support.processes import Mc

PAGE = Path(__file__).resolve().parents[2] / "docs/guides/compensation.md"
SAGA, MAPS = (
    re.findall(
        rf"^```yaml workflow {name}\n(.*?)^```", PAGE.read_text("utf-8"), re.MULTILINE | re.DOTALL
    )[0]
    for name in ("saga", "maps")
)
REGISTRY = Registry.load()
STEPS = ["hotel", "hotel:compensate", "flight", "flight:compensate", "pay"]


def test_a_simulation_says_what_would_be_undone():
    plan = validate(SAGA, None, REGISTRY.catalog(), publishing=True).plan
    assert plan is not None
    found = rehearse(plan, REGISTRY, apply_params(plan, {}), Script(), now=datetime.now(UTC))

    assert found.status is ExecutionStatus.FAILED
    steps = {one.key: one for one in found.steps}
    assert [one.key for one in sorted(found.steps, key=lambda one: one.order)] == [
        "hotel",
        "flight",
        "pay",
        "flight:compensate",
        "hotel:compensate",
    ]
    assert steps["hotel"].status is StepStatus.COMPENSATED
    assert steps["hotel:compensate"].rendered_input == {"freed": "Rome-12"}

    failing = {"hotel:compensate": Failing(None, StepErrorKind.PERMANENT)}
    found = rehearse(
        plan, REGISTRY, apply_params(plan, {}), Script(fails=failing), now=datetime.now(UTC)
    )
    steps = {one.key: one for one in found.steps}
    assert steps["hotel"].status is StepStatus.COMPLETED
    assert steps["hotel:compensate"].status is StepStatus.FAILED
    assert steps["flight"].status is StepStatus.COMPENSATED


def test_a_step_behind_a_map_undoes_what_its_items_have_done():
    plan = validate(MAPS, None, REGISTRY.catalog(), publishing=True).plan
    assert plan is not None

    found = rehearse(plan, REGISTRY, apply_params(plan, {}), Script(), now=datetime.now(UTC))

    steps = {one.key: one for one in found.steps}
    assert steps["booked"].status is StepStatus.COMPENSATED
    assert steps["booked:compensate"].rendered_input == {
        "freed": [{"status": "completed", "output": {"seat": seat}} for seat in ("A1", "B2")]
    }


async def test_the_example_runs_and_the_command_line_shows_what_became_of_it(mc: Mc):
    (mc.folder / "booking.yaml").write_text(SAGA, encoding="utf-8")
    await mc.start("dev").ready()

    published = await mc.run("publish", "booking.yaml")
    ended = await mc.run("execute", "booking", "--wait", "-q")
    shown = await mc.run("executions", "get", ended.stdout.split()[0])
    simulated = await mc.run("simulate", "booking.yaml", "--fail", "hotel:compensate:9:permanent")

    assert (published.code, ended.code, simulated.code) == (0, 1, 1), published
    lines = [line.split() for line in shown.stdout.splitlines()]
    statuses = {line[0]: line[1:4] for line in lines if line and line[0] in STEPS}
    assert list(statuses) == STEPS, shown.stdout
    assert "compensated" in statuses["hotel"] + statuses["flight"]
    assert "completed" in statuses["hotel:compensate"]
    assert "compensated" in simulated.stdout

"""WfFormat documents become definitions, and nothing that they hold is left out silently."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from runtime.connectors.registry import Registry
from runtime.connectors.rehearsal import rehearse
from runtime.definition import validate
from runtime.definition.wfformat import import_wfformat
from runtime.engine.simulation import Script
from runtime.model.errors import Invalid
from runtime.model.execution import ExecutionStatus
from runtime.model.values import Duration
from tests.samples.__main__ import outcome
from tests.support.effort import effort
from tests.support.processes import ROOT

SURVEY = (ROOT / "tests/golden/wfformat/survey.json").read_text()
REGISTRY = Registry.load()


def test_a_run_is_imported_validated_and_simulated():
    found = validate(import_wfformat(SURVEY).source, None, REGISTRY.catalog())

    assert found.problems == ()
    assert found.plan is not None
    assert [(one.key, one.name, one.depends_on) for one in found.plan.steps] == [
        ("split_1", "split", ()),
        ("plate_1", "reduce", (0,)),
        ("plate_1_2", "reduce", (0,)),
        ("stack", None, (1, 2)),
    ]
    done = rehearse(found.plan, REGISTRY, {}, Script(), now=datetime(2026, 1, 1, tzinfo=UTC))
    assert (done.status, done.duration_ms) == (ExecutionStatus.COMPLETED, 7_750)


@pytest.mark.parametrize("name", ["srasearch", "sarek-variant-calling"])
def test_the_graph_of_a_public_sample_is_imported_validated_and_simulated(name):
    """The examples hold the facts of two WfInstances; here they stand again as WfFormat says them."""
    real = validate((ROOT / f"examples/{name}.yaml").read_text(), None, REGISTRY.catalog()).plan
    assert real is not None
    keys = [one.key for one in real.steps]
    tasks = [
        {
            "name": one.key,
            "id": one.key,
            "parents": [keys[need] for need in one.depends_on],
            "children": [keys[after] for after in real.successors[one.index]],
        }
        for one in real.steps
    ]
    inputs: list[tuple[str, Any]] = [(one.key, one.config) for one in real.steps]
    runs = [
        {"id": key, "runtimeInSeconds": Duration.parse(given["duration"]).milliseconds}
        for key, given in inputs
    ]
    workflow = {"specification": {"tasks": tasks}, "execution": {"tasks": runs}}

    imported = import_wfformat(
        json.dumps({"name": name, "schemaVersion": "1.5", "workflow": workflow})
    )
    found = validate(imported.source, None, REGISTRY.catalog())

    assert (found.problems, imported.unmapped, imported.tasks) == ((), (), len(keys))
    assert found.plan is not None
    assert [(one.key, set(one.depends_on)) for one in found.plan.steps] == [
        (one.key, set(one.depends_on)) for one in real.steps
    ]
    now = datetime(2026, 1, 1, tzinfo=UTC)
    taken, shortened = (
        rehearse(plan, REGISTRY, {}, Script(), now=now) for plan in (found.plan, real)
    )
    assert {one.status for one in (taken, shortened)} == {ExecutionStatus.COMPLETED}
    assert taken.duration_ms == shortened.duration_ms * 1_000 > 0


def test_the_command_for_public_samples_says_what_became_of_each():
    assert outcome(SURVEY, REGISTRY) == ("completed", 4, 12)
    assert outcome("{}", REGISTRY) == ("refused: schemaVersion must be 1.5, not None", 0, 0)


def test_of_two_runs_of_one_task_it_is_said_which_is_taken():
    runs = [{"id": "a", "runtimeInSeconds": seconds} for seconds in (1, 2)]
    workflow = {"specification": {"tasks": [{"id": "a"}]}, "execution": {"tasks": runs}}

    found = import_wfformat(json.dumps({"schemaVersion": "1.5", "workflow": workflow}))

    assert [(one.path, one.count, one.why) for one in found.unmapped] == [
        ("workflow.execution.tasks[]", 1, "is told of once more: the last is taken")
    ]
    assert "2000ms" in found.source


def test_what_is_not_carried_over_is_named_and_counted():
    lost = {(one.path, one.count) for one in import_wfformat(SURVEY).unmapped}

    assert lost == {
        ("author", 1),
        ("createdAt", 1),
        ("workflow.execution.executedAt", 1),
        ("workflow.execution.machines", 1),
        ("workflow.execution.makespanInSeconds", 1),
        ("workflow.execution.tasks[]", 1),
        ("workflow.execution.tasks[].avgCPU", 1),
        ("workflow.execution.tasks[].command", 3),
        ("workflow.execution.tasks[].runtimeInSeconds", 1),
        ("workflow.specification.files", 1),
        ("workflow.specification.tasks[].children", 1),
        ("workflow.specification.tasks[].inputFiles", 1),
    }


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda one: one.update(schemaVersion="1.4"), "schemaVersion must be 1.5"),
        (lambda one: one.update(workflow=[]), "a mapping is expected here"),
        (lambda one: one["workflow"]["specification"].update(tasks=[]), "there are no tasks"),
        (lambda one: one["workflow"]["specification"]["tasks"].append(5), "a mapping with an id"),
        (lambda one: one["workflow"]["specification"]["tasks"].append({"id": "stack"}), "twice"),
        (
            lambda one: one["workflow"]["specification"]["tasks"].extend(
                [{"id": "a", "parents": ["b"]}, {"id": "b", "parents": ["a"]}]
            ),
            r"wait for each other: (a -> b -> a|b -> a -> b)",
        ),
    ],
)
def test_what_is_no_such_document_is_refused(change, words):
    document = json.loads(SURVEY)
    change(document)

    with pytest.raises(Invalid, match=words):
        import_wfformat(json.dumps(document))


@pytest.mark.parametrize("text", ["", "[]", '{"schemaVersion": "1.5"', "[" * 5_000])
def test_hostile_texts_are_refused(text):
    with pytest.raises(Invalid):
        import_wfformat(text)


def test_many_ids_that_come_to_the_same_are_told_apart_in_linear_time():
    tasks = [
        {"id": chr(0x4E00 + n), "name": "t", "parents": [], "children": []} for n in range(3_000)
    ]
    workflow = {"specification": {"tasks": tasks}}
    text = json.dumps({"name": "x", "schemaVersion": "1.5", "workflow": workflow})

    with effort() as spent:
        found = import_wfformat(text)

    assert found.tasks == 3_000
    assert {'- id: "_"', '- id: "__2"', '- id: "__3000"'} <= {
        line.strip() for line in found.source.splitlines()
    }
    assert spent.seconds < 2

"""WfFormat documents become definitions, and nothing that they hold is left out silently."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest

from runtime.connectors.registry import Registry
from runtime.connectors.rehearsal import rehearse
from runtime.definition import validate
from runtime.definition.wfformat import import_wfformat
from runtime.engine.simulation import Script
from runtime.model.errors import Invalid
from runtime.model.execution import ExecutionStatus
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
    done = rehearse(found.plan, REGISTRY, None, Script(), now=datetime(2026, 1, 1, tzinfo=UTC))
    assert (done.status, done.duration_ms) == (ExecutionStatus.COMPLETED, 7_750)


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

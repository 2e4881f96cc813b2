"""The JSON Schema for editors agrees with validation on every sample."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from runtime.definition import json_schema
from runtime.definition.source import read_source

ROOT = Path(__file__).parents[3]
VALID = [*(ROOT / "tests/golden/definitions/valid").iterdir(), *(ROOT / "examples").glob("*.yaml")]


@pytest.fixture(scope="module")
def judge(catalog):
    return Draft202012Validator(json_schema(catalog))


def test_it_is_a_json_schema(catalog):
    Draft202012Validator.check_schema(json_schema(catalog))
    Draft202012Validator.check_schema(json_schema(None))


@pytest.mark.parametrize("path", VALID, ids=lambda path: path.name)
def test_samples_fit(path, judge):
    assert [one.message for one in judge.iter_errors(read_source(path.read_bytes()).value)] == []


@pytest.mark.parametrize(
    "more",
    [
        {"timeout": "5 parsecs"}, {"timeout": "PT"}, {"timeout": 5}, {"timeout": "1h 30m"},
        {"retry": {"max_attempts": 0}}, {"retry": {"backof": "fixed"}}, {"retry": {"jitter": "some"}},
        {"retry": {"initial": "soon"}}, {"uses": "core.noop"}, {"effect": "harmless"}, {"type": "gatway"},
        {"dependsOn": []}, {"with": 5}, {"id": "1st"}, {"labels": {"a": 5}},
    ],
)  # fmt: skip
def test_it_refuses_what_validation_refuses(more, judge, check):
    document = {"name": "x", "steps": [{"id": "a", "uses": "core.noop@1", **more}]}

    assert not judge.is_valid(document)
    assert not check(str(document).replace("'", '"')).ok


@pytest.mark.parametrize(
    "text", ["30s", "2h30m", "1.5h", "500ms", "1w2d", "PT5M", "P1D", "P1DT2H", "PT0.5S"]
)
def test_it_accepts_durations(text, judge, check):
    document = {"name": "x", "steps": [{"id": "a", "uses": "core.noop@1", "timeout": text}]}

    assert judge.is_valid(document)
    assert check(str(document).replace("'", '"')).ok


def test_it_completes_the_connectors_that_are_installed(catalog):
    schema: Any = json_schema(catalog)
    task = schema["$defs"]["step"]["allOf"][0]["then"]

    assert "http.request@1" in task["properties"]["uses"]["examples"]

"""The JSON Schema for editors agrees with validation on every sample."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from runtime.definition import json_schema, schema_text
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
        {"timeout": "0s"}, {"timeout": "PT0S"}, {"timeout": "99999999h"}, {"timeout": "1d99999999h"},
        {"timeout": "P99999D"}, {"dependsOn": []}, {"with": 5}, {"id": "1st"}, {"labels": {"a": 5}},
    ],
)  # fmt: skip
def test_it_refuses_what_validation_refuses(more, judge, check):
    document = {"name": "x", "steps": [{"id": "a", "uses": "core.noop@1", **more}]}

    assert not judge.is_valid(document)
    assert not check(json.dumps(document)).ok


@pytest.mark.parametrize(
    ("more", "is_valid"),
    [({}, False), ({"timeout": "1s"}, False), ({"for": "0s"}, True), ({"with": {"signal": "go"}}, False)],
)  # fmt: skip
def test_a_wait_says_what_it_waits_for(more, is_valid, judge, check):
    document = {"name": "x", "steps": [{"id": "a", "type": "wait", **more}]}

    assert judge.is_valid(document) is is_valid
    assert check(json.dumps(document)).ok is is_valid


@pytest.mark.parametrize(
    "text",
    [
        "30s",
        "2h30m",
        "1.5h",
        "500ms",
        "1w2d",
        "PT5M",
        "P1D",
        "P1DT2H",
        "PT0.5S",
        "3650d",
        "P00010D",
    ],
)
def test_it_accepts_durations(text, judge, check):
    document = {"name": "x", "steps": [{"id": "a", "uses": "core.noop@1", "timeout": text}]}

    assert judge.is_valid(document)
    assert check(str(document).replace("'", '"')).ok


NODE = ROOT / "tests/node"
FIXTURES = sorted((ROOT / "tests/golden/definitions/invalid").iterdir())
# What only meaning tells: names, paths and types that depend on other parts of the document.
MEANT = ("bomb", "cut", "cycle", "tab", "names", "keys")


def documents():
    """Every fixture that can be read, with what is to be said of its form."""
    for path in [*VALID, *FIXTURES]:
        if path.suffix != ".findings" and path.stem not in MEANT:
            source = read_source(path.read_bytes())
            assert source.is_read
            yield path.name, source.value, path.parent.name != "invalid"


@pytest.mark.node
@pytest.mark.skipif(shutil.which("node") is None, reason="AJV: node not found")
@pytest.mark.skipif(
    not (NODE / "node_modules/ajv").is_dir(), reason="AJV: npm ci --prefix tests/node was not run"
)
@pytest.mark.parametrize("installed", [True, False])
def test_ajv_in_its_strict_mode_takes_the_schema_and_agrees(installed, catalog, judge):
    fixtures = list(documents())
    bad = [
        {"name": "x", "steps": [{"id": "a", "uses": "core.noop@1", **more}]}
        for more in ({"timeout": "5 parsecs"}, {"retry": {"max_attempts": 0}}, {"retry": {"initial": "soon"}})
    ]  # fmt: skip
    asked = {
        "schema": json_schema(catalog if installed else None),
        "documents": [value for _, value, _ in fixtures] + bad,
    }

    done = subprocess.run(
        [str(shutil.which("node")), "schema.mjs"],
        cwd=NODE,
        input=json.dumps(asked),
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert dict(zip([name for name, _, _ in fixtures], said, strict=False)) == {
        name: valid for name, _, valid in fixtures
    }
    assert said[len(fixtures) :] == [False] * len(bad)
    assert [judge.is_valid(value) for _, value, _ in fixtures] == [ok for _, _, ok in fixtures]


def test_the_copy_in_the_package_is_fresh():
    assert (ROOT / "runtime/definition/workflow.schema.json").read_text("utf-8") == schema_text()


@pytest.mark.parametrize(
    "document",
    [
        {"name": "x", "tasks": [{"id": "a", "uses": "core.noop@1"}]},
        {"apiVersion": "composer/v1", "kind": "Workflow", "metadata": {"name": "x"}, "spec": {"steps": [{"id": "a", "uses": "core.noop@1"}]}},
    ],
)  # fmt: skip
def test_steps_may_be_called_tasks_and_the_other_way_round(document, judge, check):
    assert judge.is_valid(document)
    assert check(json.dumps(document)).ok


def test_it_completes_the_connectors_that_are_installed(catalog):
    schema: Any = json_schema(catalog)
    task = schema["$defs"]["step"]["allOf"][0]["then"]

    assert "http.request@1" in task["properties"]["uses"]["examples"]


@pytest.mark.parametrize("kind", ["gateway", "wait"])
def test_keys_that_a_kind_never_has_are_not_offered(kind, judge):
    """An editor completes what stands in `properties`."""
    schema: Any = json_schema()
    (record,) = (
        one["then"]
        for one in schema["$defs"]["step"]["allOf"]
        if one["if"]["properties"]["type"]["const"] == kind
    )
    kinds: Any = {"gateway": {"cases": [{"else": "a"}]}, "wait": {"signal": "go"}}
    for key, value in {
        "retry": {"max_attempts": 2},
        "cache": {"ttl": "1s"},
        "compensate": {"uses": "core.noop@1"},
        "runs_on": "gpu",
        "timeout": "1s",
    }.items():
        is_offered = kind == "wait" and key == "timeout"
        document = {"name": "x", "steps": [{"id": "s", "type": kind, **kinds[kind], key: value}]}
        assert (key in record["properties"]) is is_offered
        assert judge.is_valid(document) is is_offered

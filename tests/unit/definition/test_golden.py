"""Every invalid sample has its golden list of findings, every valid one is accepted."""

from __future__ import annotations

from pathlib import Path

import pytest

from runtime.abi.surroundings import Surroundings
from runtime.definition import compile_plan
from runtime.model.workflow import DefinitionFormat

ROOT = Path(__file__).parents[3]
GOLDEN = ROOT / "tests/golden/definitions"
INVALID = sorted(path for path in (GOLDEN / "invalid").iterdir() if path.suffix != ".findings")
VALID = [
    *sorted((GOLDEN / "valid").iterdir()),
    *sorted((ROOT / "examples").glob("*.yaml")),
]


def as_line(problem):
    place = f"{problem.line}:{problem.column}-{problem.end_line}:{problem.end_column}"
    about = f"{place} {problem.severity} {problem.rule}: {problem.message}"
    return about + (f" ({problem.hint})" if problem.hint else "")


@pytest.mark.parametrize("path", INVALID, ids=lambda path: path.name)
def test_all_findings_at_once_each_at_its_place(path, check):
    found = check(
        path.read_bytes(),
        format=DefinitionFormat(path.suffix[1:]),
        surroundings=Surroundings(agents=frozenset()),
    )

    assert not found.ok
    assert [as_line(one) for one in found.problems] == path.with_suffix(
        ".findings"
    ).read_text().splitlines()


@pytest.mark.parametrize("path", VALID, ids=lambda path: path.name)
def test_samples_are_accepted_and_compile(path, check):
    found = check(path.read_bytes())

    assert [one for one in found.problems if one.severity == "error"] == []
    assert compile_plan(found.definition, found.digest) == found.plan


@pytest.mark.parametrize(
    ("name", "rules"),
    [
        ("disclosure-export.yaml", {"connector-not-installed"}),
        ("incident-triage.yaml", {"connector-not-installed", "not-in-this-version"}),
    ],
)
def test_what_this_version_cannot_run_is_refused_when_publishing(name, rules, check):
    found = check((GOLDEN / "valid" / name).read_bytes(), publishing=True)

    assert {one.rule for one in found.problems if one.severity == "error"} == rules


def test_what_this_version_runs_is_published(check):
    assert check((GOLDEN / "valid" / "order-fulfilment-saga.json").read_bytes(), publishing=True).ok

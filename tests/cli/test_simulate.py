"""`mc simulate` and `mc import`: offline, with exit codes and documents that scripts rely on."""

from __future__ import annotations

import json
import shutil

import pytest

from tests.support.processes import ROOT

FLOW = """\
name: tea
params: {cups: {type: integer, default: 1}}
steps:
  - {id: boil, uses: core.sleep@1, retry: {max_attempts: 2, initial: 10s, jitter: none}, with: {duration: 3m}}
  - {id: pot, uses: core.noop@1, depends_on: [boil], when: params.cups > 2}
  - {id: drunk, type: wait, signal: drunk, depends_on: [boil]}
"""


@pytest.fixture
def file(cli, tmp_path):
    path = tmp_path / "tea.yaml"
    path.write_text(FLOW)
    return path


def test_a_file_is_simulated_without_a_server(cli, file):
    flags = ["--fail", "boil:1", "--mock", 'drunk={"by": "me"}', "-i", "cups=1", "-o", "json"]

    found = cli("simulate", "tea.yaml", *flags)

    assert found.code == 0, found.stderr
    document = json.loads(found.stdout)
    steps = {one["key"]: one for one in document["plan"]}
    assert (document["status"], document["duration"]) == ("completed", "PT3M10S")
    assert (steps["boil"]["attempts"], steps["pot"]["taken"]) == (2, False)
    assert steps["pot"]["reads"] == [{"path": "params.cups", "value": 1, "isCut": False}]
    assert steps["drunk"]["mockedOutput"] == {"by": "me"}


def test_people_see_a_table_what_waits_and_what_it_comes_to(cli, file):
    found = cli("simulate", "tea.yaml", "--events", "--costs", "boil=1.00 EUR")

    assert found.code == 0, found.stderr
    assert "its condition is false: {{ params.cups > 2 }} (params.cups = 1)" in found.stdout
    assert "wait drunk: for the signal 'drunk', until it comes" in found.stdout
    assert "step_skipped pot" in found.stdout
    assert "cost      1.00 EUR" in found.stdout


def test_an_execution_that_would_fail_is_exit_code_1(cli, file):
    assert cli("simulate", "tea.yaml", "--fail", "boil").code == 1


@pytest.mark.parametrize(
    ("flags", "code"),
    [
        (["--fail", "boil:x"], 2),
        (["--mock", "boil"], 2),
        (["--takes", "boil=soon"], 2),
        (["--pin", "boil=nowhere.json"], 2),
        (["--pin", "boil=deep.json"], 4),
        (["--pin", "boil=none.json"], 4),
        (["--mock", "boyl=1"], 4),
        (["-i", "cups=many"], 4),
    ],
)
def test_what_makes_no_sense_is_refused(cli, file, flags, code):
    file.with_name("deep.json").write_text("[" * 100_000)
    file.with_name("none.json").write_text("Infinity")

    assert cli("simulate", "tea.yaml", *flags).code == code


@pytest.mark.parametrize(
    ("flags", "why"),
    [
        (["-i", f"cups={1 << 64}"], "The input can't be stored as JSON: Integer exceeds 64-bit"),
        (["-i", 'cups="\\u0000"'], "The input holds the character U+0000"),
    ],
    ids=["beyond 64 bits", "U+0000"],
)
def test_an_input_that_no_server_would_take_is_refused_for_that(cli, file, flags, why):
    found = cli("simulate", "tea.yaml", *flags)

    assert found.code == 4
    assert why in found.stderr


def test_a_broken_file_shows_its_findings(cli, file):
    file.write_text(FLOW.replace("core.noop", "core.nop"))

    found = cli("simulate", "tea.yaml")

    assert found.code == 4
    assert "core.nop" in found.stderr


def test_a_run_of_another_system_is_imported(cli, file):
    shutil.copy(ROOT / "tests/golden/wfformat/survey.json", file.parent / "survey.json")

    shown = cli("import", "wfformat", "survey.json")
    written = cli("import", "wfformat", "survey.json", "--write", "survey.yaml", "-o", "json")
    done = cli("simulate", "survey.yaml", "-o", "json")
    refused = cli("import", "wfformat", "tea.yaml")

    assert (shown.code, written.code, done.code, refused.code) == (0, 0, 0, 4)
    assert "not mapped: workflow.execution.tasks[].command (3)" in shown.stderr
    assert json.loads(written.stdout)["source"] == shown.stdout
    assert json.loads(done.stdout)["duration"] == "PT7.75S"

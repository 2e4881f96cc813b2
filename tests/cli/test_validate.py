"""`mc validate`: the line per finding, and the forms that other tools read."""

from __future__ import annotations

import json

import pytest

from tests.support.processes import ROOT

GOOD = "name: tea\nversion: 1.0.0\nsteps:\n  - id: boil\n    uses: core.noop@1\n"
BAD = """\
name: tea
version: 1.0.0
steps:
  - id: boil
    uses: core.nop@1
  - id: pour
    uses: core.noop@1
    depends_on: [boill]
"""


@pytest.fixture
def files(cli, tmp_path):
    """`good.yaml` and `bad.yaml` in the current folder; `cli` has gone there."""
    (tmp_path / "good.yaml").write_text(GOOD)
    (tmp_path / "bad.yaml").write_text(BAD)
    return cli


def test_each_finding_is_one_line_with_its_place(files, golden):
    done = files("validate", "good.yaml", "bad.yaml")

    assert done.code == 4
    golden("validate-pretty.txt", done.stdout)
    assert done.stderr.startswith("good.yaml: ok, tea 1.0.0 sha256:")


@pytest.mark.parametrize("form", ["json", "sarif", "github"])
def test_other_tools_read_the_same(files, golden, form):
    done = files("validate", "bad.yaml", "--format", form)

    assert done.code == 4
    golden(f"validate-{form}.txt", done.stdout)


def test_good_files_are_ok(files):
    done = files("validate", "good.yaml", "-o", "json")

    assert done.code == 0
    assert [report["valid"] for report in json.loads(done.stdout)] == [True]


def test_the_examples_are_valid(cli):
    assert cli("validate", "--strict", str(ROOT / "examples" / "order-fulfilment.yaml")).code == 0


def test_a_missing_file_is_a_usage_error(cli):
    done = cli("validate", "gone.yaml")

    assert done.code == 2
    assert "gone.yaml" in done.stderr


def test_what_is_no_text_is_a_finding_beside_those_of_others(files, tmp_path):
    (tmp_path / "odd.yaml").write_bytes(b"name: caf\xe9")

    done = files("validate", "odd.yaml", "good.yaml", "-o", "json")

    assert done.code == 4
    odd, good = json.loads(done.stdout)
    assert [one["rule"] for one in odd["findings"]] == ["encoding"]
    assert good["valid"]


def test_broken_yaml_is_a_finding_with_a_place(files, tmp_path):
    (tmp_path / "broken.yaml").write_text("name: tea\nsteps: [\n")

    done = files("validate", "broken.yaml")

    assert done.code == 4
    assert done.stdout.startswith("broken.yaml:")


def test_an_unknown_package_of_connectors_is_named(files):
    done = files("validate", "good.yaml", "--import", "nobody.here")

    assert done.code != 0
    assert "nobody.here" in done.stderr


FIXTURES = ROOT / "tests/golden/definitions/invalid"


@pytest.mark.parametrize(
    "path",
    sorted(one for one in FIXTURES.iterdir() if one.suffix != ".findings"),
    ids=lambda one: one.name,
)
def test_the_command_line_finds_what_the_golden_list_says(cli, path):
    done = cli("validate", str(path), "-o", "json")

    (report,) = json.loads(done.stdout)
    found = [
        f"{one['line']}:{one['column']}-{one['end_line']}:{one['end_column']} {one['severity']} {one['rule']}: "
        f"{one['message']}" + (f" ({one['hint']})" if "hint" in one else "")
        for one in report["findings"]
    ]
    assert done.code == 4
    assert found == path.with_suffix(".findings").read_text().splitlines()

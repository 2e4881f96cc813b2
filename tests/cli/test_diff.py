"""`mc diff` of two files: for people, coloured when asked, and as one JSON document."""

from __future__ import annotations

import json

import pytest

OLD = """\
name: order
version: 1.0.0
steps:
  - {id: take, uses: core.set@1, with: {value: 1}}
  - {id: notify, uses: core.noop@1}
  - {id: pack, uses: core.noop@1}
"""
NEW = """\
name: order
version: 2.0.0
timeout: 1h
steps:
  - {id: pack, uses: core.noop@1}
  - {id: take, uses: core.set@1, with: {value: 2}}
  - {id: mail, uses: core.noop@1}
"""


@pytest.fixture
def files(tmp_path):
    (tmp_path / "old.yaml").write_text(OLD)
    (tmp_path / "new.yaml").write_text(NEW)
    return "old.yaml", "new.yaml"


def test_a_person_sees_steps_fields_and_what_it_means(cli, files):
    done = cli("diff", *files)

    lines = done.stdout.splitlines()
    assert done.code == 0
    assert lines[0] == "old.yaml -> new.yaml"
    assert [line.split("  ")[0] for line in lines[1:3]] == ["- step notify", "+ step mail"]
    assert "    ~ with.value: 1 -> 2" in lines
    assert sum(line.startswith("> step ") for line in lines) == 1
    assert '+ timeout: "1h"' in lines
    assert lines[-2:] == [
        "steps: 1 added, 1 removed, 1 changed, 1 moved; breaking, a major version",
        "  breaking step-removed: the step 'notify' was removed",
    ]


def test_colour_when_it_is_asked_for(cli, files):
    plain, colored = cli("diff", *files).stdout, cli("diff", *files, "--color", "always").stdout

    assert "\x1b[31m- step notify" in colored
    assert "\x1b[" not in plain


def test_a_program_gets_one_document(cli, files):
    found = json.loads(cli("diff", *files, "-o", "json").stdout)

    assert (found["compatibility"], found["suggestedBump"]) == ("breaking", "major")
    assert (found["from"]["version"], found["to"]["version"]) == ("1.0.0", "2.0.0")
    assert [one["key"] for one in found["added"] + found["removed"]] == ["mail", "notify"]
    assert found["changed"][0]["changes"] == [
        {"path": "with.value", "kind": "changed", "before": 1, "after": 2}
    ]
    assert found["changed"][0]["configHashBefore"] != found["changed"][0]["configHashAfter"]
    assert found["metadata"] == [{"path": "timeout", "kind": "added", "after": "1h"}]
    assert [one["rule"] for one in found["effects"]] == ["step-removed"]


def test_names_of_what_differs(cli, files):
    assert cli("diff", *files, "-o", "name").stdout.split() == ["notify", "mail", "take"]


def test_the_same_file_twice(cli, files):
    assert cli("diff", "old.yaml", "old.yaml").stdout.splitlines()[1:] == ["no difference"]


def test_a_file_with_errors_is_refused_at_its_place(cli, files, tmp_path):
    (tmp_path / "bad.yaml").write_text(NEW.replace("id: mail", "id: mail, depends_on: [pakc]"))

    done = cli("diff", "old.yaml", "bad.yaml")

    assert done.code == 4
    assert done.stderr.count("bad.yaml:7:") == 1

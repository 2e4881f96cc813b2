"""What workflows and services say can't drive the terminal of who reads it."""

from __future__ import annotations

import io
import json
import re

import pytest
import yaml

from maestro_cli.errors import INVALID, CliError, Place, excerpt, render
from maestro_cli.main import run
from maestro_cli.options import Options
from maestro_cli.output import Column, print_document, show_fields, show_rows
from maestro_cli.verbs.executions import _log_line
from maestro_cli.watching import event_line

HOSTILE = "bad\x1b[2J\x9b31m\x07\x7f\u202e\nstep_completed  charge"
SPELLED = "bad\\x1b[2J\\x9b31m\\x07\\x7f\\u202e"


def test_an_event_and_a_log_line_stay_one_line():
    event = {"at": "t", "type": "STEP_FAILED", "data": {"error": {"message": HOSTILE}}}
    line = {
        "at": "t",
        "level": "info",
        "stepKey": "a",
        "attempt": 1,
        "message": HOSTILE,
        "fields": None,
    }

    for shown in (event_line(event), _log_line(line)):
        assert shown.endswith(SPELLED + "\\nstep_completed  charge")
        assert shown.isprintable()


@pytest.mark.parametrize("form", ["table", "wide"])
def test_a_cell_of_a_table_is_one_line(capsys, form):
    show_rows(Options(output=form), [{"id": HOSTILE}], [Column("ID", "id")])

    assert capsys.readouterr().out.splitlines()[1].startswith(SPELLED + "\\nstep")


def test_fields_and_errors_keep_their_lines(capsys):
    show_fields({"error": HOSTILE})
    out = capsys.readouterr().out + render(CliError(HOSTILE), as_json=False)

    assert out.count(SPELLED + "\nstep") == 2
    assert "\x1b" not in out


@pytest.mark.parametrize("form", ["json", "jsonl", "yaml"])
def test_a_document_is_the_same_value_without_a_control_character(capsys, form):
    print_document(Options(output=form), {"message": HOSTILE, "ünï": "😀"})
    error = render(CliError(HOSTILE), as_json=True)

    out = capsys.readouterr().out
    assert out.replace("\n", "").isprintable()
    assert "😀" in out or form == "yaml"
    assert yaml.safe_load(out) == {"message": HOSTILE, "ünï": "😀"}
    assert error.isprintable()
    assert json.loads(error)["error"]["message"] == HOSTILE


def test_the_excerpt_of_a_line_is_spelled_and_its_caret_stays_below_the_fault(tmp_path):
    file = tmp_path / "a.yaml"
    file.write_text('name: a\n\tx: "\u202eb\x9b" !oops\n' + "y" * 500 + "!" + "z" * 500)

    line, caret = excerpt(Place(str(file), 2, 11))
    part, below = excerpt(Place(str(file), 3, 501))

    assert line == r'     2 |  x: "\u202eb\x9b" !oops'
    assert line[caret.index("^")] == "!"
    assert part[below.index("^")] == "!"
    assert (len(part) < 200, part[9], part[-1]) == (True, "…", "…")


def test_a_line_of_json_ends_where_its_finding_counted(tmp_path):
    file = tmp_path / "a.json"
    file.write_text('{"name": "a\u2028b\u0085",\n "steps": oops}')

    assert excerpt(Place(str(file), 2, 11))[0] == '     2 |  "steps": oops}'


@pytest.mark.parametrize("form", ["pretty", "github"])
def test_findings_do_not_turn_a_line_around(tmp_path, capsys, form):
    file = tmp_path / "a.yaml"
    file.write_text(
        'name: a\nparams: {"p\u202eq": {type: string}}\nsteps:\n'
        '  - {id: a, uses: core.set@1, with: {value: "{{ params.x }}"}}\n',
    )

    assert run(["validate", str(file), "--format", form]) == INVALID
    out = capsys.readouterr()

    assert "\u202e" not in out.out + out.err
    assert form == "github" or "p\\u202eq" in out.out


def test_a_difference_and_what_an_import_leaves_out_stay_one_line(tmp_path, capsys):
    old, new, run_of = (tmp_path / name for name in ("old.yaml", "new.yaml", "run.json"))
    text = 'name: a\nversion: 1.0.0\nsteps:\n  - {id: a, uses: core.set@1, with: {"k\u202e": 1}}\n'
    old.write_text(text)
    new.write_text(text.replace("1}}", "2}}"))
    tasks = [{"id": "a", "name": "a", "odd\u202e\x9b": 1, "parents": [], "children": []}]
    run_of.write_text(
        json.dumps(
            {"name": "w", "schemaVersion": "1.5", "workflow": {"specification": {"tasks": tasks}}},
            ensure_ascii=False,
        )
    )

    assert (run(["diff", str(old), str(new)]), run(["import", "wfformat", str(run_of)])) == (0, 0)
    out = capsys.readouterr()

    assert r"~ with['k\u202e']: 1 -> 2" in out.out
    assert r"odd\u202e\x9b" in out.err
    assert (out.out + out.err).replace("\n", "").isprintable()


def test_ids_stay_whole_on_the_narrowest_terminal(monkeypatch):
    class Terminal(io.StringIO):
        encoding = "utf-8"

        def isatty(self) -> bool:
            return True

    screen, whole = Terminal(), "0198c0de-0000-7000-8000-000000000001"
    monkeypatch.setenv("COLUMNS", "30")
    monkeypatch.setattr("sys.stdout", screen)

    row = {"id": whole, "name": "order-fulfilment", "status": "COMPLETED"}
    show_rows(
        Options(), [row], [Column("ID", "id"), Column("N", "name"), Column("S", "status", "status")]
    )

    shown = re.sub(r"\x1b\[[0-9;]*m", "", screen.getvalue()).splitlines()[1]
    assert shown == f"{whole}  …  ✓ completed"

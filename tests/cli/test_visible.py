"""What workflows and services say can't drive the terminal of who reads it."""

from __future__ import annotations

import io
import json
import re

import pytest
import yaml

from maestro_cli.errors import CliError, render
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

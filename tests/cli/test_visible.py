"""What workflows and services say can't drive the terminal of who reads it."""

from __future__ import annotations

import pytest

from maestro_cli.errors import CliError, render
from maestro_cli.options import Options
from maestro_cli.output import Column, show_fields, show_rows
from maestro_cli.verbs.executions import _log_line
from maestro_cli.watching import event_line

HOSTILE = "bad\x1b[2J\x9b31m\x07\nstep_completed  charge"
SPELLED = "bad\\x1b[2J\\x9b31m\\x07"


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

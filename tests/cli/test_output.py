"""Tables, documents, names: what programs may rely on."""

from __future__ import annotations

import json

import pytest
import yaml

from maestro_cli.moments import ago, span, span_seconds
from maestro_cli.options import Options
from maestro_cli.output import Column, show_one, show_rows

ROWS = [
    {
        "id": "0198c0de-0000-7000-8000-000000000001",
        "workflow": {"name": "order-fulfilment"},
        "status": "COMPLETED",
        "createdAt": "2026-03-02T12:00:00+00:00",
        "duration": "PT1.25S",
        "error": None,
    },
    {
        "id": "0198c0de-0000-7000-8000-000000000002",
        "workflow": {"name": "billing"},
        "status": "TIMED_OUT",
        "createdAt": "2026-03-02T12:00:01+00:00",
        "duration": None,
        "error": {"message": "too late"},
    },
]
COLUMNS = (
    Column("ID", "id"),
    Column("WORKFLOW", "workflow.name"),
    Column("STATUS", "status", "status"),
    Column("CREATED", "createdAt", "time"),
    Column("DURATION", "duration", "duration"),
    Column("ERROR", "error.message", wide=True),
)


@pytest.mark.parametrize("form", ["table", "wide", "json", "jsonl", "yaml", "name"])
def test_a_list_in_each_format(capsys, golden, form):
    show_rows(Options(output=form), ROWS, COLUMNS)

    golden(f"rows-{form}.txt", capsys.readouterr().out)


def test_json_and_yaml_say_the_same(capsys):
    show_rows(Options(output="json"), ROWS, COLUMNS)
    as_json = json.loads(capsys.readouterr().out)
    show_rows(Options(output="yaml"), ROWS, COLUMNS)

    assert yaml.safe_load(capsys.readouterr().out) == as_json
    assert [row["status"] for row in as_json] == ["completed", "timed_out"]


def test_what_a_workflow_computed_is_shown_as_it_is(capsys):
    row = {"id": "1", "status": "FAILED", "output": {"status": "SHOUTED"}}

    show_one(Options(output="json"), row, lambda: None)

    assert json.loads(capsys.readouterr().out) == {**row, "status": "failed"}


def test_an_empty_list_is_still_a_document(capsys):
    show_rows(Options(output="json"), [], COLUMNS)

    assert json.loads(capsys.readouterr().out) == []


def test_an_empty_table_is_said_on_standard_error(capsys):
    show_rows(Options(), [], COLUMNS, empty="None.")

    assert capsys.readouterr() == ("", "None.\n")


@pytest.mark.parametrize(
    ("duration", "text"),
    [
        ("PT0.04S", "40ms"),
        ("PT1.25S", "1.2s"),
        ("PT1M30S", "1m 30s"),
        ("PT2H5M", "2h 5m"),
        ("P1DT1H", "25h 0m"),
        ("P90D", "90d 0h"),
    ],
)
def test_durations_as_people_say_them(duration, text):
    assert span(duration) == text


def test_instants_as_people_say_them():
    from datetime import UTC, datetime, timedelta

    now = datetime(2026, 3, 2, 12, tzinfo=UTC)

    assert [
        ago((now - timedelta(seconds=s)).isoformat(), now) for s in (0, 59, 61, 7200, 200_000)
    ] == [
        "now",
        "59s ago",
        "1m ago",
        "2h ago",
        "2d ago",
    ]
    assert span_seconds(59.96) == "60.0s"

"""What a watcher makes of events: one line each, and a screen that stays small."""

from __future__ import annotations

import pytest

from maestro_cli.options import Options
from maestro_cli.starting import show_result
from maestro_cli.watching import Progress, event_line, exit_code_of

TIMES = [f"2026-03-02T12:00:{second:02d}+00:00" for second in range(60)]


def event(kind, second=0, step=None, **more):
    return {
        "type": kind,
        "at": TIMES[second],
        "stepKey": step,
        "attempt": None,
        "data": None,
        **more,
    }


STORY = [
    event("EXECUTION_QUEUED", data={"workflow": "order"}, executionStatus="QUEUED"),
    event("EXECUTION_STARTED", 1, executionStatus="RUNNING"),
    event("STEP_STARTED", 1, "charge", attempt=1),
    event(
        "STEP_RETRYING",
        2,
        "charge",
        attempt=1,
        data={"delay_ms": 1500, "error": {"message": "503"}},
    ),
    event("STEP_STARTED", 4, "charge", attempt=2),
    event("STEP_COMPLETED", 5, "charge", attempt=2),
    event("STEP_SKIPPED", 5, "notify"),
    event("EXECUTION_COMPLETED", 6, executionStatus="COMPLETED"),
]


@pytest.fixture
def progress():
    made = Progress("0198")
    for item in STORY:
        made.apply(item)
    return made


def test_a_pipe_gets_one_line_per_change(golden):
    golden("events.txt", "".join(event_line(item) + "\n" for item in STORY))


def test_the_story_is_summed_up(progress):
    assert (progress.workflow, progress.status, progress.retries) == ("order", "completed", 1)
    assert progress.elapsed_seconds == 5
    assert progress.counts() == "1 completed, 1 skipped"
    assert progress.steps["charge"].attempt == 2


def test_the_screen_shows_what_fails_before_what_is_done():
    progress = Progress("0198")
    for number in range(2000):
        progress.apply(event("STEP_STARTED", 1, f"s{number}"))
        progress.apply(event("STEP_COMPLETED", number % 60, f"s{number}"))
    progress.apply(event("STEP_STARTED", 59, "late"))
    progress.apply(event("STEP_FAILED", 59, "bad", data={"error": {"message": "no"}}))

    shown = progress.most_urgent(10)

    assert [row.key for row in shown[:2]] == ["bad", "late"]
    assert len(shown) == 10
    assert shown[0].note == "no"


def test_a_retried_execution_starts_its_time_anew(progress):
    progress.apply(event("EXECUTION_RETRIED", 20, executionStatus="QUEUED"))
    progress.apply(event("EXECUTION_STARTED", 30, executionStatus="RUNNING"))
    progress.apply(event("EXECUTION_FAILED", 33, executionStatus="FAILED"))

    assert progress.elapsed_seconds == 3
    assert progress.status == "failed"


@pytest.mark.parametrize(
    ("status", "code"),
    [("completed", 0), ("failed", 1), ("timed_out", 1), ("dead_lettered", 1), ("cancelled", 9)],
)
def test_the_exit_code_says_how_it_ended(status, code):
    assert exit_code_of(status) == code


def state(**changes):
    return {
        "id": "0198",
        "workflow": {"name": "order"},
        "workflowVersion": {"version": "1.0.0"},
        "status": "COMPLETED",
        "generation": 0,
        "duration": "PT1.5S",
        "output": {"a": 1},
        "error": None,
        **changes,
    }


@pytest.mark.parametrize("form", ["table", "json", "yaml"])
def test_a_result_in_each_format(capsys, golden, form):
    assert show_result(Options(output=form), state()) == 0

    golden(f"result-{form}.txt", capsys.readouterr().out)


def test_a_failure_names_step_and_error(capsys):
    error = {"type": "HttpError", "message": "503", "stepKey": "charge", "retryable": True}

    assert show_result(Options(), state(status="FAILED", output=None, error=error)) == 1

    assert "error: step charge: 503 (HttpError)" in capsys.readouterr().err


def test_items_of_a_map_are_counted_and_not_taken_for_the_step():
    progress = Progress("0198")
    for item in (
        event("STEP_STARTED", 1, "each", attempt=1),
        event("MAP_OPENED", 1, "each", data={"items": 3, "kept": 1}),
        event("STEP_STARTED", 1, "each", attempt=1, mapIndex=1),
        event("STEP_RETRYING", 2, "each", attempt=1, mapIndex=1),
        event("STEP_COMPLETED", 3, "each", attempt=2, mapIndex=1),
    ):
        progress.apply(item)

    row = progress.steps["each"]
    assert (row.status, row.attempt, row.note) == ("running", 1, "2 of 3 items")
    assert progress.retries == 1
    line = event_line(event("STEP_COMPLETED", 3, "each", attempt=2, mapIndex=1))
    assert line == f"{TIMES[3]}  step_completed  each[1]  attempt 2"

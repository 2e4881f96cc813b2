"""Recorded histories of every released version follow from this engine's decisions; whatever is changed in one is found."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest

from runtime.definition.canonical import canonical_digest
from runtime.model.event import EventKind
from runtime.model.execution_replay import DivergenceKind, ReplayDivergence
from tests.support.histories import FOLDER, History

FILES = sorted(FOLDER.glob("*/*.json"))
# What nobody decides, and nothing follows from: who owned it, and what was asked of it too late.
TOLD = {"EXECUTION_QUEUED", "EXECUTION_WAITING", "EXECUTION_TAKEN_OVER", "MESSAGE_UNREAD"}


def read(name: str, release: str = "0.1.0") -> History:
    return History.read(FOLDER / release / f"{name}.json")


def changed(history: History) -> History:
    return History(copy.deepcopy(history.data))


def found(history: History) -> ReplayDivergence:
    replayed = history.replay()
    assert not replayed.is_equal
    assert replayed.divergence is not None
    return replayed.divergence


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_every_recorded_history_follows(path: Path):
    history = History.read(path)

    replayed = history.replay()

    assert replayed.divergence is None
    assert replayed.events == len(history.data["events"])
    assert replayed.attempts == len(history.data["rows"])
    hashed = [row for row in history.data["rows"] if "out" in row["result"]]
    assert replayed.outputs >= len(hashed)


def test_the_histories_have_every_event_that_one_of_this_version_can_have():
    kinds = {e["kind"] for path in FILES for e in History.read(path).data["events"]}
    later = {
        *(
            "EXECUTION_REWOUND",
            "EXECUTION_MIGRATED",
            "EXECUTION_COMPENSATING",
            "STEP_COMPENSATED",
            "DEAD_LETTERED",
            "DEAD_LETTER_DISCARDED",
        ),
        *("MESSAGE_UNREAD", "STEP_TIMED_OUT", "STEP_CALL_WITHDRAWN", "HUMAN_TASK_CREATED"),
    }
    assert {kind.name for kind in EventKind} - kinds <= later


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_an_event_that_is_missing_or_says_something_else_is_found(path: Path):
    history = History.read(path)
    for place, event in enumerate(history.data["events"]):
        if event["kind"] in TOLD:
            continue
        fewer, other = changed(history), changed(history)
        del fewer.data["events"][place]
        for number, one in enumerate(fewer.data["events"], 1):
            one["sequence"] = number
        said = other.data["events"][place]
        said["data"] = {**(said["data"] or {}), "attempt": 77, "worker": None}

        # A person may decide before the doubt is told.
        assert event["kind"] == "STEP_IN_DOUBT" or not fewer.replay().is_equal, f"without {event}"
        # Who asked for another generation decides nothing.
        assert event["kind"] == "EXECUTION_RETRIED" or not other.replay().is_equal, f"{event}"


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_a_row_that_is_missing_or_says_something_else_is_found(path: Path):
    history = History.read(path)
    for place, row in enumerate(history.data["rows"]):
        fewer, status = changed(history), changed(history)
        del fewer.data["rows"][place]
        status.data["rows"][place]["status"] = 7 if row["status"] != 7 else 6
        assert not fewer.replay().is_equal, f"without {row}"
        assert not status.replay().is_equal, f"another status of {row}"
        result = row["result"]
        for name in ("output", "out", "in", "error", "retry_in_ms", "handled", "late"):
            if name not in result or (name == "in" and row["status"] == 8):
                continue
            other = changed(history)
            other.data["rows"][place]["result"][name] = "something else"
            if name == "in" and history.data["rows"][place]["step"] in _waits(history):
                continue
            assert not other.replay().is_equal, f"another {name} of {row}"


def _waits(history: History) -> set[int]:
    """Steps that make no call: nobody decides by the digest of what they waited for."""
    steps = history.data["definition"]["steps"]
    return {
        place for place, step in enumerate(steps) if step.get("type") in {"wait", "map", "gateway"}
    }


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_another_end_is_found(path: Path):
    history = History.read(path)
    for name, value in (("status", "RUNNING"), ("status", "DEAD_LETTERED"), ("generation", 9)):
        other = changed(history)
        other.data["end"][name] = value
        assert found(other).kind in {DivergenceKind.RESULT, DivergenceKind.EVENT}, name
    if history.data["end"]["output"] is not None:
        other = changed(history)
        other.data["end"]["output"] = {"another": "output"}
        assert found(other).kind is DivergenceKind.RESULT


def with_definition(history: History, change: Any) -> History:
    other = changed(history)
    change(other.data["definition"])
    other.data["digest"] = str(canonical_digest(other.data["definition"]))
    return other


def test_another_plan_is_found_where_it_first_decides_otherwise():
    ways = read("ways-1")
    steps = ways.data["definition"]["steps"]
    place = {step["id"]: number for number, step in enumerate(steps)}

    def no_condition(definition: Any) -> None:
        del definition["steps"][place["left-out"]]["when"]

    def slower(definition: Any) -> None:
        definition["steps"][place["b"]]["retry"]["initial"] = "7s"

    def another_input(definition: Any) -> None:
        definition["steps"][place["end"]]["with"] = {"of": "something else"}

    def another_output(definition: Any) -> None:
        definition["outputs"] = {"end": "something else"}

    runs, waits, given, ends = (
        found(with_definition(ways, change))
        for change in (no_condition, slower, another_input, another_output)
    )

    assert (runs.kind, runs.step) == (DivergenceKind.EVENT, "left-out")
    assert "step_started" in runs.expected
    assert "step_skipped" in runs.found
    assert (waits.kind, waits.step) == (DivergenceKind.ROW, "b")
    assert (given.kind, given.step) == (DivergenceKind.INPUT, "end")
    assert ends.kind is DivergenceKind.RESULT
    started = next(
        e for e in ways.data["events"]
        if e["kind"] == "STEP_STARTED" and e["data"]["key"] == "end"
    )  # fmt: skip
    assert given.sequence == started["sequence"]


def test_the_first_divergence_has_its_step_its_event_and_both_sides():
    history = read("waits-1")
    row = next(row for row in history.data["rows"] if row["step"] == 4)
    row["result"]["output"] = {"got": {"n": 9}}

    divergence = found(history)

    end = [
        e["sequence"] for e in history.data["events"]
        if e["kind"] == "STEP_COMPLETED" and e["data"]["step"] == 4
    ]  # fmt: skip
    assert divergence.kind is DivergenceKind.OUTPUT
    assert (divergence.step, divergence.item, [divergence.sequence]) == ("end", None, end)
    assert divergence.expected == row["result"]["out"]
    assert divergence.found.startswith("sha256:")


def test_an_output_that_is_changed_with_its_digest_is_found_where_it_is_used():
    history = read("ways-1")
    steps = [step["id"] for step in history.data["definition"]["steps"]]
    row = next(
        row for row in history.data["rows"]
        if row["step"] == steps.index("b") and row["status"] == 6
    )  # fmt: skip
    row["result"]["output"] = {"attempt": 9}
    row["result"]["out"] = str(canonical_digest({"attempt": 9}))

    divergence = found(history)

    assert (divergence.kind, divergence.step) == (DivergenceKind.INPUT, "end")


def test_a_value_that_is_gone_from_the_blob_store_is_found():
    history = read("large-1")
    refs = [row["result"]["out"] for row in history.data["rows"] if row["step"] == 2]
    del history.data["blobs"][refs[0]]

    divergence = found(history)

    assert (divergence.kind, divergence.step) == (DivergenceKind.OUTPUT, "c")
    assert divergence.found == "it is not there"


def test_numbers_with_a_gap_are_found():
    history = read("ways-1")
    history.data["events"][4]["sequence"] = 77

    assert found(history)[:4] == (DivergenceKind.EVENT, "event 5", "event 77", 5)


def test_what_still_runs_follows_as_far_as_it_is():
    history = read("ways-1")
    for last in range(1, len(history.data["events"])):
        so_far = changed(history)
        so_far.data["events"] = so_far.data["events"][:last]
        so_far.data["end"] |= {"status": "RUNNING", "output": None}
        told = {
            (e["data"]["step"], e["data"]["attempt"], e["kind"])
            for e in so_far.data["events"]
            if (e["data"] or {}).get("step") is not None and e["kind"] != "STEP_STARTED"
        }
        ended = {(step, attempt) for step, attempt, _ in told}
        so_far.data["rows"] = [
            row for row in so_far.data["rows"]
            if (row["step"], row["attempt"]) in ended
            or (row["step"], 0, "STEP_SKIPPED") in told
        ]  # fmt: skip
        replayed = so_far.replay()
        assert replayed.is_equal, replayed.divergence


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_another_error_of_the_execution_is_found(path: Path):
    other = changed(History.read(path))
    other.data["end"]["error"] = {"type": "another", "message": "no", "retryable": False}

    assert found(other).kind is DivergenceKind.RESULT


@pytest.mark.parametrize(
    ("kind", "status", "is_equal"),
    [
        ("EXECUTION_FAILED", "FAILED", True),
        ("EXECUTION_FAILED", "COMPLETED", False),
        ("EXECUTION_FAILED", "CANCELLED", False),
        ("DEAD_LETTERED", "DEAD_LETTERED", True),
        ("DEAD_LETTERED", "COMPLETED", False),
    ],
)
def test_an_end_that_the_core_did_not_decide_is_that_of_its_event(
    kind: str, status: str, is_equal: bool
):
    history = read("ways-1")
    error = {"type": "engine.defect", "message": "it broke", "retryable": False}
    history.data["events"][-1] |= {"kind": kind, "data": {"error": error}}
    history.data["end"] |= {"status": status, "output": None, "error": error}

    replayed = history.replay()

    assert replayed.is_equal is is_equal
    if not is_equal:
        assert found(history).kind is DivergenceKind.RESULT


def renumbered(history: History) -> History:
    for number, event in enumerate(history.data["events"], 1):
        event["sequence"] = number
    return history


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_an_end_that_is_told_twice_or_not_at_all_is_found(path: Path):
    twice, never = read_changed(path), read_changed(path)
    twice.data["events"].append(copy.deepcopy(twice.data["events"][-1]))
    never.data["events"][-1] |= {"kind": "EXECUTION_TAKEN_OVER", "data": None}

    assert found(renumbered(twice)).kind is DivergenceKind.EVENT
    assert found(never).kind in {DivergenceKind.RESULT, DivergenceKind.EVENT}


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_the_first_event_and_no_other_one_says_that_it_was_accepted(path: Path):
    other, twice = read_changed(path), read_changed(path)
    other.data["events"][0] |= {"kind": "EXECUTION_TAKEN_OVER", "data": None}
    twice.data["events"].insert(1, copy.deepcopy(twice.data["events"][0]))

    assert found(other)[:1] + found(other)[3:4] == (DivergenceKind.EVENT, 1)
    assert found(renumbered(twice))[:1] + found(twice)[3:4] == (DivergenceKind.EVENT, 2)


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_a_completed_row_without_its_digests_is_found(path: Path):
    history = History.read(path)
    for place, row in enumerate(history.data["rows"]):
        if row["status"] != 6:
            continue
        fewer = changed(history)
        del fewer.data["rows"][place]["result"]["out"]
        assert found(fewer).kind is DivergenceKind.OUTPUT
        steps = history.data["definition"]["steps"]
        # Behind the steps stand those that undo some of them: each is a call.
        is_called = row["step"] >= len(steps) or "uses" in steps[row["step"]] or row["item"] >= 0
        if is_called:
            fewer = changed(history)
            del fewer.data["rows"][place]["result"]["in"]
            assert found(fewer).kind is DivergenceKind.INPUT


def test_another_reason_why_a_step_was_skipped_is_found():
    history = read("ways-1")
    row = next(row for row in history.data["rows"] if row["status"] == 8)
    row["result"]["reason"] = "because"

    assert found(history).kind is DivergenceKind.ROW


def read_changed(path: Path) -> History:
    return changed(History.read(path))

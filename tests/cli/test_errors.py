"""Failures in their three forms: sentence with place and hint, JSON object, exit code."""

from __future__ import annotations

import json

import pytest

from maestro_cli.errors import CliError, Finding, Place, from_model, render
from runtime.model import errors as model

EXIT_CODES = {
    model.NotFound: 3,
    model.BadInput: 4,
    model.PayloadTooLarge: 4,
    model.Unauthenticated: 5,
    model.Denied: 5,
    model.Conflict: 6,
    model.IdempotencyConflict: 6,
    model.InvalidState: 6,
    model.Unavailable: 7,
    model.Exhausted: 7,
    model.MaestroError: 1,
}


def test_a_failure_shows_the_place_with_a_caret(tmp_path, golden):
    file = tmp_path / "order.yaml"
    file.write_text("name: order\nsteps:\n  - id: ship\n    depends_on: [chrage]\n")
    error = CliError(
        "There is no step 'chrage'.",
        place=Place(str(file), 4, 18),
        hint="did you mean 'charge'?",
        trace="4bf92f",
    )

    golden("error.txt", render(error, as_json=False).replace(str(tmp_path), "DIR") + "\n")


def test_the_same_failure_as_json(tmp_path):
    error = CliError("No.", code="NOT_FOUND", reason="X", place=Place("a.yaml", 1, 2), hint="look")

    assert json.loads(render(error, as_json=True)) == {
        "error": {
            "code": "NOT_FOUND",
            "reason": "X",
            "message": "No.",
            "at": "a.yaml:1:2",
            "hint": "look",
            "exit_code": 3,
        }
    }


def test_the_trace_is_for_faults_not_for_refusals():
    assert "trace: 4bf92f" in render(CliError("No.", trace="4bf92f"), as_json=False)
    assert "trace" not in render(CliError("No.", code="NOT_FOUND", trace="4bf92f"), as_json=False)
    assert "4bf92f" in render(CliError("No.", code="NOT_FOUND", trace="4bf92f"), as_json=True)


def test_several_findings_are_listed_below_the_sentence():
    error = CliError(
        "2 findings", findings=[Finding("first", path=("input", "a")), Finding("second")]
    )

    assert render(error, as_json=False).splitlines() == [
        "error: 2 findings",
        "  error: input.a: first",
        "  error: second",
    ]


def test_a_place_that_can_not_be_read_is_named_without_excerpt():
    assert (
        render(CliError("No.", place=Place("gone.yaml", 3, 1)), as_json=False)
        == "error: No.\n  at gone.yaml:3:1"
    )


@pytest.mark.parametrize(
    ("kind", "code"), EXIT_CODES.items(), ids=lambda value: getattr(value, "__name__", value)
)
def test_exit_code_says_what_kind_of_failure_it_was(kind, code):
    error = from_model(kind())

    assert error is not None
    assert error.exit_code == code


def test_invalid_input_keeps_its_problems():
    problem = model.Problem("type", "must be a number", path=("input", "amount"), hint="write 3")

    error = from_model(model.Invalid([problem]))

    assert error is not None
    assert error.exit_code == 4
    assert "input.amount" in render(error, as_json=False)
    assert "hint: write 3" in render(error, as_json=False)


@pytest.mark.parametrize(
    ("reason", "code"), [("BAD_VARIABLE", 2), ("HOME_IN_USE", 6), ("NO_DISK_SPACE", 1)]
)
def test_what_is_wrong_with_the_surroundings_is_told_by_its_reason(reason, code):
    error = from_model(model.SetupError("no", reason=reason))

    assert error is not None
    assert error.exit_code == code


def test_an_unexpected_failure_is_no_error_of_ours():
    assert from_model(ValueError("x")) is None

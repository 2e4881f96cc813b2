"""Errors: a caller's mistake is explained, a fault is masked under a trace id."""

from __future__ import annotations

import pytest
from graphql import GraphQLError

from runtime.model import errors as model
from subgraph.errors import STATUS, headers_of, present, status_of
from subgraph.http.observe import Seen
from subgraph.http.problem import problem

TRACE = "ab" * 16


def wrapped(error: Exception) -> GraphQLError:
    return GraphQLError(str(error), path=["workflow"], original_error=error)


def test_a_refusal_shows_code_reason_and_trace() -> None:
    shown = present(wrapped(model.NotFound("No such thing.", reason="WORKFLOW_NOT_FOUND")), TRACE)

    assert shown.message == "No such thing."
    assert shown.extensions == {
        "code": "NOT_FOUND",
        "reason": "WORKFLOW_NOT_FOUND",
        "trace_id": TRACE,
    }
    assert shown.path == ["workflow"]


@pytest.mark.parametrize(
    "fault",
    [
        RuntimeError("password=hunter2"),
        model.MaestroError("password=hunter2"),
        model.SetupError("password=hunter2"),
        model.StepFailed("password=hunter2"),
        KeyError("password=hunter2"),
    ],
)
def test_a_fault_shows_nothing_of_its_inside(fault: Exception) -> None:
    shown = present(wrapped(fault), TRACE)

    assert "hunter2" not in str(shown.formatted)
    assert shown.extensions == {"code": "INTERNAL", "trace_id": TRACE}


@pytest.mark.parametrize(
    "reason", ["BLOB_STORE_UNAVAILABLE", "DATABASE_UNAVAILABLE", "REDIS_UNAVAILABLE"]
)
def test_what_does_not_answer_is_not_said_to_callers_by_its_place(reason: str) -> None:
    error = model.Unavailable("db7.internal:5432 said /var/lib/hunter2", reason=reason)

    shown = present(wrapped(error), TRACE)
    body = bytes(problem(error, TRACE).body)

    assert "hunter2" not in str(shown.formatted) + body.decode()
    assert shown.extensions == {"code": "UNAVAILABLE", "reason": reason, "trace_id": TRACE}
    assert "try again" in shown.message
    assert f'"reason":"{reason}"'.encode() in body


def test_a_null_that_must_not_be_is_a_fault() -> None:
    error = GraphQLError("Cannot return null for non-nullable field X.y.", path=["x", "y"])

    assert (present(error, TRACE).extensions or {})["code"] == "INTERNAL"


def test_variables_that_do_not_fit_are_the_callers() -> None:
    shown = present(GraphQLError("Variable '$id' got invalid value 5."), TRACE)

    assert (shown.extensions or {})["code"] == "BAD_USER_INPUT"
    assert "$id" in shown.message


def test_a_code_that_was_given_stays() -> None:
    shown = present(GraphQLError("No.", extensions={"code": "QUERY_TOO_COMPLEX"}), TRACE)

    assert (shown.extensions or {})["code"] == "QUERY_TOO_COMPLEX"


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (model.Unauthenticated(), 401),
        (model.Denied(), 403),
        (model.NotFound(), 404),
        (model.Conflict(), 409),
        (model.IdempotencyConflict(), 409),
        (model.InvalidState(), 409),
        (model.PayloadTooLarge(), 413),
        (model.Invalid([]), 422),
        (model.BadInput(), 400),
        (model.Exhausted(), 429),
        (model.Unavailable(), 503),
        (model.MaestroError(), 500),
    ],
)
def test_each_family_has_its_status(error: model.MaestroError, status: int) -> None:
    assert status_of(error) == status
    assert error.code in STATUS


def test_headers_say_how_to_go_on() -> None:
    assert headers_of(model.Unauthenticated())["WWW-Authenticate"].startswith("Bearer")
    assert headers_of(model.Exhausted(retry_after=2.6)) == {"Retry-After": "3"}
    assert headers_of(model.NotFound()) == {}


def test_a_problem_is_rfc_9457() -> None:
    response = problem(model.Denied("No.", reason="SCOPE_MISSING"), TRACE)

    assert response.media_type == "application/problem+json"
    assert response.status_code == 403
    assert b'"code":"FORBIDDEN"' in bytes(response.body)
    assert b'"reason":"SCOPE_MISSING"' in bytes(response.body)


@pytest.mark.parametrize("code", STATUS)
def test_an_operation_counts_as_a_fault_when_its_status_would_be_one(code: str) -> None:
    seen = Seen([GraphQLError("no", extensions={"code": code})])

    assert (seen.outcome == "fault") == (STATUS[code] >= 500)

"""The core connectors, by what they promise."""

from __future__ import annotations

from typing import Any

import pytest

from maestro.testing import run_step
from runtime.connectors.core_fail import Fail
from runtime.connectors.core_noop import Noop
from runtime.connectors.core_set import Set
from runtime.connectors.core_sleep import Sleep
from runtime.model.errors import StepErrorKind


@pytest.mark.parametrize("given", [None, {}, {"a": [1]}, [1], "x"])
def test_noop_takes_anything_and_gives_an_empty_object(given: Any):
    assert run_step(Noop, given).unwrap() == {}


@pytest.mark.parametrize("given", [{}, {"a": {"b": [1, 2.5, None, True, "x"]}}])
def test_set_gives_what_it_takes(given: Any):
    assert run_step(Set, given).unwrap() == given


@pytest.mark.parametrize("given", [[1], "x", 3])
def test_set_takes_only_an_object(given: Any):
    error = run_step(Set, given).error

    assert error is not None
    assert error.type == "input.invalid"


@pytest.mark.parametrize(
    ("duration", "seconds"), [("20ms", 0.02), (0.02, 0.02), (0, 0.0), ("PT0.01S", 0.01)]
)
def test_sleep_takes_a_duration_or_seconds(duration: Any, seconds: float):
    assert run_step(Sleep, {"duration": duration}).unwrap() == {"seconds": seconds}


@pytest.mark.parametrize("duration", ["soon", -1, True, None, [1], float("inf"), "20y", 1e30])
def test_sleep_refuses_what_is_no_duration(duration: Any):
    error = run_step(Sleep, {"duration": duration}).error

    assert error is not None
    assert error.type == "input.invalid"


def test_sleep_ends_when_it_is_told_to_stop():
    error = run_step(Sleep, {"duration": "1h"}, cancel_after=0.01).error

    assert error is not None
    assert (error.kind, error.type) == (StepErrorKind.CANCELLED, "step.cancelled")


@pytest.mark.parametrize("kind", ["transient", "permanent", "throttled", "timeout"])
def test_fail_fails_as_it_is_told(kind: str):
    error = run_step(
        Fail, {"message": "no", "kind": kind, "type": "a.b", "retry_after": "2s", "details": [1]}
    ).error

    assert error is not None
    assert (error.message, error.kind, error.type) == ("no", kind, "a.b")
    assert (error.retry_after, error.details) == (2.0, [1])


@pytest.mark.parametrize(("attempt", "ok"), [(1, False), (2, False), (3, True), (4, True)])
def test_fail_succeeds_from_the_named_attempt_on(attempt: int, ok: bool):
    result = run_step(Fail, {"until_attempt": 3}, attempt=attempt)

    assert result.ok is ok
    assert result.output == ({"attempt": attempt} if ok else None)


def test_fail_can_not_pretend_to_be_cancelled():
    error = run_step(Fail, {"kind": "cancelled"}).error

    assert error is not None
    assert error.type == "input.invalid"

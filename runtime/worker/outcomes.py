"""Outcomes of lent items as text: a helper tells the owner of an execution, which takes it in as if it had run them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, TypeAlias

import orjson

from runtime.engine.event import Facts, StepDeferred, StepError, StepFailed, StepSucceeded
from runtime.model.plan import Effect

Outcome: TypeAlias = StepSucceeded | StepFailed | StepDeferred


def written(outcomes: Iterable[Outcome], *, stays: bool) -> str:
    """The text; `stays`: items of this map have to be run by the owner."""
    return orjson.dumps({"stays": stays, "items": list(map(_row, outcomes))}).decode()


def read(text: str, step: int) -> tuple[list[Outcome], bool]:
    """What `written` wrote about items of a step."""
    value = orjson.loads(text)
    return [_outcome(step, row) for row in value["items"]], bool(value["stays"])


def _row(outcome: Outcome) -> list[Any]:
    match outcome:
        case StepSucceeded(_, attempt, _, facts, item):
            return [item, attempt, list(facts), None, None]
        case StepFailed():
            error, effect = outcome.error.as_json(), outcome.effect.value
            return [outcome.item, outcome.attempt, list(outcome.facts), error, effect]
        case StepDeferred():
            return [outcome.item, outcome.attempt, None, outcome.error.as_json(), None]


def _outcome(step: int, row: list[Any]) -> Outcome:
    item, attempt, facts, error, effect = row
    if error is None:
        return StepSucceeded(step, attempt, None, Facts(*facts), item)
    if facts is None:
        return StepDeferred(step, attempt, StepError.of_json(error), item)
    return StepFailed(step, attempt, StepError.of_json(error), Effect(effect), Facts(*facts), item)

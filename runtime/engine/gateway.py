"""Gateways: a decision of the core itself, without a call. What it took is its output, and is never decided again."""

from __future__ import annotations

import orjson

from runtime.engine.about import about
from runtime.engine.command import Command, RecordEvent, RecordStep
from runtime.engine.ending import complete, end_badly
from runtime.engine.event import WAITED, Facts, StepError
from runtime.engine.scope import scope_of
from runtime.engine.state import COMPLETED, ExecutionState
from runtime.expression import ExpressionError, Template, truthy
from runtime.model.event import EventKind
from runtime.model.execution import StepStatus
from runtime.model.route import Gateway
from runtime.model.values import Json

NO_CASE = "gateway.no_case"


def choose(state: ExecutionState, step: int, gateway: Gateway, out: list[Command]) -> None:
    """Take the cases that hold, in the order of the document. When a large value is missing, nothing has changed."""
    found = _taken(state, step, gateway)
    state.attempt[step] = 1
    out.append(RecordEvent(EventKind.STEP_STARTED, about(state, step)))
    if isinstance(found, StepError):
        end_badly(state, step, StepStatus.FAILED, found, Facts(WAITED), out)
        return
    steps = dict.fromkeys(one for case in found for one in gateway.cases[case].then)
    output: dict[str, Json] = {"cases": [*found], "then": [state.key(one) for one in steps]}
    state.outputs[step] = state.gates[step] = output
    facts = Facts(WAITED, orjson.dumps(output).decode())
    out.append(RecordStep(step, 1, StepStatus.COMPLETED, facts=facts))
    out.append(RecordEvent(EventKind.STEP_COMPLETED, {**about(state, step), **output}))
    complete(state, step, COMPLETED)


def _taken(state: ExecutionState, step: int, gateway: Gateway) -> list[int] | StepError:
    scope = scope_of(state, resolve=state.resolve, step=step)
    conditions: tuple[Template | None, ...] = state.program.steps[step].cases
    taken: list[int] = []
    for number, condition in enumerate(conditions):
        if condition is None:
            taken += [] if taken else [number]
            break
        try:
            holds = truthy(condition.render(scope))
        except ExpressionError as problem:
            words = f"`cases[{number}].when` of step {state.key(step)!r}: {problem.message}"
            return StepError("expression", words)
        if holds:
            taken.append(number)
            if not gateway.is_inclusive:
                break
    if not taken:
        return StepError(
            NO_CASE, f"No case of gateway {state.key(step)!r} holds, and it has no else."
        )
    return taken

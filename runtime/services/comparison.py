"""Comparing two executions: which steps ran, with what, what they gave, and where the two first part.

Inputs and outputs are compared by the digests that their rows record, so large values are not read; times are not
compared, they always differ.
"""

from __future__ import annotations

from collections.abc import Sequence
from heapq import heapify, heappop, heappush
from typing import Final

import orjson

from runtime.model.blob import BlobRef
from runtime.model.execution import Execution, StepExecution, StepStatus
from runtime.model.execution_comparison import (
    ExecutionComparison,
    ExecutionDifference,
    StepComparison,
    StepDifference,
)
from runtime.model.plan import Plan
from runtime.model.values import Json

_DID_NOT_RUN: Final = frozenset({StepStatus.PENDING, StepStatus.READY, StepStatus.SKIPPED})


def compare(
    a: Execution,
    steps_a: Sequence[StepExecution],
    plan_a: Plan,
    b: Execution,
    steps_b: Sequence[StepExecution],
) -> ExecutionComparison:
    """What two executions have not in common."""
    there = {step.key: step for step in steps_b}
    steps = [_compared(steps_a[one], there.pop(steps_a[one].key, None)) for one in order_of(plan_a)]
    steps += [_compared(None, step) for step in there.values()]
    path_a, path_b = _path(steps_a), _path(steps_b)
    unequal = {
        ExecutionDifference.VERSION: a.version_id != b.version_id,
        ExecutionDifference.INPUT: _differ(a.input, b.input),
        ExecutionDifference.PATH: path_a != path_b,
        ExecutionDifference.STATUS: a.state != b.state,
        ExecutionDifference.OUTPUT: _differ(a.output, b.output),
        ExecutionDifference.ERROR: _words(a) != _words(b),
    }
    found = tuple(one for one, differs in unequal.items() if differs)
    return ExecutionComparison(a, b, found, path_a, path_b, tuple(steps))


def order_of(plan: Plan) -> list[int]:
    """The steps in an order in which they could run one by one; ties by the order of the document."""
    open_edges = list(plan.indegree)
    ready = [step for step, count in enumerate(open_edges) if count == 0]
    heapify(ready)
    found = []
    while ready:
        step = heappop(ready)
        found.append(step)
        for successor in plan.successors[step]:
            open_edges[successor] -= 1
            if open_edges[successor] == 0:
                heappush(ready, successor)
    return found


def _compared(a: StepExecution | None, b: StepExecution | None) -> StepComparison:
    one = a or b
    if one is None or a is None or b is None:
        key = "" if one is None else one.key
        return StepComparison(key, a, b, (StepDifference.PRESENCE,))
    unequal = {
        StepDifference.STATUS: a.status is not b.status,
        StepDifference.CODE: (a.type, a.code, a.code_hash) != (b.type, b.code, b.code_hash),
        StepDifference.INPUT: a.input_hash != b.input_hash,
        StepDifference.OUTPUT: _output(a) != _output(b),
        StepDifference.ERROR: _words(a) != _words(b),
        StepDifference.ATTEMPTS: a.attempt != b.attempt,
    }
    return StepComparison(a.key, a, b, tuple(one for one, differs in unequal.items() if differs))


def _output(step: StepExecution) -> Json:
    """The digest of what it gave; a release that recorded none leaves the value."""
    return step.output_hash if step.output_hash is not None else repr(step.output)


def _differ(a: Json | BlobRef, b: Json | BlobRef) -> bool:
    """As JSON, in which 1, 1.0 and true are three values; the order of keys means nothing. Large values by digest."""
    if isinstance(a, BlobRef) or isinstance(b, BlobRef):
        return a != b
    keys = orjson.OPT_SORT_KEYS
    return orjson.dumps(a, option=keys) != orjson.dumps(b, option=keys)


def _words(one: Execution | StepExecution) -> tuple[str, str] | None:
    return None if one.error is None else (one.error.type, one.error.message)


def _path(steps: Sequence[StepExecution]) -> tuple[str, ...]:
    return tuple(step.key for step in steps if step.status not in _DID_NOT_RUN)

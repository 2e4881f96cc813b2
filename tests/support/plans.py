"""Plans for tests of the engine: a graph in a few words, without a definition document."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from runtime.definition.compile import FALLS_BACK, GIVEN_AGAIN, UNDOES
from runtime.engine.program import Program
from runtime.engine.state import ExecutionState, RunInfo
from runtime.model.plan import NO_RETRY, ConnectorRef, Plan, RetryPolicy, StepKind, StepPlan
from runtime.model.route import Routes
from runtime.model.values import Digest, Duration

_NOOP: Any = {"kind": StepKind.TASK, "uses": ConnectorRef("core.noop", 1)}
EXECUTION = UUID("01930000-0000-7000-8000-000000000001")


def plan_of(
    graph: Mapping[str, Sequence[str]],
    *,
    when: Mapping[str, str] | None = None,
    retry: Mapping[str, RetryPolicy] | None = None,
    steps: Mapping[str, Mapping[str, Any]] | None = None,
    outputs: Any = None,
    max_parallel_steps: int | None = None,
    timeout: Duration | None = None,
    routes: Routes | None = None,
    compensate: Mapping[str, Mapping[str, Any]] | None = None,
    fallback: Mapping[str, Any] | None = None,
) -> Plan:
    """`{"a": [], "b": ["a"]}`: steps in document order with what they depend on.

    `compensate` says how they are undone, `fallback` with which outputs they go on when they have failed.
    """
    keys = list(graph)
    index = {key: i for i, key in enumerate(keys)}
    successors: list[list[int]] = [[] for _ in keys]
    for key, needs in graph.items():
        for need in needs:
            successors[index[need]].append(index[key])
    parts = [graph, when, retry, steps, outputs, max_parallel_steps, timeout, routes, compensate]
    text = repr((*parts, *([fallback] if fallback else [])))
    undone = {
        key: len(keys) + n for n, key in enumerate(k for k in keys if k in (compensate or {}))
    }
    behind = len(keys) + len(undone)
    given = {key: behind + n for n, key in enumerate(k for k in keys if k in (fallback or {}))}
    return Plan(
        name="test",
        digest=Digest("sha256:" + hashlib.sha256(text.encode()).hexdigest()),
        steps=tuple(
            StepPlan(
                index=i,
                key=key,
                depends_on=tuple(index[need] for need in graph[key]),
                when=(when or {}).get(key),
                retry=(retry or {}).get(key, NO_RETRY),
                compensation=undone.get(key),
                fallback=given.get(key),
                **_NOOP | dict((steps or {}).get(key, {})),
            )
            for i, key in enumerate(keys)
        ),
        successors=tuple(tuple(out) for out in successors),
        indegree=tuple(len(graph[key]) for key in keys),
        outputs=outputs,
        max_parallel_steps=max_parallel_steps,
        timeout=timeout,
        routes=routes,
        compensations=tuple(
            StepPlan(
                index=number,
                key=key + UNDOES,
                depends_on=(),
                undoes=index[key],
                **_NOOP | dict((compensate or {})[key]),
            )
            for key, number in undone.items()
        ),
        fallbacks=tuple(
            _fallback(number, key, (fallback or {})[key], index[key])
            for key, number in given.items()
        ),
        index_of=index,
    )


def _fallback(number: int, key: str, output: Any, of: int) -> StepPlan:
    return StepPlan(
        index=number,
        key=key + FALLS_BACK,
        kind=StepKind.TASK,
        depends_on=(),
        config={"output": output},
        retry=GIVEN_AGAIN,
        stands_for=of,
    )


def state_of(plan: Plan, params: Any = None, generation: int = 0) -> ExecutionState:
    """A new state of a plan."""
    return ExecutionState(Program.of(plan), RunInfo(EXECUTION, params or {}, generation))

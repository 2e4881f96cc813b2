"""From the canonical definition to a Plan: integers instead of names, O(steps + edges).

Also used for versions published long ago: what was accepted once compiles for ever.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache
from typing import Any, Final

import orjson

from runtime.definition.canonical import canonical_digest
from runtime.definition.lane import read_concurrency
from runtime.definition.outputs import parse_ref
from runtime.definition.ways import read_routes
from runtime.model.errors import Invalid, Problem
from runtime.model.plan import (
    DEFAULT_OUTCOMES,
    MAP_CONCURRENCY,
    NO_POLICY,
    NO_RETRY,
    Backoff,
    CachePlan,
    Effect,
    HumanPlan,
    InDoubt,
    Jitter,
    MapPlan,
    Plan,
    PolicyContext,
    RetryPolicy,
    StepKind,
    StepPlan,
    WaitPlan,
)
from runtime.model.values import Digest, Duration, Json, SemVer

# What undoes a step is called like it, with this behind: no id that a document gives has a colon.
UNDOES: Final = ":compensate"
# And so is what gives the output of a step that has failed.
FALLS_BACK: Final = ":on_error"
# What may help it is that a large output is stored once more.
GIVEN_AGAIN: Final = RetryPolicy(max_attempts=3)
_OF_TASK: Final = ("timeout", "retry")
_WAIT: Final = ("signal", "for", "until", "timeout", "default")
HUMAN_KINDS: Final = frozenset((StepKind.HUMAN_APPROVAL, StepKind.HUMAN_TASK))
# What of a human step is rendered when its task is opened.
_ASKED: Final = (
    "title",
    "message",
    "assignees",
    "candidate_groups",
    "due",
    "escalate",
    "attachments",
)


def compile_plan(definition: Mapping[str, Json], digest: Digest) -> Plan:
    """The plan of a canonical definition."""
    steps: Any = definition.get("steps", [])
    index_of = {step["id"]: index for index, step in enumerate(steps)}
    retry = read_retry(definition.get("retry"))
    try:
        plans = tuple(_step(step, index, index_of, retry) for index, step in enumerate(steps))
        plans, compensations = _with_compensations(plans, steps, retry)
        plans, fallbacks = _with_fallbacks(plans, steps, len(plans) + len(compensations))
        successors: list[list[int]] = [[] for _ in plans]
        for plan in plans:
            for need in plan.depends_on:
                successors[need].append(plan.index)
        routes = read_routes(steps, index_of, [plan.depends_on for plan in plans], successors)
    except KeyError as error:
        message = f"the stored definition refers to {error.args[0]!r}, which it does not have"
        raise Invalid([Problem("unknown-dependency", message)]) from error
    return Plan(
        name=str(definition.get("name", "")),
        digest=digest,
        steps=plans,
        successors=tuple(tuple(one) for one in successors),
        indegree=tuple(len(plan.depends_on) for plan in plans),
        routes=routes,
        compensations=compensations,
        fallbacks=fallbacks,
        index_of=index_of,
        **_settings(definition),
    )


def _settings(definition: Mapping[str, Json]) -> dict[str, Any]:
    found: Any = definition
    policy = found.get("policy")
    return {
        "version": SemVer.parse(found["version"]) if "version" in found else None,
        "outputs": found.get("outputs"),
        "params_schema": found.get("params"),
        "timeout": _duration(found.get("timeout")),
        "max_parallel_steps": found.get("max_parallel_steps"),
        "priority": found.get("priority", 0),
        "policy": PolicyContext(**policy) if policy else NO_POLICY,
        "concurrency": read_concurrency(found.get("concurrency")),
        "namespace": found.get("namespace"),
        "labels": dict(found.get("labels", {})),
    }


def _step(
    step: dict[str, Any],
    index: int,
    index_of: Mapping[str, int],
    retry: RetryPolicy,
) -> StepPlan:
    get = step.get
    uses, effect = get("uses"), get("effect")
    needs = dict.fromkeys(map(index_of.__getitem__, get("depends_on", ())))
    kind = StepKind(step["type"]) if "type" in step else StepKind.TASK
    is_wait, is_human = kind is StepKind.WAIT, kind in HUMAN_KINDS
    if kind is StepKind.MAP:
        return _map(step, index, tuple(needs), retry)
    if is_human:
        # Nothing is called that could be repeated: one task for each generation.
        retry = NO_RETRY
    elif "retry" in step or is_wait:
        retry = read_retry(get("retry"))
    return StepPlan(
        index=index,
        key=step["id"],
        kind=kind,
        depends_on=tuple(needs),
        uses=parse_ref(uses) if uses else None,
        name=get("name"),
        config=_config(step, kind),
        when=get("when"),
        timeout=_duration(get("timeout")),
        retry=retry,
        effect=Effect(effect) if effect else None,
        wait=_wait(step) if is_wait else None,
        human=_human(step) if is_human else None,
        workflow=get("workflow"),
        cache=None if is_human else _cache(step),
        runs_on=() if is_human else _tags(step),
        in_doubt=InDoubt(step["in_doubt"]) if "in_doubt" in step else InDoubt.FAIL,
        canonical=step,
    )


def _with_compensations(
    plans: tuple[StepPlan, ...], steps: Any, retry: RetryPolicy
) -> tuple[tuple[StepPlan, ...], tuple[StepPlan, ...]]:
    """The steps, and what undoes those that say how: a task like any other, with its own retry or the workflow's."""
    undone = [index for index, step in enumerate(steps) if "compensate" in step]
    if not undone:
        return plans, ()
    found, every = [], list(plans)
    for number, index in enumerate(undone, len(plans)):
        written: dict[str, Any] = steps[index]["compensate"]
        every[index] = replace(plans[index], compensation=number)
        found.append(
            StepPlan(
                index=number,
                key=plans[index].key + UNDOES,
                kind=StepKind.TASK,
                depends_on=(),
                uses=parse_ref(written["uses"]),
                config=written.get("with"),
                timeout=_duration(written.get("timeout")),
                retry=read_retry(written["retry"]) if "retry" in written else retry,
                effect=Effect(written["effect"]) if "effect" in written else None,
                undoes=index,
                runs_on=plans[index].runs_on,
                canonical=written,
            )
        )
    return tuple(every), tuple(found)


def _with_fallbacks(
    plans: tuple[StepPlan, ...], steps: Any, first: int
) -> tuple[tuple[StepPlan, ...], tuple[StepPlan, ...]]:
    """The steps, and what gives the outputs of those whose `on_error` has one: rendered, and nothing is called."""
    given = [(index, output_in_place(step)) for index, step in enumerate(steps)]
    given = [(index, output) for index, output in given if output is not None]
    if not given:
        return plans, ()
    found, every = [], list(plans)
    for number, (index, output) in enumerate(given, first):
        every[index] = replace(plans[index], fallback=number)
        found.append(
            StepPlan(
                index=number,
                key=plans[index].key + FALLS_BACK,
                kind=StepKind.TASK,
                depends_on=(),
                config={"output": output},
                retry=GIVEN_AGAIN,
                stands_for=index,
                canonical={"output": output},
            )
        )
    return tuple(every), tuple(found)


def output_in_place(step: Mapping[str, Any]) -> Json:
    """The output, as written, with which a step goes on that has failed; None: nothing, or null, which is the same."""
    rule = step.get("on_error")
    found: Json = rule.get("output") if isinstance(rule, dict) else None
    return found


def _config(step: dict[str, Any], kind: StepKind) -> Json:
    """What is rendered before the step does its work."""
    if kind is StepKind.WAIT:
        return {k: step[k] for k in _WAIT if k in step}
    if kind in HUMAN_KINDS:
        return {k: step[k] for k in _ASKED if k in step}
    found: Json = step.get("input" if kind is StepKind.WORKFLOW else "with")
    return found


def _map(step: dict[str, Any], index: int, needs: tuple[int, ...], retry: RetryPolicy) -> StepPlan:
    """A map: what its task does not say of timeout and retry, the step says for it."""
    task: dict[str, Any] = {name: step[name] for name in _OF_TASK if name in step} | step["task"]
    return StepPlan(
        index=index,
        key=step["id"],
        kind=StepKind.MAP,
        depends_on=needs,
        uses=parse_ref(task["uses"]),
        name=step.get("name"),
        config=task.get("with"),
        when=step.get("when"),
        timeout=_duration(task.get("timeout")),
        retry=read_retry(task["retry"]) if "retry" in task else retry,
        effect=Effect(task["effect"]) if "effect" in task else None,
        map=MapPlan(
            step["for_each"],
            step.get("max_concurrency", MAP_CONCURRENCY),
            step.get("failure_policy") == "collect",
        ),
        in_doubt=InDoubt(task["in_doubt"]) if "in_doubt" in task else InDoubt.FAIL,
        runs_on=_tags(step),
        cache=_cache(step),
        canonical=step,
    )


def _cache(step: dict[str, Any]) -> CachePlan | None:
    """Not of a step that says how it is undone: its output stands for a call, which is undone once (ADR-086)."""
    written = step.get("cache")
    if written is None or "compensate" in step:
        return None
    return CachePlan(Duration.parse(written["ttl"]), written.get("key"))


def _tags(step: dict[str, Any]) -> tuple[str, ...]:
    return tuple(sorted(set(step["runs_on"]))) if "runs_on" in step else ()


def config_hash(step: StepPlan) -> Digest:
    """What tells whether a step was changed; nobody asks while a plan is made, and few ask at all."""
    return canonical_digest(step.canonical)


def _wait(step: dict[str, Any]) -> WaitPlan:
    return WaitPlan(
        signal=step.get("signal"),
        delay=_duration(step.get("for", step.get("timeout"))),
        is_dated="until" in step,
        has_default="default" in step,
    )


def _human(step: dict[str, Any]) -> HumanPlan:
    sla, expiry = step.get("sla"), step.get("on_expiry")
    due = sla if isinstance(sla, dict) else {"due": sla}
    return HumanPlan(
        outcomes=tuple(step.get("outcomes", DEFAULT_OUTCOMES)),
        quorum=step.get("quorum", 1),
        separated=step.get("separation_of_duties", False),
        delegable=step.get("delegation", True),
        priority=step.get("priority", 0),
        form=step.get("form"),
        due=_duration(due.get("due")),
        warn=_duration(due.get("warn")),
        expires=_duration(step.get("timeout")),
        expiry_outcome=expiry.get("outcome") if isinstance(expiry, dict) else None,
    )


def read_retry(value: Json) -> RetryPolicy:
    """The retry policy of a `retry` block; without one nothing is repeated."""
    if not isinstance(value, dict):
        return NO_RETRY
    return _retry(orjson.dumps(value))


@lru_cache(maxsize=1_024)
def _retry(written: bytes) -> RetryPolicy:
    """Documents repeat the same few blocks."""
    found: dict[str, Any] = orjson.loads(written)
    default = RetryPolicy(max_attempts=3)
    return RetryPolicy(
        max_attempts=found.get("max_attempts", default.max_attempts),
        backoff=Backoff(found.get("backoff", default.backoff)),
        initial=_duration(found.get("initial")) or default.initial,
        factor=float(found.get("factor", default.factor)),
        max=_duration(found.get("max")) or default.max,
        jitter=Jitter(found.get("jitter", default.jitter)),
        on=tuple(found.get("on", ())),
        never_on=tuple(found.get("never_on", ())),
    )


@lru_cache(maxsize=1_024)
def _duration(text: str | None) -> Duration | None:
    return Duration.parse(text) if text is not None else None

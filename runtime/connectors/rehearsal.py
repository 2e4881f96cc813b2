"""What steps would answer in a simulation: nothing is called that touches anything outside.

In this order: a failure that was asked for, a mock, the output in a past execution, what the core's own
pure connectors compute, an example in the connector's output schema, a value made to fit that schema.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from datetime import datetime
from typing import Any, Final, cast
from uuid import UUID

from runtime.abi.catalog import Catalog
from runtime.abi.connector import Connector, InlineConnector, StepContext
from runtime.connectors.cancel import CancelSignal
from runtime.connectors.invoke import answer_inline, effect_of, read_input
from runtime.connectors.registry import Registry
from runtime.definition.example import example_of, written_example
from runtime.definition.finding import did_you_mean
from runtime.definition.outputs import find_info
from runtime.engine.event import StepError
from runtime.engine.people import answer
from runtime.engine.program import Program
from runtime.engine.simulate import simulate
from runtime.engine.simulation import (
    HUMAN,
    Answer,
    PastStep,
    Script,
    Simulation,
    Source,
)
from runtime.engine.state import RunInfo
from runtime.model.durable import why_not_durable
from runtime.model.errors import BadInput, StepFailed
from runtime.model.plan import Effect, HumanPlan, Plan, StepKind, StepPlan
from runtime.model.values import Json, Money

_OWN: Final = "runtime.connectors."
_NOBODY: Final = UUID(int=0)
_SLEEP: Final = "core.sleep"
_SOMEBODY: Final = "somebody"


def rehearse(
    plan: Plan,
    registry: Registry,
    params: Json,
    script: Script,
    *,
    now: datetime,
    is_over: Callable[[], bool] = lambda: False,
) -> Simulation:
    """Let an execution of a plan happen, without any effect; raises BadInput for the script. `params` are complete."""
    known = plan.index_of.keys() | {one.key for one in plan.compensations}
    for name in sorted(script.names() - known):
        near = did_you_mean(name, plan.index_of)
        raise BadInput(
            f"There is no step {name!r}{f'; {near}' if near else '.'}", reason="UNKNOWN_STEP"
        )
    _check_script(plan, script)
    version = None if plan.version is None else str(plan.version)
    run = RunInfo(
        id=_NOBODY,
        params=params,
        trigger="simulation",
        version=version,
        namespace=plan.namespace or "default",
        created_at=now.isoformat(),
        identity=f"simulation/{plan.namespace or 'default'}/{plan.name}",
    )
    answers = Rehearsal(registry, script)
    return simulate(Program.of(plan), run, answers, start=now, is_over=is_over)


def _check_script(plan: Plan, script: Script) -> None:
    """Raises BadInput for what is given for a step that makes no call, and for a signal that nobody could send.

    The first would be passed over without a word.
    """
    told: tuple[tuple[str, Collection[str], bool], ...] = (
        ("fail", script.fails, False), ("have a mock", script.mocks, True),
        ("take a time that is given", script.durations, True), ("cost anything", script.costs, False),
    )  # fmt: skip
    for what, keys, is_of_signals in told:
        for step in (plan.one(plan.number(key) or 0) for key in sorted(keys)):
            if step.kind is StepKind.GATEWAY:
                why = "a gateway decides by its cases"
            elif step.wait is not None and not (is_of_signals and step.wait.signal is not None):
                why = "a wait ends by its time or its signal"
            else:
                continue
            raise BadInput(
                f"The step {step.key!r} can't {what} in a simulation: {why}.", reason="SCRIPT"
            )
    for key, failing in script.fails.items():
        if failing.attempts is not None and failing.attempts < 1:
            raise BadInput(
                f"At least 1 attempt of {key!r} fails, or it is not named.", reason="SCRIPT"
            )
    for key, payload in script.mocks.items():
        # Outputs are judged where a step ends; a signal like that is refused by whoever it is sent to.
        step = plan.one(plan.number(key) or 0)
        if step.human is not None:
            _check_answer(key, step.human, payload)
        elif step.wait is not None:
            unstorable = why_not_durable(payload, f"The signal that comes for {key!r}")
            if unstorable is not None:
                raise BadInput(unstorable, reason="SCRIPT")


def _check_answer(key: str, human: HumanPlan, payload: Json) -> None:
    """Raises BadInput for what nobody can answer to a human step."""
    said = payload.get("outcome") if isinstance(payload, dict) else None
    if said not in human.outcomes:
        asked = f'A mock of {key!r} is an answer of people: {{"outcome": ..., "response": ...}}'
        near = did_you_mean(said, human.outcomes) if isinstance(said, str) else ""
        raise BadInput(
            f"{asked}, with an outcome of the step{f'; {near}' if near else '.'}", reason="SCRIPT"
        )


class Rehearsal:
    """Answers in place of connectors, people and agents."""

    def __init__(self, registry: Registry, script: Script) -> None:
        self._registry = registry
        self._catalog: Catalog = registry.catalog()
        self._script = script

    def __call__(self, step: StepPlan, rendered: Json, attempt: int, item: int) -> Answer:
        """What this attempt comes to."""
        script, connector = self._script, None
        if step.uses is not None:
            connector = self._registry.resolve(step.uses)
        effect = _effect(step, connector, rendered)
        past = script.past.get(step.key)
        if past is not None and item >= 0:
            past = _past_item(step, past, item)
        found = self._answer(step, connector, rendered, attempt, past)
        seconds = found.seconds
        if step.key in script.durations:
            seconds = script.durations[step.key].seconds
        elif past is not None and past.seconds is not None:
            seconds = past.seconds
        cost = script.costs.get(step.key) or _budget(step)
        return found._replace(seconds=seconds, cost=cost, effect=effect)

    def _answer(
        self,
        step: StepPlan,
        connector: Connector | None,
        rendered: Json,
        attempt: int,
        past: PastStep | None,
    ) -> Answer:
        script = self._script
        failing = script.fails.get(step.key)
        if failing is not None and failing.hits(attempt):
            words = "This failure was asked for by the simulation."
            return Answer(error=StepError("simulated", words, failing.kind))
        if step.key in script.mocks:
            return Answer(script.mocks[step.key], source=Source.MOCK)
        if past is not None:
            return Answer(past.output, source=Source.PAST)
        if step.kind in HUMAN:
            return Answer(_human(step, rendered), source=Source.EXAMPLE)
        if connector is not None and type(connector).__module__.startswith(_OWN):
            computed = _computed(connector, step, rendered, attempt)
            if computed is not None:
                return computed
        return self._from_schema(step)

    def _from_schema(self, step: StepPlan) -> Answer:
        if step.kind is StepKind.AGENT_TASK and isinstance(step.canonical, dict):
            schema: Any = step.canonical.get("output_schema")
        else:
            info = find_info(None if step.uses is None else str(step.uses), self._catalog)
            schema = None if info is None else info.output_schema
        written = written_example(schema)
        if written is not None:
            return Answer(written[0], source=Source.EXAMPLE)
        if schema is None:
            return Answer()
        return Answer(example_of(schema), source=Source.SCHEMA)


def _past_item(step: StepPlan, past: PastStep, item: int) -> PastStep | None:
    """What an item gave: its place in the output of its map. How long the map took says nothing of one item."""
    if not isinstance(past.output, list) or item >= len(past.output):
        return None
    found = past.output[item]
    if step.map is not None and step.map.is_collecting:
        if not isinstance(found, dict) or found.get("status") != "completed":
            return None
        found = found.get("output")
    return PastStep(found, None)


def _computed(connector: Connector, step: StepPlan, rendered: Json, attempt: int) -> Answer | None:
    """What the core's own connectors give without touching anything; None for all others."""
    try:
        if connector.name == _SLEEP:
            seconds = float(cast("Any", read_input(connector, rendered)).duration.seconds)
            return Answer({"seconds": seconds}, source=Source.COMPUTED, seconds=seconds)
        if isinstance(connector, InlineConnector) and connector.effect_class is Effect.PURE:
            output = answer_inline(connector, _context(step, attempt), rendered)
            return Answer(output, source=Source.COMPUTED, seconds=0.0)
    except StepFailed as failed:
        error = StepError(
            failed.type,
            failed.message,
            failed.kind,
            failed.retry_after,
            cast("Json", failed.details),
        )
        return Answer(error=error, source=Source.COMPUTED, seconds=0.0)
    return None


def _effect(step: StepPlan, connector: Connector | None, rendered: Json) -> Effect:
    """What a second call would do; a user's code is not asked."""
    if step.effect is not None:
        return step.effect
    if connector is None:
        return Effect.PURE if step.uses is None else Effect.AT_MOST_ONCE
    if connector.effect_class is not None:
        return connector.effect_class
    if not type(connector).__module__.startswith(_OWN):
        return Effect.AT_MOST_ONCE
    try:
        return effect_of(connector, rendered)
    except StepFailed:
        return Effect.AT_MOST_ONCE


def _human(step: StepPlan, asked: Json) -> Json:
    """The first outcome that there is, with a form filled in as plainly as it allows, by the first who may answer.

    When is not known here: the simulation says it.
    """
    written = step.canonical if isinstance(step.canonical, dict) else {}
    outcomes = written.get("outcomes")
    outcome = outcomes[0] if isinstance(outcomes, list) and outcomes else "approved"
    response = example_of(written["form"]) if "form" in written else {}
    people = asked.get("assignees") if isinstance(asked, dict) else None
    who = people[0] if isinstance(people, list) and people else _SOMEBODY
    return answer(str(outcome), response, {"subject": who, "kind": "user"}, "")


def _budget(step: StepPlan) -> Money | None:
    """What an agent may cost at most."""
    if step.kind is not StepKind.AGENT_TASK or not isinstance(step.canonical, dict):
        return None
    budget = step.canonical.get("budget")
    cost = budget.get("cost") if isinstance(budget, dict) else None
    return Money.parse(cost) if isinstance(cost, str) else None


class Silence:
    """A log and a heartbeat that nobody reads."""

    def debug(self, message: str, **fields: object) -> None:
        """Say nothing."""

    info = warning = error = debug

    def __call__(self, progress: object = None) -> None:
        """Say nothing."""


def _context(step: StepPlan, attempt: int) -> StepContext:
    silence = Silence()
    return StepContext(
        execution_id=_NOBODY,
        tenant_id=_NOBODY,
        tenant="simulation",
        namespace="default",
        workflow="simulation",
        step_key=step.key,
        step=step.index,
        item=-1,
        generation=0,
        attempt=attempt,
        idempotency_key=f"simulation.{step.index}",
        timeout_seconds=None,
        log=silence,
        cancel=CancelSignal(),
        heartbeat=silence,
    )

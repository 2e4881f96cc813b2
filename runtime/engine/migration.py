"""Whether an execution can go on with another version: all that has begun must be the same there.

Rows and events name steps by their numbers, and what they tell is read with the plan of the version. So a step that has
begun, ended or was skipped must have its number, its key and its meaning in the other version, too; what has not begun
may differ in everything. Whether that is enough is not reasoned but tried: the state that whoever goes on makes of the
rows is made with both plans, and must agree on all that has begun.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from typing import Final

from runtime.engine.program import Program, StepProgram
from runtime.engine.replay import rebuild
from runtime.engine.state import PENDING, ExecutionState, Phase, RunInfo
from runtime.expression import Template
from runtime.model.checkpoint import ExecutionHistory
from runtime.model.execution_migration import MigrationFinding
from runtime.model.execution_migration import MigrationObstacle as Obstacle
from runtime.model.plan import Plan, StepPlan
from runtime.model.values import Json

_STEPS: Final = frozenset({"steps", "tasks"})


def obstacles_to(
    old: Program,
    new: Program,
    run: RunInfo,
    history: ExecutionHistory,
    begun: Collection[int],
) -> tuple[MigrationFinding, ...]:
    """What keeps an execution from going on with `new`; `begun` are the numbers of steps that its events name.

    Each step is told of by the first thing that differs. O(steps + rows).
    """
    before = _rebuilt(old, run, history)
    if before.phase not in {Phase.NEW, Phase.GOING}:
        return (
            MigrationFinding(Obstacle.ENDING, "It ends already: its steps stop or are undone."),
        )
    touched = {*begun, *(row.step for row in history.steps)}
    touched.update(step for step, status in enumerate(before.status) if status != PENDING)
    found = [one for step in sorted(touched) for one in _differs(old, new, step)]
    if old.plan.concurrency != new.plan.concurrency:
        words = "`concurrency` differs: it would hold a place that the other version does not know."
        found.append(MigrationFinding(Obstacle.CONCURRENCY, words))
    if found:
        return tuple(found)
    after = _rebuilt(new, run, history)
    unlike = [step for step in sorted(touched) if _standing(before, step) != _standing(after, step)]
    return tuple(
        MigrationFinding(
            Obstacle.STATE,
            f"The step {_key(old.plan, step)!r} would stand otherwise.",
            _key(old.plan, step),
        )
        for step in unlike
    )


def _rebuilt(program: Program, run: RunInfo, history: ExecutionHistory) -> ExecutionState:
    return rebuild(
        program,
        run,
        history.steps,
        history.retries,
        is_begun=history.is_begun,
        marks=history.marks,
    ).state


def _standing(state: ExecutionState, step: int) -> tuple[object, ...]:
    """How a step stands, as far as decisions rest on it."""
    if step >= len(state.status):
        return state.phase, len(state.program.plan.steps)
    if step >= len(state.pending):
        return state.phase, state.status[step], state.attempt[step]
    return (
        state.phase,
        state.status[step],
        state.attempt[step],
        state.pending[step],
        state.skipped_needs.get(step, 0),
        state.chosen.get(step, 0),
    )


def _differs(old: Program, new: Program, step: int) -> Iterator[MigrationFinding]:
    """The first thing in which a step that has begun is another one; nothing when it is the same."""
    plan, key = old.plan.one(step), _key(old.plan, step)
    number = new.plan.number(key)
    if number is None:
        yield MigrationFinding(
            Obstacle.STEP_MISSING, f"The step {key!r} has begun, and is not there any more.", key
        )
        return
    if number != step:
        yield MigrationFinding(
            Obstacle.STEP_MOVED,
            f"The step {key!r} has begun as the step at place {step + 1}, and is at place {number + 1} there: put new "
            "steps behind it in the document.",
            key,
        )
        return
    for obstacle, what, before, after in _parts(old.plan, plan, new.plan, new.plan.one(step)):
        if before != after:
            words = f"The step {key!r} has begun, and {what} there."
            yield MigrationFinding(obstacle, words, key)
            return
    if _reads_version(old.steps[step]):
        words = f"The step {key!r} has begun, and reads the version or all steps, which are others there."
        yield MigrationFinding(Obstacle.STEP_READS_VERSION, words, key)


def _parts(
    old: Plan, one: StepPlan, new: Plan, other: StepPlan
) -> Iterator[tuple[Obstacle, str, object, object]]:
    """What of a step gives its rows and events their meaning. Its retries, timeouts, tags and name don't."""
    yield Obstacle.STEP_KIND, "is of another kind", one.kind, other.kind
    yield Obstacle.STEP_CALL, "calls something else", _called(one), _called(other)
    yield (
        Obstacle.STEP_DEPENDENCIES,
        "waits for other steps",
        _keys(old, one.depends_on),
        _keys(new, other.depends_on),
    )
    yield Obstacle.STEP_CONDITION, "has another condition", one.when, other.when
    yield Obstacle.STEP_INPUT, "gets another input", _given(one), _given(other)
    yield (
        Obstacle.STEP_ROUTES,
        "leads or is led to otherwise",
        _routes(old, one.index),
        _routes(new, other.index),
    )


def _called(step: StepPlan) -> tuple[object, ...]:
    uses = None if step.uses is None else (step.uses.name, step.uses.major)
    return uses, step.workflow, step.effect, step.in_doubt, step.undoes, step.stands_for


def _given(step: StepPlan) -> tuple[object, ...]:
    return step.config, step.wait, step.human, step.map, step.cache


def _routes(plan: Plan, step: int) -> tuple[object, ...]:
    """The ways from a step and to it, by the keys of the steps at their other ends."""
    if plan.routes is None:
        return None, None, 0, (), None
    routes = plan.routes
    gateway, join = routes.gateways.get(step), routes.joins.get(step)
    cases = gateway and (
        gateway.is_inclusive,
        [(case.when, case.is_else, _keys(plan, case.then)) for case in gateway.cases],
    )
    recovery: Json = None
    if step in routes.recoveries:
        target = routes.recoveries[step]
        recovery = [] if target is None else [_key(plan, target)]
    wants = 0 if join is None else join.wants
    expiry = routes.expiries.get(step)
    late = None if expiry is None else _key(plan, expiry)
    return cases, recovery, wants, _keys(plan, () if join is None else join.choosers), late


def _reads_version(step: StepProgram) -> bool:
    """Whether what it reads depends on the version beyond the steps that it names."""
    return any(
        path[:2] == ("execution", "version")
        or path == ("execution",)
        or (path[0] in _STEPS and len(path) == 1)
        for template in _templates(step)
        for path, *_ in template.references
        if path
    )


def _templates(step: StepProgram) -> Iterator[Template]:
    rest = (step.condition, step.for_each, step.cache_key, *step.cases)
    yield step.config
    yield from (one for one in rest if one is not None)


def _key(plan: Plan, step: int) -> str:
    return plan.one(step).key


def _keys(plan: Plan, steps: Iterable[int]) -> tuple[str, ...]:
    return tuple(sorted(_key(plan, step) for step in steps))

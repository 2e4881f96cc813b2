"""What the next generation of an execution would do: which steps run again, which are kept, which calls are repeated.

It is read from the state that whoever goes on with that generation makes of rows and events, by the same `rebuild`:
what is shown and what is done can't differ. What that generation itself decides (conditions, gateways, failures) is not
foreseen: a step that runs again may still be left out.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from uuid import UUID

from runtime.engine.program import Program
from runtime.engine.replay import rebuild
from runtime.engine.state import COMPLETED, PENDING, ExecutionState, RunInfo
from runtime.engine.undoing import renewed_by
from runtime.model.checkpoint import COMPLETED_ITEMS, ExecutionHistory, Mark, StepRecord
from runtime.model.event import BEGINS_AGAIN, EventKind
from runtime.model.execution import StepStatus
from runtime.model.generation_preview import (
    GenerationPreview,
    PreviewAction,
    RepeatedCalls,
    StepPreview,
)
from runtime.model.plan import Effect, Plan, StepPlan
from runtime.model.values import Json


def begin_again(
    program: Program, run: RunInfo, history: ExecutionHistory, told: Mark
) -> ExecutionState:
    """The state in which the next generation begins; `run` is of the present one, `told` the event that begins it."""
    after = replace(history, marks=(*history.marks, told))
    return rebuild(
        program,
        run._replace(generation=run.generation + 1),
        after.steps,
        after.retries,
        is_begun=after.is_begun,
        marks=after.marks,
    ).state


def done(program: Program, run: RunInfo, history: ExecutionHistory) -> frozenset[int]:
    """The steps that have completed and whose effects stand: not those that were undone, or rest on what was."""
    state = rebuild(
        program,
        run,
        history.steps,
        history.retries,
        is_begun=history.is_begun,
        marks=history.marks,
    ).state
    undone = renewed_by(history.marks).now
    ended = {step for step, status in enumerate(state.status) if status == COMPLETED}
    # Of what is kept already, the call stands, whether its turn has come or not.
    return frozenset({*ended, *state.given} - undone)


def maps_with_kept_items(
    program: Program, run: RunInfo, history: ExecutionHistory, told: Mark
) -> tuple[int, ...]:
    """The maps of which the generation that `told` begins would do some items, and keep the others; in order."""
    state = begin_again(program, run, history, told)
    return tuple(step for step in sorted(state.kept) if state.status[step] == PENDING)


def preview(
    program: Program,
    run: RunInfo,
    history: ExecutionHistory,
    told: Mark,
    *,
    announced: Collection[int] = (),
    effect_of: Callable[[StepPlan], Effect | None],
) -> GenerationPreview:
    """What the generation that `told` begins would do.

    `announced` are the numbers of steps of which calls were announced: those may happen once. `effect_of` is what a
    call of any other step does to the outside, None where that is not known.
    """
    state, made = begin_again(program, run, history, told), _Calls.of(program.plan, history)
    steps = []
    for step in program.steps[: len(program.plan.steps)]:
        number, key, type_ = step.plan.index, step.plan.key, type_of(step.plan)
        if state.status[number] != PENDING or number in state.given:
            ended = state.status[number] != PENDING
            status = StepStatus(state.status[number]) if ended else StepStatus.COMPLETED
            steps.append(StepPreview(key, type_, PreviewAction.REUSE, status))
            continue
        effect = Effect.AT_MOST_ONCE if number in announced else effect_of(step.plan)
        kept = sum(behind - first for first, behind in state.kept.get(number, ()))
        steps.append(
            StepPreview(
                key,
                type_,
                PreviewAction.RUN,
                kept_items=None if step.plan.map is None else kept,
                repeats=None if effect is Effect.PURE else made.repeated(number, kept, effect),
            )
        )
    return GenerationPreview(run.id, run.generation + 1, tuple(steps))


def type_of(step: StepPlan) -> str:
    """What a step is called by: its connector with its version, or its kind."""
    return str(step.uses) if step.uses else str(step.kind)


@dataclass(slots=True)
class _Calls:
    """What rows and events tell of the calls that were made: how many of each step, and how they ended."""

    made: dict[int, int] = field(default_factory=dict)
    completed: dict[int, int] = field(default_factory=dict)
    in_doubt: dict[int, int] = field(default_factory=dict)
    children: dict[int, UUID] = field(default_factory=dict)
    # The newest generation in which a step has completed, and in which it was undone.
    newest: dict[int, int] = field(default_factory=dict)
    undone: dict[int, int] = field(default_factory=dict)

    @classmethod
    def of(cls, plan: Plan, history: ExecutionHistory) -> _Calls:
        found, generation = cls(), 0
        for mark in history.marks:
            data = mark.data if isinstance(mark.data, dict) else {}
            step = data.get("step")
            if mark.kind in BEGINS_AGAIN:
                generation += 1
            elif not isinstance(step, int):
                continue
            elif mark.kind == EventKind.STEP_COMPENSATED:
                found.undone[step] = generation
            elif mark.kind == EventKind.CHILD_STARTED:
                found.children[step] = UUID(str(data.get("child")))
                _add(found.made, step)
        for row in history.steps:
            if row.step < len(plan.steps):
                found._read(row, plan.steps[row.step])
        return found

    def _read(self, row: StepRecord, plan: StepPlan) -> None:
        step, is_done = row.step, row.status == StepStatus.COMPLETED
        # Waits, gateways and maps have rows, too; they call nobody.
        makes_calls = plan.uses is not None and (plan.map is None or row.item >= 0)
        if is_done:
            self.newest[step] = max(row.generation, self.newest.get(step, 0))
        if row.item == COMPLETED_ITEMS:
            count = _items_in(row.result)
            _add(self.made, step, count)
            _add(self.completed, step, count)
        elif plan.workflow is not None:
            # Its calls are its children: each end of one is a row.
            _add(self.completed, step, int(is_done))
        elif makes_calls and was_called(row):
            _add(self.made, step)
            _add(self.completed, step, int(is_done))
            _add(self.in_doubt, step, int(row.is_open or row.status == StepStatus.IN_DOUBT))

    def repeated(self, step: int, kept: int, effect: Effect | None) -> RepeatedCalls | None:
        """The calls of a step that runs again, beside those of items that are kept; None: there was none."""
        calls = self.made.get(step, 0) - kept
        if calls <= 0:
            return None
        undone = self.undone.get(step, -1)
        return RepeatedCalls(
            calls,
            self.completed.get(step, 0) - kept,
            self.in_doubt.get(step, 0),
            effect,
            is_undone=undone >= self.newest.get(step, 0),
            child_id=self.children.get(step),
        )


def was_called(row: StepRecord) -> bool:
    """Whether the call of this attempt was made or begun, as far as its row tells.

    An input was rendered for it, and no output of another call was given instead; or it was announced, and never ended.
    """
    said: Mapping[str, Json] = row.result if isinstance(row.result, dict) else {}
    if row.is_open:
        return not row.is_withdrawn
    return "in" in said and "cached_from" not in said


def _add(counts: dict[int, int], step: int, more: int = 1) -> None:
    counts[step] = counts.get(step, 0) + more


def _items_in(ranges: Json) -> int:
    """How many items lie in ranges `[first, behind the last]`."""
    return sum(
        one[1] - one[0]
        for one in (ranges if isinstance(ranges, list) else ())
        if isinstance(one, list) and isinstance(one[0], int) and isinstance(one[1], int)
    )

"""Defects that are put into the product on purpose: the simulator must find each of them.

Those of SQL leave a clause out of the model (`Model` and `Server` ask for them by name); the others change
the product's own code for the time of a block.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, Final
from uuid import UUID

from runtime.engine import advance as core
from runtime.engine import (
    ending,
    gateway,
    items,
    people,
    replay,
    replay_items,
    rewinding,
    routes,
    undoing,
)
from runtime.engine import marks as read_marks
from runtime.engine.command import Command, JoinItems, RunStep, ScheduleRetry
from runtime.engine.doubt import Course, Doubt
from runtime.engine.doubt import course_of as _course_of
from runtime.engine.event import DoubtJudged
from runtime.engine.fan import Item
from runtime.engine.replay import _STOPS, Rebuilt
from runtime.engine.replay import rebuild as _rebuild
from runtime.engine.undoing import Renewed
from runtime.model.checkpoint import FlushOutcome, FlushResult, StepRecord
from runtime.model.event import EventKind
from runtime.model.execution import StepStatus, Verdict
from runtime.model.ids import human_task_id as _human_task_id
from runtime.model.plan import Effect
from runtime.services import step_view
from runtime.store.births import Newborn
from runtime.store.flush import Flusher
from runtime.worker import admission, attempt, doubt, executor, waiting
from runtime.worker.attempt import begin as _begin
from runtime.worker.caching import Caching
from runtime.worker.incarnation import Incarnation
from runtime.worker.maps import Joins
from runtime.worker.run import Action, Run

IN_SQL: Final = {
    "born_unfenced": "a worker that was marked dead still becomes the owner of what is accepted",
    "born_overtakes": "what is accepted starts although others wait",
    "claim_unfenced": "a worker that was marked dead can still claim",
    "flush_unlocked": "a flush looks at its seat without a lock: a takeover can come in between",
    "park_blind": "parking does not compare the inbox: a message is slept through",
    "inbox_kept": "a message that was read is not deleted: it is acted on again after a takeover",
    "unread_untold": "a message that came too late for an end is deleted without a word",
    "parent_untold": "a child ends, and its parent does not hear of it",
    "tasks_unstopped": "what stops leaves its tasks open: people answer what nobody waits for",
    "answer_untold": "a task is answered, and its execution does not hear of it",
    "takeover_at_once": "marking the dead and taking over share one snapshot",
    "lane_left": "whoever is parked gives away its place in its lane",
    "lane_unheard": "no heartbeat tells that something waits in a lane",
    "due_unlimited": "what wakes runs whether or not there is a place for it",
    "born_unlimited": "what is accepted begins at once whether or not there is a place for it",
    "cache_of_all": "an output is given again to another tenant",
    "cache_for_ever": "an output is given again when its time is over",
}

_take_in, _call, _record_event = Run.take_in, Flusher._call, Run.record_event
_told_of = Incarnation._told_of
_park, _begun_waits, _note = Run.park, read_marks.begun_waits, Caching.note
_taken = gateway._taken
_feed, _end_item, _restore_item = items._feed, ending.end_item, replay_items._restore_item
_page = Joins._page
_waiting_data = waiting.waiting_data
_begin_undoing, _restore = undoing.begin_undoing, replay._restore


def _early(run: Run, commands: list[Command], **more: Any) -> list[Action]:
    now = _take_in(run, commands, **more)
    now += [c for c in commands if isinstance(c, RunStep | ScheduleRetry) and c not in now]
    run._after = [a for a in run._after if not isinstance(a, RunStep | ScheduleRetry)]
    return now


async def _resend(flusher: Flusher, part: list[Any]) -> FlushResult:
    result = await _call(flusher, part)
    if result.outcome is FlushOutcome.UNKNOWN:
        flusher._connection = None
        result = await _call(flusher, part)
    return result


def _fearless(*arguments: Any, **more: Any) -> Any:
    made = _begin(*arguments, **more)
    if made.effect is Effect.AT_MOST_ONCE:
        made.effect = Effect.IDEMPOTENT
    return made


def _anywhere(_state: Any, _step: int) -> bool:
    return True


def _tagless(parking: Any) -> dict[str, Any]:
    return _waiting_data(parking._replace(tags=()))


def _key_of_attempt(execution: UUID, step: int, item: int, generation: int) -> str:
    return f"{execution}.s.{step}"


def _amnesia(program: Any, run: Any, rows: Any, retries: Any = (), **more: Any) -> Rebuilt:
    kept = list(rows)
    return _rebuild(program, run, kept[:-1] if len(kept) > 1 else kept, retries, **more)


def _deaf(*arguments: Any, marks: Any = (), **more: Any) -> Rebuilt:
    heard = [mark for mark in marks if mark.kind not in _STOPS]
    return _rebuild(*arguments, marks=heard, **more)


def _silent(run: Run, kind: EventKind, data: Any = None) -> None:
    if kind is not EventKind.STEP_RETRYING:
        _record_event(run, kind, data)


def _shameless(program: Any, run: Any, rows: Any, retries: Any = (), **more: Any) -> Rebuilt:
    return _rebuild(program, run, [row for row in rows if not row.is_open], retries, **more)


async def _unasked(*_arguments: Any) -> tuple[Verdict, None]:
    return Verdict.NOT_MADE, None


def _careless(doubt: Doubt, judged: DoubtJudged, *rest: Any, **more: Any) -> Course:
    if judged.verdict is Verdict.UNKNOWN:
        judged = replace(judged, verdict=Verdict.NOT_MADE)
    return _course_of(doubt, judged, *rest, **more)


def _unworried(incarnation: Incarnation, places: int, born: Sequence[Newborn] | None) -> None:
    _told_of(incarnation, places, born or [])


def _nothing_kept(_marks: Any, _taken: Any) -> Iterator[Any]:
    return iter(())


def _just_begun(marks: Any) -> tuple[Any, ...]:
    found = _begun_waits(marks)
    for wait in found:
        wait.ago, wait.until = 0.0, None
        wait.for_ms = 4_000 if wait.for_ms is None and wait.signal is None else wait.for_ms
    return found


def _nothing_handled(_row: Any) -> bool:
    return False


def _at_once(state: Any, step: int, status: StepStatus, error: Any) -> None:
    state.status[step], state.errors[step] = int(status), error
    routes.lead_on(state, step)


def _not_given(state: Any, row: StepRecord, due: Any) -> None:
    if state.program.steps[row.step].plan.stands_for is None:
        _restore(state, row, due)


def _greedy(state: Any, step: int, gateway: Any) -> Any:
    return _taken(state, step, replace(gateway, is_inclusive=True))


def _nothing_joined(_marks: Any, _renewed: Any) -> Iterator[Any]:
    return iter(())


def _never_paused(_marks: Any) -> bool:
    return False


def _listening(run: Run, *arguments: Any) -> None:
    _park(run, *arguments)
    run.is_parking = False


def _no_ranges(_value: Any) -> Iterator[Any]:
    return iter(())


def _greedy_map(state: Any, step: int, fan: Any, out: list[Command]) -> None:
    _feed(state, step, fan, out)
    more = fan.next()
    if more is not None and not fan.is_joining:
        one = fan.live[more] = Item()
        items._start(state, step, more, one, out)


def _unmoved(state: Any, step: int, *arguments: Any) -> None:
    _end_item(state, step, *arguments)
    state.fans[step].fault = None


def _key_of_step(execution: UUID, step: int, _item: int, generation: int) -> str:
    return f"{execution}.s.{step}.g{generation}"


async def _backwards(joins: Joins, *arguments: Any) -> Any:
    return [*reversed(await _page(joins, *arguments))]


def _forgiving(state: Any, step: int, fan: Any, row: StepRecord, rows: Any, due: Any) -> None:
    if row.status in {StepStatus.FAILED, StepStatus.TIMED_OUT} and "retry_in_ms" not in row.result:  # type: ignore[operator]
        return
    _restore_item(state, step, fan, row, rows, due)


def _joins_early(run: Run, commands: list[Command], **more: Any) -> list[Action]:
    now = _take_in(run, commands, **more)
    now += [c for c in commands if isinstance(c, JoinItems) and c not in now]
    run._after = [a for a in run._after if not isinstance(a, JoinItems)]
    return now


def _childless(_marks: Any) -> dict[int, Any]:
    return {}


def _task_of_step(execution: UUID, step: int, _generation: int) -> UUID:
    return _human_task_id(execution, step, 0)


def _untold(state: Any, _reason: str, _out: list[Command]) -> None:
    state.children.clear()


def _forward(state: Any, ending: Any, out: list[Command]) -> bool:
    state.completed.reverse()
    return _begin_undoing(state, ending, out)


def _undoes_again(state: Any, row: StepRecord, due: Any) -> None:
    if row.step < len(state.pending):
        _restore(state, row, due)


def _kept_at_once(caching: Caching, run: Run, *arguments: Any) -> None:
    _note(caching, run, *arguments)
    if run.to_keep:
        caching.keep(tuple(run.to_keep))


def _codeless(_prepared: Any, _state: Any, input_digest: str, *_more: Any) -> bytes:
    return input_digest.encode()


def _nothing_renewed(_marks: Any) -> Any:
    return Renewed({}, set())


def _nothing_taken_back(_kind: Any, _data: Any) -> Any:
    return ()


def _no_call_stands(*_all: Any) -> None:
    """Nobody notes what they gave."""


def _no_input_before(_told: Any) -> dict[int, Any]:
    return {}


def _nothing_behind(_plan: Any, _step: Any) -> Any:
    return ()


IN_CODE: Final[dict[str, tuple[str, Any, str, Any]]] = {
    "early_start": ("steps start before the flush is committed", Run, "take_in", _early),
    "resend": ("a flush of unknown outcome is sent again", Flusher, "_call", _resend),
    "no_intent": ("effects that may happen once are called like any", executor, "begin", _fearless),
    "key_without_generation": (
        "the key of a call does not change with a retry of the execution",
        attempt,
        "idempotency_key",
        _key_of_attempt,
    ),
    "silent_second_call": (
        "a call whose worker was lost is made again without a word",
        admission,
        "rebuild",
        _shameless,
    ),
    "look_up_ignored": (
        "what a look-up would find is not asked: the call is taken for one that was not made",
        doubt,
        "look_up",
        _unasked,
    ),
    "rule_ignored": (
        "a call of which nobody knows anything is made again whatever the step's rule",
        core,
        "course_of",
        _careless,
    ),
    "lossy_replay": ("a takeover forgets the last row", admission, "rebuild", _amnesia),
    "early_signal_lost": (
        "a takeover forgets the signals that nobody has taken",
        replay,
        "kept_signals",
        _nothing_kept,
    ),
    "timer_restarted": ("a takeover begins every wait anew", replay, "begun_waits", _just_begun),
    "pause_forgotten": (
        "a takeover goes on with what is paused",
        replay,
        "is_paused",
        _never_paused,
    ),
    "join_forgotten": (
        "a takeover forgets what a join saw when it began early",
        replay,
        "kept_joins",
        _nothing_joined,
    ),
    "failure_not_handled": (
        "a takeover forgets that a failure was provided for",
        replay,
        "_is_handled",
        _nothing_handled,
    ),
    "given_too_late": (
        "what rests on a step that failed begins before that has its output",
        ending,
        "recover",
        _at_once,
    ),
    "given_forgotten": (
        "a takeover forgets the output that a failed step was given",
        replay,
        "_restore",
        _not_given,
    ),
    "greedy_gateway": (
        "an exclusive gateway takes all cases that hold",
        gateway,
        "_taken",
        _greedy,
    ),
    "parking_listens": (
        "messages and timers act on an execution that is just being parked",
        Run,
        "park",
        _listening,
    ),
    "items_forgotten": (
        "a takeover forgets which items have completed",
        replay_items,
        "_ranges",
        _no_ranges,
    ),
    "greedy_map": (
        "more items than `max_concurrency` are under way",
        items,
        "_feed",
        _greedy_map,
    ),
    "fault_ignored": (
        "an item that failed does not fail its map",
        items,
        "end_item",
        _unmoved,
    ),
    "fault_forgotten": (
        "a takeover forgets that an item failed: it is called again",
        replay_items,
        "_restore_item",
        _forgiving,
    ),
    "key_without_item": (
        "all items of a map call with the same key",
        attempt,
        "idempotency_key",
        _key_of_step,
    ),
    "joined_backwards": ("results are not in the order of the list", Joins, "_page", _backwards),
    "joined_early": (
        "a map is joined before the outcomes of its items are durable",
        Run,
        "take_in",
        _joins_early,
    ),
    "child_forgotten": (
        "a takeover forgets the children that were started: it starts others",
        replay,
        "started_children",
        _childless,
    ),
    "task_forgotten": (
        "a takeover forgets the tasks that were opened: it asks again",
        replay,
        "opened_tasks",
        _childless,
    ),
    "task_of_any_generation": (
        "a task is taken for that of the generation before",
        people,
        "human_task_id",
        _task_of_step,
    ),
    "children_unstopped": (
        "an execution that stops does not tell its children",
        ending,
        "stop_children",
        _untold,
    ),
    "tags_ignored": (
        "a step begins with whoever has its execution, whatever its tags",
        core,
        "is_here",
        _anywhere,
    ),
    "tags_of_items_ignored": (
        "an open map goes on with whoever has its execution, whatever its tags",
        items,
        "is_here",
        _anywhere,
    ),
    "tags_unsaid": (
        "parking for tags does not say which ones: nobody comes for it",
        waiting,
        "waiting_data",
        _tagless,
    ),
    "undone_forward": (
        "steps are undone in the order in which they ended",
        core,
        "begin_undoing",
        _forward,
    ),
    "undone_twice": (
        "a takeover forgets what was undone: it is undone again",
        replay,
        "_restore",
        _undoes_again,
    ),
    "undone_kept": (
        "a retry takes what was undone for done",
        replay,
        "renewed_by",
        _nothing_renewed,
    ),
    "rewound_kept": (
        "whoever goes on after a rewind keeps what that took back",
        undoing,
        "rewound_by",
        _nothing_taken_back,
    ),
    "rewound_alone": (
        "a rewind runs its step again, and nothing that rests on it",
        rewinding,
        "rests_on",
        _nothing_behind,
    ),
    "undone_by_newest": (
        "what undoes a step sees the newest input, and not the one with which that ran",
        replay,
        "earlier_inputs",
        _no_input_before,
    ),
    "shown_by_newest": (
        "a step that is kept is shown with the newest input",
        step_view,
        "earlier_inputs",
        _no_input_before,
    ),
    "kept_called": (
        "a step whose call a rewind keeps is called again",
        replay,
        "restore_kept",
        _no_call_stands,
    ),
    "cache_of_any_code": (
        "an output is given again to a call of other code",
        attempt,
        "_cache_key",
        _codeless,
    ),
    "cache_too_early": (
        "an output is given again before it is recorded",
        Caching,
        "note",
        _kept_at_once,
    ),
    "deaf_replay": (
        "a takeover does not read that a cancel was taken in, or that the deadline was reached",
        admission,
        "rebuild",
        _deaf,
    ),
    "silent_retry": ("a retry leaves no event behind", Run, "record_event", _silent),
    "born_unknown": (
        "a worker takes an acceptance of unknown outcome for a refused one",
        Incarnation,
        "_told_of",
        _unworried,
    ),
}

MUTANTS: Final = (*IN_SQL, *IN_CODE)


@contextmanager
def mutated(name: str | None) -> Iterator[None]:
    """The product with one defect, for the time of a block."""
    if name is None or name in IN_SQL:
        yield
        return
    _, owner, attribute, defect = IN_CODE[name]
    sound = getattr(owner, attribute)
    setattr(owner, attribute, defect)
    try:
        yield
    finally:
        setattr(owner, attribute, sound)

"""Why a step is not running: one exact cause for each, from the events of its execution and where that stands.

The first condition that is not met is the cause, in the order in which the engine asks: what the step itself waits for,
then what holds up its execution. All but the queue and the workers is told by the events, so it can be
said of any moment of the past as well.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Final

from runtime.engine.blocking_words import (
    item_words,
    lane_full,
    limit_reached,
    quarantined,
    tags_missing,
)
from runtime.engine.breaker import OPEN_ERROR
from runtime.engine.waiting_facts import (
    ENDS,
    OF_STEP,
    Facts,
    actor_of,
    after,
    because,
    before_it,
    error_of,
    facts_of,
    listed,
    number_of,
    other_of,
    text_of,
    until_of,
)
from runtime.model.blocker import MOST_STEPS, BlockCause, Blocker, Standing, WaitingItem
from runtime.model.event import EventKind, ExecutionEvent
from runtime.model.execution import (
    Execution,
    ExecutionError,
    ExecutionStatus,
    StepStatus,
    WaitKind,
)
from runtime.model.plan import InDoubt, Plan

# Nothing waits any more of which this is said; what ended in doubt is looked at further.
_OVER: Final = frozenset(
    {
        StepStatus.COMPLETED,
        StepStatus.FAILED,
        StepStatus.SKIPPED,
        StepStatus.CANCELLED,
        StepStatus.TIMED_OUT,
        StepStatus.COMPENSATED,
    }
)
_UNDER_WAY: Final = frozenset(
    {StepStatus.RUNNING, StepStatus.WAITING, StepStatus.RETRYING, StepStatus.IN_DOUBT}
)
# They hold a place of `max_parallel_steps` themselves.
_HAVE_PLACES: Final = frozenset({StepStatus.RUNNING, StepStatus.WAITING, StepStatus.RETRYING})


@dataclass(frozen=True, slots=True)
class ItemAt:
    """An item of a map: `since` when it is what it is; `waiting` of one that waits; `is_over`: its map has ended."""

    step: int
    status: StepStatus
    since: datetime
    waiting: WaitingItem
    is_over: bool = False


class Blocking:
    """Says of each step of one execution why it is not running; reads the events when first asked."""

    def __init__(self, plan: Plan, execution: Execution, events: Sequence[ExecutionEvent]) -> None:
        self._plan = plan
        self._execution = execution
        self._events = events

    def of(self, step: int, status: StepStatus, standing: Standing) -> Blocker | None:
        """The cause; None of a step that runs, or waits for nothing any more."""
        if status in _OVER or (status is StepStatus.IN_DOUBT and self._has_ended(step)):
            return None
        if self._execution.status.is_terminal:
            return self._ended(step)
        if status is StepStatus.RUNNING:
            return self._of_running(step, standing)
        if status is StepStatus.IN_DOUBT and not self._is_settled(step):
            return self._in_doubt(step)
        is_waiting = status is StepStatus.WAITING and standing.told_at is None
        if is_waiting and (other := other_of(self._key(step), self._facts, step)) is not None:
            return other
        if step >= len(self._plan.steps):
            return self._of_undoing(step, status, standing)
        if self._facts.stop is not None:
            return self._stopping(step, self._facts.stop)
        return self._own(step, status, standing.now) or self._shared(step, status, standing)

    def _of_undoing(self, step: int, status: StepStatus, standing: Standing) -> Blocker:
        """Of what undoes a step and has not begun, or waits for its next attempt: no pause holds it up."""
        is_retrying, facts = status is StepStatus.RETRYING, self._facts
        own = self._retry(step, standing.now) if is_retrying else before_it(self._plan, facts, step)
        return own or self._free(step, self._due_since(step, status), standing)

    def of_item(self, item: ItemAt, standing: Standing) -> Blocker | None:
        """The cause of an item of a map, in the same order; None of one that runs, or waits for nothing any more."""
        step, status = item.step, item.status
        if status in _OVER or (status is StepStatus.IN_DOUBT and item.is_over):
            return None
        if self._execution.status.is_terminal:
            return self._ended(step)
        if status is StepStatus.RUNNING:
            is_left = self._execution.status is ExecutionStatus.RUNNING and standing.is_lost
            return self._without_worker(step, item.since, standing) if is_left else None
        if status is StepStatus.IN_DOUBT:
            return self._item_in_doubt(step, item.waiting)
        return self._of_item_due(item, standing)

    def _of_item_due(self, item: ItemAt, standing: Standing) -> Blocker:
        """Of an item that has not begun, or waits for its next attempt."""
        step, since, until = item.step, item.since, item.waiting.until
        is_retrying = item.status is StepStatus.RETRYING
        if self._facts.stop is not None:
            return self._stopping(step, self._facts.stop)
        if item.is_over:
            return self._without_turn(step)
        if is_retrying and until is not None and until > standing.now:
            return self._item_retry(step, item.waiting)
        if self._facts.paused is not None:
            return self._paused(step, self._facts.paused, since)
        if self._execution.status is not ExecutionStatus.RUNNING:
            return self._unowned(step, since, standing)
        if standing.is_lost:
            return self._without_worker(step, since, standing)
        starts = self._starting if is_retrying else self._places_of_map
        return self._tags(step, since, standing) or starts(step, since, standing)

    def _of_running(self, step: int, standing: Standing) -> Blocker | None:
        """What runs waits for nothing; a map is running too while nobody has its execution, and its items wait."""
        if self._execution.status is ExecutionStatus.RUNNING:
            since = self._begun(step)
            return self._without_worker(step, since, standing) if standing.is_lost else None
        at = self._facts.at.steps.get((step, -1))
        if at is None or at.items is None:
            return None
        if self._facts.stop is not None:
            return self._stopping(step, self._facts.stop)
        waiting = standing.items.get(step) or self._parked_with()
        if waiting is not None and waiting.until is None:
            return self._item_in_doubt(step, waiting)
        if waiting is not None and waiting.until is not None and waiting.until > standing.now:
            return self._item_retry(step, waiting)
        return self._shared(step, StepStatus.RUNNING, standing)

    def _parked_with(self) -> WaitingItem | None:
        """What the parking itself says of the items, where nobody has looked at them: as it was in the past."""
        facts, wait = self._facts, self._execution.wait
        is_parked = self._execution.status is ExecutionStatus.WAITING
        if not is_parked or wait not in {WaitKind.IN_DOUBT, WaitKind.RETRY_BACKOFF}:
            return None
        until = None if wait is WaitKind.IN_DOUBT else facts.wake
        return WaitingItem(-1, 0, 0, facts.idle, until)

    @cached_property
    def _facts(self) -> Facts:
        return facts_of(self._execution, self._events)

    @cached_property
    def _statuses(self) -> list[StepStatus]:
        return self._facts.at.step_statuses(self._plan)

    # --- causes of the step itself ------------------------------------------------------------------

    def _own(self, step: int, status: StepStatus, now: datetime) -> Blocker | None:
        """What the step itself waits for, as long as that has not come."""
        match status:
            case StepStatus.PENDING:
                return self._dependency(step)
            case StepStatus.WAITING:
                return self._wait(step, now)
            case StepStatus.RETRYING:
                return self._retry(step, now)
        return None

    def _dependency(self, step: int) -> Blocker | None:
        """The needs that are still open; None when none is, or a join is met without them."""
        if self._statuses[step] is StepStatus.READY:
            return None
        needs = [need for need in self._plan.steps[step].depends_on if not self._is_through(need)]
        if not needs:
            return None
        names = self._names(needs)
        join = None if self._plan.routes is None else self._plan.routes.joins.get(step)
        wanted = join.wants if join is not None else 0
        words = (
            f"It waits until {wanted} of its steps lead to it; not ended" if wanted else "It waits"
        )
        return Blocker(
            BlockCause.DEPENDENCY,
            self._key(step),
            self._facts.began,
            f"{words}{':' if wanted else ' for'} {listed(names, len(needs))}.",
            "The end of what it depends on.",
            steps=names,
        )

    def _wait(self, step: int, now: datetime) -> Blocker | None:
        timer = self._facts.last(step, EventKind.TIMER_SET)
        awaited = self._facts.last(step, EventKind.SIGNAL_AWAITED)
        until = None if timer is None else until_of(timer)
        if until is not None and until <= now:
            return None
        if awaited is None:
            return None if timer is None else self._timer(step, timer, until)
        name = text_of(awaited.field("signal")) or ""
        if name in self._signals:
            return None  # It came in a pause, and is taken when that ends.
        return Blocker(
            BlockCause.SIGNAL,
            self._key(step),
            awaited.at,
            f"It waits for the signal {name!r}, which nobody has sent.",
            f"The signal {name!r}, sent to this execution"
            + (", or its timeout." if until else "."),
            until=until,
            signal=name,
        )

    def _timer(self, step: int, timer: ExecutionEvent, until: datetime | None) -> Blocker:
        return Blocker(
            BlockCause.TIMER,
            self._key(step),
            timer.at,
            "It waits for a time that has not come.",
            "The time.",
            until=until,
        )

    def _retry(self, step: int, now: datetime) -> Blocker | None:
        event = self._facts.last(step, EventKind.STEP_RETRYING)
        until = None if event is None else after(event, event.field("delay_ms"))
        if event is None or until is None or until <= now:
            return None
        error = error_of(event.field("error"))
        following = number_of(event.field("attempt")) + 1
        if error is not None and error.type == OPEN_ERROR:
            return self._breaker(step, error, event.at, until, following)
        why = "" if error is None else f": {error.message}"
        return Blocker(
            BlockCause.RETRY,
            self._key(step),
            event.at,
            f"Attempt {following - 1} failed{why}",
            f"Attempt {following}, after the delay of its retry policy.",
            until=until,
            attempt=following,
        )

    def _breaker(
        self,
        step: int,
        error: ExecutionError,
        since: datetime,
        until: datetime | None,
        following: int,
    ) -> Blocker:
        details = error.details if isinstance(error.details, dict) else {}
        target = text_of(details.get("target")) or "its target"
        return Blocker(
            BlockCause.BREAKER,
            self._key(step),
            since,
            f"The circuit breaker of {target} is open: it keeps failing, so it is not called.",
            "Its next try, which uses up no attempt; it calls when the breaker lets it.",
            until=until,
            target=target,
            attempt=following,
        )

    def _in_doubt(self, step: int) -> Blocker:
        told = self._facts.last(step, EventKind.STEP_IN_DOUBT, EventKind.STEP_CALL_ANNOUNCED)
        return Blocker(
            BlockCause.IN_DOUBT,
            self._key(step),
            self._facts.began if told is None else told.at,
            "Nobody knows whether its call was made.",
            f"What its connector finds when it looks the call up, or else {self._decides(step)}.",
            attempt=None if told is None else number_of(told.field("attempt")),
        )

    def _decides(self, step: int) -> str:
        """Who decides about a call when no look-up does."""
        rule = self._plan.one(step).in_doubt
        return "a person's word" if rule is InDoubt.ASK else f"its rule, which is {rule.value}"

    # --- causes of items ----------------------------------------------------------------------------

    def _item_in_doubt(self, step: int, waiting: WaitingItem) -> Blocker:
        return Blocker(
            BlockCause.IN_DOUBT,
            self._key(step),
            waiting.since,
            f"Nobody knows whether the call of {item_words(waiting)} was made.",
            f"What its connector finds when it looks the call up, or else {self._decides(step)}.",
            attempt=waiting.attempt or None,
        )

    def _item_retry(self, step: int, waiting: WaitingItem) -> Blocker:
        error = error_of(waiting.error)
        if error is not None and error.type == OPEN_ERROR:
            return self._breaker(step, error, waiting.since, waiting.until, waiting.attempt + 1)
        why = "" if error is None else f": {error.message}"
        return Blocker(
            BlockCause.RETRY,
            self._key(step),
            waiting.since,
            f"An attempt of {item_words(waiting)} failed{why or '.'}",
            "Its next attempt, after the delay of its retry policy.",
            until=waiting.until,
            attempt=waiting.attempt + 1 if waiting.attempt else None,
        )

    def _places_of_map(self, step: int, since: datetime, _standing: Standing) -> Blocker:
        plan = self._plan.steps[step].map
        most = 1 if plan is None else plan.max_concurrency
        return Blocker(
            BlockCause.PARALLELISM,
            self._key(step),
            since,
            f"At most {most} items of this map are under way at once, by `max_concurrency`.",
            "Its turn, which comes in the order of the list.",
        )

    def _without_turn(self, step: int) -> Blocker:
        """Its map has ended, and the execution goes on."""
        ended = self._facts.last(step, *ENDS)
        return Blocker(
            BlockCause.ENDED,
            self._key(step),
            self._facts.began if ended is None else ended.at,
            "The map has ended before its turn.",
            "Nothing in this generation.",
        )

    # --- causes of the execution --------------------------------------------------------------------

    def _shared(self, step: int, status: StepStatus, standing: Standing) -> Blocker:
        """What holds up the execution; what the step itself waited for has come."""
        facts, since = self._facts, self._due_since(step, status)
        if facts.paused is not None:
            return self._paused(step, facts.paused, since)
        held = self._held_places(step, status, since)
        if held is not None:
            return held
        return self._free(step, since, standing)

    def _free(self, step: int, since: datetime, standing: Standing) -> Blocker:
        """Nothing but a worker is missing."""
        if self._execution.status is not ExecutionStatus.RUNNING:
            return self._unowned(step, since, standing)
        if standing.is_lost:
            return self._without_worker(step, since, standing)
        return self._tags(step, since, standing) or self._starting(step, since, standing)

    def _unowned(self, step: int, since: datetime, standing: Standing) -> Blocker:
        """Nobody has the execution: what it waits for to be had."""
        facts = self._facts
        if self._is_scheduled(standing.now):
            return self._scheduled(step)
        if standing.lane is not None:
            return lane_full(self._plan.one(step), max(since, facts.idle), standing.lane)
        if standing.losses >= _SUSPECT:
            return quarantined(self._plan.one(step), max(since, facts.idle))
        missing = self._tags(step, max(since, facts.idle), standing)
        if missing is not None:
            return missing
        if not standing.workers:
            return self._without_worker(step, max(since, facts.idle), standing)
        if standing.limit is not None:
            begun = max(since, facts.idle, standing.told_at or facts.idle)
            return limit_reached(self._plan.one(step), begun, standing.limit, standing.position)
        return self._queued(step, since, standing)

    def _tags(self, step: int, since: datetime, standing: Standing) -> Blocker | None:
        return tags_missing(self._plan.one(step), since, standing, self._execution)

    def _paused(self, step: int, event: ExecutionEvent, since: datetime) -> Blocker:
        actor, reason = actor_of(event.field("actor")), text_of(event.field("reason"))
        by = "" if actor is None else f" by {actor.subject}"
        return Blocker(
            BlockCause.PAUSED,
            self._key(step),
            max(since, event.at),
            f"The execution was paused{by}{because(reason)}.",
            "Resuming the execution.",
            actor=actor,
            reason=reason,
        )

    def _held_places(self, step: int, status: StepStatus, since: datetime) -> Blocker | None:
        """`max_parallel_steps`, when others hold all places. What waits itself holds one."""
        limit = self._plan.max_parallel_steps
        if limit is None or status in _HAVE_PLACES:
            return None
        count, names, begun = self._holders
        if count < limit:
            return None
        return Blocker(
            BlockCause.PARALLELISM,
            self._key(step),
            since if begun is None else max(since, begun),
            f"All {limit} places of `max_parallel_steps` are taken by {listed(names, count)}.",
            "The end of one of these steps.",
            steps=names,
        )

    @cached_property
    def _holders(self) -> tuple[int, tuple[str, ...], datetime | None]:
        """Who holds the places: how many, the first names, when the last of them began. The same for every step."""
        holders = [one for one, at in enumerate(self._statuses) if self._holds_place(one, at)]
        begun = [event.at for one in holders if (event := self._begin_of(one)) is not None]
        return len(holders), self._names(holders), max(begun, default=None)

    @cached_property
    def _running(self) -> tuple[str, ...]:
        """The first of those that run."""
        return self._names(
            [one for one, at in enumerate(self._statuses) if at is StepStatus.RUNNING]
        )

    @cached_property
    def _signals(self) -> frozenset[str]:
        """Names of what was sent and not taken yet."""
        return frozenset(name for name, _ in self._facts.signals.values())

    def _scheduled(self, step: int) -> Blocker:
        return Blocker(
            BlockCause.SCHEDULED,
            self._key(step),
            self._facts.began,
            "The execution was asked for at a later time.",
            "That time.",
            until=self._facts.wake,
        )

    def _without_worker(self, step: int, since: datetime, standing: Standing) -> Blocker:
        """Nobody is there to run it: its owner is lost, or no worker serves its shard."""
        if standing.is_lost:
            summary = f"Its worker {standing.worker or 'that had it'} is gone."
            since = standing.lost_at or standing.now
        else:
            summary = "No worker serves its shard."
        frees = (
            "The takeover by another worker, within seconds."
            if standing.workers
            else "A worker: start one."
        )
        return Blocker(
            BlockCause.WORKER, self._key(step), since, summary, frees, worker=standing.worker
        )

    def _queued(self, step: int, since: datetime, standing: Standing) -> Blocker:
        since = max(since, self._facts.idle, standing.told_at or self._facts.idle)
        if self._execution.status is ExecutionStatus.WAITING:
            summary = "Its time has come, and a worker is about to take it."
        elif standing.position is None:
            summary = "It waits for a worker, behind others of its tenant."
        else:
            summary = f"It waits for a worker, at place {standing.position} of its tenant's queue."
        return Blocker(
            BlockCause.QUEUE,
            self._key(step),
            since,
            summary,
            "A free place at a worker: by priority, then by age, tenants in turn.",
            position=standing.position,
        )

    def _starting(self, step: int, since: datetime, standing: Standing) -> Blocker:
        worker = standing.worker
        return Blocker(
            BlockCause.STARTING,
            self._key(step),
            since,
            f"The worker {worker or 'that has it'} is about to start it.",
            "The next commit of this worker.",
            worker=worker,
        )

    def _stopping(self, step: int, stop: ExecutionEvent) -> Blocker:
        actor, reason = actor_of(stop.field("actor")), text_of(stop.field("reason"))
        by = "" if actor is None else f" by {actor.subject}"
        if stop.kind is EventKind.EXECUTION_CANCEL_REQUESTED:
            why = f"it was cancelled{by}{because(reason)}"
        elif stop.kind is EventKind.EXECUTION_DEADLINE_REACHED:
            why = "its deadline has passed"
        else:
            why = f"step {text_of(stop.field('key')) or ''} failed"
        return Blocker(
            BlockCause.STOPPING,
            self._key(step),
            stop.at,
            f"The execution is ending, because {why}; this step will not run.",
            "Nothing in this generation: retry the execution when it has ended.",
            steps=self._running,
            actor=actor,
            reason=reason,
        )

    def _ended(self, step: int) -> Blocker:
        execution = self._execution
        word = execution.status.name.lower().replace("_", " ")
        is_dead = execution.status is ExecutionStatus.DEAD_LETTERED
        failed = None if execution.error is None else execution.error.step_key
        return Blocker(
            BlockCause.ENDED,
            self._key(step),
            execution.finished_at or self._facts.began,
            f"The execution has ended before its turn: it is {word}.",
            "Redriving the dead letter." if is_dead else "Retrying the execution.",
            steps=() if failed is None else (failed,),
        )

    # --- facts --------------------------------------------------------------------------------------

    def _is_through(self, step: int) -> bool:
        return self._facts.at.is_through(self._plan, step)

    def _has_ended(self, step: int) -> bool:
        """Whether a step in doubt stays so: nothing more is done about it."""
        at = self._facts.at.steps.get((step, -1))
        settled = self._facts.last(step, EventKind.STEP_IN_DOUBT, EventKind.STEP_DOUBT_SETTLED)
        is_given_up = settled is not None and settled.field("error") is not None
        is_given_up &= settled is not None and settled.kind is EventKind.STEP_DOUBT_SETTLED
        return is_given_up or (at is not None and at.is_handled)

    def _is_settled(self, step: int) -> bool:
        """Whether the doubt is over, and the call is to be made again."""
        last = self._facts.last(step, *OF_STEP)
        return last is not None and last.kind is EventKind.STEP_DOUBT_SETTLED

    def _holds_place(self, step: int, status: StepStatus) -> bool:
        if status is StepStatus.IN_DOUBT:
            return not self._is_settled(step) and not self._has_ended(step)
        return status in _UNDER_WAY

    def _begin_of(self, step: int) -> ExecutionEvent | None:
        return self._facts.last(step, EventKind.STEP_STARTED)

    def _begun(self, step: int) -> datetime:
        event = self._begin_of(step)
        return self._facts.began if event is None else event.at

    def _due_since(self, step: int, status: StepStatus) -> datetime:
        """Since when nothing of its own holds it up."""
        facts = self._facts
        if status is StepStatus.WAITING:
            timer = facts.last(step, EventKind.TIMER_SET)
            until = None if timer is None else until_of(timer)
            awaited = facts.last(step, EventKind.SIGNAL_AWAITED)
            came = [
                at
                for name, at in facts.signals.values()
                if awaited and name == awaited.field("signal")
            ]
            return min(
                [one for one in (until, *came) if one is not None], default=self._begun(step)
            )
        if status is StepStatus.RETRYING:
            event = facts.last(step, EventKind.STEP_RETRYING)
            return (
                facts.began if event is None else after(event, event.field("delay_ms")) or event.at
            )
        own = facts.last(step, EventKind.STEP_DOUBT_SETTLED)
        needs = (facts.last(need, *ENDS) for need in self._plan.one(step).depends_on)
        return max([facts.began, *(event.at for event in (own, *needs) if event is not None)])

    def _is_scheduled(self, now: datetime) -> bool:
        wake, execution = self._facts.wake, self._execution
        is_timed = execution.status is ExecutionStatus.WAITING and execution.wait is WaitKind.TIMER
        return is_timed and wake is not None and wake > now

    def _key(self, step: int) -> str:
        return self._plan.one(step).key

    def _names(self, steps: Sequence[int]) -> tuple[str, ...]:
        return tuple(self._plan.steps[step].key for step in steps[:MOST_STEPS])


# As in the claims: an execution that lost so many owners in a row is taken by nobody who has others.
_SUSPECT: Final = 2

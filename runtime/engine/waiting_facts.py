"""What the events of an execution say about its waiting: since when, until when, who said so. Read by `blocking`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final, NamedTuple
from uuid import UUID

from runtime.engine.history import ExecutionAt, fold
from runtime.model.blocker import MOST_STEPS, BlockCause, Blocker
from runtime.model.event import BEGINS_AGAIN, EventKind, ExecutionEvent
from runtime.model.execution import Execution, ExecutionError
from runtime.model.identity import Actor, ActorKind
from runtime.model.plan import Plan
from runtime.model.values import Json, parse_instant

_FAILURES: Final = frozenset(
    {
        EventKind.STEP_FAILED,
        EventKind.STEP_TIMED_OUT,
        EventKind.STEP_CANCELLED,
        EventKind.STEP_DOUBT_SETTLED,
    }
)
ENDS: Final = _FAILURES | {EventKind.STEP_COMPLETED, EventKind.STEP_SKIPPED}
OF_STEP: Final = ENDS | {
    EventKind.STEP_STARTED,
    EventKind.STEP_RETRYING,
    EventKind.STEP_IN_DOUBT,
    EventKind.STEP_CALL_ANNOUNCED,
    EventKind.TIMER_SET,
    EventKind.SIGNAL_AWAITED,
    EventKind.CHILD_STARTED,
    EventKind.HUMAN_TASK_CREATED,
}
_STOPS: Final = frozenset(
    {EventKind.EXECUTION_CANCEL_REQUESTED, EventKind.EXECUTION_DEADLINE_REACHED}
)
_IDLE: Final = frozenset({EventKind.EXECUTION_QUEUED, EventKind.EXECUTION_WAITING})


class Turns(NamedTuple):
    """What undoes steps, by its place in the order; and the place of the first that has not had its turn."""

    order: tuple[int, ...]
    places: Mapping[int, int]
    now: int


@dataclass(slots=True)
class Facts:
    """What the events of the present generation say: since when, who, and of each step its newest of each kind."""

    at: ExecutionAt
    began: datetime
    idle: datetime
    wake: datetime | None = None
    paused: ExecutionEvent | None = None
    stop: ExecutionEvent | None = None
    undoing: ExecutionEvent | None = None
    turns: Turns | None = None
    newest: dict[tuple[int, EventKind], ExecutionEvent] = field(default_factory=dict)
    signals: dict[int, tuple[str, datetime]] = field(default_factory=dict)

    def last(self, step: int, *kinds: EventKind) -> ExecutionEvent | None:
        """The newest event of a step, of these kinds."""
        found = [self.newest[step, kind] for kind in kinds if (step, kind) in self.newest]
        return max(found, key=lambda event: event.sequence, default=None)


def facts_of(execution: Execution, events: Sequence[ExecutionEvent]) -> Facts:
    """What all events of an execution, in order, say."""
    began = execution.created_at
    facts = Facts(fold(events), began, began)
    for event in events:
        kind = event.kind
        if kind in BEGINS_AGAIN:
            is_kept = event.field("from_failed_step") is not False
            signals = facts.signals if is_kept else {}
            facts = Facts(facts.at, event.at, event.at, signals=signals)
        elif kind is EventKind.EXECUTION_PAUSED:
            facts.paused = event
        elif kind is EventKind.EXECUTION_RESUMED:
            facts.paused = None
        elif kind is EventKind.SIGNAL_RECEIVED:
            name = text_of(event.field("name"))
            facts.signals[number_of(event.field("n"))] = (name or "", event.at)
        elif kind is EventKind.EXECUTION_COMPENSATING:
            facts.undoing = event
        elif kind in _IDLE:
            facts.idle, facts.wake = event.at, _wake_of(event)
        elif kind is EventKind.EXECUTION_TAKEN_OVER and event.field("worker") is None:
            facts.idle = event.at
        elif kind in OF_STEP and event.field("item") in {None, -1}:
            facts.newest[number_of(event.field("step")), kind] = event
            taken = event.field("signal")
            if kind is EventKind.STEP_COMPLETED and isinstance(taken, int):
                facts.signals.pop(taken, None)
        if facts.stop is None and _begins_end(event):
            facts.stop = event
    return facts


def _begins_end(event: ExecutionEvent) -> bool:
    """Whether the execution ends because of this event: stopped from outside, or a step failed for good."""
    if event.kind in _STOPS:
        return True
    if event.kind not in _FAILURES or event.field("on_error") is not None:
        return False
    is_item = event.field("item") not in {None, -1}
    return not is_item and event.field("error") is not None


def before_it(plan: Plan, facts: Facts, compensation: int) -> Blocker | None:
    """What undoes another step first; None when it is this one's turn. Worked out once for all who ask."""
    if facts.turns is None:
        facts.turns = _turns_of(plan, facts)
    turns = facts.turns
    if facts.undoing is None or turns.places.get(compensation, 0) <= turns.now:
        return None
    other = plan.one(turns.order[turns.now]).key
    return Blocker(
        BlockCause.DEPENDENCY,
        plan.one(compensation).key,
        facts.undoing.at,
        f"Steps are undone one after another: it waits for {other}.",
        "The end of that.",
        steps=(other,),
    )


def _turns_of(plan: Plan, facts: Facts) -> Turns:
    steps = None if facts.undoing is None else facts.undoing.field("steps")
    told = steps if isinstance(steps, list) else ()
    found = (plan.steps[number_of(step)].compensation for step in told)
    order = tuple(one for one in found if one is not None)
    now = next((at for at, one in enumerate(order) if _is_open(facts, one)), len(order))
    return Turns(order, {one: at for at, one in enumerate(order)}, now)


def _is_open(facts: Facts, step: int) -> bool:
    """Whether an attempt has begun since the newest end, or a doubt was settled and it is called again."""
    last = facts.last(step, *OF_STEP)
    return (
        last is None
        or last.kind not in ENDS
        or (last.kind is EventKind.STEP_DOUBT_SETTLED and last.field("error") is None)
    )


def _wake_of(event: ExecutionEvent) -> datetime | None:
    """When the execution goes on by itself, as the event that put it aside says."""
    at = text_of(event.field("wake_at"))
    if at is not None:
        return parse_instant(at)
    return after(event, event.field("wake_in_ms"))


def child_of(step: str, started: ExecutionEvent) -> Blocker:
    """A step waits for the child that this event has started."""
    name, version = text_of(started.field("workflow")), text_of(started.field("version"))
    return Blocker(
        BlockCause.CHILD,
        step,
        started.at,
        f"It waits for its child, the execution {started.field('child')} of {name} {version}.",
        "The end of the child: ask why that is not running.",
    )


def person_of(step: str, created: ExecutionEvent) -> Blocker:
    """A step waits for the answer to the task that this event has opened."""
    people, groups = (
        texts_of(created.field("assignees")),
        texts_of(created.field("candidate_groups")),
    )
    who = [*people[:MOST_STEPS], *(f"a member of {group}" for group in groups[:MOST_STEPS])]
    left = len(people) + len(groups) - len(who)
    wanted = number_of(created.field("quorum"))
    many = f"the answers of {wanted} people" if wanted > 1 else "an answer"
    return Blocker(
        BlockCause.PERSON,
        step,
        created.at,
        f"It waits for {many}: {listed(who, len(who) + left) if who else 'nobody in particular is asked'}.",
        "An answer to its task" + (", or its expiry." if created.field("expires_in_ms") else "."),
        until=after(created, created.field("expires_in_ms")),
        task=UUID(str(created.field("task"))),
        assignees=people[:MOST_STEPS],
        candidate_groups=groups[:MOST_STEPS],
    )


def other_of(step: str, facts: Facts, number: int) -> Blocker | None:
    """Who else has to do something before a waiting step goes on: its child, or people, unless all ends anyhow."""
    child = facts.last(number, EventKind.CHILD_STARTED)
    if child is not None:
        return child_of(step, child)
    task = facts.last(number, EventKind.HUMAN_TASK_CREATED)
    return None if task is None or facts.stop is not None else person_of(step, task)


def until_of(timer: ExecutionEvent) -> datetime | None:
    """When the time comes that a TIMER_SET event tells of."""
    until = text_of(timer.field("until"))
    return parse_instant(until) if until is not None else after(timer, timer.field("for_ms"))


def after(event: ExecutionEvent, milliseconds: Json) -> datetime | None:
    """So long after the event; None when it does not say, or beyond what a calendar has."""
    if not isinstance(milliseconds, int):
        return None
    try:
        return event.at + timedelta(milliseconds=milliseconds)
    except OverflowError:
        return None


def error_of(data: Json) -> ExecutionError | None:
    """The error in an event."""
    if not isinstance(data, dict):
        return None
    return ExecutionError(
        str(data.get("type", "Error")),
        str(data.get("message", "")),
        bool(data.get("retryable", False)),
        None,
        data.get("details"),
    )


def actor_of(data: Json) -> Actor | None:
    """The person or program that an event names."""
    fields: Mapping[str, Json] = data if isinstance(data, dict) else {}
    subject, kind, name = (fields.get(one) for one in ("subject", "kind", "display_name"))
    if not isinstance(subject, str):
        return None
    known = {one.value for one in ActorKind}
    return Actor(subject, ActorKind(kind) if kind in known else ActorKind.USER, text_of(name))


def because(reason: str | None) -> str:
    """The reason that somebody gave, in brackets."""
    return f" ({reason})" if reason else ""


def listed(names: Sequence[str], count: int) -> str:
    """`a, b and 3 more`."""
    rest = count - len(names)
    return ", ".join(names) + (f" and {rest} more" if rest else "")


def text_of(value: Json) -> str | None:
    """A text, or None."""
    return value if isinstance(value, str) else None


def texts_of(value: Json) -> tuple[str, ...]:
    """The texts of a list."""
    return tuple(one for one in value if isinstance(one, str)) if isinstance(value, list) else ()


def number_of(value: Json) -> int:
    """A whole number; 0 when it is none."""
    return value if isinstance(value, int) else 0

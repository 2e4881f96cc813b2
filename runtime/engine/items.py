"""Items of maps: what happens to one is decided here as advance() decides about a step, with the same rules.

The item of a step has its own attempts, retries, doubts and key; the step itself is running from the event that says
how long its list is (MAP_OPENED) until all items have ended and their outcomes are joined, or one failed and the map
does not collect.
"""

from __future__ import annotations

from heapq import heappop, heappush
from typing import Final

from runtime.engine.about import about, about_item
from runtime.engine.command import (
    Command,
    JoinItems,
    LookUp,
    RecordEvent,
    RecordStep,
    RunStep,
    ScheduleRetry,
)
from runtime.engine.doubt import Course, Doubt, course_of, words_of
from runtime.engine.ending import complete, end_badly, end_item, status_of
from runtime.engine.event import (
    NO_FACTS,
    STOPPED,
    WAITED,
    DoubtJudged,
    Event,
    Facts,
    ItemsJoined,
    RetryDue,
    StepDeferred,
    StepError,
    StepFailed,
    StepInDoubt,
    StepSucceeded,
)
from runtime.engine.fan import Fan, Item
from runtime.engine.retry import MAX_DEFERRALS, deferral_ms, delay_ms, is_repeated
from runtime.engine.scope import scope_of
from runtime.engine.state import COMPLETED, RUNNING, ExecutionState, Phase
from runtime.engine.tags import is_here
from runtime.expression import ExpressionError
from runtime.model.event import EventKind
from runtime.model.execution import StepStatus, Verdict
from runtime.model.plan import MAX_ITEMS, Effect
from runtime.model.values import Json

NO_LIST: Final = "map.no_list"
TOO_MANY: Final = "map.too_many_items"
_NO_CALL: Final = Facts(WAITED)


def open_map(state: ExecutionState, step: int, out: list[Command]) -> None:
    """Begin a map; its first items begin with `feed`. When a large value is missing, nothing has changed."""
    found = _length(state, step)
    state.attempt[step] = 1
    out.append(RecordEvent(EventKind.STEP_STARTED, about(state, step)))
    if isinstance(found, StepError):
        end_badly(state, step, StepStatus.FAILED, found, _NO_CALL, out)
        return
    state.status[step] = RUNNING
    state.busy += 1
    fan = state.fans[step] = Fan(found, state.kept.pop(step, ()))
    data: dict[str, Json] = {**about(state, step), "items": found, "kept": found - fan.left}
    out.append(RecordEvent(EventKind.MAP_OPENED, data, holds=True))


def _length(state: ExecutionState, step: int) -> int | StepError:
    template = state.program.steps[step].for_each
    where = f"`for_each` of step {state.key(step)!r}"
    try:
        scope = scope_of(state, resolve=state.resolve, step=step)
        found = [] if template is None else template.render(scope)
    except ExpressionError as problem:
        return StepError("expression", f"{where}: {problem.message}")
    if not isinstance(found, list):
        return StepError(NO_LIST, f"{where} gives no list; a map goes over a list.")
    if len(found) > MAX_ITEMS:
        words = f"{where} gives {len(found):,} items; the limit is {MAX_ITEMS:,}."
        return StepError(TOO_MANY, words, details={"items": len(found), "limit": MAX_ITEMS})
    return len(found)


def feed(state: ExecutionState, out: list[Command]) -> bool:
    """Begin items of the open maps while there is place, end maps that are through; whether one ended here."""
    has_ended = False
    for step in tuple(state.fans):
        fan = state.fans.get(step)
        if fan is None or state.phase is not Phase.GOING:
            break
        if fan.fault is not None:
            has_ended = _end_faulty(state, step, fan, out) or has_ended
        elif not state.is_paused and fan.takes_more and (not fan.left or is_here(state, step)):
            _feed(state, step, fan, out)
    return has_ended


def _feed(state: ExecutionState, step: int, fan: Fan, out: list[Command]) -> None:
    while fan.again:
        item = heappop(fan.again)
        _start(state, step, item, fan.live[item], out)
    plan = state.program.steps[step].plan.map
    most = 1 if plan is None else plan.max_concurrency
    while len(fan.live) < most and (fresh := fan.next()) is not None:
        one = fan.live[fresh] = Item()
        _start(state, step, fresh, one, out)
    if fan.left == 0:
        fan.is_joining = True
        state.running += 1
        out.append(JoinItems(step, state.attempt[step]))


def _end_faulty(state: ExecutionState, step: int, fan: Fan, out: list[Command]) -> bool:
    """The map has failed as soon as nothing of it is under way."""
    if fan.live or fan.fault is None:
        return False
    item, error = fan.fault
    del state.fans[step]
    state.busy -= 1
    words = f"item {item} failed: {error.message}"
    failed = StepError(error.type, words, error.kind, details={"item": item})
    end_badly(state, step, StepStatus.FAILED, failed, _NO_CALL, out)
    return True


def _start(state: ExecutionState, step: int, item: int, one: Item, out: list[Command]) -> None:
    one.attempt += 1
    one.status = StepStatus.RUNNING
    state.running += 1
    data = about_item(state, step, item, one.attempt)
    out.append(RecordEvent(EventKind.STEP_STARTED, data))
    out.append(RunStep(step, one.attempt, item))


def on_item(state: ExecutionState, event: Event, out: list[Command]) -> bool:
    """Take in what happened to an item, or to the join of a map; whether the event is about that at all."""
    match event:
        case StepSucceeded() | StepFailed() | StepInDoubt() | DoubtJudged() | StepDeferred():
            pass
        case RetryDue() if event.item >= 0:
            retry_due(state, event, out)
            return True
        case ItemsJoined():
            _joined(state, event, out)
            return True
        case _:
            return False
    if event.item < 0:
        return False
    fan = state.fans.get(event.step)
    one = None if fan is None else fan.live.get(event.item)
    if fan is None or one is None or one.attempt != event.attempt:
        return True
    if isinstance(event, StepInDoubt):
        _in_doubt(state, event, one, out)
    elif isinstance(event, DoubtJudged):
        _judged(state, event, fan, one, out)
    elif one.status == StepStatus.RUNNING:
        match event:
            case StepSucceeded():
                state.running -= 1
                _complete(state, event.step, event.item, fan, one, event.facts, out)
            case StepFailed():
                _failed(state, event, fan, one, out)
            case StepDeferred():
                _deferred(state, event, fan, one, out)
    return True


def _is_going(state: ExecutionState, fan: Fan) -> bool:
    return state.phase is Phase.GOING and fan.fault is None


def _complete(
    state: ExecutionState,
    step: int,
    item: int,
    fan: Fan,
    one: Item,
    facts: Facts,
    out: list[Command],
) -> None:
    fan.end(item, StepStatus.COMPLETED)
    out.append(RecordStep(step, one.attempt, StepStatus.COMPLETED, facts=facts, item=item))
    data = about_item(state, step, item, one.attempt, facts)
    out.append(RecordEvent(EventKind.STEP_COMPLETED, data))


def _failed(
    state: ExecutionState, event: StepFailed, fan: Fan, one: Item, out: list[Command]
) -> None:
    step, item, error = event.step, event.item, event.error
    policy = state.program.steps[step].plan.retry
    if _is_going(state, fan) and is_repeated(policy, error, one.tries, event.effect):
        state.running -= 1
        _repeat(state, step, item, one, status_of(error), error, event.facts, out)
    elif event.effect is Effect.AT_MOST_ONCE and error.is_uncertain:
        _doubt(state, step, item, one, error, event.facts, out)
    else:
        state.running -= 1
        end_item(state, step, item, status_of(error), error, event.facts, out)


def _repeat(
    state: ExecutionState,
    step: int,
    item: int,
    one: Item,
    status: StepStatus,
    error: StepError,
    facts: Facts,
    out: list[Command],
) -> None:
    one.deferred = 0
    policy = state.program.steps[step].plan.retry
    delay = delay_ms(policy, error, one.tries, seed=state.seed(step, item))
    _put_off(state, one, RecordStep(step, one.attempt, status, error, delay, facts, item), out)


def _put_off(state: ExecutionState, one: Item, record: RecordStep, out: list[Command]) -> None:
    step, item, error, delay = record.step, record.item, record.error, record.retry_in_ms or 0
    data = {**about_item(state, step, item, one.attempt, record.facts), "delay_ms": delay}
    if error is not None:
        one.error = error
        data["error"] = error.as_json()
    one.status = StepStatus.RETRYING
    out.append(record)
    out.append(RecordEvent(EventKind.STEP_RETRYING, data))
    out.append(ScheduleRetry(step, record.attempt, delay, item))


def _deferred(
    state: ExecutionState, event: StepDeferred, fan: Fan, one: Item, out: list[Command]
) -> None:
    step, item, error = event.step, event.item, event.error
    state.running -= 1
    one.free += 1
    one.deferred += 1
    if _is_going(state, fan) and one.deferred <= MAX_DEFERRALS:
        delay = deferral_ms(error, one.deferred, seed=state.seed(step, item))
        status = StepStatus.CANCELLED
        _put_off(
            state, one, RecordStep(step, one.attempt, status, error, delay, STOPPED, item), out
        )
        return
    end_item(state, step, item, status_of(error), error, NO_FACTS, out)


def retry_due(state: ExecutionState, event: RetryDue, out: list[Command]) -> None:
    """The delay of an item is over; what comes due in a pause is kept for its end."""
    fan = state.fans.get(event.step)
    one = None if fan is None else fan.live.get(event.item)
    if fan is None or one is None or not _is_going(state, fan):
        return
    if (one.status, one.attempt) != (StepStatus.RETRYING, event.attempt):
        return
    if state.is_paused:
        state.overdue.append(event)
        return
    if not is_here(state, event.step):
        one.status = StepStatus.PENDING
        heappush(fan.again, event.item)
        return
    _start(state, event.step, event.item, one, out)


def _in_doubt(state: ExecutionState, event: StepInDoubt, one: Item, out: list[Command]) -> None:
    step, item = event.step, event.item
    doubt = state.doubts.get((step, item))
    if doubt is None:
        return
    if doubt.is_told:
        out.append(LookUp(step, event.attempt, item))
    else:
        _doubt(state, step, item, one, doubt.error, doubt.facts, out)


def _doubt(
    state: ExecutionState,
    step: int,
    item: int,
    one: Item,
    error: StepError,
    facts: Facts,
    out: list[Command],
) -> None:
    """Make the doubt known, then ask the connector; until then the item counts as running."""
    attempt = one.attempt
    one.status = StepStatus.IN_DOUBT
    state.doubts[step, item] = Doubt(error, tail=facts.tail)
    status = StepStatus.IN_DOUBT
    out.append(RecordStep(step, attempt, status, error, None, facts, item, is_open=True))
    data = {**about_item(state, step, item, attempt, facts), "error": error.as_json()}
    out.append(RecordEvent(EventKind.STEP_IN_DOUBT, data))
    out.append(LookUp(step, attempt, item))


def _judged(
    state: ExecutionState, event: DoubtJudged, fan: Fan, one: Item, out: list[Command]
) -> None:
    """The connector, the rule or a person settles the doubt of an item."""
    step, item = event.step, event.item
    doubt = state.doubts.get((step, item))
    if doubt is None:
        return
    is_going, plan = _is_going(state, fan), state.program.steps[step].plan
    course = course_of(doubt, event, plan, one.tries, is_going=is_going)
    if course is Course.ASK:
        if not doubt.asks:
            doubt.asks = True
            state.running -= 1
        return
    del state.doubts[step, item]
    state.running -= not doubt.asks
    data = words_of(event, plan, is_going=is_going)
    if course is not Course.END:
        about_it = about_item(state, step, item, one.attempt)
        out.append(RecordEvent(EventKind.STEP_DOUBT_SETTLED, {**about_it, **data}))
    error, known = doubt.error, doubt.facts
    match course:
        case Course.COMPLETE:
            facts = event.facts._replace(tail=event.facts.tail + doubt.tail)
            _complete(state, step, item, fan, one, facts, out)
        case Course.RETRY:
            is_known = event.verdict is Verdict.NOT_MADE
            status = status_of(error) if is_known else StepStatus.IN_DOUBT
            _repeat(state, step, item, one, status, error, known, out)
        case Course.AGAIN:
            _begin_again(step, item, fan, one, doubt, out)
        case Course.END:
            end_item(state, step, item, StepStatus.IN_DOUBT, error, known, out, data)
        case Course.END_UNMADE:
            end_item(state, step, item, status_of(error), error, known, out)
        case Course.CALL_OFF:
            end_item(state, step, item, StepStatus.CANCELLED, error, doubt.unmade, out)


def _begin_again(
    step: int, item: int, fan: Fan, one: Item, doubt: Doubt, out: list[Command]
) -> None:
    """The call was not made: the item begins once more, as soon as nothing is paused."""
    one.free += 1
    status = StepStatus.CANCELLED
    out.append(RecordStep(step, one.attempt, status, doubt.error, None, doubt.unmade, item))
    one.status = StepStatus.PENDING
    heappush(fan.again, item)


def _joined(state: ExecutionState, event: ItemsJoined, out: list[Command]) -> None:
    step, fan = event.step, state.fans.get(event.step)
    if fan is None or not fan.is_joining:
        return
    del state.fans[step]
    state.running -= 1
    state.busy -= 1
    if event.error is not None:
        end_badly(state, step, status_of(event.error), event.error, event.facts, out)
        return
    state.outputs[step] = event.output
    out.append(RecordStep(step, event.attempt, StepStatus.COMPLETED, facts=event.facts))
    out.append(RecordEvent(EventKind.STEP_COMPLETED, about(state, step, event.facts)))
    complete(state, step, COMPLETED)

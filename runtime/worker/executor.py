"""Executor: carries commands out, for all runs of one incarnation.

It is driven by callbacks: a step that answers at once costs no task and no future, its completion
waits only for the flush. Long steps are tasks owned here. What the runs of one turn of the loop
recorded goes to the flusher together, at the end of the turn.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, Final
from uuid import UUID

from runtime.clock import Clock
from runtime.connectors.cancel import CancelSignal
from runtime.connectors.invoke import answer_inline, invoke
from runtime.connectors.registry import Registry
from runtime.engine.advance import advance
from runtime.engine.command import (
    BeginWait,
    Finish,
    JoinItems,
    LoadBlob,
    LookUp,
    RecordEvent,
    RunStep,
    ScheduleRetry,
    StopStep,
)
from runtime.engine.event import (
    STOPPED,
    BlobLoaded,
    Event,
    Facts,
    StepDeferred,
    StepError,
    StepFailed,
)
from runtime.engine.fan import place_of
from runtime.engine.scope import nothing_loaded
from runtime.engine.state import Phase
from runtime.model import errors
from runtime.model.blob import BlobRef, NotLoaded
from runtime.model.checkpoint import Closing, FlushOutcome, FlushResult
from runtime.model.event import EventKind
from runtime.model.execution import ExecutionError, ExecutionStatus
from runtime.model.plan import Effect
from runtime.model.values import Json
from runtime.secrets.file import FileSecrets
from runtime.settings import WorkerSettings
from runtime.store.flush import Flusher
from runtime.telemetry.log import get_logger
from runtime.telemetry.metrics import Metrics
from runtime.worker import signals
from runtime.worker.attempt import Attempt, begin, not_made
from runtime.worker.breaker import Breakers, key_of
from runtime.worker.caching import Caching
from runtime.worker.children import Children
from runtime.worker.contexts import Contexts
from runtime.worker.doubt import STOPPING_SECONDS, Doubts
from runtime.worker.encode import clean, error_of, stopped
from runtime.worker.intents import Intents
from runtime.worker.large import Large
from runtime.worker.lease import Lease
from runtime.worker.lending import Lending
from runtime.worker.maps import Joins, ReadItems, is_called_off, names_of
from runtime.worker.outputs import Held, Outputs
from runtime.worker.people import task_text
from runtime.worker.run import Action, Run, StoreOutput
from runtime.worker.step_log import StepLogs
from runtime.worker.stopping import Stopping
from runtime.worker.tasks import Tasks
from runtime.worker.timers import Timers
from runtime.worker.trace import Traces
from runtime.worker.waiting import park, parking_of

TURN_SECONDS: Final = 0.01
_RUN_BYTES: Final = 65_536  # What one more execution may come to, when nobody knows.

# Intents and doubts of a call that may happen once are its owner's.
STAYS: Final = "map.stays_with_its_owner"
_NOT_HERE: Final = StepError(STAYS, "This call is made by the owner of its execution.")

_log = get_logger("worker")


class Executor:
    """Owns the runs, the tasks of their steps, and the timers of their retries and waits."""

    def __init__(
        self,
        *,
        flusher: Flusher,
        lease: Lease,
        registry: Registry,
        secrets: FileSecrets,
        logs: StepLogs,
        outputs: Outputs,
        traces: Traces,
        settings: WorkerSettings,
        metrics: Metrics,
        clock: Clock,
        signals: signals.Signals,
        breakers: Breakers,
        read_items: ReadItems,
        children: Children,
        cache: Callable[..., Caching],
        lend: Callable[..., Lending],
        on_closed: Callable[[Run, Closing], None],
        on_refused: Callable[[Run, FlushResult], None],
        on_news: signals.News,
    ) -> None:
        self.runs: dict[UUID, Run] = {}
        self.is_draining = False
        self.weight = 0  # About how many bytes its runs hold: weighed at each beat.
        self._flusher = flusher
        self._lease = lease
        self._secrets = secrets
        self._context = Contexts(logs, registry, secrets, traces)
        self._outputs = outputs
        self._stopping = Stopping(report=self._report, traces=traces, clock=clock)
        self._large = Large(outputs, start=self._start_safely, tell=self.tell)
        self.timers = Timers(
            retried=self.tell, waited=self._large.wait_over, metrics=metrics, clock=clock
        )
        self.lending = lend(begin=self.begin, tell=self.tell)
        self._joins = Joins(outputs, read=read_items, tell=self.tell, defect=self._defect)
        self._caching = cache(begin=self.begin, tell=self.tell)
        self._traces = traces
        self._settings = settings
        self._metrics = metrics
        self._clock = clock
        self._signals = signals
        self._breakers = breakers
        self._children = children
        self._on_closed = on_closed
        self._on_refused = on_refused
        self._on_news = on_news
        self._loop = asyncio.get_running_loop()
        self._ready: deque[tuple[Run, RunStep | Attempt]] = deque()
        self._blocked: deque[tuple[Run, RunStep | Attempt]] = deque()
        self._dirty: list[Run] = []
        self._tasks = Tasks("step", on_ended=self.unblock)
        self.quiet = self._tasks.quiet
        self._intents = Intents()
        self._turn_is_planned = False
        self._is_dropped = False
        self._never = CancelSignal()
        self.doubts = Doubts(
            begin=self._begin,
            context=self._context,
            tell=self.tell,
            metrics=metrics,
            clock=clock,
            outputs=outputs,
            overlap_seconds=settings.overlap_seconds,
        )

    @property
    def room(self) -> int:
        """How many more executions may be taken on, by their number and by what they may weigh."""
        free = self._settings.resident_bytes - self.weight
        return max(0, min(self._settings.max_executions - len(self.runs), free // _RUN_BYTES))

    def weigh(self) -> None:
        """Weigh what the runs hold by now."""
        self.weight = sum(run.weight for run in self.runs.values())

    def add(self, run: Run) -> None:
        """Begin to carry a run."""
        run.on_flushed = partial(self._flushed, run)
        run.facts_of_wait = partial(self.timers.ended, run)
        run.task_of = partial(task_text, run, self._clock)
        self.weight += run.weight
        self.runs[run.owned.id] = run

    def tell(self, run: Run, event: Event) -> None:
        """Something happened to a run."""
        if run.is_over or run.is_parking or self._is_dropped:
            return
        if run.guest is not None:
            run.guest.heard(event)
            return
        try:
            commands = advance(run.state, event)
            actions = run.take_in(commands, after_all=isinstance(event, BlobLoaded))
        except Exception as error:  # noqa: BLE001 - one execution must not stop the worker of all
            self.fail(run, error)
            return
        if run.state.doubts and run.state.phase is Phase.STOPPING:
            self.doubts.hurry(run, STOPPING_SECONDS)
        self.act(run, actions)

    def fail(self, run: Run, defect: Exception) -> None:
        """The core itself broke on this execution: it fails as a whole, and only it."""
        words = self._words(defect)
        _log.error("execution_defect", execution=str(run.owned.id), error=words)
        for attempt in run.attempts.values():
            attempt.cancel.cancel("the execution failed")
            if attempt.task is not None:
                attempt.task.cancel()
        run.state.phase = Phase.CLOSED
        error = ExecutionError("engine.defect", f"The engine could not go on: {words}")
        data: dict[str, Json] = {"error": {"type": error.type, "message": error.message}}
        event = RecordEvent(EventKind.EXECUTION_FAILED, data)
        self.act(run, run.take_in([event, Finish(ExecutionStatus.FAILED, error=error)]))

    def act(self, run: Run, actions: list[Action]) -> None:
        """Do what may be done now; what was recorded goes out at the end of this turn."""
        is_stopping = False
        for action in actions:
            match action:
                case RunStep() if action.item >= 0 and self.lending.take(run, action):
                    pass  # It is for another worker.
                case RunStep() | Attempt():
                    self._ready.append((run, action))
                case ScheduleRetry() | BeginWait():
                    self.timers.begin(run, action)
                case LookUp() | JoinItems() if self.is_draining:
                    pass  # It only reads: whoever comes next reads it again.
                case LookUp():
                    self.doubts.look_up(run, action)
                case JoinItems():
                    self._joins.join(run, action)
                case LoadBlob():
                    self._large.for_core(run, action.ref)
                case StoreOutput():
                    self._tasks.start(self._large.end(run, action.output, self.touched))
                case StopStep():
                    is_stopping = True
                    self._stop(run, action)
        if is_stopping:
            self._recall(run)
        self.touched(run)

    def begin(self, run: Run, steps: Iterable[RunStep]) -> None:
        """Start these here, as soon as there is place."""
        self._ready.extend((run, step) for step in steps)
        self._plan_turn()

    def stop_items(self, run: Run, items: Iterable[StopStep]) -> None:
        """End these items of somebody else's map."""
        for one in items:
            self._stopping.stop(run, one)
        self._recall(run)

    def _stop(self, run: Run, command: StopStep) -> None:
        self._stopping.stop(run, command)
        if command.item >= 0:
            self.lending.stop(run, command)

    def touched(self, run: Run) -> None:
        """The run has recorded something: see to it at the end of this turn."""
        if not (run.is_listed or run.awaits_start):
            run.is_listed = True
            self._dirty.append(run)
        self._plan_turn()

    def unblock(self) -> None:
        """Try again what had no place, or no lease to act under: as many as there are places."""
        held = [entry for entry in self._blocked if isinstance(entry[1], Attempt)]
        if held:
            self._blocked = deque(e for e in self._blocked if not isinstance(e[1], Attempt))
            self._ready.extend(held)
        places = self._settings.max_steps - self._taken
        for _ in range(min(places, len(self._blocked))):
            self._ready.append(self._blocked.popleft())
        if self._ready:
            self._plan_turn()

    def call_off_intents(self) -> None:
        """Take back the calls that were announced and will not be made here, so nobody doubts them."""
        for run, attempt in self._intents.take():
            if not run.is_over:
                run.withdraw_intent(attempt)
                self.touched(run)

    def _recall(self, run: Run) -> None:
        """What of this run waits for a place or a value need not wait any more: it will be called off."""
        self._ready.extend(entry for entry in self._blocked if entry[0] is run)
        self._ready.extend((run, action) for action in self._large.recall(run))
        self._blocked = deque(entry for entry in self._blocked if entry[0] is not run)
        self._plan_turn()

    def drop(self) -> None:
        """Forget all runs: another worker owns them now. Calls are stopped, their ends ignored."""
        self._is_dropped = True
        for run in tuple(self.runs.values()):
            self.forget(run)
            self._traces.end_run(run, None)
        self.doubts.drop()
        self._joins.drop()
        self._caching.drop()
        self.lending.drop()
        for entries in (self._ready, self._blocked, self._dirty):
            entries.clear()
        self._intents.take()
        self._large.drop()

    def forget(self, run: Run) -> None:
        """Carry this run no longer; its calls are stopped, their ends ignored."""
        for attempt in run.attempts.values():
            attempt.cancel.cancel("this worker no longer carries the execution")
            if attempt.task is not None:
                attempt.task.cancel()
        self._remove(run)

    async def join(self, seconds: float) -> None:
        """Wait until the tasks have ended; those that do not listen are left behind."""
        await self._tasks.join(seconds)

    # --- turns -----------------------------------------------------------------------------------

    def _plan_turn(self) -> None:
        if not self._turn_is_planned:
            self._turn_is_planned = True
            self._loop.call_soon(self._turn)

    def _turn(self) -> None:
        """Start what is ready, for a bounded time; then let every run that changed submit."""
        self._turn_is_planned = False
        if self._is_dropped:
            return
        end = self._clock.monotonic() + TURN_SECONDS
        ready = self._ready
        while ready:
            run, action = ready.popleft()
            if run.awaits_start:
                run.awaits_start = False
                self.touched(run)
            self._start_safely(run, action)
            if self._clock.monotonic() > end:
                break
        dirty, self._dirty = self._dirty, []
        for run in dirty:
            run.is_listed = False
            for checkpoint in () if run.is_over else run.checkpoints():
                self._flusher.submit(checkpoint, run.on_flushed)
            self._park_if_idle(run)
        if ready:
            self._plan_turn()

    def _flushed(self, run: Run, result: FlushResult) -> None:
        """The answer to the run's oldest checkpoint: go on with what waited for it."""
        waiting = run.flushed()
        if run.is_over or self._is_dropped:
            return
        if result.outcome is not FlushOutcome.COMMITTED:
            self._on_refused(run, result)
            return
        run.committed(waiting)
        if waiting.to_keep:
            self._caching.keep(waiting.to_keep)
        self._signals.fire(signals.CHECKPOINTED)
        self._on_news(run.owned.id, is_end=waiting.closing is not None)
        if waiting.children:
            self._children.told(waiting.children)
        if waiting.closing is not None:
            self._close(run, waiting.closing)
            return
        self.act(run, [*waiting.after])

    def _close(self, run: Run, closing: Closing) -> None:
        self._remove(run)
        self._on_closed(run, closing)

    def _remove(self, run: Run) -> None:
        """This run and no other: a newer one of the same execution may be carried already."""
        run.drop()
        self.doubts.hurry(run, 0.0)
        self._large.call_off(run)
        self._intents.forget(run)
        self.lending.forget(run)
        if self.runs.get(run.owned.id) is run:
            del self.runs[run.owned.id]

    # --- steps -----------------------------------------------------------------------------------

    def _start_safely(
        self, run: Run, action: RunStep | Attempt, held: Held | None = None
    ) -> BlobRef | None:
        """One step that can't be started fails; the others of this turn go on.

        What it still needs is loaded, or given back when `held` says that somebody is loading.
        """
        if run.lost and (lost := run.lost.pop(place_of(action.step, action.item), None)):
            self.tell(run, not_made(action, lost))
            return None
        try:
            self._start(run, action, held)
        except NotLoaded as missing:
            if held is not None:
                return missing.ref
            if isinstance(action, RunStep):
                self._large.for_step(run, action, missing.ref)
        except Exception as error:  # noqa: BLE001 - one step must not break the turn of all
            self.tell(run, not_made(action, self._defect(run, action.step, error)))
        return None

    def _defect(self, run: Run, step: int, error: Exception) -> StepError:
        """What should not have happened, without secrets: as the step's failure and in the log."""
        words = self._words(error)
        _log.error("step_defect", error=words, **self._traces.place_of(run, step))
        return error_of(errors.StepFailed(f"The step broke: {words}", type="engine.defect"))

    def _words(self, error: Exception) -> str:
        return clean(self._secrets.mask(f"{type(error).__name__}: {error}"))

    def _start(self, run: Run, action: Any, held: Held | None) -> None:  # noqa: C901, PLR0912
        if run.is_over or (run.guest is not None and action.item not in run.guest.wanted):
            return
        if not run.state.goes_on(action.step) or (action.item >= 0 and is_called_off(run, action)):
            self._call_off(run, action)
            return
        if self.is_draining:
            return
        if isinstance(action, Attempt):
            self._go(run, action)
            return
        prepared = run.prepared.steps[action.step]
        is_inline = prepared.connector is not None and prepared.connector.inline
        if not is_inline and not self.may_call:
            self._blocked.append((run, action))
            return
        try:
            attempt = self._begin(run, action, self._never if is_inline else CancelSignal(), held)
        except errors.StepFailed as failed:
            error, facts = error_of(failed), Facts(tail=prepared.tail)
            self._count(run, action.step, "failed")
            self.tell(run, not_made(action, error, facts))
            return
        if held is not None:
            attempt.room = held.kept()
        if prepared.program.plan.cache is not None and self._caching.asks(run, action, attempt):
            return
        refusal = self._refusal(run, attempt)
        if refusal is not None:
            self.tell(run, StepDeferred(action.step, action.attempt, refusal, action.item))
        elif attempt.effect is Effect.AT_MOST_ONCE and not self.may_call:
            self._blocked.append((run, action))
        elif attempt.effect is Effect.AT_MOST_ONCE:
            self._intents.announce(run, attempt)
            self.touched(run)
        elif is_inline:
            self._answer(run, attempt)
        else:
            self._go(run, attempt)

    def _begin(
        self,
        run: Run,
        action: RunStep,
        cancel: CancelSignal | None = None,
        held: Held | None = None,
    ) -> Attempt:
        """An attempt with its rendered input; raises StepFailed and NotLoaded."""
        resolve, now = nothing_loaded if held is None else held.resolve, self._clock.monotonic()
        item = action.item
        return begin(
            action,
            run.prepared.steps[action.step],
            run.state,
            secrets=self._secrets,
            mask=self._secrets.mask,
            cancel=self._never if cancel is None else cancel,
            now=now,
            resolve=resolve,
            names=None if item < 0 else names_of(run, action.step, item, resolve, now),
        )

    def _refusal(self, run: Run, attempt: Attempt) -> StepError | None:
        if run.guest is not None and attempt.effect is Effect.AT_MOST_ONCE:
            return _NOT_HERE
        key = key_of(run, attempt)
        return None if key is None else self._breakers.refusal(key)

    @property
    def _taken(self) -> int:
        return len(self._tasks) + len(self._intents)

    @property
    def may_call(self) -> bool:
        """Whether one more call may begin."""
        return self._taken < self._settings.max_steps and self._lease.allows_calls

    def _call_off(self, run: Run, action: RunStep | Attempt) -> None:
        """The execution is stopping: what has not begun ends without a call."""
        error = stopped("the execution is stopping")
        if isinstance(action, Attempt) and self._intents.release(action):
            self.unblock()
        self.tell(run, not_made(action, error, STOPPED))

    def _answer(self, run: Run, attempt: Attempt) -> None:
        """A connector that answers at once: no task, no await."""
        span = self._traces.begin_step(run, attempt)
        context = self._context(run, attempt)
        try:
            output = answer_inline(attempt.prepared.connector, context, attempt.rendered)
            encoded = self._outputs.encode_at_once(output, attempt.subject)
        except errors.StepFailed as failed:
            self._report(run, attempt, attempt.failed(failed, self._clock.monotonic()))
        else:
            if encoded is None:
                attempt.cancel = CancelSignal()
                run.attempts[attempt.place] = attempt
                attempt.task = self._tasks.start(self._conclude(run, attempt, output=output))
            else:
                self._report(run, attempt, attempt.succeeded(encoded, self._clock.monotonic()))
        if span is not None:
            span.end()

    def _go(self, run: Run, attempt: Attempt) -> None:
        """Make the call in a task of its own, if the lease still allows it."""
        if not self._lease.allows_calls:
            self._blocked.append((run, attempt))
            return
        self._intents.release(attempt)
        attempt.started_at = self._clock.monotonic()
        run.attempts[attempt.place] = attempt
        self._signals.fire(signals.CALLING)
        attempt.task = self._tasks.start(self._call(run, attempt))

    def _put_back(self, run: Run, attempt: Attempt) -> None:
        """The process stood still since the turn that let this call begin: it must be let again."""
        del run.attempts[attempt.place]
        if attempt.stop_timer is not None:
            attempt.stop_timer.cancel()
        if attempt.effect is Effect.AT_MOST_ONCE:
            self._intents.add(run, attempt)
        if self.is_draining:
            self.call_off_intents()
        self._ready.append((run, attempt))
        self._plan_turn()

    async def _call(self, run: Run, attempt: Attempt) -> None:
        if not self._lease.allows_calls:
            self._put_back(run, attempt)
            return
        attempt.is_made = True
        with self._traces.step(run, attempt):
            await self._conclude(run, attempt, self._context(run, attempt))

    async def _conclude(
        self, run: Run, attempt: Attempt, context: Any = None, output: Json = None
    ) -> None:
        """Make the call, if there is one left to make; its output is durable before its end is told."""
        event: Event
        try:
            try:
                event = await self._outcome(run, attempt, context, output)
            except errors.StepFailed as failed:
                event = attempt.failed(failed, self._clock.monotonic())
        except asyncio.CancelledError as cut:
            if attempt.stop_reason is None:
                raise
            event = attempt.cut(self._clock.monotonic(), cut)
        except Exception as error:  # noqa: BLE001 - the attempt must end, whatever broke
            event = attempt.broken(self._defect(run, attempt.step, error), self._clock.monotonic())
        self._report(run, attempt, event)

    async def _outcome(self, run: Run, attempt: Attempt, context: Any, output: Json) -> Event:
        """What the attempt comes to when it ends well; raises StepFailed."""
        if attempt.prepared.program.plan.workflow is not None:
            return await self._children.find(run, attempt, self._traces.headers(run, attempt))
        if context is not None:
            output = await invoke(attempt.prepared.connector, context, attempt.rendered)
        encoded, ref = await self._outputs.keep(run.owned, output, attempt.subject)
        return attempt.succeeded(encoded, self._clock.monotonic(), ref)

    def _report(self, run: Run, attempt: Attempt, event: Event) -> None:
        """The end of an attempt, once."""
        if attempt.is_over:
            return
        attempt.is_over = True
        if attempt.stop_timer is not None:
            attempt.stop_timer.cancel()
        run.attempts.pop(attempt.place, None)
        if attempt.cache_key is not None:
            self._caching.note(run, attempt, event)
        if (key := key_of(run, attempt)) is not None:
            self._breakers.ended(key, getattr(event, "error", None), attempt.started_at)
        if isinstance(event, StepFailed):
            self._count(run, attempt.step, event.error.kind.value)
            self._traces.failed(attempt, event.error.message)
        self.tell(run, event)

    def _count(self, run: Run, step: int, status: str) -> None:
        name = run.prepared.steps[step].connector_name
        self._metrics.steps.labels(name, status).inc()

    def _park_if_idle(self, run: Run) -> None:
        """Only long waits are left: give the execution up until the first of them is over."""
        parking = None if run.is_over else parking_of(run, self._loop.time())
        if parking is not None:
            park(run, parking)
            self.touched(run)

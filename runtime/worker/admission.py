"""Admission: executions that this worker has come to own become runs, fresh or rebuilt from rows."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Final
from uuid import UUID

import orjson

from runtime.engine.advance import advance, proceed
from runtime.engine.command import Finish, RecordEvent, RunStep
from runtime.engine.event import (
    STOPPED,
    DeadlineReached,
    Facts,
    RetryDue,
    Started,
    StepDeferred,
    StepError,
    StepFailed,
    TimerDue,
)
from runtime.engine.fan import Place
from runtime.engine.program import Program
from runtime.engine.replay import Rebuilt, is_in_doubt_by_rows, known_by_its_maker, rebuild
from runtime.engine.state import PENDING, RUNNING, ExecutionState, Phase, run_of
from runtime.model.checkpoint import (
    ExecutionHistory,
    OwnedExecution,
)
from runtime.model.errors import MaestroError, Unavailable
from runtime.model.event import EventKind
from runtime.model.execution import ExecutionError, ExecutionStatus
from runtime.model.plan import Effect, Plan
from runtime.model.settled import settled
from runtime.model.values import Digest, Json
from runtime.store.births import Newborn
from runtime.store.faults import Fenced
from runtime.telemetry.log import get_logger
from runtime.worker import signals
from runtime.worker.attempt import Attempt, not_made
from runtime.worker.encode import clean, stopped
from runtime.worker.executor import Executor
from runtime.worker.inbox import receive, signal_of
from runtime.worker.prepared import PreparedProgram
from runtime.worker.run import Run
from runtime.worker.tools import Seat, Tools
from runtime.worker.undecodable import set_aside
from runtime.worker.waiting import database_now

_NOTHING: Final = ExecutionHistory()
_UNUSABLE: Final = "The published version of this workflow can't be run by this worker: {}"
_DEFECT: Final = "The engine could not go on with this execution:"
_EMPTY: Final = PreparedProgram(
    Program.of(Plan("unknown", Digest.of(b""), steps=(), successors=(), indegree=())), ()
)

_log = get_logger("worker")


class Admission:
    """Makes runs and hands them to the executor."""

    def __init__(self, tools: Tools, seat: Seat, executor: Executor) -> None:
        self._tools = tools
        self._seat = seat
        self._executor = executor

    async def admit(self, owned: Sequence[OwnedExecution], claimed_at: float | None = None) -> None:
        """Begin or go on with these executions. Raises Unavailable; then nobody may keep this seat.

        `claimed_at`: when the database handed them over, by the monotonic clock, unless that was just now.
        Histories are loaded so many bytes at a time, and begun before the next ones are loaded.
        """
        fresh = [one for one in owned if one.is_fresh]
        known = {one.id: one for one in owned if not one.is_fresh}
        await self._admit(fresh, {}, claimed_at)
        store, shard = self._tools.store, self._tools.shard
        async for histories in store.histories(list(known), shard=shard):
            await self._set_aside(histories)
            await self._admit([known[one] for one in histories], histories, claimed_at)
        self._tools.signals.fire(signals.CLAIMED, len(owned))

    async def _admit(
        self,
        owned: Sequence[OwnedExecution],
        histories: Mapping[UUID, ExecutionHistory],
        claimed_at: float | None,
    ) -> None:
        for one in owned:
            history = histories.get(one.id)
            try:
                prepared = await self._tools.programs.get(one.version_id)
            except Unavailable:
                raise
            except Exception as error:  # noqa: BLE001 - one broken version must not stop the others
                self._refuse(one, history or _NOTHING, "version.unusable", _UNUSABLE.format(error))
                continue
            if history is None:
                self._tools.metrics.queue_lag.observe(one.age_seconds)
            try:
                run, due = self._make(one, prepared, history, claimed_at)
                await self._adopt(run)
                self._begin(run, history or _NOTHING, due)
            except (Fenced, Unavailable):
                raise
            except Exception as error:  # noqa: BLE001 - else it would break every worker in turn
                self._break_off(one, history or _NOTHING, error)

    async def readmit(self, old: Run, message: str) -> None:
        """A checkpoint of this run was refused: go on from what is durable.

        Steps whose outcome the database did not take fail with its words, also those whose call was announced and may
        happen once: that it was made is known here. One that was only announced is put off. When that is refused as
        well, the execution fails as a whole; when even that is, it is a dead letter.
        """
        histories = await self._tools.store.load_histories([old.owned.id], shard=self._tools.shard)
        await self._set_aside(histories)
        history = histories.get(old.owned.id, _NOTHING)
        words = f"The database refused to store the outcome of this step: {message}."
        if old.refusals:
            if old.refusals > 1:
                await self._give_up(old.owned.id, message)
                return
            self._refuse(old.owned, history, "checkpoint_rejected", words, refusals=2)
            return
        run, due = self._make(old.owned, old.prepared, history, old.claimed_at)
        lost: set[Place] = {
            step
            for step, status in enumerate(old.state.status)
            if run.state.status[step] == PENDING and status not in {PENDING, RUNNING}
        }
        lost |= {
            (step, item)
            for step, fan in run.state.fans.items()
            if step in old.state.fans
            # Of bytes, since mypyc can go through those and not through a bytearray.
            for item, end in enumerate(bytes(old.state.fans[step].ends))
            if end and not fan.ends[item]
        }
        run.refusals = 1
        error = StepError("checkpoint_rejected", clean(words))
        run.lost = dict.fromkeys(lost, error)
        known = _known_calls(old, run)
        await self._adopt(run)
        self._begin(run, history, due)
        for attempt, facts in known:
            self._executor.tell(run, _end_of(attempt, facts, error, run))

    async def _adopt(self, run: Run) -> None:
        """What is lent of its open maps is under way already. Raises Fenced, Unavailable."""
        if run.state.fans:
            await self._executor.lending.adopt(run)

    def guest(
        self, owned: OwnedExecution, prepared: PreparedProgram, history: ExecutionHistory
    ) -> Run:
        """Somebody else's execution as its items see it: no executor carries it, and nothing of it is written."""
        return self._make(owned, prepared, history)[0]

    async def _give_up(self, execution: UUID, message: str) -> None:
        tools, seat = self._tools, self._seat
        words = f"The database refused every checkpoint of this execution, also its end: {message}."
        error: Json = {"type": "checkpoint_rejected", "message": clean(words), "retryable": False}
        try:
            is_ours = await tools.store.give_up(seat.shard, seat.me, seat.epoch, execution, error)
        except MaestroError:
            raise
        except Exception as refusal:  # noqa: BLE001 - one execution must not end the worker of all
            _log.error("execution_stuck", execution=str(execution), reason=repr(refusal))
            return
        if is_ours:
            tools.metrics.dead_letters.inc()
            tools.wakeup.publish_events(seat.shard, [execution])
            _log.error("dead_lettered", execution=str(execution), reason=message)

    async def _set_aside(self, histories: Mapping[UUID, ExecutionHistory]) -> None:
        messages = {one: history.messages for one, history in histories.items()}
        await set_aside(self._tools, self._seat, messages, self._executor.runs)

    def _make(
        self,
        owned: OwnedExecution,
        prepared: PreparedProgram,
        history: ExecutionHistory | None,
        claimed_at: float | None = None,
    ) -> tuple[Run, Rebuilt]:
        info = run_of(owned, prepared.program.plan)
        now = self._tools.clock.monotonic()
        claimed_at = now if claimed_at is None else claimed_at
        if history is None:
            rebuilt = Rebuilt(ExecutionState(prepared.program, info))
        else:
            rebuilt = rebuild(
                prepared.program,
                info,
                history.steps,
                history.retries,
                is_begun=history.is_begun,
                marks=history.marks,
                now=database_now(owned, now - claimed_at),
            )
        rebuilt.state.here = self._tools.settings.tags
        run = Run(
            owned=owned,
            prepared=prepared,
            state=rebuilt.state,
            inline_bytes=self._tools.settings.inline_bytes,
            weight=0 if history is None else history.size,
            sequence=1 if history is None else history.last_sequence,
            clears_takeovers=owned.takeovers > 0,
            claimed_at=claimed_at,
        )
        for name, kept in rebuilt.state.signals.items():
            rebuilt.state.signals[name] = deque(signal_of(*one[:3]) for one in kept)
        run.waiting = {step: now - ago for step, ago in rebuilt.waiting.items()}
        return run, rebuilt

    def _begin(self, run: Run, history: ExecutionHistory, rebuilt: Rebuilt) -> None:
        """Tell the run, in this order: messages, deadline, what its rows left open; then start."""
        executor = self._executor
        executor.add(run)
        self._tools.traces.begin_run(run)
        receive(executor, run, history.messages)
        # What an earlier generation was told counts as seen: it must not keep this one from parking.
        run.inbox_seen = max(run.inbox_seen, run.owned.inbox)
        self._watch_deadline(run)
        for due in rebuilt.due:
            if isinstance(due.event, RetryDue) and due.in_seconds > 0:
                executor.timers.retry_at(run, due.event, due.in_seconds)
            elif isinstance(due.event, TimerDue):
                executor.timers.fire_at(run, due.event, due.in_seconds)
            else:
                executor.tell(run, due.event)
        state = run.state
        is_new = state.phase is Phase.NEW
        commands = advance(state, Started(self._tools.name)) if is_new else proceed(state)
        actions = run.take_in(commands)
        # An item may be lent; a step is begun here, so its turn comes.
        run.awaits_start = any(isinstance(one, RunStep) and one.item < 0 for one in actions)
        executor.act(run, actions)

    def _refuse(
        self,
        owned: OwnedExecution,
        history: ExecutionHistory,
        kind: str,
        words: str,
        *,
        refusals: int = 0,
    ) -> None:
        """End an execution that can't be run, without looking at its steps."""
        error = ExecutionError(kind, clean(words))
        run, _ = self._make(owned, _EMPTY, None)
        run.sequence = max(1, history.last_sequence)
        run.refusals = refusals
        self._executor.add(run)
        data: dict[str, Json] = {"error": {"type": error.type, "message": error.message}}
        event = RecordEvent(EventKind.EXECUTION_FAILED, data)
        finish = Finish(ExecutionStatus.FAILED, error=error)
        self._executor.act(run, run.take_in([event, finish]))

    def _break_off(
        self, owned: OwnedExecution, history: ExecutionHistory, defect: Exception
    ) -> None:
        """The core broke on this execution before it went on: it fails, and only it."""
        begun = self._executor.runs.get(owned.id)
        if begun is not None:
            self._executor.fail(begun, defect)
            return
        self._refuse(owned, history, "engine.defect", f"{_DEFECT} {type(defect).__name__}.")

    def _watch_deadline(self, run: Run) -> None:
        seconds = run.owned.deadline_in_seconds
        if seconds is None:
            return
        # Counted from the claim; a run made again after a refusal keeps that moment.
        seconds -= self._tools.clock.monotonic() - run.claimed_at
        if seconds <= 0:
            self._executor.tell(run, DeadlineReached())
            return
        loop = asyncio.get_running_loop()
        run.deadline = loop.call_later(seconds, self._executor.tell, run, DeadlineReached())


def _known_calls(old: Run, run: Run) -> list[tuple[Attempt, Facts]]:
    """Of the calls that are in doubt by their rows, those that the refused run announced and of which it knows the end.

    None of them is in doubt any more. What it had found in doubt itself, or had from rows, it does not know.
    """
    known: list[tuple[Attempt, Facts]] = []
    for place, attempt in old.announced.items():
        is_known = attempt.is_recorded or not attempt.is_made
        if is_known and is_in_doubt_by_rows(run.state, place, attempt.number):
            known.append((attempt, known_by_its_maker(run.state, place)))
    return known


def _end_of(
    attempt: Attempt, facts: Facts, error: StepError, run: Run
) -> StepFailed | StepDeferred:
    """A call that was made has failed, by the words of the database; one that was not is made later, if at all."""
    step, number, item = attempt.step, attempt.number, attempt.item
    if attempt.is_made:
        return StepFailed(step, number, error, Effect.AT_MOST_ONCE, facts, item)
    if run.state.goes_on(step):
        return StepDeferred(step, number, error, item)
    return not_made(attempt, stopped("the execution is stopping"), STOPPED)


def owned_of(born: Newborn) -> OwnedExecution:
    """What a claim would have handed over; the input as jsonb gives it back, as everybody after reads it."""
    return OwnedExecution(
        id=born.id,
        tenant_id=born.tenant_id,
        workflow_id=born.workflow_id,
        version_id=born.version_id,
        generation=0,
        namespace=born.namespace,
        region=born.region,
        priority=born.priority,
        epoch=1,
        takeovers=0,
        inbox=0,
        cancel_requested=False,
        created_at=born.at,
        age_seconds=0.0,
        deadline_in_seconds=born.timeout_seconds,
        meta=orjson.loads(born.meta),
        input=settled(orjson.loads(born.input)),
    )

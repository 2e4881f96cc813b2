"""ExecutionService: enqueue, retry, read and watch executions; its `messages` cancel, signal, pause them.

What it acknowledges is committed. Redis is told afterwards, without waiting: a lost hint is made up by
the scheduler's sweep. Nobody but the owning worker changes the state of what runs: what people say to it
are `messages`, and retry queues the next generation of what has ended.
"""

from __future__ import annotations

import builtins
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import replace
from functools import partial
from itertools import chain
from operator import attrgetter
from typing import Final
from uuid import UUID

from runtime.clock import Clock
from runtime.engine.program import Program, ProgramCache
from runtime.entropy import Entropy
from runtime.model.blocker import Standing
from runtime.model.change import Change
from runtime.model.errors import (
    BadInput,
    IdempotencyConflict,
    MaestroError,
    NotFound,
    Unavailable,
)
from runtime.model.event import EventKind, ExecutionEvent, LogLine
from runtime.model.execution import (
    NEWEST,
    Enqueued,
    EnqueueRequest,
    Execution,
    ExecutionFilter,
    ExecutionOrder,
    ExecutionStatus,
    StepExecution,
    step_of,
)
from runtime.model.execution_comparison import ExecutionComparison
from runtime.model.identity import Principal
from runtime.model.page import Page, PageRequest
from runtime.model.plan import Plan
from runtime.model.step_table import StepColumn, StepTable
from runtime.model.values import Json
from runtime.queue.keys import class_of
from runtime.queue.stream import RedisQueue
from runtime.queue.wakeup import Wakeup
from runtime.services.access import DEBUG_EXECUTIONS, READ_EXECUTIONS, WRITE_EXECUTIONS, require
from runtime.services.aside import aside
from runtime.services.backlog import Backlogs
from runtime.services.beginning_again import BeginningAgain
from runtime.services.changes import Changes
from runtime.services.comparison import compare
from runtime.services.edited_input import EditedInputs
from runtime.services.execution_range import Places, refuse_live_search, refuse_unbounded
from runtime.services.intake import Intake, Intent
from runtime.services.item import ItemService
from runtime.services.judges import Judges
from runtime.services.live import LiveList
from runtime.services.live_execution import LiveExecutions
from runtime.services.message import Messenger
from runtime.services.past import Past, PastExecution, past_of
from runtime.services.retrying import Wishes
from runtime.services.settled import SettledSteps
from runtime.services.step_view import StepView, steps_by_rows
from runtime.services.watch import Watcher, unknown
from runtime.store.blob import Blobs
from runtime.store.enqueue import EnqueueOutcome, Enqueuer, Enqueuers
from runtime.store.execution import ExecutionStore
from runtime.store.execution_item import ItemRecords
from runtime.store.execution_list import ExecutionList
from runtime.store.execution_record import ExecutionRecords
from runtime.store.execution_scan import most_read
from runtime.store.log import LogStore
from runtime.store.plan import PlanStore
from runtime.store.shards import Shards
from runtime.store.tenant import TenantStore
from runtime.store.workflow import WorkflowStore
from runtime.telemetry.metrics import Metrics
from runtime.telemetry.tracing import Tracing

_CAP: Final = 10_000
_MOST_AT_ONCE: Final = 1_000
_MOST_EVENTS: Final = 5_000


class ExecutionService:
    """What callers may do with executions."""

    def __init__(
        self,
        *,
        shards: Shards,
        tenants: TenantStore,
        store: ExecutionStore,
        enqueuer: Enqueuer | Enqueuers,
        queue: RedisQueue,
        wakeup: Wakeup,
        plans: PlanStore,
        tracing: Tracing,
        metrics: Metrics,
        clock: Clock,
        entropy: Entropy,
        blobs: Blobs,
        changes: Changes,
        judges: Judges,
        max_input_bytes: int,
    ) -> None:
        self._shards = shards
        self._tenants = tenants
        self._store = store
        self._enqueuer = enqueuer
        self._queue = queue
        self._wakeup = wakeup
        self._plans = plans
        self._clock = clock
        self._tracing = tracing
        self._programs = ProgramCache()
        self._records = ExecutionRecords(shards)
        self.places = Places()
        self.messages = Messenger(shards, store, queue, wakeup)
        self._item_records = ItemRecords(shards)
        self.items = ItemService(self._records, self._item_records, self._view)
        self._list = ExecutionList(shards)
        self._logs = LogStore(shards)
        self._watcher = Watcher(
            records=self._records, logs=self._logs, wakeup=wakeup, metrics=metrics
        )
        self._live = LiveList(LiveExecutions(shards, tenants, self._list), changes, metrics)
        self._settled = SettledSteps(shards, plans)
        self.edits = EditedInputs(blobs=blobs, judges=judges, max_bytes=max_input_bytes)
        self._beginning = BeginningAgain(
            shards=shards,
            store=store,
            records=self._records,
            plans=plans,
            edits=self.edits,
            wakeup=wakeup,
            hint=self._hint,
        )
        self._intake = Intake(
            workflows=WorkflowStore(shards.catalog),
            plans=plans,
            tenants=tenants,
            clock=clock,
            entropy=entropy,
            blobs=blobs,
            judges=judges,
            backlogs=Backlogs(tenants, self._records, clock=clock, metrics=metrics),
            max_input_bytes=max_input_bytes,
        )

    def forget_targets(self, _tenant: UUID) -> None:
        """A version was published in this process: the next enqueue looks again."""
        self._intake.forget()

    # --- enqueue -----------------------------------------------------------------------------------

    async def enqueue(self, who: Principal, request: EnqueueRequest) -> Enqueued:
        """Accept an execution; durable when this returns. A known key gives the first answer again."""
        require(who, WRITE_EXECUTIONS)
        with self._tracing.span("execution.enqueue", {"maestro.tenant": who.tenant}):
            prepared = await self._prepare(who, request, self._tracing.headers())
            if isinstance(prepared, Enqueued):
                return prepared
            return await self._accepted(who, prepared, await self._enqueuer.enqueue(prepared.row))

    async def enqueue_many(
        self, who: Principal, requests: Sequence[EnqueueRequest]
    ) -> builtins.list[Enqueued | MaestroError]:
        """Accept up to 1,000 in one commit; an answer or a refusal for each, in order."""
        require(who, WRITE_EXECUTIONS)
        if len(requests) > _MOST_AT_ONCE:
            raise BadInput(
                f"At most {_MOST_AT_ONCE} executions are taken at once.", reason="TOO_MANY"
            )
        answers: builtins.list[Enqueued | MaestroError | None] = [None] * len(requests)
        intents: dict[int, Intent] = {}
        with self._tracing.span("execution.enqueue", {"maestro.tenant": who.tenant}):
            trace = self._tracing.headers()
            for number, request in enumerate(requests):
                try:
                    prepared = await self._prepare(who, request, trace)
                except MaestroError as refusal:
                    answers[number] = refusal
                    continue
                if isinstance(prepared, Enqueued):
                    answers[number] = prepared
                else:
                    intents[number] = prepared
            outcomes = await self._enqueuer.enqueue_many([i.row for i in intents.values()])
            for number, outcome in zip(intents, outcomes, strict=True):
                answers[number] = await self._answer(who, intents[number], outcome)
        return [answer for answer in answers if answer is not None]

    async def _prepare(
        self, who: Principal, request: EnqueueRequest, trace: dict[str, str]
    ) -> Intent | Enqueued:
        digest = self._intake.digest(request)
        try:
            return await self._intake.prepare(who, request, digest, trace)
        except MaestroError:
            # What was accepted under this key stays accepted, even if it would be refused by now.
            first = await self._first_answer(who, request.idempotency_key, digest)
            if first is None:
                raise
            return first

    async def _first_answer(
        self, who: Principal, key: str | None, digest: bytes | None
    ) -> Enqueued | None:
        known = await self._known(who, key) if key else None
        if known is None:
            return None
        if known[1] != digest:
            raise IdempotencyConflict
        execution = await self._records.find(who.tenant_id, known[0])
        return _known_as(execution) if execution else None

    async def _answer(
        self, who: Principal, intent: Intent, outcome: EnqueueOutcome | Exception
    ) -> Enqueued | MaestroError:
        if isinstance(outcome, MaestroError):
            return outcome
        if isinstance(outcome, Exception):
            raise outcome
        try:
            return await self._accepted(who, intent, outcome)
        except MaestroError as refusal:
            return refusal

    async def _accepted(self, who: Principal, intent: Intent, outcome: EnqueueOutcome) -> Enqueued:
        if not outcome.same:
            raise IdempotencyConflict(path=("idempotencyKey",))
        if not outcome.fresh:
            return _known_as(await self._get(who, outcome.id))
        if intent.is_due and not outcome.born:
            self._hint(who.tenant_id, intent.row.id, intent.row.priority)
        return Enqueued(partial(intent.accepted, outcome), created=True)

    # --- commands ----------------------------------------------------------------------------------

    def told(self, execution: Execution, status: ExecutionStatus) -> None:
        """A message was left for it, and this is its status since: ring its owner, or offer it to one."""
        self._wakeup.publish_inbox(self._shards.shard_of(execution.id), [execution.id])
        if status is ExecutionStatus.QUEUED:
            self._hint(execution.tenant_id, execution.id, execution.priority)

    async def plan(self, execution: Execution) -> Plan:
        """The plan that it runs by."""
        return await self._plans.get(execution.version_id)

    async def retry(
        self,
        who: Principal,
        id: UUID,
        *,
        reason: str | None = None,
        from_failed_step: bool = True,
        key: str | None = None,
    ) -> Execution:
        """Run an execution that did not complete again, as its next generation."""
        return await self._beginning.retry(
            who, id, reason=reason, from_failed_step=from_failed_step, key=key
        )

    async def rewind(
        self,
        who: Principal,
        id: UUID,
        step_key: str,
        *,
        input: Json = None,
        keep: Sequence[str] = (),
        reason: str | None = None,
        key: str | None = None,
    ) -> Execution:
        """Run an ended execution again from a step, with all that rests on it, as its next generation.

        `input` is another one for it, as a whole; None leaves the one that it has. `keep` are the steps behind that one
        which are given their outputs again when their turn comes, and call nobody. Raises NotFound for a step that
        it has not, InvalidState in a state in which it is not rewound, and what an enqueue with that input raises.
        """
        wishes = Wishes(input, tuple(keep))
        return await self._beginning.rewind(
            who, id, step_key, wishes=wishes, reason=reason, key=key
        )

    def _hint(self, tenant: UUID, id: UUID, priority: int) -> None:
        self._queue.hint(self._shards.shard_of(id), tenant, id, class_of(priority))

    # --- reads -------------------------------------------------------------------------------------

    async def find(self, who: Principal, id: UUID) -> Execution | None:
        """One execution of the caller's tenant."""
        require(who, READ_EXECUTIONS)
        return await self._records.find(who.tenant_id, id)

    async def get_many(self, who: Principal, ids: Sequence[UUID]) -> dict[UUID, Execution]:
        """Those of the caller's that exist, by id."""
        require(who, READ_EXECUTIONS)
        return await self._records.get_many(who.tenant_id, ids)

    async def find_by_key(self, who: Principal, key: str) -> Execution | None:
        """The execution that was enqueued with this idempotency key."""
        require(who, READ_EXECUTIONS)
        known = await self._known(who, key)
        return await self._records.find(who.tenant_id, known[0]) if known else None

    async def list(
        self,
        who: Principal,
        filter: ExecutionFilter,
        page: PageRequest,
        *,
        order: ExecutionOrder = NEWEST,
    ) -> Page[Execution]:
        """A page of the caller's executions, newest first unless told otherwise."""
        require(who, READ_EXECUTIONS)
        refuse_unbounded(filter, order, self._clock.now())
        homes = self._shards.of_tenant(who.tenant_id, spread=await self._is_spread(who))
        async with self._place(who, filter, order):
            return await self._list.page(who.tenant_id, filter, page, homes, order=order)

    async def count(
        self, who: Principal, filter: ExecutionFilter, cap: int = _CAP
    ) -> tuple[int, bool]:
        """How many there are, counted up to a cap, and whether there are or may be more."""
        require(who, READ_EXECUTIONS)
        refuse_unbounded(filter, NEWEST, self._clock.now())
        homes = self._shards.of_tenant(who.tenant_id, spread=await self._is_spread(who))
        async with self._place(who, filter, NEWEST):
            return await self._list.count(who.tenant_id, filter, cap, homes)

    async def selected(
        self, who: Principal, filter: ExecutionFilter, most: int
    ) -> builtins.list[Execution]:
        """Ids and states of all that the filter lets through, by id; of more than `most`, `most + 1` or more.

        Raises Unavailable when a database is away: what lies there would be missing without a word.
        """
        require(who, READ_EXECUTIONS)
        refuse_unbounded(filter, NEWEST, self._clock.now())
        homes = self._shards.of_tenant(who.tenant_id, spread=await self._is_spread(who))
        async with self._place(who, filter, NEWEST):
            found = await self._list.selected(who.tenant_id, filter, most, homes)
        if found.silent:
            raise Unavailable(
                f"The database {', '.join(found.silent)} does not answer, and some of the executions may lie there."
            )
        return sorted(chain.from_iterable(found.answers), key=attrgetter("id"))

    def _place(
        self, who: Principal, filter: ExecutionFilter, order: ExecutionOrder
    ) -> AbstractAsyncContextManager[None]:
        """The place that a list takes which is read through."""
        if most_read(filter, order) is None:
            return nullcontext()
        return self.places.taken(who.tenant_id)

    async def _known(self, who: Principal, key: str) -> tuple[UUID, bytes] | None:
        """What a key of an enqueue stands for."""
        spread = await self._is_spread(who)
        return await self._records.find_by_key(who.tenant_id, key, spread=spread)

    async def _is_spread(self, who: Principal) -> bool:
        """Whether the caller's executions lie in all shards; with one there is nothing to ask."""
        tenant = await self._tenants.get(who.tenant_id) if self._shards.count > 1 else None
        return tenant is not None and tenant.spread

    async def steps(
        self, who: Principal, ids: Sequence[UUID]
    ) -> dict[UUID, tuple[StepExecution, ...]]:
        """The steps of each, in the order of its plan, with rendered inputs; stacks of errors for who may debug."""
        require(who, READ_EXECUTIONS)
        executions = await self._records.get_many(who.tenant_id, ids)
        found = await self._by_rows(who, executions)
        rest = [one for one in executions if one not in found]
        rows, events = await self._records.attempts(who.tenant_id, rest)
        for one in rest:
            stored = Past(executions[one], rows.get(one, ()), events.get(one, ()))
            found[one] = await self._shown(who, stored)
        return found

    async def _by_rows(
        self, who: Principal, executions: dict[UUID, Execution]
    ) -> dict[UUID, tuple[StepExecution, ...]]:
        """The steps of those of which rows alone say everything."""
        over = [one for one, each in executions.items() if each.ended_at_the_first_go]
        found: dict[UUID, tuple[StepExecution, ...]] = {}
        for one, rows in (await self._records.rows(who.tenant_id, over)).items():
            execution = executions[one]
            program, version = await self._program(execution)
            steps = steps_by_rows(
                execution, program, version, who.tenant, rows, stacks=who.has(DEBUG_EXECUTIONS)
            )
            if steps is not None:
                found[one] = steps
        return found

    async def _program(self, execution: Execution) -> tuple[Program, str | None]:
        """What an execution runs, and its version."""
        plan = await self._plans.get(execution.version_id)
        version = execution.version or (str(plan.version) if plan.version else None)
        return self._programs.get(plan), version

    async def step_tables(
        self, who: Principal, ids: Sequence[UUID], columns: frozenset[StepColumn]
    ) -> dict[UUID, StepTable | tuple[StepExecution, ...]]:
        """The steps of each: in columns, if rows alone say everything; else as `steps` gives them."""
        require(who, READ_EXECUTIONS)
        tables = await self._settled.tables(who.tenant_id, ids, columns)
        rest = [one for one in ids if one not in tables]
        return {**tables, **(await self.steps(who, rest) if rest else {})}

    async def past(
        self, who: Principal, keys: Sequence[tuple[UUID, int]]
    ) -> dict[tuple[UUID, int], PastExecution | MaestroError]:
        """Executions with their steps as they were when an event was the newest; a refusal where there is none."""
        require(who, READ_EXECUTIONS)
        ids = builtins.list(dict.fromkeys(one for one, _ in keys))
        # Before all else is read: what comes in between is there, and not asked for.
        last = {one: await self._records.last_sequence(who.tenant_id, one) for one in ids}
        executions = await self._records.get_many(who.tenant_id, ids)
        rows, events = await self._records.attempts(who.tenant_id, builtins.list(executions))
        found: dict[tuple[UUID, int], PastExecution | MaestroError] = {}
        for one, at in keys:
            execution = executions.get(one)
            if execution is None:
                found[one, at] = unknown(one)
                continue
            stored = Past(execution, rows.get(one, ()), events.get(one, ()))
            try:
                past = await aside(len(stored.events), partial(past_of, stored, at, last[one]))
            except MaestroError as refusal:
                found[one, at] = refusal
            else:
                found[one, at] = past.shown(await self._shown(who, past))
        return found

    async def _shown(self, who: Principal, past: Past) -> tuple[StepExecution, ...]:
        """The steps by what is, or was, stored of an execution."""
        return (await self._view(who, past)).steps()

    async def _view(self, who: Principal, past: Past) -> StepView:
        execution = past.execution
        program, version = await self._program(execution)
        view = partial(StepView.of, stacks=who.has(DEBUG_EXECUTIONS))
        return await aside(
            len(past.events),
            partial(view, execution, program, version, who.tenant, past.rows, past.events),
        )

    async def compare(self, who: Principal, a: UUID, b: UUID) -> ExecutionComparison:
        """Two executions beside each other; raises NotFound when there is one of them not for this caller."""
        require(who, READ_EXECUTIONS)
        steps = await self.steps(who, [a, b])
        executions = await self._records.get_many(who.tenant_id, [a, b])
        for one in (a, b):
            if one not in executions or one not in steps:
                raise unknown(one)
        plan = await self._plans.get(executions[a].version_id)
        return compare(executions[a], steps[a], plan, executions[b], steps[b])

    async def standings(self, who: Principal, ids: Sequence[UUID]) -> dict[UUID, Standing]:
        """Where executions stand among others now: what their events can't say of why a step is not running."""
        require(who, READ_EXECUTIONS)
        found, mapped = await self._records.standings(who.tenant_id, ids)
        for one, items in (await self._item_records.waiting(who.tenant_id, mapped)).items():
            found[one] = replace(found[one], items=items)
        return found

    async def step(self, who: Principal, id: UUID, key: str) -> StepExecution | None:
        """One step by its key."""
        return step_of((await self.steps(who, [id])).get(id, ()), key)

    async def events(
        self,
        who: Principal,
        id: UUID,
        *,
        after: int = 0,
        limit: int = 100,
        kinds: Sequence[EventKind] = (),
        until: int | None = None,
    ) -> builtins.list[ExecutionEvent]:
        """Events after a sequence, in order; up to another one, if that is given."""
        require(who, READ_EXECUTIONS)
        found = await self._records.events(
            who.tenant_id, id, after=after, limit=min(limit, _MOST_EVENTS), kinds=kinds
        )
        return [event for event in found if until is None or event.sequence <= until]

    async def logs(
        self,
        who: Principal,
        id: UUID,
        *,
        step_key: str | None = None,
        item: int | None = None,
        after: int = 0,
        limit: int = 200,
    ) -> builtins.list[LogLine]:
        """Log lines after a position, in order; of a step (or item) or of all; with stacks for who may debug."""
        require(who, READ_EXECUTIONS)
        step = await self._index(who, id, step_key)
        found = await self._logs.read(
            who.tenant_id, id, step=step, item=item, after=after, limit=min(limit, _MOST_EVENTS)
        )
        return [_seen(who, line) for line in found]

    def watch(
        self, who: Principal, id: UUID, *, after: int = 0, kinds: Sequence[EventKind] = ()
    ) -> AsyncIterator[ExecutionEvent]:
        """Every event after a sequence, then live; ends after the last of the newest generation."""
        require(who, READ_EXECUTIONS)
        return self._watcher.events(who.tenant_id, id, after, kinds)

    async def watch_list(
        self, who: Principal, filter: ExecutionFilter, *, size: int, after: str | None = None
    ) -> AsyncIterator[Change[Execution]]:
        """The first page of a list, then the newest state of whatever comes in, changes, or falls out."""
        require(who, READ_EXECUTIONS)
        refuse_live_search(filter)
        async for change in self._live.watch(who.tenant_id, filter, size=size, after=after):
            yield change

    async def follow_logs(
        self, who: Principal, id: UUID, *, after: int = 0, step_key: str | None = None
    ) -> AsyncIterator[LogLine]:
        """Every log line after a position, then live, as `logs` shows them; ends with the execution."""
        require(who, READ_EXECUTIONS)
        step = await self._index(who, id, step_key)
        async for line in self._watcher.lines(who.tenant_id, id, after, step):
            yield _seen(who, line)

    async def _index(self, who: Principal, id: UUID, step_key: str | None) -> int | None:
        """The number of a step in the plan of an execution."""
        if step_key is None:
            return None
        execution = await self._get(who, id)
        index = (await self._plans.get(execution.version_id)).number(step_key)
        if index is None:
            raise NotFound(f"The execution {id} has no step {step_key!r}.", reason="STEP_NOT_FOUND")
        return index

    async def _get(self, who: Principal, id: UUID) -> Execution:
        execution = await self._records.find(who.tenant_id, id)
        if execution is None:
            raise unknown(id)
        return execution


def _seen(who: Principal, line: LogLine) -> LogLine:
    """A line as this caller may see it."""
    return line if line.stack is None or who.has(DEBUG_EXECUTIONS) else line.without_stack()


def _known_as(execution: Execution) -> Enqueued:
    """The answer to a key that was known."""
    return Enqueued(lambda: execution, created=False)

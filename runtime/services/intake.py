"""From what a caller asks for to a row that can be accepted: resolve, check, fill in, measure.

Everything that can be refused is refused here, before anything is queued. What an enqueue is aimed at is
remembered for a second, because callers ask for the same few workflows again and again.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Final, TypeAlias, TypeGuard
from uuid import UUID

import orjson

from runtime.clock import Clock
from runtime.definition.lane import lane_of
from runtime.entropy import Entropy
from runtime.expression import ExpressionError
from runtime.model.blob import goes_out
from runtime.model.durable import durable_input, no_json, not_durable_input
from runtime.model.errors import (
    BadInput,
    InvalidState,
    NotFound,
    Unavailable,
)
from runtime.model.execution import EnqueueRequest, Execution, ExecutionStatus, WaitKind
from runtime.model.identity import Principal
from runtime.model.ids import slot_for
from runtime.model.plan import Plan
from runtime.model.values import Digest, Json, SemVer
from runtime.model.workflow import VersionState, WorkflowStatus
from runtime.services.backlog import Backlogs
from runtime.services.judges import Judges
from runtime.services.naming import check_labels, check_region
from runtime.store.blob import Blobs
from runtime.store.enqueue import EnqueueOutcome, EnqueueRow
from runtime.store.execution_row import trace_id_of
from runtime.store.idempotency import body_digest, check_key
from runtime.store.plan import PlanStore
from runtime.store.tenant import TenantStore
from runtime.store.workflow import Target, WorkflowStore, actor_json

_REMEMBER_SECONDS: Final = 1.0
_TRUST_SECONDS: Final = 3_600.0
_MOST_REMEMBERED: Final = 2_000
_INT4: Final = 2**31
_MILLISECOND: Final = timedelta(milliseconds=1)
_FARTHEST: Final = timedelta(days=3_653)
# What a target is looked up by: tenant, workflow, namespace, name, version.
_Key: TypeAlias = tuple[UUID, UUID | None, str, str | None, str | None]


@dataclass(frozen=True, slots=True)
class Intent:
    """A row that can be accepted, and what else the record says that it will be read as."""

    row: EnqueueRow
    who: Principal
    request: EnqueueRequest
    plan: Plan
    params: Json
    version: str | None
    trace_id: str | None

    @property
    def is_due(self) -> bool:
        """Whether it may start at once."""
        return self.row.is_due

    def accepted(self, outcome: EnqueueOutcome) -> Execution:
        """The record as the database took it: when, and whether it runs already."""
        row, who, request, at = self.row, self.who, self.request, outcome.at
        seconds, wake_at = row.timeout_seconds, row.wake_at
        start = max(at, wake_at or at)
        status = ExecutionStatus.QUEUED if row.is_due else ExecutionStatus.WAITING
        wait = WaitKind.CONCURRENCY_LIMIT if wake_at is None else WaitKind.TIMER
        return Execution(
            id=row.id,
            tenant_id=row.tenant_id,
            workflow_id=row.workflow_id,
            version_id=row.version_id,
            status=ExecutionStatus.RUNNING if outcome.born else status,
            wait=None if row.is_due else wait,
            namespace=row.namespace,
            generation=0,
            priority=row.priority,
            created_at=at,
            created_by=who.actor,
            trigger=request.trigger,
            region=row.region,
            purpose=_purpose(who, self.plan),
            idempotency_key=row.key,
            trace_id=self.trace_id,
            deadline=None if seconds is None else start + timedelta(seconds=seconds),
            started_at=at if outcome.born else None,
            input=self.params,
            labels=self.plan.labels | request.labels,
            wake_at=wake_at,
            scheduled_for=request.run_at,
            version=self.version,
        )


class Intake:
    """Prepares enqueues for one tenant after another."""

    def __init__(
        self,
        *,
        workflows: WorkflowStore,
        plans: PlanStore,
        tenants: TenantStore,
        clock: Clock,
        entropy: Entropy,
        blobs: Blobs,
        judges: Judges,
        backlogs: Backlogs,
        max_input_bytes: int,
    ) -> None:
        self._backlogs = backlogs
        self._workflows = workflows
        self._plans = plans
        self._tenants = tenants
        self._clock = clock
        self._entropy = entropy
        self._blobs = blobs
        self._judges = judges
        self._max_input_bytes = max_input_bytes
        self._targets: OrderedDict[_Key, tuple[float, Target]] = OrderedDict()
        self._looks: dict[_Key, asyncio.Task[Target | None]] = {}
        self._generation = 0

    def forget(self) -> None:
        """Look everything up again: something was published."""
        self._targets.clear()
        self._looks.clear()
        self._generation += 1

    def digest(self, request: EnqueueRequest) -> bytes | None:
        """The digest of a request's body, when it carries a key."""
        if check_key(request.idempotency_key) is None:
            return None
        body = {
            "workflow_id": str(request.workflow_id) if request.workflow_id else None,
            "workflow_name": request.workflow_name,
            "version": request.version,
            "input": request.input,
            "priority": request.priority,
            "run_at": request.run_at.isoformat() if request.run_at else None,
            "timeout_ms": request.timeout_ms,
            "labels": request.labels,
            "region": request.region,
            "namespace": request.namespace,
        }
        try:
            return body_digest(body)
        except (TypeError, ValueError, RecursionError) as error:
            durable_input(request.input, most=self._max_input_bytes)
            raise not_durable_input(no_json("The request", error)) from error

    async def prepare(
        self,
        who: Principal,
        request: EnqueueRequest,
        digest: bytes | None,
        trace: dict[str, str],
    ) -> Intent:
        """The row of a request; raises what is wrong with it, field by field, or that too much is queued already."""
        durable_input(request.input, most=self._max_input_bytes)
        _check(request, self._clock.now())
        await self._backlogs.check(who.tenant_id)
        target = await self._target(who, request)
        if target.version_id is None:
            raise _no_version(request, target)
        plan = await self._plans.get(target.version_id)
        params = await self._judges.input(who.tenant_id, plan, request.input)
        text = durable_input(params, most=self._max_input_bytes)
        lane = _lane(request, target, plan, params)
        tenant = await self._tenants.get(who.tenant_id)
        parts = [str(who.tenant_id)]
        if tenant is not None and tenant.spread:
            # Those of one lane lie together: who counts them looks into one shard.
            own = f"{target.workflow_id}/{lane['key']}" if lane else request.idempotency_key
            parts.append(own or str(self._entropy.bits(64)))
        await self._backlogs.take(who.tenant_id)
        now = self._clock.now()
        execution_id = self._entropy.uuid7(int(now.timestamp() * 1000), slot_for(*parts))
        text = await self._stored(who, execution_id, params, text)
        row = _row(
            who,
            request,
            target,
            plan,
            id=execution_id,
            version_id=target.version_id,
            digest=digest,
            trace=trace,
            input=text,
            now=now,
            lane=lane,
        )
        return Intent(row, who, request, plan, params, target.version, trace_id_of(trace))

    async def _stored(self, who: Principal, id: UUID, params: Json, text: str) -> str:
        """What the row says: the input, or where it lies when it is too large for a row."""
        if not goes_out(params, len(text.encode())):
            return text
        raw = orjson.dumps(params, option=orjson.OPT_SORT_KEYS)
        ref = await self._blobs.put(who.tenant_id, id, raw, str(Digest.of(raw)))
        return _json(ref.as_json())

    async def _target(self, who: Principal, request: EnqueueRequest) -> Target:
        """The workflow and version that are meant; refuses what can't be run."""
        if (request.workflow_id is None) == (request.workflow_name is None):
            raise BadInput(
                "Name the workflow by its id or by its name, and not by both.",
                reason="WORKFLOW_REFERENCE",
                path=("workflowId",),
            )
        version = _version(request.version)
        key = (
            who.tenant_id,
            request.workflow_id,
            request.namespace,
            request.workflow_name,
            version,
        )
        now = self._clock.monotonic()
        known = self._targets.get(key)
        if known is not None and known[0] > now:
            return known[1]
        try:
            target = await self._looked_up(key)
        except Unavailable:
            # The catalog is away; executions of other databases go on with what was true last.
            if known is not None and known[0] > now - _TRUST_SECONDS:
                return known[1]
            raise
        if target is None:
            by_name = request.workflow_name is not None
            named = request.workflow_name if by_name else request.workflow_id
            raise NotFound(
                f"There is no workflow {named or repr('')} in the namespace {request.namespace!r}.",
                reason="WORKFLOW_NOT_FOUND",
                path=("workflowName" if by_name else "workflowId",),
            )
        _refuse_archived(target)
        return target

    async def _looked_up(self, key: _Key) -> Target | None:
        """What is there now; who asks while somebody is looking for the same waits for that look.

        Else all who are at it ask at once, each second in which what was remembered has gone.
        """
        look = self._looks.get(key)
        if look is None:
            look = asyncio.get_running_loop().create_task(self._look_up(key))
            self._looks[key] = look
            look.add_done_callback(partial(self._has_looked, key))
        # Who leaves takes nobody's look with him.
        return await asyncio.shield(look)

    async def _look_up(self, key: _Key) -> Target | None:
        tenant, workflow, namespace, name, version = key
        now, generation = self._clock.monotonic(), self._generation
        target = await self._workflows.target(
            tenant, workflow=workflow, namespace=namespace, name=name, version=version
        )
        # What was read before a version was published may be the old one: it is not remembered.
        if generation == self._generation and _is_taken(target):
            self._targets[key] = (now + _REMEMBER_SECONDS, target)
            if len(self._targets) > _MOST_REMEMBERED:
                self._targets.popitem(last=False)
        return target

    def _has_looked(self, key: _Key, look: asyncio.Task[Target | None]) -> None:
        if self._looks.get(key) is look:
            del self._looks[key]
        if not look.cancelled():
            look.exception()  # Told to all who still wait, and to nobody else.


def _check(request: EnqueueRequest, now: datetime) -> None:
    """Fields that need no look-up."""
    if request.priority is not None and not -_INT4 <= request.priority < _INT4:
        raise BadInput("A priority is a 32-bit integer.", reason="PRIORITY", path=("priority",))
    if request.timeout_ms is not None and not 0 < request.timeout_ms <= _FARTHEST / _MILLISECOND:
        raise BadInput(
            "A timeout is longer than nothing and at most ten years.",
            reason="TIMEOUT",
            path=("timeout",),
        )
    _check_time(request.run_at, now)
    check_labels(request.labels)
    check_region(request.region)


def _check_time(run_at: datetime | None, now: datetime) -> None:
    if run_at is None:
        return
    if run_at.tzinfo is None:
        raise BadInput(
            "A time needs an offset, e.g. 2026-01-01T00:00:00Z.", reason="RUN_AT", path=("runAt",)
        )
    if run_at > now + _FARTHEST:
        raise BadInput("An execution may wait ten years at most.", reason="RUN_AT", path=("runAt",))


def _version(text: str | None) -> str | None:
    """A version in its canonical spelling: 1 is 1.0.0."""
    if text is None:
        return None
    try:
        return str(SemVer.parse(text))
    except ValueError as error:
        raise BadInput(f"{error}.", reason="VERSION", path=("version",)) from error


def _is_taken(target: Target | None) -> TypeGuard[Target]:
    """Whether executions of it are taken as far as it can tell: what is refused is looked up each time."""
    return (
        target is not None
        and target.version_id is not None
        and target.status is not WorkflowStatus.ARCHIVED
        and target.state is not VersionState.ARCHIVED
    )


def _refuse_archived(target: Target) -> None:
    if target.status is WorkflowStatus.ARCHIVED:
        raise InvalidState(
            f"The workflow {target.name!r} is archived and takes no new executions.",
            reason="WORKFLOW_ARCHIVED",
        )
    if target.state is VersionState.ARCHIVED:
        raise InvalidState(
            f"Of the workflow {target.name!r}, version {target.version} is archived and takes no new "
            "executions: name another one.",
            reason="VERSION_ARCHIVED",
            path=("version",),
        )


def _no_version(request: EnqueueRequest, target: Target) -> NotFound | InvalidState:
    if request.version is not None:
        return NotFound(
            f"The workflow {target.name!r} has no version {request.version}.",
            reason="VERSION_NOT_FOUND",
            path=("version",),
        )
    if target.status is not WorkflowStatus.DRAFT:
        return InvalidState(
            f"All versions of the workflow {target.name!r} are deprecated or archived, so none is taken unless it is "
            "named: name one that is deprecated, or publish another one.",
            reason="NOT_PUBLISHED",
            path=("version",),
        )
    return InvalidState(
        f"The workflow {target.name!r} has no published version to run: publish its draft.",
        reason="NOT_PUBLISHED",
    )


def _lane(
    request: EnqueueRequest, target: Target, plan: Plan, params: Json
) -> dict[str, Json] | None:
    try:
        return lane_of(plan, params, namespace=target.namespace, trigger=str(request.trigger))
    except ExpressionError as problem:
        raise BadInput(
            f"The concurrency key of the workflow can't be rendered for this input: {problem.message}.",
            reason="CONCURRENCY_KEY",
            path=("input",),
        ) from problem


def _json(value: Json) -> str:
    return orjson.dumps(value).decode()


def _purpose(who: Principal, plan: Plan) -> str | None:
    """The caller's, else the workflow's."""
    return who.purpose or plan.policy.purpose


def _row(
    who: Principal,
    request: EnqueueRequest,
    target: Target,
    plan: Plan,
    *,
    id: UUID,
    version_id: UUID,
    digest: bytes | None,
    trace: dict[str, str],
    input: str,
    now: datetime,
    lane: dict[str, Json] | None,
) -> EnqueueRow:
    """As the enqueuer takes it: with its first event and what its worker has to know."""
    wake_at = request.run_at if request.run_at and request.run_at > now else None
    timeout = request.timeout_ms or (plan.timeout.milliseconds if plan.timeout else None)
    labels: dict[str, Json] = {**plan.labels, **request.labels}
    shared: dict[str, Json] = {
        "workflow": target.name,
        "version": target.version,
        "actor": actor_json(who.actor),
        "trigger": str(request.trigger),
        "purpose": _purpose(who, plan),
        "authority": plan.policy.authority,
        "license": plan.policy.license,
    }
    meta = shared | {
        "tenant": who.tenant,
        "key": request.idempotency_key,
        "labels": labels or None,
        "trace": dict(trace) or None,
        "timeout_ms": timeout,
        "run_at": request.run_at.isoformat() if request.run_at else None,
        "concurrency": lane,
    }
    event = shared | {
        "workflow_id": str(target.workflow_id),
        "version_id": str(version_id),
        "wake_at": wake_at.isoformat() if wake_at else None,
        "concurrency": lane,
    }
    return EnqueueRow(
        id,
        who.tenant_id,
        target.workflow_id,
        version_id,
        target.namespace,
        request.region or plan.policy.region,
        plan.priority if request.priority is None else request.priority,
        None if timeout is None else timeout / 1000,
        wake_at,
        input,
        _said(meta),
        request.idempotency_key,
        digest,
        _said(event),
        _json(labels) if labels else None,
    )


def _said(facts: dict[str, Json]) -> str:
    """Facts as JSON; what is not known is left out."""
    return _json({name: value for name, value in facts.items() if value is not None})

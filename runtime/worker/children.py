"""Children in a worker: which version a step starts, whether that takes the input, and who has to hear of it.

Nothing is written here: the row goes out with the event that tells of it (`mc_flush_3`), so an attempt that is lost
before that has left nothing behind, and one that is made again looks again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final, TypeVar
from uuid import UUID

import orjson

from runtime.definition.calling import fits
from runtime.definition.lane import lane_of
from runtime.engine.event import Child, ChildFound
from runtime.expression import ExpressionError
from runtime.model import errors
from runtime.model.checkpoint import ChildRow, OwnedExecution
from runtime.model.execution import TriggerKind
from runtime.model.ids import slot_of
from runtime.model.plan import MAX_DEPTH, Plan
from runtime.model.values import Json, SemVer
from runtime.model.workflow import VersionState
from runtime.queue.keys import class_of
from runtime.store.plan import PublishedVersion
from runtime.worker.attempt import Attempt
from runtime.worker.encode import clean, text_of
from runtime.worker.outputs import LOAD_PAUSE, Outputs
from runtime.worker.run import Run
from runtime.worker.tools import Tools
from runtime.worker.waiting import database_now

T = TypeVar("T")

_EXACT: Final = 2


class Children:
    """Finds children for steps of one incarnation."""

    def __init__(self, tools: Tools, outputs: Outputs) -> None:
        self._tools = tools
        self._outputs = outputs

    async def find(self, run: Run, attempt: Attempt, trace: Mapping[str, str]) -> ChildFound:
        """The child of an attempt; its row is the run's from now on. Raises StepFailed."""
        owned, step = run.owned, attempt.prepared.program.plan
        depth = depth_of(owned) + 1
        if depth > MAX_DEPTH:
            raise errors.StepFailed(
                f"This execution lies {MAX_DEPTH} children deep already; no deeper one is started. Look for "
                "workflows that start each other.",
                type="workflow.too_deep",
            )
        found = await self._version(owned, step.workflow or "")
        plan = await self._patiently(self._tools.plans.get, found.id)
        params = await self._params(owned.tenant_id, plan, attempt.rendered)
        elapsed = self._tools.clock.monotonic() - run.claimed_at
        now = database_now(owned, elapsed)
        child = self._tools.entropy.uuid7(int(now.timestamp() * 1000), slot_of(owned.id))
        limits = [one.milliseconds for one in (step.timeout, plan.timeout) if one is not None]
        run.found[attempt.step] = _row(
            owned,
            found,
            plan,
            id=child,
            input=await self._stored(owned, child, params, attempt),
            timeout_ms=min(limits, default=None),
            depth=depth,
            trace=trace,
            lane=_lane(plan, params, found.namespace),
        )
        started = Child(child, plan.name, str(found.version))
        return ChildFound(attempt.step, attempt.number, started)

    def told(self, family: Sequence[tuple[UUID, int]]) -> None:
        """They begin, or have a message: who owns them hears of it, or who may claim them, by their priority."""
        tools = self._tools
        tools.wakeup.publish_inbox(tools.shard, [one for one, _ in family])
        tools.queue.add(tools.shard, [(one, class_of(priority)) for one, priority in family])

    def ended(self, run: Run) -> None:
        """This execution has ended: its parent has a message."""
        parent = run.owned.meta.get("parent")
        if isinstance(parent, str):
            self.told([(UUID(parent), run.owned.priority)])

    async def _version(self, owned: OwnedExecution, written: str) -> PublishedVersion:
        name, _, wanted = written.partition("@")
        known = await self._patiently(
            self._tools.plans.versions, owned.tenant_id, owned.namespace, name
        )
        for one in known:
            if is_meant(one.version, one.state, wanted):
                return one
        if not known:
            words = f"there is no published workflow {name!r} that starts executions"
        elif wanted:
            words = f"no published version of {name!r} fits {wanted!r}"
        else:
            words = f"{name!r} has only previews and deprecated versions"
        raise errors.StepFailed(
            f"No child was started: {words}. Publish one, then retry the execution.",
            type="workflow.not_found",
        )

    @staticmethod
    async def _patiently(ask: Callable[..., Awaitable[T]], *arguments: Any) -> T:
        """What the catalog says, or a judge; without an answer nothing has failed yet."""
        while True:
            try:
                return await ask(*arguments)
            except (errors.Unavailable, errors.Exhausted):
                await asyncio.sleep(LOAD_PAUSE)

    async def _params(self, tenant_id: UUID, plan: Plan, input: Json) -> Json:
        """The input as the child sees it."""
        try:
            return await self._patiently(self._tools.judge, tenant_id, plan, input)
        except errors.Invalid as invalid:
            problems: list[Json] = [
                {"rule": one.rule, "message": one.message, "path": [str(part) for part in one.path]}
                for one in invalid.problems
            ]
            words = "; ".join(one.message for one in invalid.problems[:3])
            raise errors.StepFailed(
                f"The workflow {plan.name!r} does not take this input: {words}.",
                type="workflow.input",
                details={"problems": problems},
            ) from None

    async def _stored(self, owned: OwnedExecution, id: UUID, params: Json, attempt: Attempt) -> str:
        """What the row says: the input, or where it lies when it is too large for a row."""
        what = f"The input of step {attempt.prepared.program.plan.key!r}"
        kept = await self._outputs.keep(owned._replace(id=id), params, what)
        return kept.text


def is_meant(version: SemVer, state: VersionState, wanted: str) -> bool:
    """Whether a step that wants this range starts this version; a deprecated one only when it is named in full."""
    if state is VersionState.DEPRECATED:
        return wanted.count(".") == _EXACT and wanted[0].isdigit() and fits(version, wanted)
    return fits(version, wanted)


def depth_of(owned: OwnedExecution) -> int:
    """How many executions lie above this one."""
    found = owned.meta.get("depth")
    return found if isinstance(found, int) else 0


def _row(
    owned: OwnedExecution,
    found: PublishedVersion,
    plan: Plan,
    *,
    id: UUID,
    input: str,
    timeout_ms: int | None,
    depth: int,
    trace: Mapping[str, str],
    lane: dict[str, Json] | None,
) -> ChildRow:
    """As the enqueuer of people's executions makes one: who started the parent has started the child."""
    above = owned.meta
    labels: dict[str, Json] = {**plan.labels}
    shared: dict[str, Json] = {
        "workflow": plan.name,
        "version": str(found.version),
        "actor": above.get("actor"),
        "trigger": str(TriggerKind.PARENT),
        "purpose": above.get("purpose") or plan.policy.purpose,
        "authority": plan.policy.authority,
        "license": plan.policy.license,
        "parent": str(owned.id),
        "concurrency": lane,
    }
    meta: dict[str, Json] = shared | {
        "tenant": above.get("tenant"),
        "labels": labels or None,
        "trace": {**trace} or None,
        "timeout_ms": timeout_ms,
        "depth": depth,
    }
    event: dict[str, Json] = shared | {
        "workflow_id": str(found.workflow_id),
        "version_id": str(found.id),
    }
    return ChildRow(
        owned.id,
        id,
        owned.tenant_id,
        found.workflow_id,
        found.id,
        found.namespace,
        owned.region or plan.policy.region,
        plan.priority or owned.priority,
        None if timeout_ms is None else timeout_ms / 1000,
        input,
        _said(meta),
        _said(event),
        text_of(labels) if labels else None,
    )


def _lane(plan: Plan, params: Json, namespace: str) -> dict[str, Json] | None:
    try:
        return lane_of(plan, params, namespace=namespace, trigger=str(TriggerKind.PARENT))
    except ExpressionError as problem:
        words = f"The concurrency key of {plan.name!r} can't be rendered: {problem.message}."
        raise errors.StepFailed(clean(words), type="workflow.input") from problem


def _said(facts: Mapping[str, Json]) -> str:
    """Facts as JSON; what is not known is left out."""
    return orjson.dumps(
        {name: value for name, value in facts.items() if value is not None}
    ).decode()

"""Changes of executions: enqueue, cancel, pause, resume, signal, retry, and a word about what is in doubt."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from uuid import UUID

from resolvers.context import Context
from resolvers.ids import execution_uuid
from resolvers.words import reason_of, storable
from runtime.model.errors import MaestroError, NotFound
from runtime.model.execution import Enqueued, EnqueueRequest, Execution, Resolution
from runtime.model.values import Json


async def enqueue_execution(context: Context, request: EnqueueRequest) -> Enqueued:
    """Start one execution; durable when this returns."""
    return await context.executions.enqueue(context.who, request)


async def enqueue_executions(
    context: Context, requests: Sequence[EnqueueRequest | MaestroError]
) -> list[Enqueued | MaestroError]:
    """Start several in one commit; what was refused before it came here keeps its place."""
    sound = [request for request in requests if isinstance(request, EnqueueRequest)]
    outcomes = iter(await context.executions.enqueue_many(context.who, sound))
    return [
        next(outcomes) if isinstance(request, EnqueueRequest) else request for request in requests
    ]


async def cancel_execution(
    context: Context, *, id: str, reason: str | None, idempotency_key: str | None, compensate: bool
) -> Execution:
    """Ask an execution to stop; it ends as soon as its owner has let go of its steps, and undone them if asked to."""
    return await context.executions.messages.cancel(
        context.who,
        _key(id),
        reason=reason_of(reason),
        key=idempotency_key,
        compensate=compensate,
    )


async def pause_execution(
    context: Context, *, id: str, reason: str | None, idempotency_key: str | None
) -> Execution:
    """Ask an execution to start nothing more; it is paused when its running steps have ended."""
    return await context.executions.messages.pause(
        context.who, _key(id), reason=reason_of(reason), key=idempotency_key
    )


async def resume_execution(
    context: Context, *, id: str, reason: str | None, idempotency_key: str | None
) -> Execution:
    """Ask a paused execution to go on."""
    return await context.executions.messages.resume(
        context.who, _key(id), reason=reason_of(reason), key=idempotency_key
    )


async def signal_execution(
    context: Context, *, id: str, name: str, payload: Json, idempotency_key: str | None
) -> Execution:
    """Send a signal to an execution; the step that waits for it ends with the payload."""
    return await context.executions.messages.signal(
        context.who, _key(id), storable("name", name), payload, key=idempotency_key
    )


async def retry_execution(
    context: Context,
    *,
    id: str,
    reason: str | None,
    from_failed_step: bool,
    idempotency_key: str | None,
) -> Execution:
    """Run an ended execution again, as its next generation."""
    return await context.executions.retry(
        context.who,
        _key(id),
        reason=reason_of(reason),
        from_failed_step=from_failed_step,
        key=idempotency_key,
    )


async def rewind_execution(
    context: Context,
    *,
    id: str,
    step_key: str,
    input: Json,
    keep: Sequence[str],
    reason: str | None,
    idempotency_key: str | None,
) -> Execution:
    """Run an ended execution again from a step, as its next generation; with another input, unless that is None."""
    return await context.executions.rewind(
        context.who,
        _key(id),
        step_key,
        input=input,
        keep=keep,
        reason=reason_of(reason),
        key=idempotency_key,
    )


async def resolve_in_doubt(context: Context, *, id: str, said: Resolution) -> Execution:
    """Settle a step of which nobody knows whether its call was made."""
    said = replace(said, reason=reason_of(said.reason))
    return await context.doubts.resolve(context.who, _key(id), said)


def _key(id: str) -> UUID:
    key = execution_uuid(id)
    if key is None:
        raise NotFound(
            f"There is no execution {id[:64]!r}.",
            reason="EXECUTION_NOT_FOUND",
            path=("executionId",),
        )
    return key

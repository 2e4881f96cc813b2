"""Pure steps, run once more to see whether they give what they gave.

Only where the connector itself says that it is pure, the step does not say otherwise, the input has no secret, and the
code is the recorded one, by its digest: other code may rightly give something else. The calls are made in a thread with
a loop of its own, so one that computes long holds up nobody else of this process.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

import orjson

from runtime.abi.connector import Connector, InlineConnector, StepContext
from runtime.clock import Clock
from runtime.connectors.cancel import CancelSignal
from runtime.connectors.code import code_digest
from runtime.connectors.invoke import answer_inline, invoke
from runtime.connectors.registry import Registry
from runtime.connectors.rehearsal import Silence
from runtime.engine.ledger import digest_of
from runtime.engine.program import Program
from runtime.engine.proof import Redone
from runtime.engine.retry import idempotency_key
from runtime.model.checkpoint import OwnedExecution, StepRecord
from runtime.model.errors import StepFailed
from runtime.model.execution_replay import DivergenceKind, ReplayDivergence
from runtime.model.plan import Effect
from runtime.model.settled import settled
from runtime.model.values import Json

MOST_CALLS: Final = 1_000
# A waiting step computes nothing.
_SLEEP: Final = "core.sleep"


class Again(NamedTuple):
    """How many were run again, how many could not be, and the first that gave something else."""

    executed: int = 0
    left_out: int = 0
    divergence: ReplayDivergence | None = None


def run_again(
    program: Program,
    owned: OwnedExecution,
    calls: Sequence[Redone],
    rows: Iterable[StepRecord],
    registry: Registry,
    *,
    seconds: float,
    clock: Clock,
) -> Again:
    """Make these calls again, for so many seconds at most; what is not reached is left out. Blocks."""
    known = {(row.generation, row.step, row.item, row.attempt): row.result for row in rows}
    ends = clock.monotonic() + seconds
    executed = 0
    for call in calls:
        key = (call.generation, call.step, call.item, call.attempt)
        row = known.get(key)
        facts = row if isinstance(row, dict) else {}
        connector = _pure(program, call, facts, registry)
        left = ends - clock.monotonic()
        if connector is None or call.config is None or left <= 0 or executed >= MOST_CALLS:
            continue
        executed += 1
        found = asyncio.run(_digest(connector, program, owned, call, left))
        if found is None:
            executed -= 1
        elif found != facts.get("out"):
            step = program.steps[call.step].plan.key
            item = call.item if call.item >= 0 else None
            words = DivergenceKind.EXECUTED, str(facts.get("out")), found
            divergence = ReplayDivergence(*words, call.sequence, step, item)
            return Again(executed, len(calls) - executed, divergence)
    return Again(executed, len(calls) - executed)


def _pure(
    program: Program, call: Redone, facts: dict[str, Json], registry: Registry
) -> Connector | None:
    """The connector of an attempt, if its call may be made again and must give the same."""
    plan = program.steps[call.step].plan
    if plan.uses is None or plan.effect not in {None, Effect.PURE}:
        return None
    connector = registry.resolve(plan.uses)
    if connector is None or connector.effect_class is not Effect.PURE or connector.name == _SLEEP:
        return None
    is_same = facts.get("code") == f"{connector.name}@{connector.version}"
    digest = code_digest(connector)
    is_same = is_same and digest is not None and facts.get("code_digest") == str(digest)
    return connector if is_same else None


async def _digest(
    connector: Connector, program: Program, owned: OwnedExecution, call: Redone, seconds: float
) -> str | None:
    """The digest of what the call gives now, or the words of its failure; None when there was no time for it."""
    context = _context(program, owned, call)
    given = orjson.loads(call.config or b"null")
    try:
        if isinstance(connector, InlineConnector) and connector.inline:
            output = answer_inline(connector, context, given)
        else:
            async with asyncio.timeout(seconds):
                output = await invoke(connector, context, given)
        return digest_of(settled(output))
    except StepFailed as failed:
        return f"{failed.type}: {failed.message}"
    except TimeoutError:
        return None


def _context(program: Program, owned: OwnedExecution, call: Redone) -> StepContext:
    silence = Silence()
    plan = program.plan
    return StepContext(
        execution_id=owned.id,
        tenant_id=owned.tenant_id,
        tenant=str(owned.meta.get("tenant", "")),
        namespace=owned.namespace,
        workflow=plan.name,
        step_key=program.steps[call.step].plan.key,
        step=call.step,
        item=call.item,
        generation=call.generation,
        attempt=call.attempt,
        idempotency_key=idempotency_key(owned.id, call.step, call.item, call.generation),
        timeout_seconds=None,
        log=silence,
        cancel=CancelSignal(),
        heartbeat=silence,
    )

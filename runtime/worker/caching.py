"""Step cache of a worker: looked up before a call is made, written after its outcome is committed (ADR-086).

A look-up that fails or takes long is a miss: nothing waits for the cache but the one call. Two that look at the same
time both call.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Final

import orjson

from runtime.clock import Clock
from runtime.engine.command import RunStep
from runtime.engine.event import Event, StepSucceeded
from runtime.model.blob import INLINE_BYTES, BlobRef
from runtime.store.step_cache import CachedOutput, CacheEntry, StepCache
from runtime.telemetry.log import get_logger
from runtime.telemetry.metrics import Metrics
from runtime.worker.attempt import Attempt
from runtime.worker.encode import Encoded
from runtime.worker.run import Run
from runtime.worker.tasks import Tasks

LOOK_SECONDS: Final = 2.0

_log = get_logger("worker")


class Caching:
    """What the executor asks of the step cache."""

    def __init__(
        self,
        cache: StepCache,
        *,
        begin: Callable[[Run, Sequence[RunStep]], None],
        tell: Callable[[Run, Event], None],
        metrics: Metrics,
        clock: Clock,
    ) -> None:
        self._cache = cache
        self._begin = begin
        self._tell = tell
        self._metrics = metrics
        self._clock = clock
        self._tasks = Tasks("cache")

    def asks(self, run: Run, action: RunStep, attempt: Attempt) -> bool:
        """Whether this attempt is looked up first: then it begins anew, or is over, when the answer is there."""
        if attempt.cache_key is None or run.guest is not None:
            return False
        if attempt.place in run.missed:
            run.missed.discard(attempt.place)
            return False
        self._tasks.start(self._look(run, action, attempt, attempt.cache_key))
        return True

    async def _look(self, run: Run, action: RunStep, attempt: Attempt, key: bytes) -> None:
        found: CachedOutput | None = None
        word = "error"
        try:
            async with asyncio.timeout(LOOK_SECONDS):
                found = await self._cache.find(run.owned.tenant_id, key)
            word = "miss" if found is None else "hit"
        except Exception as error:  # noqa: BLE001 - whatever it was, the call can be made
            _log.warning("cache_not_read", execution=str(run.owned.id), reason=repr(error))
        self._metrics.step_cache.labels(word).inc()
        if run.is_over:
            return
        if found is None:
            # As if it had only now become ready: meanwhile much may have happened to its execution.
            run.missed.add(attempt.place)
            self._begin(run, [action])
            return
        raw = orjson.dumps(found.value, option=orjson.OPT_SORT_KEYS)
        encoded = Encoded(found.value, raw, found.digest)
        # Nothing was called: no breaker hears of it, and nothing is kept once more.
        attempt.is_over = True
        self._tell(run, attempt.reused(encoded, found.source, self._clock.monotonic()))

    def note(self, run: Run, attempt: Attempt, event: Event) -> None:
        """An attempt has ended: what it gave is kept once its row is committed, if it is small."""
        key, ttl = attempt.cache_key, attempt.prepared.program.plan.cache
        if key is None or ttl is None or not isinstance(event, StepSucceeded):
            return
        text = event.facts.output
        if run.guest is not None or isinstance(event.output, BlobRef) or len(text) > INLINE_BYTES:
            return
        step = attempt.prepared.program.plan.key
        # What the row says: the digest of the output comes first in what rides along.
        digest = str(orjson.loads("{" + event.facts.tail[1:] + "}")["out"])
        owned = run.owned
        run.to_keep.append(
            CacheEntry(
                owned.tenant_id,
                key,
                ttl.ttl.milliseconds,
                owned.id,
                step,
                attempt.item,
                digest,
                text,
            )
        )

    def keep(self, entries: Sequence[CacheEntry]) -> None:
        """Their rows are committed."""
        self._tasks.start(self._keep(entries))

    async def _keep(self, entries: Sequence[CacheEntry]) -> None:
        try:
            await self._cache.keep(entries)
        except Exception as error:  # noqa: BLE001 - the next one calls again, that is all
            _log.warning("cache_not_written", entries=len(entries), reason=repr(error))

    def drop(self) -> None:
        """Nobody waits for an answer any more."""
        self._tasks.cancel()

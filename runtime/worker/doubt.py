"""Doubts: asks connectors whether a call that is in doubt was made, and reads what people decided about it.

A look-up is a read: it may be repeated, and happens again after every takeover. A few fail before the doubt
is left to the step's rule, and never does one hold up the end of the worker.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from typing import Any, Final

from runtime.abi.connector import StepContext, for_nothing
from runtime.clock import Clock
from runtime.connectors.cancel import CancelSignal
from runtime.connectors.invoke import look_up
from runtime.connectors.threads import SERVICE, StepThreads
from runtime.engine.command import LookUp, RunStep
from runtime.engine.event import DoubtJudged, Facts
from runtime.engine.fan import place_of
from runtime.model import errors
from runtime.model.blob import BlobRef, NotLoaded, stored
from runtime.model.execution import Verdict
from runtime.model.values import Json
from runtime.telemetry.log import get_logger
from runtime.telemetry.metrics import Metrics
from runtime.worker.attempt import Attempt
from runtime.worker.encode import Encoded
from runtime.worker.outputs import Held, Kept, Outputs
from runtime.worker.run import Run

TRIES: Final = 3
AGAIN_SECONDS: Final = (0.5, 2.0)
MOST_AT_ONCE: Final = 32
RETURN_SECONDS: Final = 5.0  # How long a look-up waits for the function of its call to return.
STOPPING_SECONDS: Final = 5.0  # How long an execution that stops waits for the input of a look-up.

_log = get_logger("worker")


class Doubts:
    """Look-ups of one incarnation; every one ends in one `DoubtJudged`, unless all is dropped."""

    def __init__(
        self,
        *,
        begin: Callable[[Run, RunStep, CancelSignal | None, Held | None], Attempt],
        context: Callable[[Run, Attempt], Any],
        tell: Callable[[Run, DoubtJudged], None],
        metrics: Metrics,
        clock: Clock,
        outputs: Outputs,
        overlap_seconds: float,
    ) -> None:
        """`overlap_seconds`: so long after a takeover the call itself may still be under way where it was begun."""
        self._overlap = overlap_seconds
        self._begin = begin
        self._context = context
        self._tell = tell
        self._metrics = metrics
        self._clock = clock
        self._outputs = outputs
        self._places = asyncio.Semaphore(MOST_AT_ONCE)
        self._tasks: set[asyncio.Task[None]] = set()
        # Until when the inputs of look-ups are waited for, by the identity of their run.
        self._loads: dict[int, set[asyncio.Timeout]] = {}

    def look_up(self, run: Run, command: LookUp) -> None:
        """Ask the connector; the answer is told to the run."""
        task = asyncio.get_running_loop().create_task(self._ask(run, command), name="look-up")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def decided(self, run: Run, data: Mapping[str, Json]) -> None:
        """A person has decided. What is not about the call that is in doubt now changes nothing."""
        step, attempt, item = data.get("step"), data.get("attempt"), data.get("item", -1)
        if (
            not isinstance(step, int)
            or not isinstance(attempt, int)
            or not isinstance(item, int)
            or data.get("generation") != run.owned.generation
            or place_of(step, item) not in run.state.doubts
        ):
            return
        verdict, reason = Verdict(str(data.get("decision"))), data.get("reason")
        command = LookUp(step, attempt, item)
        actor = data.get("actor") or {}
        words = reason if isinstance(reason, str) else None
        judged = DoubtJudged(step, attempt, verdict, actor=actor, reason=words, item=item)
        if verdict is Verdict.MADE:
            try:
                judged = self._made(run, command, self._given(data.get("output")), judged)
            except errors.StepFailed as failed:
                self._refused(run, failed)
                return
        self._judge(run, judged)

    def drop(self) -> None:
        """Nobody is interested any more."""
        for task in tuple(self._tasks):
            task.cancel()

    def hurry(self, run: Run, seconds: float) -> None:
        """The run stops, or is gone: what its look-ups still have to load is waited for no longer than this."""
        waiting = self._loads.get(id(run))
        if waiting is None:
            return  # As for nearly every run that ends.
        when = asyncio.get_running_loop().time() + seconds
        for limit in waiting:
            before = limit.when()
            if before is None or before > when:
                limit.reschedule(when)

    async def _ask(self, run: Run, command: LookUp) -> None:
        judged = DoubtJudged(command.step, command.attempt, Verdict.UNKNOWN, item=command.item)
        held = self._outputs.held()
        try:
            await self._until_over(run)
            attempt = await self._begun(run, command, held)
            # Only now: a look-up that waits for its input must not keep others from being made.
            async with self._places:
                judged = await self._tried(run, command, judged, attempt)
        except (errors.StepFailed, errors.DataDamaged) as failed:
            self._failed(run, command, failed.message)
        except TimeoutError:
            self._failed(run, command, "its input was not to be had before the execution stopped")
        except Exception as error:  # noqa: BLE001 - the doubt must be settled, whatever broke
            self._failed(run, command, type(error).__name__)
        finally:
            held.release()
        if not run.is_over:
            self._judge(run, judged)

    async def _until_over(self, run: Run) -> None:
        """Until whoever lost this execution has given up the call: what is found before may not be the last word."""
        if run.owned.takeovers:
            since = self._clock.monotonic() - run.claimed_at
            await asyncio.sleep(max(0.0, self._overlap - since))

    async def _begun(self, run: Run, command: LookUp, held: Held) -> Attempt:
        """The attempt as it was, with its input; raises StepFailed, DataDamaged, and TimeoutError after `hurry`."""
        loads = self._loads.setdefault(id(run), set())
        async with asyncio.timeout(None) as limit:
            loads.add(limit)
            if not run.state.goes_on(command.step):
                self.hurry(run, STOPPING_SECONDS)
            try:
                while True:
                    try:
                        return self._begin(run, RunStep(*command), None, held)
                    except NotLoaded as missing:
                        await held.add(self._outputs, run.owned, missing.ref)
            finally:
                loads.discard(limit)
                if not loads:
                    self._loads.pop(id(run), None)

    async def _tried(
        self, run: Run, command: LookUp, unknown: DoubtJudged, attempt: Attempt
    ) -> DoubtJudged:
        """What the connector says, asked a few times if need be."""
        for number in range(TRIES):
            if run.is_over:
                break
            try:
                return await self._answer(run, command, unknown, attempt)
            except errors.StepFailed as failed:
                self._failed(run, command, failed.message)
            if number + 1 < TRIES:
                await asyncio.sleep(AGAIN_SECONDS[number])
        return unknown

    @staticmethod
    def _failed(run: Run, command: LookUp, why: str) -> None:
        where = {"execution": str(run.owned.id), "step": run.state.key(command.step)}
        _log.warning("look_up_failed", error=why, **where)

    async def _answer(
        self, run: Run, command: LookUp, unknown: DoubtJudged, attempt: Attempt
    ) -> DoubtJudged:
        """One look-up; raises StepFailed."""
        step, number, item = command
        context = replace(self._context(run, attempt), charge=for_nothing)
        is_over = await self._has_returned(context)
        verdict, output = await look_up(attempt.prepared.connector, context, attempt.rendered)
        if verdict is Verdict.NOT_MADE and not is_over:
            # What was told to stop runs on in its thread, and may make the call yet.
            self._failed(run, command, "its function has not returned yet")
            return unknown
        if verdict is not Verdict.MADE:
            return DoubtJudged(step, number, verdict, item=item)
        try:
            kept = await self._outputs.keep(run.owned, output, attempt.subject)
        except errors.StepFailed as failed:
            if failed.kind is errors.StepErrorKind.TRANSIENT:
                raise
            # It was made, so nobody may make it again; what it gave can't be kept.
            self._refused(run, failed)
            return DoubtJudged(step, number, Verdict.FAIL, item=item)
        return self._made(run, command, kept, unknown, attempt)

    @staticmethod
    async def _has_returned(context: StepContext) -> bool:
        """Whether no function of the call in doubt runs in this process any more; waits a while for its return."""
        threads = context.services.get(SERVICE)
        if not isinstance(threads, StepThreads):
            return True
        return await threads.has_returned(context.idempotency_key, RETURN_SECONDS)

    def _given(self, output: Json) -> Kept:
        """What a person said that the call gave: where it is large, the service has stored it."""
        value = stored(output)
        if isinstance(value, BlobRef):
            return Kept(Encoded(None, b"", value.digest), value)
        return Kept(self._outputs.encode(value, "The output of a call in doubt"))

    def _made(
        self,
        run: Run,
        command: LookUp,
        kept: Kept,
        judged: DoubtJudged,
        attempt: Attempt | None = None,
    ) -> DoubtJudged:
        """The call was made: its output becomes the step's, as if the attempt had returned it."""
        step, number, item = command
        if attempt is None:
            with suppress(errors.StepFailed, NotLoaded):
                attempt = self._begin(run, RunStep(*command), None, None)
        value = kept.encoded.value if kept.ref is None else kept.ref
        if attempt is None:
            tail = f',"out":"{kept.encoded.digest}"{run.prepared.steps[step].tail}'
            facts = Facts(output=kept.text, tail=tail)
        else:
            facts = attempt.succeeded(kept.encoded, self._clock.monotonic(), kept.ref).facts
        return DoubtJudged(
            step, number, Verdict.MADE, value, facts, judged.actor, judged.reason, item
        )

    @staticmethod
    def _refused(run: Run, failed: errors.StepFailed) -> None:
        _log.warning("output_refused", execution=str(run.owned.id), error=failed.message)

    def _judge(self, run: Run, judged: DoubtJudged) -> None:
        self._metrics.doubts.labels(judged.verdict.value, judged.by).inc()
        self._tell(run, judged)

"""Large: what the executor of one incarnation has to wait for because a value is too large for a row.

Values on their way in hold no place among the calls, and nobody waits for them when the incarnation ends.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any

from runtime.engine.command import RunStep
from runtime.engine.event import BlobLoaded, Event, Facts, TimerDue
from runtime.engine.scope import nothing_loaded
from runtime.model import errors
from runtime.model.blob import BlobRef, NotLoaded
from runtime.model.values import Json
from runtime.worker.attempt import not_made
from runtime.worker.encode import Encoded, error_of
from runtime.worker.outputs import Held, Outputs
from runtime.worker.run import OUTPUT, Run
from runtime.worker.tasks import Tasks
from runtime.worker.waiting import due_with, subject_of, timer_due, with_output


class Large:
    """Loads what is missing, then starts the step again or tells the core.

    `start` tries to start a step and gives the value that is still missing, or None.
    """

    def __init__(
        self,
        outputs: Outputs,
        *,
        start: Callable[[Run, RunStep, Held], BlobRef | None],
        tell: Callable[[Run, Event], None],
    ) -> None:
        self._outputs = outputs
        self._start = start
        self._tell = tell
        self._tasks = Tasks("load")
        # What is on its way, by the identity of its run, with the step that waits for it.
        self._turns: dict[tuple[int, int], asyncio.Lock] = {}
        self._loads: dict[int, dict[asyncio.Task[None], RunStep | None]] = {}

    def for_step(self, run: Run, action: RunStep, ref: BlobRef) -> None:
        """The input of a step needs this value."""
        self._load(run, action, self._for_step(run, action, ref))

    def for_core(self, run: Run, ref: BlobRef) -> None:
        """A condition, or the outputs of the workflow, need this value."""
        self._load(run, None, self._for_core(run, ref))

    def recall(self, run: Run) -> list[RunStep]:
        """Load nothing more for the steps of a run; those that waited for it. What the core waits for it still gets."""
        found = self._loads.get(id(run), {})
        steps = {task: action for task, action in found.items() if action is not None}
        self._forget_turns(run)
        for task in steps:
            task.cancel()
            del found[task]
        return list(steps.values())

    def call_off(self, run: Run) -> None:
        """Load nothing more for a run that ends or is gone."""
        self._forget_turns(run)
        for task in self._loads.pop(id(run), {}):
            task.cancel()

    def wait_over(self, run: Run, due: TimerDue) -> None:
        """The time of a wait step has come: tell the run, with the default that it then has."""
        event: TimerDue | Encoded | BlobRef
        try:
            event = timer_due(run, due, self._outputs, nothing_loaded)
        except NotLoaded as missing:
            event = missing.ref
        if isinstance(event, TimerDue):
            self._tell(run, event)
            return
        run.under_way += 1
        self._tasks.start(self._wait_over(run, due, event))

    async def end(self, run: Run, output: Json, touched: Callable[[Run], None]) -> None:
        """Make the output of a whole execution durable, then record the end."""
        try:
            text = (await self._outputs.keep(run.owned, output, OUTPUT)).text
        except errors.StepFailed as failed:
            end = partial(run.fail, failed)
        else:
            end = partial(run.complete, text)
        if not run.is_over:
            end()
            touched(run)

    def drop(self) -> None:
        """Nobody waits for them any more."""
        self._tasks.cancel()

    def _forget_turns(self, run: Run) -> None:
        if self._turns:
            self._turns = {key: turn for key, turn in self._turns.items() if key[0] != id(run)}

    def _load(self, run: Run, action: RunStep | None, work: Coroutine[Any, Any, None]) -> None:
        key = id(run)
        task = self._tasks.start(work)
        self._loads.setdefault(key, {})[task] = action

        def ended(task: asyncio.Task[None]) -> None:
            mine = self._loads.get(key, {})
            mine.pop(task, None)
            if not mine:
                self._loads.pop(key, None)

        task.add_done_callback(ended)

    async def _for_step(self, run: Run, action: RunStep, ref: BlobRef) -> None:
        held = self._outputs.held()
        missing: BlobRef | None = ref
        turn: asyncio.Lock | None = None
        if action.item >= 0:
            # The first one of a map loads its list for all of them.
            turn = self._turns.setdefault((id(run), action.step), asyncio.Lock())
            await turn.acquire()
        try:
            if turn is not None:
                missing = self._start(run, action, held)
            while missing is not None and not run.is_over:
                await held.add(self._outputs, run.owned, missing)
                missing = self._start(run, action, held)
        except errors.DataDamaged as lost:
            error = error_of(errors.StepFailed(lost.message, type="blob.damaged"))
            facts = Facts(tail=run.prepared.steps[action.step].tail)
            self._tell(run, not_made(action, error, facts))
        finally:
            held.release()
            if turn is not None:
                turn.release()

    async def _for_core(self, run: Run, ref: BlobRef) -> None:
        held = self._outputs.held()
        try:
            await held.add(self._outputs, run.owned, ref)
            self._tell(run, BlobLoaded(ref, held.resolve(ref)))
        except errors.DataDamaged as lost:
            self._tell(run, BlobLoaded(ref, problem=lost.message))
        finally:
            held.release()

    async def _wait_over(self, run: Run, due: TimerDue, event: BlobRef | Encoded) -> None:
        """Load what a default is made of, and store it when it is large itself."""
        held = self._outputs.held()
        try:
            while isinstance(event, BlobRef):
                await held.add(self._outputs, run.owned, event)
                try:
                    found = timer_due(run, due, self._outputs, held.resolve)
                except NotLoaded as missing:
                    event = missing.ref
                    continue
                if isinstance(found, TimerDue):
                    self._tell(run, found)
                    return
                event = found
            kept = await self._outputs.keep(run.owned, event.value, subject_of(run, due))
            self._tell(run, with_output(due, kept))
        except errors.DataDamaged as lost:
            failed = errors.StepFailed(lost.message, type="blob.damaged")
            self._tell(run, due_with(due, failed))
        except errors.StepFailed as failed:
            self._tell(run, due_with(due, failed))
        finally:
            run.under_way -= 1
            held.release()

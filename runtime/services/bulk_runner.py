"""BulkRunner: does what bulk operations say, part by part, under a lease; a lost process's are gone on with by another.

Each execution is acted on under an idempotency key of the operation, and the verdicts of a part are committed with its
place. A runner that dies in between has its part done again by the next one: to an execution that had its turn the key
says so, and nothing happens twice.
"""

from __future__ import annotations

import asyncio
from typing import Any, Final
from uuid import UUID

from runtime.entropy import Entropy
from runtime.model.bulk import BulkAction, BulkOutcome, BulkState
from runtime.model.errors import MaestroError, Unavailable
from runtime.model.identity import Principal
from runtime.model.values import SemVer
from runtime.services.access import READ_EXECUTIONS, READ_WORKFLOWS, WRITE_EXECUTIONS
from runtime.services.execution import ExecutionService
from runtime.services.execution_migration import ExecutionMigrationService
from runtime.store.bulk import LEASE_SECONDS, BulkStore, Part, Verdict
from runtime.telemetry.log import get_logger
from runtime.telemetry.metrics import Metrics

# A part is a second's work or so: its end is where progress shows and where a stop is heard.
PART: Final = 200
_AT_ONCE: Final = 8
_LONGEST_MESSAGE: Final = 1_000

_log = get_logger("bulk")


class BulkRunner:
    """Those that were started in this process, and, as a duty of the scheduler, those that nobody works on any more."""

    name = "bulk_operations"
    every_seconds = 10.0

    def __init__(
        self,
        store: BulkStore,
        executions: ExecutionService,
        migrations: ExecutionMigrationService,
        *,
        entropy: Entropy,
        metrics: Metrics,
    ) -> None:
        self._store = store
        self._executions = executions
        self._migrations = migrations
        self._metrics = metrics
        self._tasks: set[asyncio.Task[None]] = set()
        # All operations of this process together leave most connections to everybody else.
        self._places = asyncio.Semaphore(_AT_ONCE)
        self.id = UUID(int=entropy.bits(128))

    def begin(self, id: UUID) -> None:
        """Work on one that this runner holds, beside everything else."""
        task = asyncio.get_running_loop().create_task(self._serve(id), name=f"bulk {id}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def run(self) -> int:
        """Go on with what nobody works on, and delete what has expired; how many there were of both.

        Several at once, of several tenants if there are: a large one holds up no other, and what is lost meanwhile is
        found.
        """
        count = 0
        tasks: set[asyncio.Task[None]] = set()
        try:
            while True:
                while (
                    len(tasks) < _AT_ONCE and (lost := await self._store.claim(self.id)) is not None
                ):
                    tasks.add(asyncio.create_task(self._serve(lost), name=f"bulk {lost}"))
                if not tasks:
                    return count + await self._store.sweep()
                ended, tasks = await asyncio.wait(
                    tasks, timeout=self.every_seconds, return_when=asyncio.FIRST_COMPLETED
                )
                count += len(ended)
        finally:
            await _broken_off(tasks)

    async def close(self) -> None:
        """Break off; what was begun is gone on with by another process, or by this one when it is back."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, id: UUID) -> None:
        try:
            await self._work(id)
        except Unavailable as error:
            # Its lease runs out; whoever finds it then goes on where it is.
            _log.warning("bulk_operation_waits", operation=str(id), error=str(error))
        except Exception as error:  # noqa: BLE001 - whatever one meets, it waits like that, and the others go on
            _log.exception("bulk_operation_failed", operation=str(id), error=str(error))
        except BaseException:
            await asyncio.shield(self._store.leave(id, self.id))
            raise

    async def _work(self, id: UUID) -> None:
        while True:
            part = await self._store.part(id, self.id, PART)
            if part is None:
                return
            if part.is_stopped or not part.ids:
                state = BulkState.STOPPED if part.is_stopped and part.ids else BulkState.COMPLETED
                await self._store.finish(id, self.id, state)
                _log.info("bulk_operation_ended", operation=str(id), state=state.name.lower())
                return
            verdicts = await self._acts(part)
            if not await self._store.record(part, self.id, verdicts):
                return
            for verdict in verdicts:
                self._metrics.bulk_results.labels(verdict.outcome.name.lower()).inc()

    async def _acts(self, part: Part) -> list[Verdict]:
        """Act on all of a part, its lease renewed meanwhile; when one can't be acted on now, none goes on."""
        tasks = [asyncio.create_task(self._act(part, one)) for one in part.ids]
        pending = set(tasks)
        try:
            while pending:
                ended, pending = await asyncio.wait(
                    pending, timeout=LEASE_SECONDS / 3, return_when=asyncio.FIRST_EXCEPTION
                )
                for task in ended:
                    task.result()
                if pending:
                    await self._store.renew(part.operation_id, self.id)
        finally:
            await _broken_off(pending)
        return [task.result() for task in tasks]

    async def _act(self, part: Part, execution: UUID) -> Verdict:
        try:
            async with self._places:
                await self._do(part, execution)
        except MaestroError as refusal:
            if refusal.retryable:
                raise Unavailable(refusal.message, reason=refusal.reason) from refusal
            code = refusal.reason or refusal.code
            return Verdict(execution, BulkOutcome.REFUSED, code, str(refusal)[:_LONGEST_MESSAGE])
        except Exception as error:  # noqa: BLE001 - whatever one meets, the others have their turn
            _log.exception("bulk_action_failed", execution=str(execution), error=str(error))
            return Verdict(
                execution, BulkOutcome.REFUSED, "INTERNAL", "Something went wrong inside."
            )
        return Verdict(execution, BulkOutcome.DONE)

    async def _do(self, part: Part, execution: UUID) -> None:
        who, deed, reason = _caller(part), part.deed, part.reason
        key = f"bulk {part.operation_id} {execution}"
        messages = self._executions.messages
        match deed.action:
            case BulkAction.CANCEL:
                await messages.cancel(
                    who, execution, reason=reason, key=key, compensate=deed.compensate
                )
            case BulkAction.PAUSE:
                await messages.pause(who, execution, reason=reason, key=key)
            case BulkAction.RESUME:
                await messages.resume(who, execution, reason=reason, key=key)
            case BulkAction.RETRY:
                await self._executions.retry(
                    who,
                    execution,
                    reason=reason,
                    from_failed_step=deed.from_failed_step,
                    key=key,
                )
            case BulkAction.MIGRATE:
                to = SemVer.parse(deed.to_version or "")
                await self._migrations.migrate(who, execution, to, reason=reason, key=key)
            case BulkAction.SIGNAL:
                await messages.signal(who, execution, deed.signal or "", deed.payload, key=key)


async def _broken_off(tasks: set[asyncio.Task[Any]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def _caller(part: Part) -> Principal:
    """Whoever started it, with what that takes: his right to it was looked at then."""
    return Principal(
        tenant_id=part.tenant_id,
        tenant="",
        subject=part.actor.subject,
        scopes=frozenset({READ_EXECUTIONS, WRITE_EXECUTIONS, READ_WORKFLOWS}),
        kind=part.actor.kind,
    )

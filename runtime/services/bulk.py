"""BulkService: see what a deed would do to every execution of a filter, then have it done, watch it, stop it.

The selection is frozen by the preview: starting it acts on those executions and no others, whatever has matched the
filter since. Who may not do the deed to one of them may not do it to many.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime
from enum import Enum
from typing import Any, Final
from uuid import UUID

from runtime.clock import Clock
from runtime.entropy import Entropy
from runtime.model.bulk import (
    BulkAction,
    BulkDeed,
    BulkOperation,
    BulkPreview,
    BulkResult,
    BulkShare,
    effect_of,
)
from runtime.model.errors import BadInput, MaestroError, NotFound
from runtime.model.execution import Execution, ExecutionFilter
from runtime.model.identity import Principal
from runtime.model.page import Page, PageRequest
from runtime.model.values import Json, SemVer
from runtime.services.access import READ_EXECUTIONS, READ_WORKFLOWS, WRITE_EXECUTIONS, require
from runtime.services.bulk_runner import BulkRunner
from runtime.services.execution import ExecutionService
from runtime.services.message import check_signal
from runtime.store.bulk import BulkStore, digest_of

MOST: Final = 100_000
_SAMPLE: Final = 10


class BulkService:
    """What callers may do with many executions at once; `runner` does it."""

    def __init__(
        self,
        store: BulkStore,
        executions: ExecutionService,
        runner: BulkRunner,
        *,
        clock: Clock,
        entropy: Entropy,
    ) -> None:
        self._store = store
        self._executions = executions
        self.runner = runner
        self._clock = clock
        self._entropy = entropy

    async def preview(self, who: Principal, filter: ExecutionFilter, deed: BulkDeed) -> BulkPreview:
        """Freeze the executions of a filter, and say what the deed would do to them; nothing happens yet.

        Raises BadInput for a deed that no execution takes, and for a filter that lets through more than 100,000.
        """
        require(who, WRITE_EXECUTIONS)
        _check(who, deed)
        found = await self._executions.selected(who, filter, MOST)
        if len(found) > MOST:
            raise BadInput(
                f"The filter lets through more than {MOST:,} executions, and one bulk operation takes no more: narrow "
                "it, by `created` for example, and go on with the rest afterwards.",
                reason="BULK_TOO_LARGE",
                path=("filter",),
            )
        said = _as_json(filter)
        made = self._entropy.uuid7(int(self._clock.now().timestamp() * 1000))
        until = await self._store.preview(
            made,
            who.tenant_id,
            deed,
            said,
            digest_of(said, deed),
            [execution.id for execution in found],
            who.actor,
        )
        sample = tuple(execution.id for execution in found[: -_SAMPLE - 1 : -1])
        return BulkPreview(made, len(found), until, _shares(deed, found), sample)

    async def start(
        self,
        who: Principal,
        id: UUID,
        filter: ExecutionFilter,
        deed: BulkDeed,
        *,
        reason: str | None = None,
    ) -> BulkOperation:
        """Have a previewed deed done to what was frozen; started twice it is the same operation.

        Filter and deed are said again, so that nobody starts what he has not seen: BadInput when they differ.
        """
        require(who, READ_EXECUTIONS)
        require(who, WRITE_EXECUTIONS)
        _check(who, deed)
        started = await self._store.start(
            id,
            who.tenant_id,
            digest_of(_as_json(filter), deed),
            actor=who.actor,
            reason=reason,
            runner=self.runner.id,
        )
        if started:
            self.runner.begin(id)
        return await self.get(who, id)

    async def stop(self, who: Principal, id: UUID, *, reason: str | None = None) -> BulkOperation:
        """Let a running one end before its next executions; what was done stays done. One that has ended is left."""
        require(who, WRITE_EXECUTIONS)
        await self.get(who, id)
        await self._store.stop(id, who.tenant_id, actor=who.actor, reason=reason)
        return await self.get(who, id)

    async def get_many(self, who: Principal, ids: Sequence[UUID]) -> dict[UUID, BulkOperation]:
        """Those of the tenant's that were started, by id; previews are nobody's business but their token's."""
        require(who, READ_EXECUTIONS)
        return await self._store.get_many(who.tenant_id, ids)

    async def get(self, who: Principal, id: UUID) -> BulkOperation:
        """One of them; raises NotFound."""
        found = (await self.get_many(who, [id])).get(id)
        if found is None:
            raise NotFound(
                f"There is no bulk operation {id}.",
                reason="BULK_OPERATION_NOT_FOUND",
                path=("bulkOperationId",),
            )
        return found

    async def list(self, who: Principal, page: PageRequest) -> Page[BulkOperation]:
        """The tenant's, the newest first."""
        require(who, READ_EXECUTIONS)
        return await self._store.page(who.tenant_id, page)

    async def results(
        self, who: Principal, id: UUID, page: PageRequest, *, only_refused: bool = False
    ) -> Page[BulkResult]:
        """What became of each execution so far."""
        require(who, READ_EXECUTIONS)
        return await self._store.results(who.tenant_id, id, page, only_refused=only_refused)


def _check(who: Principal, deed: BulkDeed) -> None:
    if deed.action is BulkAction.MIGRATE:
        require(who, READ_WORKFLOWS)
        _check_version(deed.to_version)
    if deed.action is not BulkAction.SIGNAL:
        return
    if deed.signal is None:
        raise BadInput("A signal has a name.", reason="SIGNAL_NAME", path=("action", "signal"))
    try:
        check_signal(deed.signal, deed.payload)
    except MaestroError as error:
        error.path = ("action", *(error.path or ()))
        raise


def _check_version(version: str | None) -> None:
    try:
        SemVer.parse(version or "")
    except ValueError as error:
        raise BadInput(
            f"A migration says the version to go on with, like 1.3.0: {error}.",
            reason="MIGRATION_VERSION",
            path=("action", "toVersion"),
        ) from error


def _shares(deed: BulkDeed, found: Sequence[Execution]) -> tuple[BulkShare, ...]:
    counts = Counter(execution.state for execution in found)
    return tuple(
        BulkShare(state, counts[state], *effect_of(deed.action, state)) for state in sorted(counts)
    )


def _as_json(filter: ExecutionFilter) -> dict[str, Json]:
    """What of a filter restricts, as it is kept and compared."""
    return {name: _plain(value) for name, value in asdict(filter).items() if value}


def _plain(value: Any) -> Json:
    if isinstance(value, (list, tuple)):
        return [_plain(one) for one in value]
    if isinstance(value, Enum):
        return str(value.value)
    return value.isoformat() if isinstance(value, datetime) else str(value)

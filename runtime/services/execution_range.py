"""What a list of executions may be asked for: search, and orders that no index has, within a range of creation.

How many executions the range may hold is said, and counted, by `store/execution_scan.py`.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID
from weakref import WeakValueDictionary

from runtime.model.errors import BadInput, Exhausted
from runtime.model.execution import ExecutionFilter, ExecutionOrder, ExecutionOrderField

LONGEST: Final = timedelta(days=7)
# A list that is read through holds a connection for seconds; all together leave most of them to everybody else.
_AT_ONCE: Final = 4
_OF_A_TENANT: Final = 2
_PATIENCE_SECONDS: Final = 5.0


def refuse_unbounded(wanted: ExecutionFilter, order: ExecutionOrder, now: datetime) -> None:
    """Raise BadInput for what would have to be read through from the first execution to the last."""
    if wanted.search is not None and not any(map(str.isalnum, wanted.search)):
        raise BadInput(
            "`search` of a filter names at least one word; leave it out to see all.",
            reason="SEARCH_EMPTY",
        )
    is_ordered = order.field is ExecutionOrderField.CREATED_AT
    if is_ordered and wanted.search is None:
        return
    begin, end = wanted.created_from, wanted.created_to or now
    if begin is None or end - begin > LONGEST:
        what = "searched" if is_ordered else f"ordered by {order.field.name}"
        raise BadInput(
            f"Executions are {what} only within a range of their creation: give `created` with a `from` at "
            f"most {LONGEST.days} days before its `to`, or before now.",
            reason="CREATED_RANGE",
        )


def refuse_live_search(wanted: ExecutionFilter) -> None:
    """Raise BadInput: a live list asks again at each change, and a search reads through all of its range."""
    if wanted.search is not None:
        raise BadInput(
            "A live list can't be searched: watch by status, workflow, labels or namespace, and search with the query "
            "`executions`.",
            reason="SEARCH_NOT_LIVE",
        )


class Places:
    """Places for lists that are read through: few in a process, and fewer for one tenant."""

    def __init__(
        self,
        *,
        at_once: int = _AT_ONCE,
        of_a_tenant: int = _OF_A_TENANT,
        patience_seconds: float = _PATIENCE_SECONDS,
    ) -> None:
        self._all = asyncio.Semaphore(at_once)
        self._most = of_a_tenant
        self._of: WeakValueDictionary[UUID, asyncio.Semaphore] = WeakValueDictionary()
        self.patience_seconds = patience_seconds

    @asynccontextmanager
    async def taken(self, tenant: UUID) -> AsyncIterator[None]:
        """Hold a place; raises Exhausted when none is free in time."""
        mine = self._of.get(tenant) or asyncio.Semaphore(self._most)
        self._of[tenant] = mine
        async with AsyncExitStack() as held:
            try:
                async with asyncio.timeout(self.patience_seconds):
                    await held.enter_async_context(mine)
                    await held.enter_async_context(self._all)
            except TimeoutError:
                raise Exhausted(
                    f"At most {self._most} lists of a tenant are searched, or ordered by more than their creation, at "
                    "once; try again.",
                    reason="TOO_MANY_SEARCHES",
                    retry_after=self.patience_seconds,
                ) from None
            yield

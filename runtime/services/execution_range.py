"""What a list of executions may be asked for: search, and orders that no index has, within a range of creation.

How many executions the range may hold is said, and counted, by `store/execution_scan.py`.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

from runtime.model.errors import BadInput
from runtime.model.execution import ExecutionFilter, ExecutionOrder, ExecutionOrderField

LONGEST: Final = timedelta(days=7)


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

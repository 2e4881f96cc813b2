"""What the dispatcher reads: the fronts of the queues of all tenants, turn by turn, and within the limits."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any
from uuid import UUID

from tests.simulator.limits import Limits
from tests.simulator.tables import QUEUED, Row, rows_of

_SUSPECT = 2


def handed_out(
    executions: Collection[Any],
    limits: Limits,
    older: float,
    most: tuple[int, int],
    after: UUID | None,
    now: float,
) -> list[Row]:
    """The rows of `queued`; `most` of a tenant, and of all. All workflows with a limit are of tenants with one here."""
    queued = [e for e in executions if e.status == QUEUED]
    tenants = {e.tenant for e in queued}
    share = min(most[0], max(1, most[1] // max(1, len(tenants))))
    found: list[tuple[int, bool, UUID, Any]] = []
    for tenant in sorted(tenants):
        mine = [e for e in queued if e.tenant == tenant and e.takeovers < _SUSPECT]
        mine = sorted(mine, key=lambda e: (-e.priority, e.id))
        old = [e for e in mine if e.created_at < now - older]
        if tenant in limits.tenants:
            old = limits.handed_out(executions, mine, old, share, now)
        is_behind = after is not None and tenant <= after
        found += [(place, is_behind, tenant, e) for place, e in enumerate(old[:share])]
    found.sort(key=lambda one: one[:3])
    return rows_of(
        "id priority tenant_id age fills_share is_limited",
        [
            (e.id, e.priority, e.tenant, now - e.created_at, False, e.tenant in limits.tenants)
            for *_, e in found[: most[1]]
        ],
    )

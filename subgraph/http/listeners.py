"""How many sockets and streams each tenant keeps open in this process: one tenant leaves room for others."""

from __future__ import annotations

from collections import Counter
from uuid import UUID

from runtime.model.errors import Exhausted


class Listeners:
    """Counts who listens. Whoever enters leaves again."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._open: Counter[UUID] = Counter()

    def enter(self, tenant_id: UUID) -> None:
        """Count one more; raises Exhausted when the tenant has as many as it may have."""
        if self._open[tenant_id] >= self._most:
            raise Exhausted(
                f"This tenant keeps {self._most} sockets and streams open here, which is as many as it may: close one.",
                reason="TOO_MANY_STREAMS",
            )
        self._open[tenant_id] += 1

    def leave(self, tenant_id: UUID) -> None:
        """Count one less."""
        self._open[tenant_id] -= 1
        if self._open[tenant_id] <= 0:
            del self._open[tenant_id]

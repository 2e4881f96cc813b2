"""PostgreSQL and a Redis-protocol server from wheels, for when no outside server is named.

`embedded_services` is the door; bootstrap opens it. Everything lives under `$MC_HOME`: data, passwords, logs and
sockets, in folders that only the user can enter. The servers are ordinary ones with production's meaning (fsync on,
scram passwords); they differ from production only in who starts them.
"""

from __future__ import annotations

from runtime.embedded.services import EmbeddedServices, embedded_services

__all__ = ["EmbeddedServices", "embedded_services"]

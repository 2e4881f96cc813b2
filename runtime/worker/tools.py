"""What every part of a worker works with: handed over once, by the bootstrap, through the Worker."""

from __future__ import annotations

from dataclasses import dataclass

from runtime.clock import Clock
from runtime.connectors.registry import Registry
from runtime.queue.stream import RedisQueue
from runtime.queue.wakeup import Wakeup
from runtime.secrets.file import FileSecrets
from runtime.settings import WorkerSettings
from runtime.store.blob import Blobs
from runtime.store.execution import ExecutionStore
from runtime.store.log import LogWriter
from runtime.store.pool import Database
from runtime.telemetry.metrics import Metrics
from runtime.worker.breaker import Breakers
from runtime.worker.prepared import Programs
from runtime.worker.quarantine import Quarantine
from runtime.worker.signals import Signals
from runtime.worker.trace import Traces


@dataclass(frozen=True, slots=True)
class Tools:
    """The adapters and settings of one worker; `name` is how rows and events call it.

    `quarantine` starts processes for suspects; `is_alone` says that this worker is one of those.
    """

    database: Database
    store: ExecutionStore
    queue: RedisQueue
    wakeup: Wakeup
    programs: Programs
    registry: Registry
    secrets: FileSecrets
    logs: LogWriter
    blobs: Blobs
    settings: WorkerSettings
    traces: Traces
    metrics: Metrics
    clock: Clock
    signals: Signals
    name: str
    breakers: Breakers
    shard: int
    quarantine: Quarantine | None = None
    is_alone: bool = False


@dataclass(frozen=True, slots=True)
class Seat:
    """The identity under which a worker holds a shard: what every fenced statement carries."""

    shard: int
    me: int
    epoch: int

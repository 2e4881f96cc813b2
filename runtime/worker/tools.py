"""What every part of a worker works with: handed over once, by the bootstrap, through the Worker."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeAlias
from uuid import UUID

from runtime.clock import Clock
from runtime.connectors.registry import Registry
from runtime.entropy import Entropy
from runtime.model.plan import Plan
from runtime.model.values import Json
from runtime.queue.stream import RedisQueue
from runtime.queue.wakeup import Wakeup
from runtime.secrets.file import FileSecrets
from runtime.settings import WorkerSettings
from runtime.store.blob import Blobs
from runtime.store.execution import ExecutionStore
from runtime.store.log import LogWriter
from runtime.store.map_chunk import MapChunks
from runtime.store.plan import PlanStore
from runtime.store.pool import Database
from runtime.telemetry.metrics import Metrics
from runtime.worker.breaker import Breakers
from runtime.worker.prepared import Programs
from runtime.worker.quarantine import Quarantine
from runtime.worker.signals import Signals
from runtime.worker.trace import Traces

# An input with its defaults, by a plan's params, for a tenant; raises Invalid, and Exhausted or Unavailable at times.
JudgeInput: TypeAlias = Callable[[UUID, Plan, Json], Awaitable[Json]]


@dataclass(frozen=True, slots=True)
class Tools:
    """The adapters and settings of one worker; `name` is how rows and events call it.

    `judge` has the inputs of children judged, in a process of their own where that takes long.
    `quarantine` starts processes for suspects; `is_alone` says that this worker is one of those.
    """

    database: Database
    store: ExecutionStore
    queue: RedisQueue
    wakeup: Wakeup
    programs: Programs
    registry: Registry
    secrets: FileSecrets
    chunks: MapChunks
    logs: LogWriter
    blobs: Blobs
    settings: WorkerSettings
    traces: Traces
    metrics: Metrics
    plans: PlanStore
    judge: JudgeInput
    clock: Clock
    entropy: Entropy
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

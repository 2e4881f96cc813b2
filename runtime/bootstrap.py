"""The composition root: settings -> pools -> adapters -> services, closed in reverse order.

Called by the face (subgraph.app), by `mc` and by tests. Everything below receives what it needs as arguments; nothing
reads the environment or opens a connection on import. Servers are expected to run already, and the schema to be there:
`mc` starts embedded ones and migrates before it comes here.
"""

from __future__ import annotations

import contextlib
import os
import socket
import sys
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass
from functools import partial

from runtime.abi.catalog import Catalog
from runtime.bus import registry as handlers
from runtime.bus.loop import Bus
from runtime.clock import Clock, SystemClock
from runtime.connectors.registry import Registry
from runtime.connectors.threads import StepThreads
from runtime.entropy import Entropy, SystemEntropy
from runtime.identity.authenticator import Authenticator
from runtime.identity.development import DevIssuer
from runtime.identity.keys import JwksKeys
from runtime.identity.tokens import TokenVerifier
from runtime.model.errors import SetupError
from runtime.queue.breaker import SharedBreakers
from runtime.queue.link import RedisLink
from runtime.queue.stream import RedisQueue
from runtime.queue.wakeup import Wakeup
from runtime.scheduler.loop import Scheduler
from runtime.secrets.file import FileSecrets
from runtime.services.breaker import BreakerService
from runtime.services.dead_letter import DeadLetterService
from runtime.services.doubt import DoubtService
from runtime.services.execution import ExecutionService
from runtime.services.health import HealthService
from runtime.services.workflow import WorkflowService
from runtime.settings import Settings
from runtime.store.births import Births
from runtime.store.enqueue import Enqueuer
from runtime.store.event_bus import EventBusStore
from runtime.store.execution import ExecutionStore
from runtime.store.log import LogWriter
from runtime.store.plan import PlanStore
from runtime.store.pool import Database
from runtime.store.tenant import TenantStore
from runtime.telemetry.metrics import Metrics
from runtime.telemetry.tracing import Tracing
from runtime.transport.egress import EgressRule
from runtime.transport.http import HttpTransport
from runtime.worker.loop import Worker
from runtime.worker.quarantine import Quarantine

SHARD = 0
_ALONE = (sys.executable, "-m", "runtime.alone")


@dataclass(frozen=True, slots=True)
class Services:
    """What the faces may ask for."""

    workflows: WorkflowService
    executions: ExecutionService
    dead_letters: DeadLetterService
    doubts: DoubtService
    breakers: BreakerService
    health: HealthService


@dataclass(frozen=True, slots=True)
class Runtime:
    """Everything that one process has, and the makers of its worker and scheduler."""

    settings: Settings
    clock: Clock
    entropy: Entropy
    metrics: Metrics
    tracing: Tracing
    database: Database
    link: RedisLink
    queue: RedisQueue
    wakeup: Wakeup
    store: ExecutionStore
    plans: PlanStore
    registry: Registry
    logs: LogWriter
    births: Births
    authenticator: Authenticator
    services: Services

    def catalog(self) -> Catalog:
        """Names and schemas of the connectors of this process."""
        return self.registry.catalog()

    def make_worker(self, *, is_alone: bool = False) -> Worker:
        """A worker on this process's connections; it runs until it is stopped.

        `is_alone`: one that runs suspects only, one at a time, and ends when none is left.
        """
        worker = Worker(
            database=self.database,
            store=self.store,
            queue=self.queue,
            wakeup=self.wakeup,
            plans=self.plans,
            registry=self.registry,
            secrets=FileSecrets(self.settings.secrets_path),
            logs=self.logs,
            settings=self.settings.worker,
            tracing=self.tracing,
            metrics=self.metrics,
            clock=self.clock,
            entropy=self.entropy,
            host=f"{socket.gethostname()}:{os.getpid()}{':alone' if is_alone else ''}",
            quarantine=None if is_alone else Quarantine(self.settings, _ALONE),
            is_alone=is_alone,
            shared_breakers=SharedBreakers(self.link),
        )
        if self.settings.worker.born_owned and not is_alone:
            self.births.join(SHARD, worker.offer)
        return worker

    def make_scheduler(self) -> Scheduler:
        """A scheduler; of many, the one that holds the leader's lock acts."""
        return Scheduler(
            database=self.database,
            store=self.store,
            queue=self.queue,
            metrics=self.metrics,
            clock=self.clock,
        )

    def make_bus(self) -> Bus:
        """A bus for the event handlers of this process; of many, each handler is run by one."""
        return Bus(
            handlers.load(self.settings.worker.imports),
            store=EventBusStore(self.database),
            wakeup=self.wakeup,
            metrics=self.metrics,
            clock=self.clock,
            entropy=self.entropy,
            shards=(SHARD,),
            mask=FileSecrets(self.settings.secrets_path).mask,
        )

    def dev_token(self, *, tenant: str, subject: str, roles: Iterable[str]) -> str:
        """A token of the development issuer of this data folder, good for an hour."""
        issuer = DevIssuer.open(self.settings.home, self.clock)
        return issuer.issue(tenant=tenant, subject=subject, roles=roles)


@contextlib.asynccontextmanager
async def open_runtime(
    settings: Settings,
    *,
    service: str = "maestro-composer",
    clock: Clock | None = None,
    entropy: Entropy | None = None,
    tracing: Tracing | None = None,
    metrics: Metrics | None = None,
) -> AsyncIterator[Runtime]:
    """Connect everything; raises SetupError or Unavailable when a dependency is not as it must be."""
    if settings.database_url is None or settings.redis_url is None:
        raise SetupError(
            "No PostgreSQL or no Redis is named: set MC_DATABASE_URL and MC_REDIS_URL, or use `mc dev`.",
            reason="NO_SERVICES",
        )
    clock, entropy = clock or SystemClock(), entropy or SystemEntropy()
    metrics = metrics or Metrics()
    async with contextlib.AsyncExitStack() as stack:
        if tracing is None:
            tracing = Tracing.from_environment(service, enabled=settings.telemetry_enabled)
            stack.callback(tracing.close)
        database = await Database.open(settings.database_url)
        stack.push_async_callback(database.close)
        link = await RedisLink.open(settings.redis_url, metrics=metrics)
        stack.push_async_callback(link.close)
        wakeup = Wakeup(link, shards=(SHARD,))
        stack.push_async_callback(wakeup.close)
        registry = await _open_connectors(settings, clock, stack)
        logs = LogWriter(database, SHARD, wakeup_publish=partial(wakeup.publish_logs, SHARD))
        stack.push_async_callback(logs.close)
        births = Births()
        enqueuer = Enqueuer(database, SHARD, metrics=metrics, births=births)
        stack.push_async_callback(enqueuer.close)
        queue, store, plans = RedisQueue(link), ExecutionStore(database), PlanStore(database)
        executions = ExecutionService(
            database=database,
            store=store,
            enqueuer=enqueuer,
            queue=queue,
            wakeup=wakeup,
            plans=plans,
            tracing=tracing,
            metrics=metrics,
            clock=clock,
            entropy=entropy,
            max_input_bytes=settings.api.max_input_bytes,
        )
        workflows = _workflows(
            settings, database, registry, executions, clock=clock, entropy=entropy
        )
        dead_letters = DeadLetterService(database=database, queue=queue, wakeup=wakeup)
        doubts = DoubtService(
            database, store, executions, registry, max_bytes=settings.worker.max_output_bytes
        )
        breakers = BreakerService(SharedBreakers(link))
        health = _health(settings, database, link, metrics)
        yield Runtime(
            settings=settings,
            clock=clock,
            entropy=entropy,
            metrics=metrics,
            tracing=tracing,
            database=database,
            link=link,
            queue=queue,
            wakeup=wakeup,
            store=store,
            plans=plans,
            registry=registry,
            logs=logs,
            births=births,
            authenticator=_authenticator(settings, database, clock),
            services=Services(workflows, executions, dead_letters, doubts, breakers, health),
        )


async def _open_connectors(
    settings: Settings, clock: Clock, stack: contextlib.AsyncExitStack
) -> Registry:
    """The connectors, and what their steps share."""
    transport = HttpTransport(EgressRule(settings.egress.allow), clock)
    stack.push_async_callback(transport.close)
    threads = StepThreads()
    stack.push_async_callback(threads.close)
    registry = Registry.load(
        settings.worker.imports, services={"http": transport, "threads": threads}
    )
    await registry.open()
    stack.push_async_callback(registry.close)
    return registry


def _workflows(
    settings: Settings,
    database: Database,
    registry: Registry,
    executions: ExecutionService,
    *,
    clock: Clock,
    entropy: Entropy,
) -> WorkflowService:
    """The service of workflows, which also knows what secrets there are."""
    return WorkflowService(
        database=database,
        registry=registry,
        clock=clock,
        entropy=entropy,
        on_published=executions.forget_targets,
        secret_names=FileSecrets(settings.secrets_path).names_if_readable,
    )


def _health(
    settings: Settings, database: Database, link: RedisLink, metrics: Metrics
) -> HealthService:
    """The service that says whether this process can serve; it looks at the disk of an embedded PostgreSQL."""
    disk = settings.home if settings.watches_disk else None
    return HealthService(database=database, link=link, metrics=metrics, data_folder=disk)


def _authenticator(settings: Settings, database: Database, clock: Clock) -> Authenticator:
    """Outside provider when one is named; else the development issuer, for loopback listeners only."""
    tenants = TenantStore(database)
    auth = settings.auth
    if auth.jwks_url is not None:
        verifier = TokenVerifier(JwksKeys(auth.jwks_url, clock), auth, clock)
        return Authenticator(verifier, lambda name: tenants.resolve(name, create=False), clock)
    if not settings.api.is_loopback:
        raise SetupError(
            f"The API would listen on {settings.api.host}, where the development issuer's tokens are not believed: "
            "set MC_AUTH_JWKS_URL, MC_AUTH_ISSUER and MC_AUTH_AUDIENCE, or MC_HOST=127.0.0.1.",
            reason="DEV_ISSUER_NOT_LOOPBACK",
        )
    issuer = DevIssuer.open(settings.home, clock)
    verifier = TokenVerifier(issuer, DevIssuer.auth_settings(auth), clock)
    return Authenticator(verifier, lambda name: tenants.resolve(name, create=True), clock)

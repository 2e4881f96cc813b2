"""The composition root: settings -> pools -> adapters -> services, closed in reverse order.

Called by the face (subgraph.app), by `mc` and by tests. Everything below receives what it needs as arguments; nothing
reads the environment or opens a connection on import. Servers are expected to run already, and the schema to be there:
`mc` starts embedded ones and migrates before it comes here.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import sys
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial

from runtime.abi.catalog import Catalog
from runtime.blob.open import open_blob_store
from runtime.bus import registry as handlers
from runtime.bus.group import Buses
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
from runtime.model.shard_map import Place, ShardMap
from runtime.queue.breaker import SharedBreakers
from runtime.queue.bucket import Buckets
from runtime.queue.link import RedisLink
from runtime.queue.stream import RedisQueue
from runtime.queue.wakeup import Wakeup
from runtime.scheduler.group import Schedulers
from runtime.scheduler.human_task import HumanTaskSweep, HumanTaskTimers
from runtime.scheduler.loop import Duty, Scheduler
from runtime.secrets.file import FileSecrets
from runtime.services.artifact import ArtifactService
from runtime.services.breaker import BreakerService
from runtime.services.bulk import BulkService
from runtime.services.bulk_runner import BulkRunner
from runtime.services.changes import Changes
from runtime.services.dead_letter import DeadLetterService
from runtime.services.doubt import DoubtService
from runtime.services.event_handler import EventHandlerService
from runtime.services.execution import ExecutionService
from runtime.services.execution_migration import ExecutionMigrationService
from runtime.services.execution_stats import ExecutionStatsService
from runtime.services.generation_preview import GenerationPreviewService
from runtime.services.health import HealthService
from runtime.services.human_task import HumanTaskService
from runtime.services.judges import Judges
from runtime.services.rate import RateService
from runtime.services.replay import ReplayService
from runtime.services.simulation import SimulationService
from runtime.services.tenant_settings import TenantSettingsService
from runtime.services.workflow import WorkflowService
from runtime.settings import BlobSettings, Settings
from runtime.store.births import Births
from runtime.store.blob import Blobs
from runtime.store.bulk import BulkStore
from runtime.store.change_feed import ChangeFeed
from runtime.store.enqueue import Enqueuer, Enqueuers
from runtime.store.event_bus import EventBusStore
from runtime.store.execution import ExecutionStore
from runtime.store.human_task import HumanTaskStore
from runtime.store.log import LogWriter
from runtime.store.plan import PlanStore
from runtime.store.pool import Database
from runtime.store.shards import Shards
from runtime.store.tenant import TenantStore
from runtime.telemetry.metrics import Metrics
from runtime.telemetry.tracing import Tracing
from runtime.transport.egress import EgressRule
from runtime.transport.http import HttpTransport
from runtime.worker.crew import Crew, Roster
from runtime.worker.loop import Worker
from runtime.worker.quarantine import Quarantine

_ALONE = (sys.executable, "-m", "runtime.alone")


@dataclass(frozen=True, slots=True)
class Services:
    """What the faces may ask for."""

    workflows: WorkflowService
    executions: ExecutionService
    stats: ExecutionStatsService
    artifacts: ArtifactService
    dead_letters: DeadLetterService
    doubts: DoubtService
    breakers: BreakerService
    simulations: SimulationService
    replays: ReplayService
    previews: GenerationPreviewService
    migrations: ExecutionMigrationService
    handlers: EventHandlerService
    bulk: BulkService
    tenant_settings: TenantSettingsService
    human_tasks: HumanTaskService
    rates: RateService
    health: HealthService


@dataclass(frozen=True, slots=True)
class Runtime:
    """Everything that one process has, and the makers of its worker and scheduler."""

    settings: Settings
    clock: Clock
    entropy: Entropy
    metrics: Metrics
    tracing: Tracing
    shards: Shards
    tenants: TenantStore
    link: RedisLink
    queue: RedisQueue
    wakeup: Wakeup
    plans: PlanStore
    registry: Registry
    logs: tuple[LogWriter, ...]
    births: Births
    blobs: Blobs
    judges: Judges
    authenticator: Authenticator
    services: Services

    @property
    def database(self) -> Database:
        """The database of the catalog; with one database, that one."""
        return self.shards.catalog

    def catalog(self) -> Catalog:
        """Names and schemas of the connectors of this process."""
        return self.registry.catalog()

    def make_worker(self, *, shard: int = 0, is_alone: bool = False) -> Worker:
        """A worker of one shard on this process's connections; it runs until it is stopped.

        `is_alone`: one that runs suspects only, one at a time, and ends when none is left.
        """
        worker = self._worker(shard, is_alone=is_alone)
        if self.settings.worker.born_owned and not is_alone:
            self.births.join(shard, worker.offer)
        return worker

    def make_crew(self) -> Crew:
        """A worker for each shard that this process serves."""
        rosters = [
            Roster(
                ExecutionStore(database),
                place.shards,
                name=_process_name(),
                every_seconds=self.settings.worker.beat_seconds,
            )
            for place, database in self._served()
        ]
        crew = Crew(rosters, self._worker)
        if self.settings.worker.born_owned:
            for roster in rosters:
                for shard in roster.shards:
                    self.births.join(shard, partial(crew.offer, shard))
        return crew

    def _worker(self, shard: int, *, is_alone: bool = False) -> Worker:
        database = self.shards.database(shard)
        return Worker(
            database=database,
            store=ExecutionStore(database),
            queue=self.queue,
            wakeup=self.wakeup,
            plans=self.plans,
            judge=self.judges.input,
            registry=self.registry,
            secrets=FileSecrets(self.settings.secrets_path),
            logs=self.logs[shard],
            blobs=self.blobs,
            settings=self.settings.worker,
            tracing=self.tracing,
            metrics=self.metrics,
            clock=self.clock,
            entropy=self.entropy,
            host=f"{_process_name()}{':alone' if is_alone else ''}",
            shard=shard,
            quarantine=None if is_alone else Quarantine(_of_shard(self.settings, shard), _ALONE),
            is_alone=is_alone,
            shared_breakers=SharedBreakers(self.link),
        )

    def make_scheduler(self) -> Schedulers:
        """A scheduler for each database; of many, the one that holds a database's lock acts there."""
        return Schedulers(
            [
                Scheduler(
                    database=database,
                    store=ExecutionStore(database),
                    queue=self.queue,
                    blobs=self.blobs.store,
                    metrics=self.metrics,
                    clock=self.clock,
                    shards=place.shards,
                    catalog=None if database is self.shards.catalog else self.shards.catalog,
                    others=self._duties(database, place.shards),
                )
                for place, database in zip(
                    self.shards.map.places, self.shards.databases, strict=True
                )
            ]
        )

    def _duties(self, database: Database, shards: Sequence[int]) -> tuple[Duty, ...]:
        """Duties by time that need more than a database: timers of its tasks, bulk operations of the catalog."""
        tasks, queue, wakeup = HumanTaskStore(self.shards), self.queue, self.wakeup
        clock = self.clock
        timers = (HumanTaskTimers(tasks, queue, wakeup, clock, shard=shard) for shard in shards)
        sweeps = (HumanTaskSweep(tasks, shard=shard) for shard in shards)
        runners = (self.services.bulk.runner,) if database is self.shards.catalog else ()
        return (*timers, *sweeps, *runners)

    def make_bus(self) -> Buses:
        """A bus for the event handlers of this process; of many, each handler is run by one in each shard."""
        registered = handlers.load(self.settings.worker.imports)
        return Buses(
            [
                Bus(
                    registered,
                    store=EventBusStore(database),
                    wakeup=self.wakeup,
                    metrics=self.metrics,
                    clock=self.clock,
                    entropy=self.entropy,
                    shards=place.shards,
                    has_catalog=database is self.shards.catalog,
                    mask=FileSecrets(self.settings.secrets_path).mask,
                )
                for place, database in self._served()
            ]
        )

    def _served(self) -> list[tuple[Place, Database]]:
        """The databases whose shards this process serves as a worker."""
        wanted = self.settings.worker.database
        places = self.shards.map.places if wanted is None else (self.shards.map.place(wanted),)
        return [(place, self.shards.named(place.name)) for place in places]

    def dev_token(
        self, *, tenant: str, subject: str, roles: Iterable[str], ttl_seconds: float = 3_600.0
    ) -> str:
        """A token of the development issuer of this data folder, good for an hour unless told."""
        issuer = DevIssuer.open(self.settings.home, self.clock)
        return issuer.issue(tenant=tenant, subject=subject, roles=roles, ttl_seconds=ttl_seconds)


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
    shard_map, redis_url = _addresses(settings)
    clock, entropy = clock or SystemClock(), entropy or SystemEntropy()
    metrics = metrics or Metrics()
    async with contextlib.AsyncExitStack() as stack:
        tracing = tracing or stack.enter_context(_tracing(settings, service))
        shards = await Shards.open(shard_map)
        stack.push_async_callback(shards.close)
        link, wakeup = await _open_redis(redis_url, shards, metrics, stack)
        registry = await _open_connectors(settings, clock, stack)
        logs = _log_writers(shards, wakeup)
        stack.push_async_callback(_close_all, logs)
        blobs = _blobs(settings.blob, shards, metrics, stack)
        enqueuer = _enqueuer(shards, metrics, births := Births(), stack)
        judges, queue = _judges(registry, stack), RedisQueue(link)
        tenants = TenantStore(shards.catalog)
        plans = PlanStore(shards.catalog, copies=shards.databases[1:])
        executions = ExecutionService(
            shards=shards,
            tenants=tenants,
            store=ExecutionStore(shards.catalog),
            enqueuer=enqueuer,
            queue=queue,
            wakeup=wakeup,
            plans=plans,
            tracing=tracing,
            metrics=metrics,
            clock=clock,
            entropy=entropy,
            blobs=blobs,
            changes=_changes(shards, wakeup, entropy, stack),
            judges=judges,
            max_input_bytes=settings.api.max_input_bytes,
        )
        services = _services(
            settings,
            executions,
            shards=shards,
            link=link,
            tenants=tenants,
            queue=queue,
            wakeup=wakeup,
            plans=plans,
            blobs=blobs,
            registry=registry,
            judges=judges,
            clock=clock,
            entropy=entropy,
            metrics=metrics,
        )
        stack.push_async_callback(services.bulk.runner.close)
        yield Runtime(
            settings=settings,
            clock=clock,
            entropy=entropy,
            metrics=metrics,
            tracing=tracing,
            shards=shards,
            tenants=tenants,
            link=link,
            queue=queue,
            wakeup=wakeup,
            plans=plans,
            registry=registry,
            logs=logs,
            births=births,
            blobs=blobs,
            judges=judges,
            authenticator=_authenticator(settings, tenants, clock),
            services=services,
        )


def _changes(
    shards: Shards, wakeup: Wakeup, entropy: Entropy, stack: contextlib.AsyncExitStack
) -> Changes:
    """What changed, for those who watch lists in this process."""
    changes = Changes(ChangeFeed(shards, f"{entropy.bits(64):016x}"), wakeup)
    stack.push_async_callback(changes.close)
    return changes


def _judges(registry: Registry, stack: contextlib.AsyncExitStack) -> Judges:
    """The processes that judge; none of them is started yet."""
    judges = Judges(registry.catalog())
    stack.push_async_callback(judges.close)
    return judges


async def _open_redis(
    url: str, shards: Shards, metrics: Metrics, stack: contextlib.AsyncExitStack
) -> tuple[RedisLink, Wakeup]:
    """The connection, and the wake-ups that go through it."""
    link = await RedisLink.open(url, metrics=metrics)
    stack.push_async_callback(link.close)
    wakeup = Wakeup(link, shards=range(shards.count))
    stack.push_async_callback(wakeup.close)
    return link, wakeup


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
    shards: Shards,
    registry: Registry,
    executions: ExecutionService,
    judges: Judges,
    *,
    metrics: Metrics,
    clock: Clock,
    entropy: Entropy,
) -> WorkflowService:
    """The service of workflows, which also knows what secrets there are."""
    return WorkflowService(
        database=shards.catalog,
        registry=registry,
        judges=judges,
        clock=clock,
        entropy=entropy,
        metrics=metrics,
        on_changed=executions.forget_targets,
        secret_names=FileSecrets(settings.secrets_path).names_if_readable,
    )


def _bulk(
    shards: Shards,
    executions: ExecutionService,
    migrations: ExecutionMigrationService,
    *,
    clock: Clock,
    entropy: Entropy,
    metrics: Metrics,
) -> BulkService:
    """What does one thing to many executions, and what carries it out."""
    store = BulkStore(shards.catalog)
    runner = BulkRunner(store, executions, migrations, entropy=entropy, metrics=metrics)
    return BulkService(store, executions, runner, clock=clock, entropy=entropy)


def _services(
    settings: Settings,
    executions: ExecutionService,
    *,
    shards: Shards,
    link: RedisLink,
    tenants: TenantStore,
    queue: RedisQueue,
    wakeup: Wakeup,
    plans: PlanStore,
    blobs: Blobs,
    registry: Registry,
    judges: Judges,
    clock: Clock,
    entropy: Entropy,
    metrics: Metrics,
) -> Services:
    """All services; that of executions is made before, because others are made of it."""
    workflows = _workflows(
        settings,
        shards,
        registry,
        executions,
        judges,
        metrics=metrics,
        clock=clock,
        entropy=entropy,
    )
    artifacts = ArtifactService(shards=shards, blobs=blobs, plans=plans)
    migrations = ExecutionMigrationService(
        shards=shards,
        plans=plans,
        blobs=blobs,
        judges=judges,
        workflows=workflows,
        executions=executions,
        queue=queue,
        wakeup=wakeup,
    )
    return Services(
        workflows=workflows,
        executions=executions,
        stats=ExecutionStatsService(shards=shards, tenants=tenants, clock=clock),
        artifacts=artifacts,
        dead_letters=DeadLetterService(shards=shards, tenants=tenants, queue=queue, wakeup=wakeup),
        doubts=DoubtService(
            shards,
            ExecutionStore(shards.catalog),
            executions,
            registry,
            blobs=blobs,
            max_bytes=settings.worker.max_output_bytes,
        ),
        breakers=BreakerService(SharedBreakers(link)),
        simulations=SimulationService(
            workflows=workflows,
            executions=executions,
            artifacts=artifacts,
            registry=registry,
            judges=judges,
            clock=clock,
            metrics=metrics,
            max_input_bytes=settings.api.max_input_bytes,
        ),
        replays=ReplayService(
            shards=shards, plans=plans, blobs=blobs, registry=registry, clock=clock, metrics=metrics
        ),
        previews=GenerationPreviewService(
            shards=shards, plans=plans, registry=registry, edits=executions.edits
        ),
        migrations=migrations,
        handlers=EventHandlerService(shards),
        bulk=_bulk(shards, executions, migrations, clock=clock, entropy=entropy, metrics=metrics),
        tenant_settings=TenantSettingsService(tenants),
        human_tasks=HumanTaskService(
            shards, tenants, judges, queue, wakeup, clock=clock, entropy=entropy
        ),
        rates=_rates(settings, tenants, link, clock=clock, metrics=metrics),
        health=_health(settings, shards, link, metrics),
    )


def _rates(
    settings: Settings, tenants: TenantStore, link: RedisLink, *, clock: Clock, metrics: Metrics
) -> RateService:
    """The service that says whether a caller may ask for so much now."""
    rates = settings.api.graph.rates
    return RateService(tenants, Buckets(link, clock), rates, clock=clock, metrics=metrics)


def _health(settings: Settings, shards: Shards, link: RedisLink, metrics: Metrics) -> HealthService:
    """The service that says whether this process can serve; it looks at the disk of an embedded PostgreSQL."""
    disk = settings.home if settings.watches_disk else None
    return HealthService(shards=shards, link=link, metrics=metrics, data_folder=disk)


@contextlib.contextmanager
def _tracing(settings: Settings, service: str) -> Iterator[Tracing]:
    """The tracing that the environment asks for, closed at the end."""
    made = Tracing.from_environment(service, enabled=settings.telemetry_enabled)
    try:
        yield made
    finally:
        made.close()


def _addresses(settings: Settings) -> tuple[ShardMap, str]:
    """Where PostgreSQL and Redis are."""
    if settings.shard_map is None or settings.redis_url is None:
        raise SetupError(
            "No PostgreSQL or no Redis is named: set MC_DATABASE_URL and MC_REDIS_URL, or use `mc dev`.",
            reason="NO_SERVICES",
        )
    return settings.shard_map, settings.redis_url


def _process_name() -> str:
    """What rows and events call this process."""
    return f"{socket.gethostname()}:{os.getpid()}"


def _of_shard(settings: Settings, shard: int) -> Settings:
    """The settings of a process that serves one shard."""
    return replace(settings, worker=replace(settings.worker, shards=(shard,)))


def _enqueuer(
    shards: Shards, metrics: Metrics, births: Births, stack: contextlib.AsyncExitStack
) -> Enqueuer | Enqueuers:
    made = (
        Enqueuer(shards.catalog, 0, metrics=metrics, births=births)
        if shards.count == 1
        else Enqueuers(shards, metrics=metrics, births=births)
    )
    stack.push_async_callback(made.close)
    return made


def _log_writers(shards: Shards, wakeup: Wakeup) -> tuple[LogWriter, ...]:
    """One for each shard."""
    return tuple(
        LogWriter(shards.database(shard), shard, wakeup_publish=partial(wakeup.publish_logs, shard))
        for shard in range(shards.count)
    )


async def _close_all(logs: Iterable[LogWriter]) -> None:
    await asyncio.gather(*(writer.close() for writer in logs))


def _blobs(
    settings: BlobSettings, shards: Shards, metrics: Metrics, stack: contextlib.AsyncExitStack
) -> Blobs:
    """Large values in the store that the settings name; references to them with their executions."""
    store = open_blob_store(settings.url, settings.environment)
    stack.push_async_callback(store.close)
    return Blobs(shards, store, cache_bytes=settings.cache_bytes, metrics=metrics)


def _authenticator(settings: Settings, tenants: TenantStore, clock: Clock) -> Authenticator:
    """Outside provider when one is named; else the development issuer, for loopback listeners only."""
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

"""One seed: builds the world, lets it happen, heals it, and waits for every execution to end."""

from __future__ import annotations

import asyncio
import hashlib
import sys
from collections import Counter
from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from math import inf
from pathlib import Path
from random import Random
from typing import Any, Final, NoReturn
from uuid import UUID

import orjson
import structlog

from runtime.abi.connector import NotMade
from runtime.definition import apply_params
from runtime.definition.lane import lane_of
from runtime.engine.rewinding import rewound_to
from runtime.entropy import SeededEntropy
from runtime.model.checkpoint import ExecutionHistory, InboxKind
from runtime.model.errors import Conflict, MaestroError, Unavailable
from runtime.model.execution import ExecutionStatus, StepStatus, WaitKind
from runtime.model.plan import Plan
from runtime.model.shard_map import ShardMap
from runtime.model.values import Json
from runtime.scheduler.loop import Scheduler
from runtime.secrets.file import FileSecrets
from runtime.settings import WorkerSettings
from runtime.store.births import Births
from runtime.store.blob import Blobs
from runtime.store.enqueue import EnqueueOutcome, Enqueuer, EnqueueRow
from runtime.store.execution import ExecutionStore, Outdated
from runtime.store.log import LogWriter
from runtime.store.shards import Shards
from runtime.telemetry.metrics import Metrics
from runtime.telemetry.tracing import Tracing
from runtime.worker import signals
from runtime.worker.loop import Worker
from tests.simulator import chaos
from tests.simulator.blobs import SimBlobs, inline_bytes_of
from tests.simulator.cache import has_cache
from tests.simulator.chaos import Blow, Order, draw_fate
from tests.simulator.checks import FINAL, Judge, marks, records
from tests.simulator.foreseen import wished
from tests.simulator.hints import Redis, SimQueue, SimWakeup
from tests.simulator.lanes import has_lanes
from tests.simulator.lent import LendingModel
from tests.simulator.limits import has_limits, limits_of
from tests.simulator.loop import PROCESS, Process, SimClock, SimLoop, Stuck
from tests.simulator.maps import key_of
from tests.simulator.mutants import mutated
from tests.simulator.people import People
from tests.simulator.plans import SimPlans
from tests.simulator.quarantine import SimQuarantine
from tests.simulator.rewinds import edit_of, kept_of, target_of
from tests.simulator.server import CALM, Server, SimDatabase
from tests.simulator.tables import Commit
from tests.simulator.tags import ALL, has_tags, tags_of
from tests.simulator.undoing import STOPS, undoes_in
from tests.simulator.waits import NAMES, people_could
from tests.simulator.world import REGISTRY, Current, World

TENANT: Final = UUID("01930000-0000-7000-8000-00000000aaaa")
OTHER: Final = UUID("01930000-0000-7000-8000-00000000bbbb")
HORIZON: Final = 200.0
_MAP: Final = ShardMap.single("postgresql://simulated")
_METRICS: Final = Metrics()
_TRACING: Final = Tracing(service="simulator")
_SECRETS: Final = FileSecrets(Path("/nowhere/secrets.yaml"))
_MOST_STRIKES: Final = 8
_DOOR_SECONDS: Final = 12.0
_DEFECTS: Final = frozenset({"worker_defect", "execution_stuck", "execution_defect"})


@dataclass(frozen=True, slots=True)
class Verdict:
    """What came of a seed; `digest` is the same whenever the same happened."""

    seed: int
    violations: tuple[str, ...]
    statuses: Counter[str]
    commits: Counter[str]
    digest: str
    seconds: float


async def _judged(_tenant: UUID, plan: Plan, given: Json) -> Json:
    """Params without a schema need no judge."""
    return apply_params(plan, given)


@dataclass
class Simulation:
    """Everything of one seed."""

    seed: int
    mutants: frozenset[str] = frozenset()
    is_verbose: bool = False
    accepted: list[UUID] = field(default_factory=list)
    journal: list[str] = field(default_factory=list)
    operators: list[asyncio.Task[None]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.fate = draw_fate(self.seed)
        # One after another, executions of one key take as long as all of them together.
        horizon = HORIZON * (4 if has_lanes(self.seed) or has_limits(self.seed) else 1)
        self.loop = SimLoop(Random(f"way {self.seed}"), horizon)
        self.model = LendingModel(self.loop.time, self.mutants)
        self.server = Server(self.loop, self.model, self.mutants)
        programs = {program.version: program for program in self.fate.programs}
        self.model.limits = limits_of(self.seed, TENANT, programs)
        self.plans = {version: program.plan for version, program in programs.items()}
        self.world = Current.world = World(self.model, programs)
        self.blobs = SimBlobs(self.server)
        self.judge = Judge(self.model, self.world, programs, self.blobs)
        self.judge.heal_at = self.fate.heal_at
        self.redis = Redis(self.server)
        self.entropy = SeededEntropy(self.seed)
        self.workers: dict[Process, Worker | None] = {}
        # The API of each worker's process: what it accepts may be born in its worker.
        self.doors: dict[Process, Enqueuer] = {}
        self.is_calm = False
        self._strikes = 0
        self._people = self.loop.spawn("people")
        self._asked: set[UUID] = set()
        self._who_answer = People(self.server, luck=self.loop.random, tell=self._hint)
        self._told = 0
        self._named = 0
        self.model.on_commit = self._committed
        self.server.on_flush = self.judge.sent
        self.server.on_flush_begun = self._flush_begun
        self.server.on_flush_lost = self.judge.unknown.add
        self.world.on_call = lambda: self._strike(PROCESS.get())
        self.world.luck = lambda: 1.0 if self.is_calm else self.loop.random.random()

    # --- the course of things --------------------------------------------------------------------

    def run(self) -> Verdict:
        violations = self.judge.violations
        try:
            self.loop.run_until_complete(self._course())
        except Stuck as error:
            violations.append(f"stuck: {error}")
        except AssertionError as error:
            violations.append(f"assertion: {error!r}")
        self.judge.at_end(self.accepted)
        seconds = self.loop.now
        # What the buried do with their last breath counts no more.
        broken = (*violations, *(f"defect: {fault}" for fault in self.loop.faults))
        self._bury_all()
        found = self.model.executions.values()
        statuses = Counter(ExecutionStatus(one.status).name for one in found)
        digest = hashlib.blake2b("\n".join(self.journal).encode(), digest_size=8).hexdigest()
        return Verdict(self.seed, broken, statuses, self.judge.commits, digest, seconds)

    async def _course(self) -> None:
        self.server.weather = self.fate.weather
        for _ in range(self.fate.workers):
            self._hire()
        self._scheduler()
        client = self.loop.spawn("client")
        clients = self.loop.start(client, self._clients())
        for blow in self.fate.blows:
            await asyncio.sleep(max(0.0, blow.at - self.loop.now))
            self._befall(blow, client)
        await clients
        while self.server.asked or not self._is_over():
            await asyncio.sleep(0.25)
            await self._help(client)
        await asyncio.gather(*self.operators)
        await asyncio.sleep(5.0)
        self._nothing_left()

    async def _help(self, client: Process) -> None:
        """Somebody resumes what is paused and sends the signals that are waited for."""
        for one, e in tuple(self.model.executions.items()):
            for what, name in people_could(e, self.judge.waits_of(e)):
                kind = InboxKind.RESUME if what == "resume" else InboxKind.SIGNAL
                await self.loop.start(client, self._tell(one, kind, name))

    def _is_over(self) -> bool:
        have_spoken = all(one.done() for one in self.operators)
        return have_spoken and all(e.status in FINAL for e in self.model.executions.values())

    def _heal(self) -> None:
        self.is_calm = True
        self.server.weather = CALM
        for process in self.workers:
            process.is_paused = False
        if all(process.is_dead or process.name.startswith("alone") for process in self.workers):
            self._hire()
        if has_tags(self.seed):
            self._hire(tags=frozenset(ALL))

    def _nothing_left(self) -> None:
        """I10: a worker keeps nothing of what has ended."""
        for process, worker in self.workers.items():
            if worker is not None and not process.is_dead and worker.executions:
                self.judge.say(f"I10: {process.name} still carries {worker.executions} executions")

    # --- processes -------------------------------------------------------------------------------

    def _hire(self, *, is_alone: bool = False, tags: frozenset[str] | None = None) -> Process:
        self._named += 1
        process = self.loop.spawn(f"{'alone' if is_alone else 'worker'}-{self._named}")
        given = tags_of(self.seed, self._named) if tags is None else tags
        self.world.tags[process.name] = given
        self.workers[process] = None
        self.loop.start(process, self._work(process, is_alone))
        return process

    async def _work(self, process: Process, is_alone: bool) -> None:
        database = SimDatabase(self.server)
        worker = Worker(
            database=database,  # type: ignore[arg-type] # the simulated ones stand where the real ones stand
            store=ExecutionStore(database),  # type: ignore[arg-type]
            queue=SimQueue(self.redis),  # type: ignore[arg-type]
            wakeup=SimWakeup(self.redis),  # type: ignore[arg-type]
            plans=SimPlans(database, self.plans),  # type: ignore[arg-type]
            judge=_judged,
            registry=REGISTRY,
            secrets=_SECRETS,
            logs=LogWriter(database, 0, wakeup_publish=lambda _ids: None),  # type: ignore[arg-type]
            blobs=Blobs(
                Shards(_MAP, (database,)),  # type: ignore[arg-type]
                self.blobs,
                cache_bytes=10,
                metrics=_METRICS,
            ),
            settings=WorkerSettings(
                max_steps=self.fate.max_steps,
                inline_bytes=inline_bytes_of(self.seed),
                lend_seconds=2.0 * (self.seed % 2),
                tags=self.world.tags[process.name],
            ),
            tracing=_TRACING,
            metrics=_METRICS,
            clock=SimClock(self.loop, self.fate.weather.slowness),
            entropy=self.entropy,
            host=process.name,
            is_alone=is_alone,
            quarantine=None if is_alone else SimQuarantine(self),  # type: ignore[arg-type]
        )
        self.workers[process] = worker
        fire = worker.signals.fire

        def fired(name: str, times: int = 1) -> None:
            fire(name, times)
            if name == signals.CHECKPOINTED:
                self._compare(worker)

        worker.signals.fire = fired  # type: ignore[method-assign] # the simulator listens
        if not is_alone:
            births = Births()
            births.join(0, worker.offer)
            self.doors[process] = Enqueuer(database, 0, metrics=_METRICS, births=births)  # type: ignore[arg-type]
        await worker.run()
        del self.workers[process]
        self.doors.pop(process, None)

    def _compare(self, worker: Worker) -> None:
        incarnation = worker._current
        if incarnation is not None:
            for run in incarnation.executor.runs.values():
                self.judge.compare(run, incarnation.seat.me)

    def _scheduler(self) -> None:
        process = self.loop.spawn("scheduler")
        database = SimDatabase(self.server)

        async def lead() -> None:
            await Scheduler(
                database=database,  # type: ignore[arg-type]
                store=ExecutionStore(database),  # type: ignore[arg-type]
                queue=SimQueue(self.redis),  # type: ignore[arg-type]
                blobs=self.blobs,
                metrics=_METRICS,
                clock=SimClock(self.loop, 0.0),
            ).run()

        self.loop.start(process, lead())

    async def _clients(self) -> None:
        database = SimDatabase(self.server)
        enqueuer = Enqueuer(database, 0, metrics=_METRICS)  # type: ignore[arg-type]
        await asyncio.gather(*(self._ask(enqueuer, n, o) for n, o in enumerate(self.fate.orders)))
        await enqueuer.close()

    async def _ask(self, enqueuer: Enqueuer, number: int, order: Order) -> None:
        """A client repeats with its key until it is answered, or gives up at the first trouble."""
        await asyncio.sleep(order.at)
        row = self._row(number, order)
        while True:
            try:
                outcome = await self._accept(enqueuer, row)
            except Conflict:
                # As many as may have this key do, and one more is not wanted.
                return
            except MaestroError:
                if order.gives_up:
                    return
                # A patient one leaves time for what is still under way under its key.
                await asyncio.sleep(self.loop.random.choice((0.1, 6.0)))
                row = row._replace(id=self.entropy.uuid7(1_000 + int(self.loop.now * 1000)))
                continue
            self.accepted.append(outcome.id)
            if not outcome.born:
                SimQueue(self.redis).add(0, [(outcome.id, 1)])
            return

    async def _accept(self, enqueuer: Enqueuer, row: EnqueueRow) -> EnqueueOutcome:
        """Through an API of its own, or through one beside a worker, which may die before it answers."""
        random = self.loop.random
        doors = [process for process in self.doors if not process.is_dead]
        if not doors or random.random() < 0.3:
            return await enqueuer.enqueue(row)
        process = random.choice(doors)
        asked = self.loop.start(process, self.doors[process].enqueue(row))
        done, _ = await asyncio.wait([asked], timeout=_DOOR_SECONDS)
        if not done:
            raise Unavailable("the process of this API does not answer")
        return asked.result()  # type: ignore[no-any-return] # the loop's tasks are of any type

    def _row(self, number: int, order: Order) -> EnqueueRow:
        timeout, plan = order.timeout, self.plans[order.version]
        params: Json = {"k": number % 2} if has_lanes(self.seed) else {}
        lane = lane_of(plan, params, namespace="default", trigger="api")
        said: dict[str, Json] = {} if lane is None else {"concurrency": lane}
        meta = said if timeout is None else {**said, "timeout_ms": timeout * 1000}
        return EnqueueRow(
            id=self.entropy.uuid7(1_000 + int(self.loop.now * 1000)),
            tenant_id=OTHER if number % 2 and has_cache(self.seed) else TENANT,
            workflow_id=order.version, version_id=order.version,
            namespace="default", region=None, priority=number % 3 if has_lanes(self.seed) else 0,
            timeout_seconds=timeout, wake_at=None, input=_json(params), meta=_json(meta),
            key=f"order-{number}", digest=b"same", event=_json(said), labels=None,
        )  # fmt: skip

    # --- blows -----------------------------------------------------------------------------------

    def _befall(self, blow: Blow, client: Process) -> None:
        self._note(f"{blow.kind} {blow.choice:.3f}")
        alive = [p for p in self.workers if not p.is_dead]
        match blow.kind:
            case chaos.RESTART:
                self.server.restart(min(blow.seconds, 3.0))
            case chaos.FORGET:
                self.redis.flush_all()
            case chaos.HEAL:
                self._heal()
            case kind if kind in {chaos.RETRY, chaos.REWIND} or kind in chaos.SAID:
                if self.accepted:
                    one = self.accepted[int(blow.choice * len(self.accepted))]
                    work = (
                        self._tell(one, chaos.SAID[kind])
                        if kind in chaos.SAID
                        else self._begin_again(one, blow)
                    )
                    self.operators.append(self.loop.start(client, work))
            case _ if alive:
                self._hit(alive[int(blow.choice * len(alive))], blow.kind, blow.seconds)

    def _hit(self, process: Process, kind: str, seconds: float) -> None:
        if kind == chaos.PAUSE:
            process.is_paused = self.judge.has_paused = True
            self.loop.call_later(seconds, self._resume, process, context=self.loop.ground.context)
            return
        worker = self.workers[process]
        if kind == chaos.STOP and worker is not None:
            self.loop.start(process, worker.stop(min(seconds, 2.0)))
        else:
            self.loop.kill(process)
        self.loop.call_later(seconds, self._hire, context=self.loop.ground.context)

    @staticmethod
    def _resume(process: Process) -> None:
        process.is_paused = False

    def _strike(self, process: Process | None) -> None:
        """At the worst moment: right at a call, or at a commit that its maker has not heard of."""
        if process is None or process not in self.workers or process.is_dead or self.is_calm:
            return
        random = self.loop.random
        if self._strikes < _MOST_STRIKES and random.random() < self.fate.strike:
            self._strikes += 1
            kind = random.choice((chaos.KILL, chaos.PAUSE))
            self._note(f"struck {process.name}: {kind}")
            self._hit(process, kind, random.choice((0.5, 5.0, 9.0)) * random.random())

    def _flush_begun(self, arguments: Any, hold: float) -> None:
        """Two more of the worst moments: a writer is lost while its flush hangs; a message as it parks."""
        if hold > 1.0:
            for _ in range(3):
                self._strike(self._process_of(arguments[1]))
        for one, status in zip(arguments[18], arguments[19], strict=True):
            if status == ExecutionStatus.WAITING and self.loop.random.random() < self.fate.strike:
                kind = self.loop.random.choice(tuple(chaos.SAID.values()))
                self._note(f"{kind.name} for {one} as it parks")
                data = orjson.dumps(self._said(kind)).decode()
                is_cancel, resumes = kind is InboxKind.CANCEL, kind is InboxKind.RESUME
                whose = self._tenant_of(one)
                self.model.call("send", 0, whose, one, int(kind), data, is_cancel, resumes)
                self.server.later(0.0, SimWakeup(self.redis).publish_inbox, 0, [one])
        self._who_answer.interfere(arguments[18])

    def _process_of(self, me: int | None) -> Process | None:
        seat = None if me is None else self.model.seats.get(me)
        return next((p for p in self.workers if seat is not None and p.name == seat.host), None)

    def _said(self, kind: InboxKind, name: str = "") -> dict[str, Any]:
        """What a message says; every signal has a payload of its own."""
        self._told += 1
        if kind is InboxKind.CANCEL and undoes_in(self.seed) and self._told % 2:
            return {"actor": None, "reason": "simulated", "compensate": True}
        if kind is not InboxKind.SIGNAL:
            return {"actor": None, "reason": "simulated"}
        named = name or self.loop.random.choice(NAMES)
        return {"actor": None, "name": named, "payload": 1_000 + self._told}

    async def _tell(self, one: UUID, kind: InboxKind, name: str = "") -> None:
        database = SimDatabase(self.server)
        try:
            async with database.engine() as connection:
                await ExecutionStore(database).send(  # type: ignore[arg-type]
                    0, self._tenant_of(one), one, kind, self._said(kind, name), connection
                )
        except MaestroError:
            return
        self._hint(one)

    def _hint(self, one: UUID) -> None:
        SimWakeup(self.redis).publish_inbox(0, [one])
        SimQueue(self.redis).add(0, [(one, 1)])

    async def _decide(self, one: UUID) -> None:
        """A person looks at the other side and says what is true there, or gives up; until it is accepted."""
        random, database = self.loop.random, SimDatabase(self.server)
        await asyncio.sleep(random.random() * random.choice((0.1, 3.0)))
        e = self.model.executions[one]
        for (step, item, generation, attempt), (status, ended, _) in tuple(e.steps.items()):
            if status != StepStatus.IN_DOUBT or ended != inf or generation != e.generation:
                continue
            data: dict[str, Any] = {
                "actor": {"subject": "ann", "kind": "user"}, "reason": None, "step": step,
                "attempt": attempt, "generation": generation, "decision": "fail", "item": item,
            }  # fmt: skip
            if random.random() < 0.1:
                self.world.given_up.add((one, generation))
            else:
                found = self.world.truth(key_of(one, step, item, generation))
                data["decision"] = "not_made" if isinstance(found, NotMade) else "made"
                data["output"] = None if isinstance(found, NotMade) else found.root
            with suppress(MaestroError):
                async with database.engine() as connection:
                    await ExecutionStore(database).send(  # type: ignore[arg-type]
                        0, e.tenant, one, InboxKind.RESOLVE_DOUBT, data, connection
                    )
        self._hint(one)
        self._asked.discard(one)
        self._attend(one)

    def _attend(self, one: UUID) -> None:
        """Somebody is told when an execution waits for a person."""
        e = self.model.executions[one]
        asks = e.status == ExecutionStatus.WAITING and e.wait == WaitKind.IN_DOUBT
        if asks and one not in self._asked:
            self._asked.add(one)
            self.operators.append(self.loop.start(self._people, self._decide(one)))

    async def _begin_again(self, one: UUID, blow: Blow) -> None:
        database = SimDatabase(self.server)
        store = ExecutionStore(database)  # type: ignore[arg-type]
        said: dict[str, Json] = {"from_failed_step": blow.seconds < 0.5}
        begin = store.retry
        if blow.kind == chaos.REWIND:
            plan = self.plans[self.model.executions[one].version]
            said = rewound_to(plan, target_of(self.seed, blow.seconds, len(plan.steps)))
            begin = self._as_seen(store, self.model.executions[one], said, blow.at)
        event: Json = {"actor": None, "reason": "simulated", **said}
        try:
            async with database.engine() as connection:
                whose = self._tenant_of(one)
                await begin(0, whose, one, event, connection)
        except (MaestroError, Outdated):
            return
        SimQueue(self.redis).add(0, [(one, 1)])

    def _as_seen(self, store: Any, e: Any, said: dict[str, Json], at: float) -> Any:
        """A rewind of an execution as it is now, as the service asks for it: with wishes if it has ended."""
        seen = e.version, e.generation
        if e.status not in FINAL:
            return partial(store.rewind, seen=seen)
        given, keeps = edit_of(self.seed, at, e.input), partial(kept_of, self.seed, at)
        history = ExecutionHistory(tuple(records(e)), marks=tuple(marks(e)))
        said |= wished(e, self.plans[e.version], history, said, given, keeps)
        return partial(store.rewind, seen=seen, given=None if given is None else _json(given))

    # --- the record ------------------------------------------------------------------------------

    def _committed(self, commit: Commit) -> None:
        before = len(self.judge.violations)
        self.judge.committed(commit)
        for one in commit.touched:
            self._attend(one)
        self._who_answer.look()
        who, states = self._process_of(commit.me), map(self._state, commit.touched)
        self._note(f"{commit.name} by {who.name if who else '-'} {' '.join(states)}")
        for words in self.judge.violations[before:]:
            self._note(f"VIOLATION {words}")
        if commit.name in {"flush", "claim", "takeover"}:
            self._strike(who)
        if commit.name == "flush" and any(map(self._is_stopping, commit.touched)):
            for _ in range(3):
                self._strike(who)

    def _is_stopping(self, one: UUID) -> bool:
        """One more of the worst moments: a cancel or a deadline is recorded and steps still run, or are undone."""
        e = self.model.executions[one]
        return e.status == ExecutionStatus.RUNNING and any(
            kind in STOPS for kind, _ in e.events.values()
        )

    def _state(self, one: UUID) -> str:
        e = self.model.executions[one]
        steps = ",".join(
            f"{s}{'' if i < 0 else f'.{i}'}#{a}={status}"
            for (s, i, _, a), (status, _, _) in e.steps.items()
        )
        return f"[{str(one)[-4:]} status {e.status} epoch {e.epoch} gen {e.generation} {steps}]"

    def _tenant_of(self, one: UUID) -> UUID:
        return self.model.executions[one].tenant

    def _note(self, words: str) -> None:
        line = f"{self.loop.now:9.4f} {words}"
        self.journal.append(line)
        if self.is_verbose:
            sys.stdout.write(line + "\n")

    def log(self, _logger: Any, _method: str, event: MutableMapping[str, Any]) -> NoReturn:
        """The product's own log: an error in it is a defect, whatever else is well."""
        if event.get("event") in _DEFECTS or event.get("exc_info"):
            self.loop.faults.append(f"{event.get('event')}: {event.get('exc_info') or event}")
        process = PROCESS.get(self.loop.ground)
        self._note(f"{process.name}: {event.get('event')} {event.get('reason', '')}")
        raise structlog.DropEvent

    def _bury_all(self) -> None:
        """End every task in good order, so that nothing of this seed speaks in the next."""
        loop = self.loop
        self.is_calm, self.server.is_down, loop._horizon = True, True, float("inf")
        self.model.on_commit = lambda _commit: None
        self.journal = list(self.journal)
        for process in loop.processes:
            process.is_dead = process.is_paused = False

        async def end() -> None:
            for _ in range(40):
                left = [t for t in asyncio.all_tasks() if t is not asyncio.current_task()]
                if not left:
                    return
                for task in left:
                    task.cancel()
                await asyncio.sleep(0.5)

        loop.run_until_complete(end())
        loop.close()


def _json(value: Json) -> str:
    return orjson.dumps(value).decode()


@contextmanager
def _listening(simulation: Simulation) -> Iterator[None]:
    known: Any = structlog.get_config()
    structlog.configure(
        processors=[simulation.log],
        wrapper_class=structlog.make_filtering_bound_logger(20),
        logger_factory=structlog.ReturnLoggerFactory(),
        cache_logger_on_first_use=False,
    )
    try:
        yield
    finally:
        structlog.configure(**known)


def simulate(seed: int, mutant: str | None = None, *, is_verbose: bool = False) -> Verdict:
    """Run one seed; with a mutant, on a product that has this defect."""
    simulation = Simulation(seed, frozenset([mutant] if mutant else ()), is_verbose)
    with _listening(simulation), mutated(mutant):
        return simulation.run()

"""PostgreSQL and the ways to it: connections that break, answers that get lost, statements that run late.

It stands where `runtime.store.pool.Database` stands, so the real ExecutionStore, Flusher, Enqueuer and
Leadership run on it. A statement is known by its text. What is fenced takes its key share on the seat when
it begins and gives it back with the commit, as on the server; between the two anything may happen.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final

from runtime.store.faults import translated
from runtime.store.statements import statements
from tests.simulator.loop import PROCESS, Process, SimLoop
from tests.simulator.model import Model
from tests.simulator.tables import Refused, Row, read_array

_COMMAND_SECONDS: Final = 10.0
_START_SECONDS: Final = 10.0
_FENCED: Final = frozenset(
    {
        *(
            "claim",
            "claim_alone",
            "due",
            "takeover",
            "flush",
            "flush_with_children",
            "flush_with_tasks",
        ),
        *("chunk_lend", "chunk_take", "chunk_end", "chunk_back"),
    }
)
_FLUSHES: Final = frozenset({"flush", "flush_with_children", "flush_with_tasks"})
_PEOPLE: Final = frozenset({"enqueue", "send", "retry", "rewind"})
# Nothing rests on what they delete: they are done at once.
_TIDYING: Final = frozenset({"cache_sweep", "cache_shrink", "cache_orphans"})
_UPKEEP: Final = frozenset({"make_partitions", "drop_logs", "forget_keys", "write"})


NAMES: Final = (
    {
        text: name
        for noun, names in (
            ("execution", None),
            ("checkpoint", None),
            ("enqueue", None),
            ("leadership", None),
            ("log", ("write",)),
            ("workflow", ("plan", "versions_to_start")),
            ("blob", ("refer",)),
        )
        for name, text in statements(noun).items()
        if names is None or name in names
    }
    | {text: f"chunk_{name}" for name, text in statements("map_chunk").items()}
    | {text: f"cache_{name}" for name, text in statements("step_cache").items()}
    | dict.fromkeys((*statements("retention").values(), statements("blob")["days"]), "retention")
)


@dataclass(frozen=True, slots=True)
class Weather:
    """How bad the world is: chances per statement, seconds. All zero is a perfect day."""

    lost_request: float = 0.0
    lost_reply: float = 0.0
    late: float = 0.0
    rolled_back: float = 0.0
    slow: float = 0.0
    hold: float = 0.0
    lost_hint: float = 0.0
    double_hint: float = 0.0
    slowness: float = 0.0


CALM: Final = Weather()


class Server:
    """One PostgreSQL: its tables, and what is under way in it."""

    def __init__(self, loop: SimLoop, model: Model, mutants: frozenset[str]) -> None:
        self.loop = loop
        self.model = model
        self.weather = CALM
        self.process = loop.spawn("postgres")
        self.run = 0
        self.is_down = False
        # What clients and operators have sent and the server has not done yet, nobody may be waiting for it.
        self.asked = 0
        self.on_flush: Callable[[int], None] = lambda _me: None
        self.on_flush_begun: Callable[[Any, float], None] = lambda _arguments, _hold: None
        self.on_flush_lost: Callable[[int], None] = lambda _me: None
        self._mutants = mutants
        self._leader: Connection | None = None
        self._appeared: list[tuple[int, Connection]] = []
        self._up_since = loop.time()
        model.is_present = self._is_present

    def restart(self, seconds: float) -> None:
        """Everything under way is rolled back, every connection ends."""
        self.run += 1
        self.is_down = True
        self._leader = None
        self._appeared = []
        for seat in self.model.seats.values():
            seat.holders = 0
        self.later(seconds, self._up)

    def _up(self) -> None:
        self.is_down = False
        self._up_since = self.loop.time()

    def _is_present(self, me: int) -> bool:
        """Just after a start nobody is missed."""
        self._appeared = [one for one in self._appeared if not one[1].is_gone]
        return self.loop.time() - self._up_since < _START_SECONDS or any(
            one == me for one, _ in self._appeared
        )

    def later(self, seconds: float, work: Callable[..., None], *arguments: Any) -> None:
        """Do something in the server, after a while."""
        self.loop.call_later(seconds, work, *arguments, context=self.process.context)

    def chance(self, probability: float) -> bool:
        return probability > 0 and self.loop.random.random() < probability

    def delay(self) -> float:
        """The way there or back."""
        random = self.loop.random
        if self.chance(self.weather.slow):
            return random.random() * random.choice((0.05, 0.5, 3.0))
        return 0.0002 + random.random() * 0.0015

    # --- one statement ---------------------------------------------------------------------------

    def begin(
        self,
        connection: Connection,
        name: str,
        arguments: tuple[Any, ...],
        answer: Any,
        hold: float = 0.0,
    ) -> None:
        """The statement has arrived: fence, key share, and the rest when it has its turn."""
        run = self.run
        self.asked -= name in _PEOPLE
        if self.is_down or connection.run != run:
            answer(ConnectionResetError("the server restarts"))
            return
        held, seen = self._fence(name, arguments)
        if name == "leave" and self._is_held(arguments[1]):
            self.later(0.01, self.begin, connection, name, arguments, answer, hold)
            return
        if not _is_fenced(name, arguments):
            hold = 0.0
        elif self.chance(self.weather.hold):
            hold += self.loop.random.random() * 6.0
        if name in _FLUSHES:
            self.on_flush_begun(arguments, hold)
        if seen is not None and name == "takeover":
            hold += 0.02
        if hold:
            # Not over while it is held: what it accepts has to come to an end as well.
            self.asked += name in _PEOPLE
            self.later(hold, self._end, run, connection, name, arguments, answer, held, seen)
            self.later(hold, self._over, name)
        else:
            self._end(run, connection, name, arguments, answer, held, seen)

    def _over(self, name: str) -> None:
        self.asked -= name in _PEOPLE

    def _fence(self, name: str, arguments: tuple[Any, ...]) -> tuple[int | None, Any]:
        """The seat that this statement holds for key share, and what a mutant has seen already."""
        held, seen = None, None
        if _is_fenced(name, arguments) and self.model.is_live(arguments[1], arguments[2]):
            held = arguments[1]
            if name in _FLUSHES and "flush_unlocked" in self._mutants:
                return None, "fenced already"
            self.model.seats[held].holders += 1
        if name == "takeover" and "takeover_at_once" in self._mutants:
            seen = self.model.snapshot()
        return held, seen

    def _is_held(self, me: int) -> bool:
        seat = self.model.seats.get(me)
        return seat is not None and seat.holders > 0

    def _end(
        self, run: int, connection: Connection, name: str, arguments: Any, answer: Any, held: Any,
        seen: Any,
    ) -> None:  # fmt: skip
        if run != self.run:
            answer(ConnectionResetError("the server restarted"))
            return
        if self.chance(self.weather.rolled_back):
            result: Any = Refused("40P01", "deadlock detected")
        else:
            try:
                result = self._do(connection, name, arguments, seen)
            except Refused as error:
                result = error
        if held is not None and held in self.model.seats:
            self.model.seats[held].holders -= 1
        answer(result)
        return

    def _do(self, connection: Connection, name: str, arguments: Any, seen: Any) -> list[Row]:
        if name in {"take", "prove"}:
            if self._leader is None or self._leader.is_gone:
                self._leader = connection
            return [Row((self._leader is connection,))]
        if name == "appear":
            self._appeared.append((arguments[0], connection))
            return [Row((None,))]
        if name == "retention":
            return []
        if name in _UPKEEP:
            return [Row((0,))]
        if name in {"plan", "versions_to_start"}:
            return [Row((arguments[0],))]
        if seen == "fenced already":
            return self.model.flush_body(arguments[1], arguments[3:])
        if isinstance(seen, dict):
            return self.model.takeover_at_once(arguments[1], arguments[2], seen)
        return self.model.call(name, *arguments)


def _is_fenced(name: str, arguments: tuple[Any, ...]) -> bool:
    """Whether the statement holds a seat: an enqueue does when a worker offers places for it."""
    return name in _FENCED or (name == "enqueue" and arguments[1] is not None)


class Connection:
    """One connection of one process; after its first failure it is broken."""

    def __init__(self, server: Server, process: Process) -> None:
        self._server = server
        self._process = process
        self.run = server.run
        self._is_closed = False

    @property
    def is_gone(self) -> bool:
        return self._is_closed or self._process.is_dead or self.run != self._server.run

    def is_closed(self) -> bool:
        return self._is_closed

    def terminate(self) -> None:
        self._is_closed = True

    def add_termination_listener(self, callback: Callable[[Connection], None]) -> None:
        """Here nobody is told: a broken connection is found by whoever uses it."""

    async def fetch(self, text: str, *arguments: Any, timeout: float | None = None) -> list[Row]:
        server, name = self._server, NAMES[text]
        if name in _TIDYING:
            return server.model.call(name, *arguments)
        if name in _FLUSHES:
            arguments = tuple(map(read_array, arguments))
            server.on_flush(arguments[1])
        try:
            async with asyncio.timeout(timeout or _COMMAND_SECONDS):
                return await self._ask(name, arguments)
        except (OSError, TimeoutError):
            self._is_closed = True
            if name in _FLUSHES:
                server.on_flush_lost(arguments[1])
            raise

    async def _ask(self, name: str, arguments: tuple[Any, ...]) -> list[Row]:
        server, loop = self._server, self._server.loop
        if self.is_gone or server.is_down:
            raise ConnectionResetError("the connection is closed")
        future: asyncio.Future[list[Row]] = loop.create_future()
        weather = server.weather

        def settle(result: Any) -> None:
            if future.done():
                return
            if isinstance(result, BaseException):
                future.set_exception(result)
            else:
                future.set_result(result)

        def answer(result: Any) -> None:
            lost = server.chance(weather.lost_reply)
            back = ConnectionResetError("the answer got lost") if lost else result
            server.later(server.delay(), settle, back)

        if server.chance(weather.lost_request):
            server.later(server.delay(), settle, ConnectionResetError("the request got lost"))
        elif server.chance(weather.late * (5 if name == "enqueue" and arguments[1] else 1)):
            # The client hears that the connection broke; the server still runs the statement: it begins
            # late, or has begun and ends late.
            server.later(server.delay(), settle, ConnectionResetError("the connection broke"))
            wait = loop.random.random() * 8.0 if server.chance(0.5) else 0.0
            server.asked += name in _PEOPLE
            hold = 0.0 if wait else loop.random.random() * loop.random.choice((0.05, 0.4, 6.0))
            server.later(wait, server.begin, self, name, arguments, lambda _result: None, hold)
        else:
            server.asked += name in _PEOPLE
            server.later(server.delay(), server.begin, self, name, arguments, answer)
        return await future

    async def fetchrow(self, text: str, *arguments: Any, timeout: float | None = None) -> Any:
        rows = await self.fetch(text, *arguments, timeout=timeout)
        return rows[0] if rows else None

    async def fetchval(self, text: str, *arguments: Any, timeout: float | None = None) -> Any:
        row = await self.fetchrow(text, *arguments, timeout=timeout)
        return None if row is None else row[0]

    async def execute(self, text: str, *arguments: Any, timeout: float | None = None) -> Any:
        return await self.fetch(text, *arguments, timeout=timeout)


class SimDatabase:
    """Stands where Database stands, for one process."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self.url = "simulated"

    @asynccontextmanager
    async def engine(self) -> AsyncIterator[Connection]:
        with translated():
            yield await self._connect()

    worker = engine

    async def dedicated(self, *, command_seconds: float = 10.0) -> Connection:
        with translated():
            await asyncio.sleep(self._server.delay())
            return await self._connect()

    async def _connect(self) -> Connection:
        if self._server.is_down:
            await asyncio.sleep(0.005)
            raise ConnectionRefusedError("the server is down")
        return Connection(self._server, PROCESS.get())

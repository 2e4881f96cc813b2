"""Judges: processes of their own in which somebody's data is judged by somebody's schema.

The library that judges was not made for hostile schemas, so it never runs in a server: a judge has some seconds for a
question and so much memory, and is ended and replaced when that is not enough. There are two. The first takes every
question and has half a second for it, so nobody waits long for it; what takes longer is asked again of the second,
where slow questions wait for each other. A tenant has one question with each of them at a time. They are started when
the first question comes.
"""

from __future__ import annotations

import asyncio
import json
import pickle
import sys
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from typing import Any, BinaryIO, Final
from uuid import UUID

import orjson

from runtime.abi.catalog import Catalog
from runtime.abi.surroundings import Surroundings
from runtime.definition import (
    QUICK,
    DocumentQuestion,
    InputQuestion,
    Question,
    SchemaQuestion,
    TooCostly,
    Validation,
    apply_params,
    apply_schema,
    budget,
    canonical_digest,
    refuse_schema,
    validate,
)
from runtime.model.errors import Exhausted, Invalid, MaestroError, Problem, Unavailable
from runtime.model.plan import Plan
from runtime.model.values import Json
from runtime.model.workflow import DefinitionFormat
from runtime.telemetry.log import get_logger, log_descriptor

SECONDS: Final = 10.0  # For one question, as for one simulation.
_FIRST_SECONDS: Final = 0.5
_WAIT_SECONDS: Final = 30.0  # For the questions of others, and one's own that came before.
_START_SECONDS: Final = 60.0
_WAITING: Final = 128  # Questions of one tenant, with those that are being answered.
_LENGTH_BYTES: Final = 8
_LARGE: Final = 262_144  # Characters of a document that takes more than the first judge has for it.
_SMALL: Final = (
    1_024  # Characters of a document that may be looked at here: some tens of milliseconds.
)
_MUCH: Final = 1_000  # Units of the budget, after which others get their turn.

_log = get_logger("judges")


class Judges:
    """The judges of one server. `command` is the process that judges; `seconds` is what one has for a question."""

    def __init__(
        self,
        catalog: Catalog,
        *,
        seconds: float = SECONDS,
        first_seconds: float = _FIRST_SECONDS,
        wait_seconds: float = _WAIT_SECONDS,
        command: tuple[str, ...] = (sys.executable, "-m", "runtime.judge"),
    ) -> None:
        self._catalog = catalog
        self._wait_seconds = wait_seconds
        self._first = _Place(catalog, command, min(first_seconds, seconds))
        self._second = _Place(catalog, command, seconds)
        self._waiting: Counter[UUID] = Counter()

    @property
    def pids(self) -> tuple[int, ...]:
        """The processes that run now."""
        return self._first.pids + self._second.pids

    async def input(self, tenant_id: UUID, plan: Plan, given: Json) -> Json:
        """An input with its defaults; raises Invalid, also for what takes too long to judge."""
        try:
            with budget(QUICK) as left:
                found = apply_params(plan, given)
        except (TooCostly, RecursionError, ValueError):
            return await self._asked(tenant_id, plan, given)
        if QUICK - left[0] > _MUCH:
            await asyncio.sleep(0)  # A thousand of them in one request keep nobody waiting for all.
        return found

    async def form(self, tenant_id: UUID, schema: Json, given: Json) -> Json:
        """What somebody has filled in, with the defaults of the form; raises Invalid with paths below `input`."""
        digest = canonical_digest(schema).text
        with suppress(TooCostly, RecursionError, ValueError), budget(QUICK):
            return apply_schema(digest, schema, given)
        return await self._judged(
            tenant_id, lambda: InputQuestion(digest, json.dumps(schema), orjson.dumps(given)), given
        )

    async def schema(self, tenant_id: UUID, schema: Json, place: str) -> None:
        """Raise Invalid for what is no JSON Schema that a judge can judge by; `place` is where it stands."""
        with suppress(TooCostly, RecursionError, ValueError), budget(QUICK):
            refuse_schema(schema, place)
            return
        try:
            await self._ask(tenant_id, lambda: SchemaQuestion(json.dumps(schema), place))
        except (TooCostly, TypeError, RecursionError):
            message = "checking this JSON Schema takes too long"
            raise Invalid([Problem("json-schema", message, path=(place,))]) from None

    async def _asked(self, tenant_id: UUID, plan: Plan, given: Json) -> Json:
        def question() -> Question:
            schema = json.dumps(plan.params_schema)
            return InputQuestion(plan.digest.text, schema, orjson.dumps(given))

        return await self._judged(tenant_id, question, given)

    async def _judged(self, tenant_id: UUID, question: Callable[[], Question], given: Json) -> Json:
        try:
            filled: bytes | None = await self._ask(tenant_id, question)
        except TooCostly:
            message = "the input is too large for its schema: checking it takes too long"
            raise Invalid([Problem("params", message, path=("input",))]) from None
        except (TypeError, RecursionError):
            message = "the input is no JSON: nested too deeply, or with what has no place there"
            raise Invalid([Problem("params", message, path=("input",))]) from None
        return given if filled is None else orjson.loads(filled)

    async def document(
        self,
        tenant_id: UUID,
        source: str,
        format: DefinitionFormat | None,
        *,
        publishing: bool,
        surroundings: Surroundings,
    ) -> Validation:
        """The findings in a document, and its definition. Without a plan: who wants that one compiles it aside."""
        with suppress(TooCostly):
            if len(source) <= _SMALL and not ("&" in source and "*" in source):
                with budget(QUICK):
                    found = validate(
                        source,
                        format,
                        self._catalog,
                        publishing=publishing,
                        surroundings=surroundings,
                    )
                await asyncio.sleep(0)  # Fifty of them in one request keep nobody waiting for all.
                return replace(found, plan=None)
        question = DocumentQuestion(source, format, publishing, surroundings)
        try:
            found, definition = await self._ask(
                tenant_id, lambda: question, is_large=len(source) > _LARGE
            )
        except TooCostly:
            hint = "fewer and simpler schemas, patterns and defaults"
            message = "checking this document takes too long"
            return Validation((Problem("too-large", message, line=1, column=1, hint=hint),))
        judged: Validation = found
        return replace(judged, definition=definition and orjson.loads(definition))

    async def close(self) -> None:
        """End all judges; whoever waits for one is told that nobody answers."""
        await asyncio.gather(self._first.close(), self._second.close())

    async def _ask(
        self, tenant_id: UUID, question: Callable[[], Question], *, is_large: bool = False
    ) -> Any:
        """The answer; raises Invalid, or TooCostly when there is none in time."""
        if self._waiting[tenant_id] >= _WAITING:
            raise _many()
        self._waiting[tenant_id] += 1
        try:
            answer = await self._answered(tenant_id, question, is_large=is_large)
        finally:
            self._waiting[tenant_id] -= 1
            if not self._waiting[tenant_id]:
                del self._waiting[tenant_id]
        found, problems = pickle.loads(answer)  # noqa: S301 - from a process of our own
        if type(problems) is str:
            raise RuntimeError(f"a judge failed by {problems}")
        if problems is None:
            return found
        if not problems:
            raise TooCostly
        raise Invalid(problems)

    async def _answered(
        self, tenant_id: UUID, question: Callable[[], Question], *, is_large: bool
    ) -> bytes:
        """By the judge for all, else by the one with time; each takes one question of a tenant after the other."""
        deadline = asyncio.get_running_loop().time() + self._wait_seconds
        message = b""

        def once() -> bytes:
            # Not before its turn: many that wait hold no copies of what they ask about.
            nonlocal message
            message = message or pickle.dumps(question())
            return message

        if not is_large:
            with suppress(TooCostly):
                return await self._first.ask(tenant_id, once, deadline)
        return await self._second.ask(tenant_id, once, deadline)


class _Place:
    """Where one judge at a time answers, within so many seconds."""

    def __init__(self, catalog: Catalog, command: tuple[str, ...], seconds: float) -> None:
        self._catalog = catalog
        self._command = command
        self._seconds = seconds
        self._turns: dict[UUID, tuple[asyncio.Lock, list[None]]] = {}
        self._lock = asyncio.Lock()
        self._judge: _Judge | None = None
        self._next: asyncio.Task[_Judge] | None = None
        self._is_closed = False
        self._leaving: set[asyncio.Task[None]] = set()

    @property
    def pids(self) -> tuple[int, ...]:
        """The process that runs now, if one does."""
        return (self._judge.pid,) if self._judge and self._judge.lives else ()

    async def ask(self, tenant_id: UUID, message: Callable[[], bytes], deadline: float) -> bytes:
        """The answer; raises TooCostly when it takes too long, and Unavailable when nobody can be asked by then."""
        async with self._turn(tenant_id, deadline), _held(self._lock, deadline, _nobody):
            # A judge that was ended from outside says nothing about the question: once more, of a fresh one.
            for _ in range(2):
                judge = await self._ready(deadline)
                try:
                    async with asyncio.timeout(self._seconds):
                        return await judge.ask(message())
                except TimeoutError:
                    _log.warning("judge_too_slow", pid=judge.pid, seconds=self._seconds)
                    raise TooCostly from None
                except (EOFError, ConnectionError):
                    self._refuse_closed()
                    _log.warning("judge_died", pid=judge.pid)
                finally:
                    if not judge.is_ready:
                        self._replace(judge)
            raise TooCostly

    async def close(self) -> None:
        """End it, and let nobody start another."""
        self._is_closed = True
        if self._judge:
            self._judge.kill()
        if self._next:
            await asyncio.wait([self._next])
        if self._judge:
            await self._judge.gone()
        await asyncio.gather(*self._leaving)

    @asynccontextmanager
    async def _turn(self, tenant_id: UUID, deadline: float) -> AsyncIterator[None]:
        """One question of a tenant after the other."""
        lock, here = self._turns.setdefault(tenant_id, (asyncio.Lock(), []))
        here.append(None)
        try:
            async with _held(lock, deadline, _many):
                yield
        finally:
            here.pop()
            if not here:
                del self._turns[tenant_id]

    def _replace(self, judge: _Judge) -> None:
        """End a judge, and start another for whoever comes next."""
        judge.kill()
        leaving = asyncio.create_task(judge.gone(), name="judge-end")
        self._leaving.add(leaving)
        leaving.add_done_callback(self._leaving.discard)
        if not self._is_closed and self._next is None:
            self._begin()

    def _begin(self) -> asyncio.Task[_Judge]:
        self._next = begun = asyncio.create_task(self._start(), name="judge-start")
        begun.add_done_callback(self._begun)
        return begun

    def _begun(self, task: asyncio.Task[_Judge]) -> None:
        """Nobody may wait for a start that has failed; whoever comes next begins another."""
        self._next = None
        if not task.cancelled():
            task.exception()

    async def _ready(self, deadline: float) -> _Judge:
        """The judge that is there, or a fresh one."""
        self._refuse_closed()
        if self._judge is None or not (self._judge.lives and self._judge.is_ready):
            begun = self._next or self._begin()
            try:
                async with asyncio.timeout_at(deadline):
                    # Who goes away leaves it to the next.
                    self._judge = await asyncio.shield(begun)
            except TimeoutError:
                raise _nobody() from None
            self._refuse_closed()
        return self._judge

    async def _start(self) -> _Judge:
        """A judge that can be asked; one that is ended while it starts is started once more."""
        for is_again in (False, True):
            judge = await self._spawn()
            try:
                self._refuse_closed()
                async with asyncio.timeout(_START_SECONDS):
                    await judge.ask(pickle.dumps((self._catalog, self._seconds)))
            except BaseException as error:
                judge.kill()
                await judge.gone()
                self._refuse_closed()
                if not isinstance(error, TimeoutError | EOFError | ConnectionError):
                    raise
                if is_again or isinstance(error, TimeoutError):
                    _log.error("judge_not_started", pid=judge.pid)
                    raise _nobody() from error
            else:
                return judge
        raise _nobody()

    async def _spawn(self) -> _Judge:
        try:
            process = await asyncio.create_subprocess_exec(
                *self._command,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=log_descriptor(),
                start_new_session=True,
            )
        except OSError as error:
            _log.error("judge_not_started", reason=str(error))
            raise _nobody() from error
        self._judge = _Judge(process)
        return self._judge

    def _refuse_closed(self) -> None:
        if self._is_closed:
            raise _nobody()


class _Judge:
    """One process: a question, then its answer."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self.pid = process.pid
        self.is_ready = True

    @property
    def lives(self) -> bool:
        """Whether nobody has seen its end."""
        return self._process.returncode is None

    async def ask(self, message: bytes) -> bytes:
        """The answer to a question; raises EOFError or ConnectionError when the process ends instead."""
        self.is_ready = False
        stdin, stdout = self._process.stdin, self._process.stdout
        if stdin is None or stdout is None:
            raise EOFError
        stdin.write(framed(message))
        await stdin.drain()
        length = int.from_bytes(await stdout.readexactly(_LENGTH_BYTES), "big")
        is_last = await stdout.readexactly(1) != b"\0"
        answer = await stdout.readexactly(length - 1)
        self.is_ready = not is_last
        return answer

    def kill(self) -> None:
        """End it, whatever it does."""
        with suppress(ProcessLookupError):
            self._process.kill()

    async def gone(self) -> None:
        """Wait for its end."""
        await self._process.wait()


def framed(message: bytes) -> bytes:
    """A message behind its length."""
    return len(message).to_bytes(_LENGTH_BYTES, "big") + message


def read_framed(stream: BinaryIO) -> bytes | None:
    """The next message of the other side; None when that has gone."""
    head = stream.read(_LENGTH_BYTES)
    if len(head) < _LENGTH_BYTES:
        return None
    length = int.from_bytes(head, "big")
    body = stream.read(length)
    return body if len(body) == length else None


@asynccontextmanager
async def _held(
    lock: asyncio.Lock, deadline: float, refusal: Callable[[], MaestroError]
) -> AsyncIterator[None]:
    """A lock that was to be had before the deadline, of the loop's clock."""
    try:
        async with asyncio.timeout_at(deadline):
            await lock.acquire()
    except TimeoutError:
        raise refusal() from None
    try:
        yield
    finally:
        lock.release()


def _many() -> Exhausted:
    return Exhausted(
        "Many inputs and documents of yours are being checked already; try again when they are.",
        reason="TOO_MANY_CHECKS",
    )


def _nobody() -> Unavailable:
    return Unavailable(
        "This input or document needs a closer check, which nobody can make at the moment; try again.",
        reason="NO_JUDGE",
    )

"""Judges: a few processes of their own in which somebody's data is judged by somebody's schema.

The library that judges was not made for hostile schemas, so it never runs in a server: a judge has some seconds for a
question and so much memory, and is ended and replaced when that is not enough. Judges are started when the first
question comes. A tenant occupies one of them at most, so its slow questions keep no other tenant waiting.
"""

from __future__ import annotations

import asyncio
import pickle
import sys
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any, BinaryIO, Final
from uuid import UUID

from runtime.abi.catalog import Catalog
from runtime.abi.surroundings import Surroundings
from runtime.definition import (
    QUICK,
    DocumentQuestion,
    InputQuestion,
    Question,
    TooCostly,
    Validation,
    apply_params,
    budget,
    validate,
)
from runtime.model.errors import Exhausted, Invalid, Problem, Unavailable
from runtime.model.plan import Plan
from runtime.model.values import Json
from runtime.model.workflow import DefinitionFormat
from runtime.telemetry.log import get_logger, log_descriptor

SECONDS: Final = 10.0  # For one question, as for one simulation.
_START_SECONDS: Final = 60.0
_AT_ONCE: Final = 2
_WAITING: Final = 32  # Questions of one tenant, with the one that is being answered.
_LENGTH_BYTES: Final = 8
_SMALL: Final = 8_192  # Characters of a document that may be looked at here: some milliseconds.
_LARGE_ANSWER: Final = 65_536

_log = get_logger("judges")


class Judges:
    """The judges of one server. `command` is the process that judges; `seconds` is what it has for a question."""

    def __init__(
        self,
        catalog: Catalog,
        *,
        seconds: float = SECONDS,
        command: tuple[str, ...] = (sys.executable, "-m", "runtime.judge"),
    ) -> None:
        self._catalog = catalog
        self._seconds = seconds
        self._command = command
        self._places = asyncio.Semaphore(_AT_ONCE)
        self._turns: dict[UUID, asyncio.Lock] = {}
        self._waiting: Counter[UUID] = Counter()
        self._idle: list[_Judge] = []
        self._all: set[_Judge] = set()
        self._is_closed = False

    @property
    def pids(self) -> tuple[int, ...]:
        """The processes that run now."""
        return tuple(judge.pid for judge in self._all if judge.lives)

    async def input(self, tenant_id: UUID, plan: Plan, given: Json) -> Json:
        """An input with its defaults; raises Invalid, also for what takes too long to judge."""
        try:
            return apply_params(plan, given, quickly=True)
        except TooCostly:
            question = InputQuestion(plan.digest.text, plan.params_schema, given)
        try:
            found: Json = await self._ask(tenant_id, question)
        except TooCostly:
            message = "the input is too large for its schema: checking it takes too long"
            raise Invalid([Problem("params", message, path=("input",))]) from None
        return found

    async def document(
        self,
        tenant_id: UUID,
        source: str,
        format: DefinitionFormat | None,
        *,
        publishing: bool,
        surroundings: Surroundings,
    ) -> Validation:
        """The findings in a document."""
        with suppress(TooCostly):
            if len(source) <= _SMALL:
                with budget(QUICK):
                    return validate(
                        source,
                        format,
                        self._catalog,
                        publishing=publishing,
                        surroundings=surroundings,
                    )
        question = DocumentQuestion(source, format, publishing, surroundings)
        try:
            found: Validation = await self._ask(tenant_id, question)
        except TooCostly:
            hint = "fewer and simpler schemas, patterns and defaults"
            message = "checking this document takes too long"
            found = Validation((Problem("too-large", message, line=1, column=1, hint=hint),))
        return found

    async def close(self) -> None:
        """End all judges; whoever waits for one is told that nobody answers."""
        self._is_closed = True
        for judge in self._all:
            judge.kill()
        await asyncio.gather(*(judge.gone() for judge in self._all))
        self._all.clear()
        self._idle.clear()

    async def _ask(self, tenant_id: UUID, question: Question) -> Any:
        """The answer; raises Invalid, or TooCostly when there is none in time."""
        message = pickle.dumps(question)
        async with self._turn(tenant_id), self._judge() as judge:
            try:
                async with asyncio.timeout(self._seconds):
                    answer = await judge.ask(message)
            except TimeoutError:
                _log.warning("judge_too_slow", pid=judge.pid, tenant=str(tenant_id))
                raise TooCostly from None
            except (EOFError, ConnectionError) as error:
                self._refuse_closed()
                _log.warning("judge_died", pid=judge.pid, tenant=str(tenant_id))
                raise TooCostly from error
        if len(answer) > _LARGE_ANSWER:
            found, problems = await asyncio.to_thread(pickle.loads, answer)
        else:
            found, problems = pickle.loads(answer)  # noqa: S301 - from a process of our own
        if problems is None:
            return found
        if not problems:
            raise TooCostly
        raise Invalid(problems)

    @asynccontextmanager
    async def _turn(self, tenant_id: UUID) -> AsyncIterator[None]:
        """One question of a tenant after the other; raises Exhausted when many wait already."""
        if self._waiting[tenant_id] >= _WAITING:
            raise Exhausted(
                "Many inputs and documents of yours are being checked already; try again when they are.",
                reason="TOO_MANY_CHECKS",
            )
        turn = self._turns.setdefault(tenant_id, asyncio.Lock())
        self._waiting[tenant_id] += 1
        try:
            async with turn:
                yield
        finally:
            self._waiting[tenant_id] -= 1
            if not self._waiting[tenant_id]:
                del self._waiting[tenant_id], self._turns[tenant_id]

    @asynccontextmanager
    async def _judge(self) -> AsyncIterator[_Judge]:
        """A judge to ask; one that was left in the middle of an answer is ended."""
        async with self._places:
            self._refuse_closed()
            self._all = {judge for judge in self._all if judge.lives}
            self._idle = [judge for judge in self._idle if judge.lives]
            judge = self._idle.pop() if self._idle else await self._start()
            try:
                yield judge
            finally:
                if judge.is_ready and not self._is_closed:
                    self._idle.append(judge)
                elif not self._is_closed:
                    judge.kill()

    async def _start(self) -> _Judge:
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
        judge = _Judge(process)
        self._all.add(judge)
        try:
            async with asyncio.timeout(_START_SECONDS):
                await judge.ask(pickle.dumps((self._catalog, self._seconds)))
        except BaseException as error:
            judge.kill()
            await judge.gone()
            if isinstance(error, TimeoutError | EOFError | ConnectionError):
                _log.error("judge_not_started", pid=judge.pid)
                raise _nobody() from error
            raise
        return judge

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


def _nobody() -> Unavailable:
    return Unavailable(
        "What needs a closer look can't be checked at the moment; try again.", reason="NO_JUDGE"
    )

"""Threads for synchronous steps: bounded, and unable to hold up the end of the process.

A synchronous step gets a context whose log, heartbeat and cancel token may be used from its thread;
the loop's own objects are touched only in the loop. A place is free again when the function has
really returned, so a step that ignores its token takes a place, never more than it was given. Whoever wants to know
what became of a call that was cut off is told whether its function began, and when it has returned.
"""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from typing import Final, TypeVar, cast

from runtime.abi.connector import CancelToken, Heartbeat, StepContext, StepLog
from runtime.model.errors import StepErrorKind, StepFailed

T = TypeVar("T")

SERVICE: Final = "threads"
_NOT_BEGUN: Final = "the function waited for a thread and was not called"


class StepThreads:
    """Runs functions in threads, at most `limit` at a time; one object per event loop."""

    def __init__(self, limit: int = 32) -> None:
        self._places = asyncio.Semaphore(limit)
        self._tokens: set[_ThreadToken] = set()
        # Functions that have not returned, by the key of their call.
        self._working: Counter[str] = Counter()
        self._one_returned = asyncio.Event()

    async def run(self, context: StepContext, work: Callable[[StepContext], T]) -> T:
        """What `work` returns or raises. When this task is cancelled, the thread's token trips."""
        try:
            await self._places.acquire()
        except asyncio.CancelledError as cut:
            cut.add_note(_NOT_BEGUN)
            raise
        loop = asyncio.get_running_loop()
        token = _ThreadToken(context.cancel)
        inner = replace(
            context,
            cancel=token,
            log=_LoopLog(loop, context.log),
            heartbeat=_in_loop(loop, context.heartbeat),
        )
        done: asyncio.Future[T] = loop.create_future()
        variables = contextvars.copy_context()

        def body() -> None:
            result: T | None = None
            failure: BaseException | None = None
            try:
                result = variables.run(work, inner)
            except BaseException as error:  # noqa: BLE001 - carried to who waits
                failure = error
            _call(loop, lambda: self._finish(token, key, done, result, failure))

        key = context.idempotency_key
        self._tokens.add(token)
        self._working[key] += 1
        try:
            threading.Thread(target=body, name=f"step-{context.step_key}", daemon=True).start()
        except RuntimeError:  # The system gives no more threads.
            self._places.release()
            self._tokens.discard(token)
            self._forget(key)
            raise
        watch = asyncio.create_task(token.follow())
        try:
            return await done
        except asyncio.CancelledError:
            token.trip(context.cancel.reason or "its time is over")
            raise
        finally:
            watch.cancel()

    async def has_returned(self, key: str, seconds: float) -> bool:
        """Whether no function of a call with this key runs here any more; waits so long for its return."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while key in self._working:
                    await self._one_returned.wait()
        return key not in self._working

    async def close(self) -> None:
        """Tell every thread to stop; who ignores it ends with the process."""
        for token in tuple(self._tokens):
            token.trip("the process ends")

    def _forget(self, key: str) -> None:
        """A function with this key runs no more; whoever waits looks again."""
        self._working[key] -= 1
        if not self._working[key]:
            del self._working[key]
        self._one_returned.set()
        self._one_returned = asyncio.Event()

    def _finish(
        self,
        token: _ThreadToken,
        key: str,
        done: asyncio.Future[T],
        result: T | None,
        failure: BaseException | None,
    ) -> None:
        """Free the place, and tell who waits; nobody does when the step was stopped before."""
        self._places.release()
        self._tokens.discard(token)
        self._forget(key)
        if done.done():
            return
        if failure is None:
            done.set_result(cast("T", result))
        elif isinstance(failure, Exception | SystemExit) and not isinstance(failure, StopIteration):
            done.set_exception(failure)
        else:
            done.set_exception(RuntimeError(f"the step raised {type(failure).__name__}"))


def was_not_begun(cut: BaseException | None) -> bool:
    """Whether what was cut off here was still waiting for a thread, so that nothing was called."""
    return _NOT_BEGUN in getattr(cut, "__notes__", ())


def _call(loop: asyncio.AbstractEventLoop, work: Callable[[], object]) -> None:
    """Run something in the loop; a loop that is over is told nothing."""
    try:
        loop.call_soon_threadsafe(work)
    except RuntimeError:
        if not loop.is_closed():
            raise


def _in_loop(loop: asyncio.AbstractEventLoop, heartbeat: Heartbeat) -> Heartbeat:
    def beat(progress: object = None) -> None:
        _call(loop, lambda: heartbeat(progress))

    return beat


class _LoopLog:
    """A StepLog for threads."""

    def __init__(self, loop: asyncio.AbstractEventLoop, log: StepLog) -> None:
        self._loop = loop
        self._log = log

    def debug(self, message: str, **fields: object) -> None:
        """Log for developers."""
        _call(self._loop, lambda: self._log.debug(message, **fields))

    def info(self, message: str, **fields: object) -> None:
        """Log for operators."""
        _call(self._loop, lambda: self._log.info(message, **fields))

    def warning(self, message: str, **fields: object) -> None:
        """Log what is odd but handled."""
        _call(self._loop, lambda: self._log.warning(message, **fields))

    def error(self, message: str, **fields: object) -> None:
        """Log what went wrong."""
        _call(self._loop, lambda: self._log.error(message, **fields))


class _ThreadToken:
    """A cancel token that a thread can wait on; tripped by the step's token or by its task's end."""

    def __init__(self, outer: CancelToken) -> None:
        self._outer = outer
        self._tripped = threading.Event()
        self._reason: str | None = None

    def trip(self, reason: str) -> None:
        if not self._tripped.is_set():
            self._reason = reason
            self._tripped.set()

    async def follow(self) -> None:
        """Trip when the step's own token does."""
        await self._outer.wait()
        self.trip(self._outer.reason or "cancelled")

    @property
    def is_cancelled(self) -> bool:
        return self._tripped.is_set() or self._outer.is_cancelled

    @property
    def reason(self) -> str | None:
        return self._reason or self._outer.reason

    def raise_if_cancelled(self) -> None:
        if self.is_cancelled:
            raise StepFailed(
                f"The step was told to stop: {self.reason}.",
                kind=StepErrorKind.CANCELLED,
                type="step.cancelled",
            )

    async def wait(self) -> None:
        await self._outer.wait()

    def wait_for(self, seconds: float) -> bool:
        return self._tripped.wait(seconds) or self.is_cancelled

"""The connection to Redis that queue and wake-up share, and its one promise: it never stands in the way.

Hints are gathered and sent by one task, in pipelines, without anybody waiting. When Redis is away
they are dropped; that is said once in the log and shown by the metric.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, Final, TypeVar
from urllib.parse import urlsplit

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import AuthenticationError, RedisError, ResponseError
from redis.exceptions import ConnectionError as RedisConnectionError

from runtime.model.errors import SetupError, Unavailable
from runtime.telemetry.log import get_logger
from runtime.telemetry.metrics import Metrics

T = TypeVar("T")

OLDEST: Final = (6, 2)
AWAY: Final = (RedisError, OSError, TimeoutError)
_CONNECT_SECONDS: Final = 2.0
_ANSWER_SECONDS: Final = 2.0
_CLOSE_SECONDS: Final = 1.0
_MOST_WAITING: Final = 20_000
_PIPELINE: Final = 1_000

_log = get_logger("queue")


class RedisLink:
    """One Redis or Valkey. Made by `open`, which refuses old ones by name."""

    def __init__(self, client: Any, place: str, metrics: Metrics) -> None:
        self.client = client
        self.place = place
        self.is_up = True
        self.metrics = metrics
        self._up = metrics.dependency_up.labels("redis")
        self._up.set(1)
        self._hints: deque[tuple[Any, ...]] = deque()
        self._filled = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self._closing = False
        self._is_closed = False
        self._asked = 0
        self._sender = asyncio.get_running_loop().create_task(self._send(), name="redis-hints")

    @classmethod
    async def open(cls, url: str, *, metrics: Metrics) -> RedisLink:
        """Connect; raises SetupError for an old or refusing server, Unavailable when there is none."""
        place = _place(url)
        tcp = {} if url.startswith("unix:") else {"socket_keepalive": True}
        client: Any = Redis.from_url(
            url,
            **tcp,
            socket_connect_timeout=_CONNECT_SECONDS,
            retry=Retry(NoBackoff(), 0),
            client_name="maestro-composer",
        )
        try:
            async with asyncio.timeout(_CONNECT_SECONDS + _ANSWER_SECONDS):
                info = await client.info("server")
        except AuthenticationError as error:
            await client.aclose()
            raise SetupError(
                f"Redis at {place} refuses: {error}.", reason="REDIS_REFUSES"
            ) from error
        except AWAY as error:
            await client.aclose()
            raise Unavailable(
                f"Redis at {place} does not answer: {str(error) or type(error).__name__}.",
                reason="REDIS_UNAVAILABLE",
            ) from error
        try:
            _refuse_old(info)
        except SetupError:
            await client.aclose()
            raise
        return cls(client, place, metrics)

    def later(self, *command: object) -> None:
        """Send a command with the next pipeline; nobody waits, and it may be lost."""
        if len(self._hints) < _MOST_WAITING:
            self._hints.append(command)
            self._idle.clear()
            self._filled.set()

    async def drained(self) -> None:
        """Return when no hint waits to be sent."""
        await self._idle.wait()

    async def ask(
        self, call: Callable[[Any], Awaitable[T]], *, seconds: float = _ANSWER_SECONDS
    ) -> T:
        """One command with a deadline; raises what `AWAY` lists, and keeps the state up to date."""
        if self._is_closed:
            raise RedisConnectionError("This link is closed.")  # The client would connect again.
        self._asked += 1
        try:
            async with asyncio.timeout(seconds):
                answer = await call(self.client)
        except ResponseError:
            # A refusal is an answer too.
            self.mark(None)
            raise
        except AWAY as error:
            self.mark(error)
            raise
        finally:
            self._asked -= 1
        self.mark(None)
        return answer

    async def ping(self) -> None:
        """Return when Redis answers; raise Unavailable when it does not."""
        try:
            await self.ask(lambda client: client.execute_command("PING"))
        except AWAY as error:
            raise Unavailable("Redis does not answer.", reason="REDIS_UNAVAILABLE") from error

    def mark(self, error: BaseException | None) -> None:
        """Remember whether Redis answers; say it once per change."""
        if error is None:
            if not self.is_up:
                _log.info("redis_back", place=self.place)
            self.is_up = True
            self._up.set(1)
            return
        if self.is_up:
            _log.warning("redis_away", place=self.place, error=str(error) or type(error).__name__)
        self.is_up = False
        self._up.set(0)

    async def close(self) -> None:
        """Send what waits, let what is being asked be answered, then close.

        A connection that is made meanwhile would not be known to who closes them.
        """
        self._closing = True
        self._filled.set()
        await asyncio.gather(self._sender, return_exceptions=True)
        with suppress(TimeoutError):
            async with asyncio.timeout(_CLOSE_SECONDS):
                while self._asked:
                    await asyncio.sleep(0.01)
        self._is_closed = True
        await self.client.aclose()

    async def _send(self) -> None:
        """While one pipeline is under way the next gathers; there is no timer."""
        while not self._closing or self._hints:
            await self._filled.wait()
            await asyncio.sleep(0)
            count = min(len(self._hints), _PIPELINE)
            commands = [self._hints.popleft() for _ in range(count)]
            if commands:
                await self._pipeline(commands)
            if not self._hints:
                self._idle.set()
                if not self._closing:
                    self._filled.clear()

    async def _pipeline(self, commands: list[tuple[Any, ...]]) -> None:
        async def run(client: Any) -> None:
            async with client.pipeline(transaction=False) as pipeline:
                for command in commands:
                    pipeline.execute_command(*command)
                await pipeline.execute(raise_on_error=False)

        try:
            await self.ask(run)
        except AWAY:
            # These hints are lost, which the sweep makes up; a pause spares a Redis that comes up.
            await asyncio.sleep(0.05)


def _place(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme == "unix":
        return parts.path
    return f"{parts.hostname or 'localhost'}:{parts.port or 6379}"


def _refuse_old(info: dict[str, Any]) -> None:
    version = str(info.get("redis_version", "0"))
    numbers = tuple(int(part) for part in version.split(".")[:2] if part.isdigit())
    if numbers < OLDEST:
        raise SetupError(
            f"This is Redis {version}; {OLDEST[0]}.{OLDEST[1]} or newer is needed, or any Valkey.",
            reason="REDIS_TOO_OLD",
        )

"""What the workers of a fleet tell each other about targets that fail: open breakers, and failures counted together.

One hash holds the open ones, all times are Redis's own. When Redis is away every worker knows only what it has
seen itself; nothing waits for an answer.
"""

from __future__ import annotations

from typing import Any, Final
from uuid import UUID

import orjson

from runtime.model.breaker import BreakerKey, OpenBreaker
from runtime.queue import keys
from runtime.queue.link import AWAY, RedisLink

_FORGET_MS: Final = 600_000
_OPEN: Final = """
local t = redis.call('TIME'); local now = t[1] * 1000 + math.floor(t[2] / 1000)
redis.call('HSET', KEYS[1], ARGV[1], cjson.encode({now + tonumber(ARGV[2]), now, tonumber(ARGV[3])}))
local needed = tonumber(ARGV[2]) + tonumber(ARGV[4])
if redis.call('PTTL', KEYS[1]) < needed then redis.call('PEXPIRE', KEYS[1], needed) end
"""
_LIST: Final = """
local t = redis.call('TIME'); local now = t[1] * 1000 + math.floor(t[2] / 1000)
local all, out = redis.call('HGETALL', KEYS[1]), {}
for i = 1, #all, 2 do
  local v = cjson.decode(all[i + 1])
  if v[1] + tonumber(ARGV[1]) < now then redis.call('HDEL', KEYS[1], all[i])
  else out[#out + 1] = {all[i], v[1] - now, now - v[2], v[3]} end
end
return cjson.encode({out})
"""
_COUNT: Final = """
local n = redis.call('INCR', KEYS[1])
if n == 1 then redis.call('PEXPIRE', KEYS[1], tonumber(ARGV[1])) end
return n
"""


class SharedBreakers:
    """The breakers in Redis. No call raises because Redis is away."""

    def __init__(self, link: RedisLink) -> None:
        self._link = link

    def opened(self, key: BreakerKey, seconds: float, failures: int) -> None:
        """Tell the others; never blocks."""
        milliseconds = round(seconds * 1000)
        self._link.later(
            "EVAL", _OPEN, 1, keys.BREAKERS, key.field, milliseconds, failures, _FORGET_MS
        )

    def closed(self, key: BreakerKey) -> None:
        """Tell the others; never blocks."""
        self._link.later("HDEL", keys.BREAKERS, key.field)
        self._link.later("DEL", keys.breaker_failures(key.digest))

    async def count(self, key: BreakerKey, window_seconds: float) -> int | None:
        """One more failure; how many all workers have seen in this window. None when Redis is away."""
        name, window = keys.breaker_failures(key.digest), round(window_seconds * 1000)
        try:
            return int(
                await self._link.ask(
                    lambda client: client.execute_command("EVAL", _COUNT, 1, name, window)
                )
            )
        except AWAY:
            return None

    async def open_ones(self) -> list[OpenBreaker] | None:
        """All that are not closed; None when Redis is away."""
        try:
            answer = await self._link.ask(
                lambda client: client.execute_command("EVAL", _LIST, 1, keys.BREAKERS, _FORGET_MS)
            )
        except AWAY:
            return None
        (rows,) = orjson.loads(answer)
        return [_read(row) for row in (rows or [])]


def _read(row: list[Any]) -> OpenBreaker:
    tenant, connector, target = orjson.loads(row[0])
    key = BreakerKey(UUID(tenant), connector, target)
    return OpenBreaker(key, row[1] / 1000, row[2] / 1000, int(row[3]))

"""Two receivers of calls, as outside judges: one honours `Idempotency-Key` as RFC drafts ask, one ignores it and counts."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from aiohttp import web

from tests.support.listening import listening


@dataclass
class Sink:
    """`POST /keyed/<name>` does its work once per key; `POST /blind/<name>` does it at every call. Slow on purpose."""

    url: str = ""
    delay_seconds: float = 0.02
    effects: Counter[str] = field(default_factory=Counter)
    calls: Counter[str] = field(default_factory=Counter)
    blind: Counter[str] = field(default_factory=Counter)
    keys: set[str] = field(default_factory=set)

    async def answer(self, request: web.Request) -> web.Response:
        """Work, then wait, then answer: a caller that dies meanwhile has had its effect."""
        _, kind, name = request.path.split("/", 2)
        if kind == "blind":
            self.blind[name] += 1
        else:
            key = request.headers["Idempotency-Key"]
            self.calls[name] += 1
            if key not in self.keys:
                self.keys.add(key)
                self.effects[name] += 1
        await asyncio.sleep(self.delay_seconds)
        return web.json_response({"done": name})


@asynccontextmanager
async def open_sink() -> AsyncIterator[Sink]:
    """A sink on loopback."""
    sink = Sink()
    async with listening(sink.answer) as url:
        sink.url = url
        yield sink

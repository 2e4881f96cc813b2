"""The whole engine in one process: services, schema, runtime, scheduler, worker, API; ended in reverse order."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, replace
from typing import Final

from maestro_cli.local.parts import address_of, scheduling, serving, until_one_ends, working
from maestro_cli.local.services import known_map, own_services
from runtime.bootstrap import open_runtime
from runtime.clock import SystemClock
from runtime.identity.development import DevIssuer
from runtime.settings import Settings
from runtime.store.migrate import migrate_all

_LOOPBACK: Final = ("127.0.0.0/8", "::1/128")

Stage = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Engine:
    """A running engine: its settings with the addresses of its services, its own address, and its parts."""

    settings: Settings
    url: str
    parts: tuple[asyncio.Task[None], ...]

    async def run(self) -> int:
        """Wait; ends only with the failure of a part."""
        return await until_one_ends(*self.parts)


@contextlib.asynccontextmanager
async def whole_engine(
    settings: Settings, listener: socket.socket, on_stage: Stage = lambda _: None
) -> AsyncIterator[Engine]:
    """Everything, running for as long as the block lasts."""
    url = address_of(listener, settings.api.host)
    settings = _may_call_this_machine(settings)
    async with own_services(settings, on_stage) as settings:
        applied: list[str] = []
        await migrate_all(known_map(settings), applied.append)
        on_stage(f"schema {len(applied)} migrations applied" if applied else "schema up to date")
        async with contextlib.AsyncExitStack() as stack:
            runtime = await stack.enter_async_context(open_runtime(settings))
            scheduler = await stack.enter_async_context(scheduling(runtime))
            worker = await stack.enter_async_context(
                working(runtime, settings.worker.drain_seconds)
            )
            api = await stack.enter_async_context(serving(runtime, listener))
            on_stage(f"API {url}")
            on_stage(f"worker up to {settings.worker.max_steps} steps at once")
            yield Engine(settings, url, (api, worker, scheduler))


def _may_call_this_machine(settings: Settings) -> Settings:
    """Who runs the whole engine alone has their services beside it; other private places stay shut."""
    return replace(
        settings, egress=replace(settings.egress, allow=(*settings.egress.allow, *_LOOPBACK))
    )


def development_token(settings: Settings, *, ttl_seconds: float) -> str:
    """A token for the tenant `default` with the role `admin`."""
    issuer = DevIssuer.open(settings.home, SystemClock())
    return issuer.issue(
        tenant="default", subject="developer", roles=["admin"], ttl_seconds=ttl_seconds
    )

"""Whether this process can serve: each dependency by name, with one sentence for what is wrong.

For `/readyz` and `mc doctor`. It never raises, and each question has a deadline.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from runtime.model.errors import MaestroError
from runtime.queue.link import RedisLink
from runtime.store.migrate import pending_on
from runtime.store.pool import Database
from runtime.telemetry.metrics import Metrics

_SECONDS = 3.0


class HealthService:
    """Asks the dependencies of this process."""

    def __init__(self, *, database: Database, link: RedisLink, metrics: Metrics) -> None:
        self._database = database
        self._link = link
        self._postgres_up = metrics.dependency_up.labels("postgresql")

    async def check(self) -> dict[str, str | None]:
        """Name of each dependency -> None when it is fine, else a sentence without secrets."""
        postgres, redis, schema = await asyncio.gather(
            _asked(self._database.ping), _asked(self._link.ping), _asked(self._schema)
        )
        self._postgres_up.set(postgres is None)
        return {"postgresql": postgres, "redis": redis, "schema": schema}

    async def _schema(self) -> None:
        async with self._database.engine() as connection:
            missing = await pending_on(connection)
        if missing:
            raise MaestroError(f"Migrations are pending: {', '.join(missing)}. Run `mc migrate`.")


async def _asked(question: Callable[[], Awaitable[None]]) -> str | None:
    try:
        async with asyncio.timeout(_SECONDS):
            await question()
    except TimeoutError:
        return f"No answer within {_SECONDS:.0f} seconds."
    except MaestroError as error:
        return error.message
    except Exception as error:  # noqa: BLE001 - an answer of any kind must not take readiness down
        return f"It failed: {type(error).__name__}."
    return None

"""Where public keys come from: a provider's JWKS address, fetched with a deadline and cached.

An unknown key id causes one refetch, at most every ten seconds, so that a provider may rotate its
keys and a stream of made-up key ids can't turn this service into a load on it.
"""

from __future__ import annotations

import asyncio
from typing import Final, cast

import aiohttp
import orjson
from joserfc.errors import JoseError
from joserfc.jwk import KeySet, KeySetSerialization

from runtime.clock import Clock
from runtime.model.errors import Unavailable
from runtime.telemetry.log import get_logger

_FRESH_SECONDS: Final = 300.0
_REFETCH_SECONDS: Final = 10.0
_MAX_BYTES: Final = 1_000_000

_log = get_logger("identity")


class JwksKeys:
    """The keys behind a JWKS address (RFC 7517)."""

    def __init__(self, url: str, clock: Clock) -> None:
        self._url = url
        self._clock = clock
        self._keys: KeySet | None = None
        self._fetched_at = float("-inf")
        self._lock = asyncio.Lock()

    async def keys(self, *, key_id: str | None) -> KeySet:
        """The provider's keys; raises Unavailable when none could be fetched yet."""
        if self._is_good(key_id) and self._keys is not None:
            return self._keys
        async with self._lock:
            if not self._is_good(key_id):
                await self._refresh()
        if self._keys is None:
            raise Unavailable(
                "The identity provider's keys can't be fetched.", reason="JWKS_UNAVAILABLE"
            )
        return self._keys

    def _is_good(self, key_id: str | None) -> bool:
        age = self._clock.monotonic() - self._fetched_at
        if self._keys is None:
            return age < _REFETCH_SECONDS
        known = key_id is None or any(key.kid == key_id for key in self._keys.keys)
        return age < (_FRESH_SECONDS if known else _REFETCH_SECONDS)

    async def _refresh(self) -> None:
        self._fetched_at = self._clock.monotonic()
        try:
            self._keys = await self._fetch()
        except (aiohttp.ClientError, JoseError, ValueError, KeyError, TimeoutError) as error:
            # Old keys stay in use: a provider that is down for a minute locks nobody out.
            reason = str(error) or type(error).__name__
            _log.warning(
                "jwks_not_fetched", url=self._url, reason=reason, keeps_old=self._keys is not None
            )

    async def _fetch(self) -> KeySet:
        timeout = aiohttp.ClientTimeout(total=5)
        async with (
            aiohttp.ClientSession(timeout=timeout) as session,
            session.get(self._url) as response,
        ):
            response.raise_for_status()
            body = bytearray()
            async for part in response.content.iter_any():
                body += part
                if len(body) > _MAX_BYTES:
                    raise ValueError("a JWKS document of more than a megabyte")
        return KeySet.import_key_set(_jwks(body))


def _jwks(body: bytearray) -> KeySetSerialization:
    """The JWKS document; raises ValueError when it is none."""
    document = orjson.loads(body)
    if not isinstance(document, dict):
        raise ValueError("not a JWKS document")  # noqa: TRY004 - the document is bad
    return cast(KeySetSerialization, document)

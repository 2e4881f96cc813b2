"""The keys of an outside identity provider: a real server on loopback that answers as providers do."""

from __future__ import annotations

from dataclasses import dataclass, field

import orjson
import pytest
from aiohttp import web
from joserfc.jwk import OKPKey
from structlog.testing import capture_logs

from runtime.clock import ManualClock
from runtime.identity.keys import JwksKeys
from runtime.model.errors import Unavailable
from tests.support.listening import listening


@dataclass(slots=True)
class Provider:
    """Serves a JWKS document, as long as it is told to be."""

    names: list[str] = field(default_factory=lambda: ["one"])
    asked: int = 0
    broken: bool = False
    padding: int = 0

    async def answer(self, _request: web.Request) -> web.Response:
        """One request."""
        self.asked += 1
        if self.broken:
            return web.Response(status=500)
        keys = [
            OKPKey.generate_key("Ed25519", {"kid": name}).as_dict(private=False)
            for name in self.names
        ]
        return web.Response(body=orjson.dumps({"padding": "x" * self.padding, "keys": keys}))


async def test_a_document_that_does_not_come_in_one_piece_is_read_whole():
    async with listening(Provider(padding=900_000).answer) as url:
        found = await JwksKeys(url, ManualClock()).keys(key_id="one")

    assert [key.kid for key in found.keys] == ["one"]


async def test_a_document_over_a_megabyte_is_no_key_set():
    async with listening(Provider(padding=1_100_000).answer) as url:
        with pytest.raises(Unavailable):
            await JwksKeys(url, ManualClock()).keys(key_id="one")


async def test_a_rotated_key_is_found_and_made_up_ids_are_asked_for_once_in_ten_seconds():
    provider, clock = Provider(), ManualClock()
    async with listening(provider.answer) as url:
        keys = JwksKeys(url, clock)
        await keys.keys(key_id="one")
        for number in range(5):
            await keys.keys(key_id=f"made-up-{number}")
        asked = provider.asked

        provider.names = ["two"]
        clock.move(11)
        found = await keys.keys(key_id="two")

    assert (asked, [key.kid for key in found.keys]) == (1, ["two"])


async def test_a_provider_that_is_down_locks_nobody_out():
    provider, clock = Provider(), ManualClock()
    async with listening(provider.answer) as url:
        keys = JwksKeys(url, clock)
        await keys.keys(key_id="one")
        provider.broken = True
        clock.move(301)

        with capture_logs() as lines:
            found = await keys.keys(key_id="one")

    assert (provider.asked, [key.kid for key in found.keys]) == (2, ["one"])
    assert [(one["event"], one["url"], one["keeps_old"]) for one in lines] == [
        ("jwks_not_fetched", url, True)
    ]
    assert "500" in lines[0]["reason"]

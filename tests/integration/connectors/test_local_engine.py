"""http.request and the kit's engine through a real worker: keys over attempts, secrets at the call and nowhere else."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

import pytest
from aiohttp import web

from maestro.testing.workflow import LocalEngine
from runtime.model.errors import Invalid

CANARY = "canary-6f2b91e7"


class Upstream:
    """A server in a thread that notes the headers of every call, and answers 503 as often as it is told."""

    def __init__(self) -> None:
        self.calls: list[dict[str, str]] = []
        self.failures = 0
        self.url = ""
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)

    async def _answer(self, request: web.Request) -> web.Response:
        self.calls.append({name.lower(): value for name, value in request.headers.items()})
        if len(self.calls) <= self.failures:
            return web.Response(status=503, text=f"no: {request.headers.get('authorization')}")
        return web.json_response({"you_sent": request.headers.get("authorization")})

    async def _start(self) -> web.AppRunner:
        app = web.Application()
        app.router.add_route("*", "/", self._answer)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        host, port = runner.addresses[0][:2]
        self.url = f"http://{host}:{port}/"
        return runner

    def __enter__(self) -> Self:
        self._thread.start()
        self._runner = asyncio.run_coroutine_threadsafe(self._start(), self._loop).result()
        return self

    def __exit__(self, *_: object) -> None:
        asyncio.run_coroutine_threadsafe(self._runner.cleanup(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


@pytest.fixture(scope="module")
def engine() -> Iterator[LocalEngine]:
    with LocalEngine(secrets={"TOKEN": CANARY}) as engine:
        yield engine


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    with Upstream() as server:
        yield server


def calling(url: str, **more: Any) -> str:
    document = {
        "name": "calling",
        "version": "1.0.0",
        "steps": [
            {
                "id": "call",
                "uses": "http.request@1",
                "with": {
                    "method": "POST",
                    "url": url,
                    "auth": {"bearer": "{{ secrets.TOKEN }}"},
                    **more,
                },
                "retry": {"max_attempts": 3, "initial": "1ms", "jitter": "none"},
                "effect": "idempotent",
            }
        ],
        "outputs": {"all": "{{ steps.call.output }}"},
    }
    return json.dumps(document)


def test_every_attempt_carries_the_same_key(engine: LocalEngine, upstream: Upstream):
    upstream.failures = 2

    result = engine.run(calling(upstream.url))

    assert result.ok
    assert result.steps["call"].attempts == 3
    assert len(upstream.calls) == 3
    assert len({call["idempotency-key"] for call in upstream.calls}) == 1


def test_a_secret_reaches_the_other_side_and_nothing_else(engine: LocalEngine, upstream: Upstream):
    result = engine.run(calling(upstream.url))

    assert upstream.calls[0]["authorization"] == f"Bearer {CANARY}"
    assert result.steps["call"].output["json"] == {"you_sent": "Bearer ***"}  # type: ignore[index, call-overload]  # JSON
    assert CANARY not in repr(result)


def test_a_secret_that_an_error_quotes_is_masked(engine: LocalEngine, upstream: Upstream):
    upstream.failures = 9

    result = engine.run(calling(upstream.url))

    assert result.status == "failed"
    assert result.error is not None
    assert result.error.type == "http.status"
    assert CANARY not in repr(result)


def test_a_secret_that_is_not_there_fails_its_step_by_name(engine: LocalEngine):
    source = calling("http://127.0.0.1:9/", headers={"X": "{{ secrets.NONE }}"})

    result = engine.run(source)

    assert result.error is not None
    assert "no secret NONE" in result.error.message


def test_nothing_that_is_stored_holds_the_secret(engine: LocalEngine, upstream: Upstream):
    assert engine.run(calling(upstream.url)).ok
    files = [path for path in engine._home.rglob("*") if path.is_file()]

    def holders(text: str) -> set[str]:
        return {path.name for path in files if text.encode() in _bytes(path)}

    assert holders("Bearer ***")  # What is stored can be found this way.
    assert holders(CANARY) == {"secrets.yaml"}


def test_an_invalid_definition_is_refused_with_its_findings(engine: LocalEngine):
    with pytest.raises(Invalid) as caught:
        engine.run("name: x\nsteps:\n  - {id: a, uses: core.nope@1}\n")

    assert caught.value.problems[0].rule == "unknown-connector"


def test_an_execution_that_does_not_end_says_what_it_waits_for(engine: LocalEngine):
    source = "name: x\nversion: 1.0.0\nsteps:\n  - {id: bell, type: wait, signal: go}\n"

    with pytest.raises(TimeoutError, match=r"not ended after 0\.2 s: bell \w+"):
        engine.run(source, timeout_seconds=0.2)


def test_an_engine_that_does_not_run_says_so():
    with pytest.raises(RuntimeError, match="does not run"):
        LocalEngine().run("name: x")


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:  # The server removed it meanwhile.
        return b""

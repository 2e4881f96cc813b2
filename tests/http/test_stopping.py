"""A server that stops: what a judge is asked is refused at once, by an answer, and all else is answered."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from maestro_cli.local import parts
from runtime.bootstrap import open_runtime
from runtime.settings import Settings
from tests.http.serving import Served, loopback_socket
from tests.support.processes import chosen, eventually

VALIDATE = "query($source: String!) { validateWorkflow(source: $source) { valid } }"
# The library looks nine thousand keywords up for each of fifty thousand elements: minutes.
ENDLESS: Any = {
    "items": {f"x{number}": 1 for number in range(9_000)},
    "default": [1] * 50_000,
}
SLOW = json.dumps(
    {
        "name": "x",
        "params": {"type": "object", "properties": {"v": ENDLESS}},
        "steps": [{"id": "a", "uses": "core.noop@1"}],
    },
    separators=(",", ":"),  # A schema has at most 256 KiB.
)


async def test_a_question_in_flight_is_refused_by_an_answer(
    database_url: str, redis_url: str, home: Path
) -> None:
    plain = Settings.from_env({"MC_HOME": str(home), **chosen()})
    settings = replace(plain, database_url=database_url, redis_url=redis_url)
    listener = loopback_socket()
    async with open_runtime(settings) as runtime:
        served = Served(runtime, f"http://127.0.0.1:{listener.getsockname()[1]}")
        async with parts.serving(runtime, listener):
            asked = asyncio.create_task(served.ask(VALIDATE, {"source": SLOW}))
            # The second judge is started for what the first has given up: the question is with it now.
            await eventually(lambda: len(runtime.judges.pids) == 2 or asked.done())
            assert not asked.done()

        answer = await asked

    (error,) = answer.body["errors"]
    assert error["extensions"]["code"] == "UNAVAILABLE"
    assert error["extensions"]["reason"] == "NO_JUDGE"
    assert runtime.judges.pids == ()

"""Params that take long to judge are judged beside the loop."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

from runtime.definition import TooCostly
from runtime.services import intake


async def test_what_takes_long_is_judged_in_a_thread_and_a_few_at_a_time(monkeypatch):
    nothing: Any = None  # only the params are asked for
    taker: Any = intake.Intake(
        workflows=nothing, plans=nothing, tenants=nothing, clock=nothing, entropy=nothing,
        blobs=nothing, max_input_bytes=1,
    )  # fmt: skip
    here, gate, lock = threading.get_ident(), threading.Event(), threading.Lock()
    seen: list[bool] = []
    now, most = 0, 0

    def judged(_plan: Any, given: Any, *, quickly: bool = False) -> Any:
        nonlocal now, most
        seen.append(quickly)
        if quickly and given == "small":
            return given
        assert quickly is (threading.get_ident() == here)
        if quickly:
            raise TooCostly
        with lock:
            now, most = now + 1, max(most, now + 1)
        gate.wait(10)
        with lock:
            now -= 1
        return given

    monkeypatch.setattr(intake, "apply_params", judged)
    large = [asyncio.create_task(taker._params(None, n)) for n in range(5)]
    while now < intake._JUDGED_AT_ONCE:
        await asyncio.sleep(0)

    assert await taker._params(None, "small") == "small"
    gate.set()
    assert await asyncio.gather(*large) == [0, 1, 2, 3, 4]
    assert (seen.count(True), seen.count(False), most) == (6, 5, intake._JUDGED_AT_ONCE)

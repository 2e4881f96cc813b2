"""`kill -9` of the worker in the middle of the example: it ends rightly, and the shop counted nothing twice."""

from __future__ import annotations

import asyncio
import json

import pytest

from tests.support.processes import ROOT

SOURCE = (ROOT / "examples" / "order-fulfilment.yaml").read_text()
ORDER = json.loads((ROOT / "examples" / "order.json").read_text())
pytestmark = pytest.mark.chaos


@pytest.mark.parametrize(
    ("type_", "step"),
    [
        ("STEP_STARTED", "charge"),
        pytest.param("STEP_COMPLETED", "charge", marks=pytest.mark.long),
        pytest.param("STEP_STARTED", "label", marks=pytest.mark.long),
    ],
)
async def test_the_example_survives_the_death_of_its_worker(stack, shop, type_, step):
    name = await stack.publish(SOURCE)
    execution = await stack.enqueue(name, {**ORDER, "shop_url": shop.url})
    await stack.until(execution, type_, step)

    stack.service.running["worker"].kill()
    stack.service.start("worker")

    ended = await stack.finished(execution, 40)
    counters = await shop.counters()
    assert ended["status"] == "COMPLETED"
    assert counters["max_effects_per_key"] == 1
    assert counters["effects"] == 4


@pytest.mark.long
async def test_another_worker_takes_over_many(stack, shop):
    name = await stack.publish(SOURCE)
    stack.mc.start("worker", name="second")
    ids = [
        await stack.enqueue(name, {**ORDER, "order_id": f"O{n}", "shop_url": shop.url})
        for n in range(20)
    ]
    await stack.until(ids[0], "STEP_COMPLETED", "reserve")

    stack.service.running["worker"].kill()

    ended = await asyncio.gather(*(stack.finished(one, 60) for one in ids))
    assert {one["status"] for one in ended} == {"COMPLETED"}
    assert (await shop.counters())["effects"] == 20 * 4
    assert (await shop.counters())["max_effects_per_key"] == 1

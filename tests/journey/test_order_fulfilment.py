"""The example against the shop that fails on purpose; the shop's own counters are the judge."""

from __future__ import annotations

import asyncio
import json

import pytest

from tests.support.processes import ROOT

SOURCE = (ROOT / "examples" / "order-fulfilment.yaml").read_text()
ORDER = json.loads((ROOT / "examples" / "order.json").read_text())


async def test_nothing_is_charged_twice_however_often_the_shop_fails(stack, shop):
    name = await stack.publish(SOURCE)

    ids = [
        await stack.enqueue(name, {**ORDER, "order_id": f"ORD-{n}", "shop_url": shop.url})
        for n in range(12)
    ]
    ended = await asyncio.gather(*(stack.finished(one) for one in ids))

    counters = await shop.counters()
    assert {one["status"] for one in ended} == {"COMPLETED"}
    assert counters["max_effects_per_key"] == 1
    assert counters["effects"] == 12 * 4
    assert counters["calls"] > counters["effects"], "the shop never failed, so nothing was proved"


async def test_the_run_shows_retries_and_a_parallel_branch(stack, shop):
    name = await stack.publish(
        SOURCE.replace("/payments/charges", "/payments/charges?fail=503&fail_times=2")
    )

    execution = await stack.finished(await stack.enqueue(name, {**ORDER, "shop_url": shop.url}))

    steps = {step["stepKey"]: step for step in execution["steps"]}
    events = [
        (edge["node"]["type"], edge["node"]["stepKey"]) for edge in execution["events"]["edges"]
    ]
    assert steps["charge"]["attempt"] >= 3
    assert events.count(("STEP_RETRYING", "charge")) >= 2
    assert events.index(("STEP_STARTED", "pack")) < events.index(("STEP_COMPLETED", "charge"))


@pytest.mark.parametrize(("honoured", "charges"), [("true", 1), ("false", 3)])
async def test_without_the_key_the_same_run_charges_several_times(stack, shop, honoured, charges):
    """The control: money is taken, the answers get lost, the engine asks again. Only the key tells the calls apart."""
    lost = f"/payments/charges?reset=after&fail_times=2&honour_key={honoured}"
    name = await stack.publish(SOURCE.replace("/payments/charges", lost))

    ended = await stack.finished(await stack.enqueue(name, {**ORDER, "shop_url": shop.url}))

    counted = (await shop.counters())["endpoints"]["payments/charges"]
    assert ended["status"] == "COMPLETED"
    assert (counted["calls"], counted["keys"]) == (3, 1)
    assert counted["effects"] == counted["max_effects_per_order"] == charges

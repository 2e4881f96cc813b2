"""The example against the shop that fails on purpose; the shop's own counters are the judge."""

from __future__ import annotations

import asyncio
import json

import aiohttp

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


async def test_a_shop_that_ignores_keys_shows_what_the_keys_are_for(shop):
    url = f"{shop.url}/payments/charges?honour_key=false"
    body = {"order": "ORD-X", "amount": 5}

    async with aiohttp.ClientSession() as session:
        for _ in range(30):
            try:
                async with session.post(url, json=body, headers={"Idempotency-Key": "k"}):
                    pass
            except aiohttp.ClientError:
                continue

    assert (await shop.counters())["max_effects_per_order"] > 1

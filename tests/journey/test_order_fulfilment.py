"""The example against the shop that fails on purpose; the shop's own counters are the judge."""

from __future__ import annotations

import asyncio
import json

import pytest

from runtime.clock import SystemClock
from runtime.identity.development import DevIssuer
from tests.support.processes import ROOT
from tests.support.stack import Stack

SOURCE = (ROOT / "examples" / "order-fulfilment.yaml").read_text()
ORDER = json.loads((ROOT / "examples" / "order.json").read_text())

WHY = "query ($id: ID!) { execution(id: $id) { blockedBy { cause taskId candidateGroups } } }"
ANSWER = """mutation ($input: CompleteHumanTaskInput!) {
  completeHumanTask(input: $input) { humanTask { status } errors { code message } } }"""


def sales(stack: Stack) -> Stack:
    """Somebody of the group that is asked."""
    issuer = DevIssuer.open(stack.mc.home, SystemClock())
    token = issuer.issue(tenant=stack.tenant, subject="sam", roles=["approver"], groups=["sales"])
    return Stack(stack.service, token, stack.tenant)


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


@pytest.mark.parametrize(
    ("outcome", "ended", "effects"), [("approved", "COMPLETED", 4), ("rejected", "FAILED", 1)]
)
async def test_a_large_order_waits_for_sales_and_goes_on_as_they_say(
    stack, shop, outcome, ended, effects
):
    name = await stack.publish(SOURCE)
    large = {**ORDER, "amount": 1_200, "shop_url": shop.url}
    execution = await stack.enqueue(name, large)
    await stack.until(execution, "HUMAN_TASK_CREATED", "approve")
    before = await shop.counters()
    why = (await stack.ask(WHY, id=execution))["execution"]["blockedBy"]

    done = await sales(stack).ask(ANSWER, input={"humanTaskId": why["taskId"], "outcome": outcome})

    assert (why["cause"], why["candidateGroups"], before["effects"]) == ("PERSON", ["sales"], 1)
    assert done["completeHumanTask"]["errors"] == []
    assert (await stack.finished(execution))["status"] == ended
    assert (await shop.counters())["effects"] == effects

"""The shop judges others, so it is judged first: by a real process and a real HTTP client.

Each failure mode is asked for by name, and what the shop says it did is compared with what the
client saw. The controls matter most: without a key, or with keys ignored, a count exceeds one.
"""

from __future__ import annotations

import asyncio
import json
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast
from uuid import uuid4

import aiohttp
import pytest
import yaml
from pydantic import BaseModel

from examples.shop.__main__ import ResettableProtocol
from examples.shop.bodies import ChargeBody, LabelBody, NotificationBody, ReservationBody
from examples.shop.faults import Luck

ROOT = Path(__file__).parents[3]
Start = Callable[..., tuple[subprocess.Popen[str], str]]


def _start(folder: Path, *flags: str) -> tuple[subprocess.Popen[str], str]:
    process = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "examples.shop",
            "--port",
            "0",
            "--db",
            str(folder / "shop.db"),
            *flags,
        ],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    line = process.stdout.readline()
    assert line.startswith("shop listening on http://127.0.0.1:"), line
    return process, line.split()[-1]


def _stop(process: subprocess.Popen[str], number: int = signal.SIGTERM) -> int:
    process.send_signal(number)
    try:
        return process.wait(timeout=10)
    finally:
        assert process.stdout is not None
        process.stdout.close()


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    process, url = _start(tmp_path_factory.mktemp("shop"))
    yield url
    assert _stop(process) == 0


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    started: list[subprocess.Popen[str]] = []

    def begin(*flags: str) -> tuple[subprocess.Popen[str], str]:
        process, url = _start(tmp_path, *flags)
        started.append(process)
        return process, url

    yield begin
    for process in started:
        if process.poll() is None:
            _stop(process, signal.SIGKILL)


@pytest.fixture
async def client(address: str) -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(address) as session:
        yield session


async def post(
    client: aiohttp.ClientSession, path: str, body: Any, key: str | None = None
) -> tuple[int, Any]:
    headers = {} if key is None else {"Idempotency-Key": key}
    async with client.post(path, json=body, headers=headers) as answer:
        return answer.status, await answer.json()


async def get(client: aiohttp.ClientSession, path: str) -> Any:
    async with client.get(path) as answer:
        assert answer.status == 200, await answer.text()
        return await answer.json()


def charge(order: str | None = None, amount: float = 12.5) -> dict[str, Any]:
    return {"order": order or f"ORD-{uuid4()}", "amount": amount}


BODIES: dict[str, dict[str, Any]] = {
    "/stock/reservations": {"lines": [{"sku": "tea", "quantity": 2}]},
    "/payments/charges": {"amount": 10},
    "/shipping/labels": {},
    "/notifications": {"to": "a@example.org", "subject": "hello"},
}


@pytest.mark.parametrize("path", BODIES)
async def test_same_key_and_body_replays_the_first_answer(client, path):
    key, order = str(uuid4()), str(uuid4())
    body = {"order": order, **BODIES[path]}

    first = await post(client, path, body, key)
    second = await post(client, path, body, key)

    assert first == second
    assert first[0] == 201
    counters = await get(client, f"/counters/{key}")
    assert (counters["calls"], counters["effects"]) == (2, 1)


async def test_a_replayed_answer_says_so(client):
    body, headers = charge(), {"Idempotency-Key": str(uuid4())}
    await (await client.post("/payments/charges", json=body, headers=headers)).read()

    async with client.post("/payments/charges", json=body, headers=headers) as again:
        assert again.headers["Idempotent-Replayed"] == "true"


async def test_same_key_with_another_body_is_refused_without_effect(client):
    key, order = str(uuid4()), str(uuid4())
    await post(client, "/payments/charges", charge(order, 1), key)

    status, answer = await post(client, "/payments/charges", charge(order, 2), key)

    assert (status, answer["error"]["code"]) == (422, "KEY_REUSED")
    assert len((await get(client, f"/orders/{order}"))["charges"]) == 1


async def test_key_order_in_the_body_does_not_make_it_another_body(client):
    key, order = str(uuid4()), str(uuid4())
    await post(client, "/payments/charges", {"order": order, "amount": 5}, key)

    status, _ = await post(client, "/payments/charges", {"amount": 5, "order": order}, key)

    assert status == 201


@pytest.mark.parametrize("path", ["/payments/charges", "/payments/charges?honour_key=false"])
async def test_control_without_a_key_in_force_repeats_the_effect(client, path):
    order = str(uuid4())
    key = str(uuid4()) if "?" in path else None

    for _ in range(3):
        await post(client, path, charge(order), key)

    assert len((await get(client, f"/orders/{order}"))["charges"]) == 3
    totals = await get(client, "/counters")
    assert totals["endpoints"]["payments/charges"]["max_effects_per_order"] >= 3


async def test_duplicates_in_flight_have_one_effect(client):
    key, body = str(uuid4()), charge()

    answers = await asyncio.gather(
        *(post(client, "/payments/charges", body, key) for _ in range(20))
    )

    assert len({answer["id"] for _, answer in answers}) == 1
    counters = await get(client, f"/counters/{key}")
    assert (counters["calls"], counters["effects"]) == (20, 1)


def test_a_reset_that_comes_too_late_is_no_fault():
    ours, theirs = socket.socketpair()
    theirs.close()
    ours.close()
    ended = []
    protocol = object.__new__(ResettableProtocol)
    protocol.transport = cast(
        "asyncio.Transport",
        SimpleNamespace(get_extra_info=lambda _: ours, abort=lambda: ended.append("aborted")),
    )

    protocol._reset()

    assert ended == ["aborted"]


@pytest.mark.parametrize(("moment", "effects_after_first"), [("before", 0), ("after", 1)])
async def test_reset_connection_then_retry_has_one_effect(client, moment, effects_after_first):
    key, body, path = str(uuid4()), charge(), f"/payments/charges?reset={moment}"

    with pytest.raises(aiohttp.ClientConnectionError):
        await post(client, path, body, key)
    after_reset = await get(client, f"/counters/{key}")
    status, _ = await post(client, path, body, key)

    assert after_reset["effects"] == effects_after_first
    assert status == 201
    assert (await get(client, f"/counters/{key}"))["effects"] == 1


@pytest.mark.parametrize(("moment", "effects_after_failures"), [("before", 0), ("after", 1)])
async def test_first_n_calls_of_a_key_fail(client, moment, effects_after_failures):
    key, body = str(uuid4()), charge()
    path = f"/payments/charges?fail=503&fail_times=2&fail_at={moment}"

    failed = [await post(client, path, body, key) for _ in range(2)]
    between = await get(client, f"/counters/{key}")
    status, _ = await post(client, path, body, key)

    assert [answer[0] for answer in failed] == [503, 503]
    assert between["effects"] == effects_after_failures
    assert status == 201
    assert (await get(client, f"/counters/{key}"))["effects"] == 1


async def test_a_failure_may_name_when_to_come_back(client):
    path = "/payments/charges?fail=429&retry_after=3&fail_times=always"

    async with client.post(path, json=charge()) as answer:
        assert (answer.status, answer.headers["Retry-After"]) == (429, "3")


async def test_a_caller_that_gave_up_on_a_slow_answer_finds_the_effect_done(client):
    key, body = str(uuid4()), charge()

    with pytest.raises(asyncio.TimeoutError):
        async with asyncio.timeout(0.2):
            await post(client, "/payments/charges?slow_ms=30000", body, key)
    status, answer = await post(client, "/payments/charges", body, key)

    assert status == 201
    assert (await get(client, f"/orders/{body['order']}"))["charges"] == [answer]


async def test_slow_before_the_effect_leaves_nothing_behind_meanwhile(client):
    key, body = str(uuid4()), charge()

    with pytest.raises(asyncio.TimeoutError):
        async with asyncio.timeout(0.2):
            await post(client, "/payments/charges?slow_ms=30000&slow_at=before", body, key)

    assert (await get(client, f"/counters/{key}"))["effects"] == 0


async def test_scripted_fault_strikes_callers_that_cannot_ask_for_one(client):
    fault = {"fail": 500, "fail_at": "after", "fail_times": 1}
    async with client.put("/faults/shipping/labels", json=fault) as answer:
        assert answer.status == 204
    key, body = str(uuid4()), {"order": str(uuid4())}

    statuses = [(await post(client, "/shipping/labels", body, key))[0] for _ in range(2)]
    await client.delete("/faults")

    assert statuses == [500, 201]
    assert (await get(client, f"/counters/{key}"))["effects"] == 1


@pytest.mark.parametrize(
    ("path", "body", "bad"),
    [
        ("/stock/reservations", {"lines": []}, {"order", "lines"}),
        (
            "/stock/reservations",
            {"order": "o", "lines": [{"sku": "", "quantity": 0}]},
            {"lines.0.sku", "lines.0.quantity"},
        ),
        ("/payments/charges", {"order": "o", "amount": -1}, {"amount"}),
        ("/payments/charges", {"order": "o", "amount": True}, {"amount"}),
        ("/payments/charges", {"order": "o", "amount": 1.005}, {"amount"}),
        ("/payments/charges", {"order": "o", "amount": 1, "tip": 1}, {"tip"}),
        ("/payments/charges?fail=abc", {"order": "o", "amount": 1}, {"fail"}),
        ("/payments/charges?reset=sometimes", {"order": "o", "amount": 1}, {"reset"}),
        ("/payments/charges?slow_ms=999999999", {"order": "o", "amount": 1}, {"slow_ms"}),
        ("/payments/charges?fail=500&fail_times=-1", {"order": "o", "amount": 1}, {"fail_times"}),
    ],
)
async def test_bad_input_is_refused_field_by_field(client, path, body, bad):
    status, answer = await post(client, path, body)

    assert status == 422
    assert {field["path"] for field in answer["error"]["fields"]} == bad


@pytest.mark.parametrize(
    ("raw", "status", "code"),
    [
        (b"{", 422, "INVALID_JSON"),
        (b"\xff", 422, "INVALID_JSON"),
        (b"[" * 100_000, 422, "INVALID_JSON"),
        (b'{"order": "o", "amount": NaN}', 422, "INVALID_BODY"),
        (b"[]", 422, "INVALID_BODY"),
        (b" " * 1_000_001, 413, "BODY_TOO_LARGE"),
    ],
)
async def test_hostile_body_is_refused(client, raw, status, code):
    async with client.post("/payments/charges", data=raw) as answer:
        assert (answer.status, (await answer.json())["error"]["code"]) == (status, code)


async def test_refused_call_is_counted_and_its_key_stays_free(client):
    key, order = str(uuid4()), str(uuid4())
    await post(client, "/payments/charges", {"order": order}, key)

    status, _ = await post(client, "/payments/charges", charge(order), key)

    assert status == 201
    counters = await get(client, f"/counters/{key}")
    assert (counters["calls"], counters["effects"]) == (2, 1)


async def test_refunds_never_exceed_the_charge(client):
    _, taken = await post(client, "/payments/charges", charge(amount=10.1))

    part = await post(client, "/payments/refunds", {"charge": taken["id"], "amount": 4.1})
    rest = await post(client, "/payments/refunds", {"charge": taken["id"]})
    more = await post(client, "/payments/refunds", {"charge": taken["id"]})

    assert [part[1]["amount"], rest[1]["amount"]] == [4.1, 6.0]
    assert (more[0], more[1]["error"]["code"]) == (409, "NOTHING_LEFT")


async def test_release_of_a_reservation_counts_once(client):
    body = {"order": str(uuid4()), **BODIES["/stock/reservations"]}
    _, made = await post(client, "/stock/reservations", body)
    path, key = f"/stock/reservations/{made['id']}", str(uuid4())

    for _ in range(2):
        async with client.delete(path, headers={"Idempotency-Key": key}) as answer:
            assert (await answer.json())["status"] == "released"

    counters = await get(client, f"/counters/{key}")
    assert (counters["calls"], counters["effects"]) == (2, 1)


@pytest.mark.parametrize(
    "path", ["/payments/charges/chg_999999", "/payments/charges/res_1", "/counters/never-seen"]
)
async def test_unknown_things_are_named_not_found(client, path):
    async with client.get(path) as answer:
        assert (answer.status, (await answer.json())["error"]["code"]) == (404, "NOT_FOUND")


async def test_a_record_can_be_read_back_alone_and_in_its_list(client):
    body = charge()
    _, made = await post(client, "/payments/charges", body)

    assert await get(client, f"/payments/charges/{made['id']}") == made
    assert await get(client, f"/payments/charges?order={body['order']}") == {"items": [made]}


async def test_shop_that_ignores_keys_charges_again(start):
    _, url = start("--ignore-keys")
    body = charge()

    async with aiohttp.ClientSession(url) as client:
        for _ in range(2):
            await post(client, "/payments/charges", body, "k")
        totals = await get(client, "/counters")

    assert totals["max_effects_per_key"] == 2


async def test_bad_luck_never_doubles_an_effect_for_a_caller_that_retries(start):
    _, url = start("--fail-rate", "0.4", "--reset-rate", "0.3", "--seed", "7")

    async with aiohttp.ClientSession(url) as client:
        for number in range(20):
            await _insist(client, charge(f"ORD-{number}"), f"key-{number}")
        totals = await get(client, "/counters")

    assert totals["calls"] > totals["effects"] == 20
    assert totals["max_effects_per_key"] == totals["max_effects_per_order"] == 1


async def _insist(client: aiohttp.ClientSession, body: dict[str, Any], key: str) -> None:
    for _ in range(40):
        try:
            status, _ = await post(client, "/payments/charges", body, key)
        except aiohttp.ClientConnectionError:
            continue
        if status == 201:
            return
    pytest.fail("the shop never answered")


async def test_books_survive_kill_nine(start):
    process, url = start()
    body = charge()
    async with aiohttp.ClientSession(url) as client:
        first = await post(client, "/payments/charges", body, "k")
    _stop(process, signal.SIGKILL)

    _, url = start()
    async with aiohttp.ClientSession(url) as client:
        again = await post(client, "/payments/charges", body, "k")

    assert again == first


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_it_cleanly(start, number):
    process, _ = start()

    assert _stop(process, number) == 0


def test_it_leaves_with_the_process_that_started_it(tmp_path):
    flags = [
        "-m",
        "examples.shop",
        "--port",
        "0",
        "--db",
        str(tmp_path / "s.db"),
        "--die-with-parent",
    ]
    parent = (
        "import subprocess, sys;"
        f"p = subprocess.Popen([sys.executable, *{flags!r}], stdout=subprocess.PIPE);"
        "p.stdout.readline()"
    )

    # The shop inherits the pipe of stderr, so `run` ends in time only if the shop ended too.
    done = subprocess.run(
        [sys.executable, "-c", parent], cwd=ROOT, stderr=subprocess.PIPE, timeout=10, check=True
    )

    assert done.stderr == b""


def test_a_taken_port_is_named(start):
    _, url = start()

    done = subprocess.run(
        [sys.executable, "-m", "examples.shop", "--port", url.rsplit(":")[-1], "--db", "unused.db"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 2
    assert "cannot listen on 127.0.0.1" in done.stderr


def test_luck_is_the_same_for_the_same_seed_and_differs_for_another():
    def plans(seed: int) -> list[object]:
        luck = Luck(fail_rate=0.4, slow_rate=0.2, reset_rate=0.2, seed=seed)
        return [luck.for_call("payments/charges", "ORD-1", number) for number in range(1, 50)]

    assert plans(1) == plans(1)
    assert plans(1) != plans(2)


def test_luck_keeps_its_shares_and_knows_both_moments():
    luck = Luck(fail_rate=0.3, seed=3)

    plans = [luck.for_call("e", "s", number) for number in range(4000)]
    failed = [plan for plan in plans if plan.fail == 503]

    assert 0.27 < len(failed) / len(plans) < 0.33
    assert {(plan.fail_at, plan.retry_after) for plan in failed} == {
        ("before", None),
        ("before", 1),
        ("after", None),
        ("after", 1),
    }


def test_the_judge_imports_nothing_of_the_engine():
    sources = [path.read_text() for path in (ROOT / "examples" / "shop").glob("*.py")]

    assert not [
        s
        for s in sources
        for room in ("runtime", "subgraph", "resolvers")
        if f"import {room}" in s or f"from {room}" in s
    ]


def test_the_seed_of_the_walkthrough_strikes_the_example_order_where_it_hurts():
    luck = Luck(fail_rate=0.3, slow_rate=0.1, reset_rate=0.1, seed=944)
    order = json.loads((ROOT / "examples" / "order.json").read_text())["order_id"]

    reserve = luck.for_call("stock/reservations", order, 1)
    charge = luck.for_call("payments/charges", order, 1)

    assert reserve.reset == "after"
    assert (charge.fail, charge.fail_at) == (503, "after")


def test_the_workflow_sends_nothing_but_bodies_that_the_shop_accepts():
    document = yaml.safe_load((ROOT / "examples" / "order-fulfilment.yaml").read_text())
    models: dict[str, type[BaseModel]] = {
        "/stock/reservations": ReservationBody,
        "/payments/charges": ChargeBody,
        "/shipping/labels": LabelBody,
        "/notifications": NotificationBody,
    }

    calls = [step["with"] for step in document["steps"] if step.get("uses") == "http.request@1"]

    assert [call["url"].removeprefix("{{ params.shop_url }}") for call in calls] == list(models)
    for call, model in zip(calls, models.values(), strict=True):
        assert call["json"].keys() <= model.model_fields.keys()
        assert {name for name, field in model.model_fields.items() if field.is_required()} <= call[
            "json"
        ].keys()

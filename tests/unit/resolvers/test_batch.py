"""What is asked for in one turn of the loop is fetched in one call, and each key once."""

from __future__ import annotations

import asyncio

import pytest

from resolvers.batch import Batch


class Store:
    """What is fetched, and in which calls."""

    def __init__(self) -> None:
        self.calls: list[list[int]] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self.batch: Batch[int, str] = Batch(self.fetch)

    async def fetch(self, keys: list[int]) -> list[str | Exception]:
        """A word for each; none for 7, and nothing at all with 13 among them."""
        self.calls.append(keys)
        await self.gate.wait()
        if 13 in keys:
            raise KeyError(13)
        return [ValueError(str(key)) if key == 7 else f"n{key}" for key in keys]


async def test_what_is_asked_for_in_one_turn_is_one_call_and_each_key_once() -> None:
    store = Store()

    async def asked(key: int) -> str:
        return await store.batch.load(key)

    found = await asyncio.gather(asked(1), asked(2), store.batch.load(1), asked(3))

    assert list(found) == ["n1", "n2", "n1", "n3"]
    assert await asked(2) == "n2"
    assert [sorted(call) for call in store.calls] == [[1, 2, 3]]


async def test_who_asks_while_a_call_is_under_way_is_in_the_next_one() -> None:
    store = Store()
    store.gate.clear()
    first = store.batch.load(1)
    while not store.calls:
        await asyncio.sleep(0)
    second = store.batch.load(2)
    store.gate.set()

    assert (await first, await second) == ("n1", "n2")
    assert store.calls == [[1], [2]]


async def test_an_error_in_a_place_is_that_keys_alone_and_one_of_the_call_is_everybodys() -> None:
    store = Store()

    found = await asyncio.gather(store.batch.load(7), store.batch.load(1), return_exceptions=True)

    assert [type(one) for one in found] == [ValueError, str]
    with pytest.raises(ValueError, match="7"):
        await store.batch.load(7)
    with pytest.raises(KeyError):
        await asyncio.gather(store.batch.load(13), store.batch.load(4))


async def test_what_nobody_waits_for_is_not_fetched_and_asked_anew_when_somebody_does() -> None:
    store = Store()
    given_up = store.batch.load(1)
    given_up.cancel()
    kept = store.batch.load(2)

    assert await kept == "n2"
    assert await store.batch.load(1) == "n1"
    assert store.calls == [[2], [1]]


async def test_what_was_forgotten_is_fetched_again() -> None:
    store = Store()
    await store.batch.load(1)

    store.batch.clear_all()

    assert await store.batch.load(1) == "n1"
    assert store.calls == [[1], [1]]


async def test_keys_can_be_known_by_something_of_them() -> None:
    store = Store()
    batch = Batch(store.fetch, known_by=lambda key: key % 10)

    assert await batch.load_many([1, 2, 21]) == ["n1", "n2", "n1"]
    assert store.calls == [[1, 2]]


async def test_who_knows_that_nobody_else_asks_need_not_wait_for_the_end_of_the_turn() -> None:
    store = Store()
    turns: list[str] = []
    asyncio.get_running_loop().call_soon(turns.append, "a turn")
    beside = store.batch.load(2)

    found = await store.batch.load(1).now()

    assert (found, turns) == ("n1", [])
    assert await beside == "n2"
    assert await store.batch.load(1).now() == "n1"
    assert store.calls == [[2, 1]]


async def test_what_is_under_way_is_not_begun_again_by_who_does_not_wait() -> None:
    store = Store()
    store.gate.clear()
    first = store.batch.load(1)
    while not store.calls:
        await asyncio.sleep(0)
    now = asyncio.ensure_future(first.now())
    await asyncio.sleep(0)
    store.gate.set()

    assert await now == "n1"
    assert store.calls == [[1]]


async def test_an_error_reaches_who_does_not_wait_for_the_end_of_the_turn() -> None:
    store = Store()

    with pytest.raises(ValueError, match="7"):
        await store.batch.load(7).now()
    with pytest.raises(KeyError):
        await store.batch.load(13).now()


async def test_what_a_cancelled_one_had_begun_is_asked_for_anew() -> None:
    store = Store()
    store.gate.clear()
    beside: list[asyncio.Future[str]] = []

    async def asked() -> str:
        beside.append(store.batch.load(2))
        return await store.batch.load(1).now()

    given_up = asyncio.ensure_future(asked())
    while not store.calls:
        await asyncio.sleep(0)
    given_up.cancel()
    await asyncio.wait([given_up])

    assert (given_up.cancelled(), beside[0].cancelled()) == (True, True)
    store.gate.set()
    assert await store.batch.load(2) == "n2"
    assert store.calls == [[2, 1], [2]]

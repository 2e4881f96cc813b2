"""An outside Redis is shared by test processes, and perhaps with its owner: each has numbers of its own and empties no other."""

from __future__ import annotations

from itertools import product
from pathlib import Path

import pytest

from tests.support.servers import RedisUse, lasting_redis, outside_number, with_number

ROOT = Path(__file__).resolve().parents[2]
# Their servers are their own.
OWN_SERVERS = {"tests/chaos/test_servers_killed.py", "tests/chaos/test_storm.py"}


def test_no_two_test_processes_have_a_number_in_common(monkeypatch):
    numbers = set()
    for process, use in product(range(8), RedisUse):
        monkeypatch.setenv("PYTEST_XDIST_WORKER", f"gw{process}")
        numbers.add(outside_number(use))

    assert len(numbers) == 8 * len(RedisUse)
    assert 0 not in numbers
    assert max(numbers) < 32


@pytest.mark.parametrize("url", ["redis://h:1/3", "unix:///tmp/r.sock?db=3"])
def test_what_lasts_is_where_no_test_is(url, monkeypatch):
    monkeypatch.setenv("MC_TEST_REDIS_URL", "redis://h:1")
    monkeypatch.setenv("PYTEST_XDIST_WORKER", "gw2")

    assert lasting_redis(url) == with_number(url, outside_number(RedisUse.LASTING))
    assert outside_number(RedisUse.TESTS) != outside_number(RedisUse.LASTING)


def test_nobody_empties_more_than_is_its_own():
    word = "flush" + "all("
    emptying = {
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / "tests").rglob("*.py")
        if word in path.read_text(encoding="utf-8")
    }

    assert emptying == OWN_SERVERS

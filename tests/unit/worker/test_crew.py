"""Who serves which shard: everybody something, each shard two processes where there are two."""

from __future__ import annotations

import pytest

from runtime.worker.crew import share


@pytest.mark.parametrize("shards", [1, 2, 4, 8])
@pytest.mark.parametrize("count", range(1, 12))
def test_each_process_serves_some_and_each_shard_has_two(count, shards):
    names = {f"host:{number}" for number in range(count)}

    shares = {name: share(name, names, range(shards)) for name in names}

    assert all(shares.values())
    for shard in range(shards):
        holders = [name for name, mine in shares.items() if shard in mine]
        assert len(holders) >= min(2, count)
        assert len(holders) <= max(2, -(-count // shards) + 1)


def test_shards_keep_their_numbers():
    assert share("a", {"a"}, (5, 7)) == {5, 7}

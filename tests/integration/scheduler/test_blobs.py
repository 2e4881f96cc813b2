"""Blobs go when no execution refers to them any more, and no sooner, whatever interrupts it."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

import pytest

from runtime.blob.filesystem import FilesystemBlobs
from runtime.model.blob import BlobKey, BlobRef
from runtime.model.errors import Unavailable
from runtime.model.ids import make_uuid7
from runtime.scheduler.blobs import BlobRelease
from runtime.store import pool
from runtime.store.blob import BlobRetention
from tests.integration.scheduler.test_retention import DAY, MAKE, WORKFLOW, Old
from tests.integration.scheduler.test_retention import old as old
from tests.support.engine_room import TENANT, EngineRoom

OTHER = UUID("01930000-0000-7000-8000-00000000bbbb")


async def waits_for_lock(room: EngineRoom) -> None:
    """Return when a statement waits for the lock on an address."""
    waiting = "select count(*) from pg_locks where locktype = 'advisory' and not granted"
    while not await room.sql.fetchval(waiting):
        await asyncio.sleep(0.01)


class Kept(Old):
    """Executions of an old day that refer to blobs."""

    async def made_with(self, *values: str, status: int = 2, slot: int = 1, tenant=TENANT) -> UUID:
        at = datetime(DAY.year, DAY.month, DAY.day, 12, tzinfo=UTC)
        noise = self.room.entropy.bits(62)
        one = make_uuid7(unix_ms=int(at.timestamp() * 1000), slot=slot, noise=noise)
        await self.room.sql.execute(MAKE, one, tenant, WORKFLOW, status, at, 0)
        for value in values:
            await self.put(one, value, tenant)
        return one

    async def put(self, one: UUID, value: str, tenant=TENANT) -> BlobRef:
        raw = value.encode()
        digest = f"sha256:{hashlib.sha256(raw).hexdigest()}"
        return await self.room.blobs().put(tenant, one, raw, digest)

    async def there(self, value: str, slot: int = 1, tenant=TENANT) -> bool:
        digest = f"sha256:{hashlib.sha256(value.encode()).hexdigest()}"
        return await self.room.blob_store.size(BlobKey(tenant, slot, digest)) is not None

    async def refs(self) -> int:
        return int(await self.room.sql.fetchval("select count(*) from blob_refs"))

    def release(self, store=None) -> BlobRelease:
        made = BlobRetention(self.room.database, store or self.room.blob_store)
        return BlobRelease(made, self.room.metrics)


@pytest.fixture
def kept(old: Old, room: EngineRoom) -> Kept:
    return Kept(room)


async def test_exactly_what_nobody_refers_to_goes(kept: Kept):
    await kept.made_with("gone", "shared")
    await kept.made_with("kept", "shared", status=3)

    await kept.days.run()
    assert await kept.release().run() == 1

    assert not await kept.there("gone")
    assert await kept.there("shared")
    assert await kept.there("kept")
    assert await kept.refs() == 2
    assert await kept.release().run() == 0


async def test_what_is_held_keeps_its_blobs_until_it_is_not(kept: Kept, room: EngineRoom):
    one = await kept.made_with("held")
    await room.sql.execute(
        "insert into legal_holds (tenant_id, scope, id, reason, actor) values ($1, 'execution', $2, 'case', 'ann')",
        TENANT, one,
    )  # fmt: skip
    await kept.days.run()
    await kept.release().run()
    assert await kept.there("held")

    await room.sql.execute("delete from legal_holds")
    await kept.days.run()

    assert await kept.release().run() == 1
    assert not await kept.there("held")


async def test_other_slots_and_tenants_keep_their_own(kept: Kept, room: EngineRoom):
    await room.sql.execute("insert into tenants (id, name) values ($1, 'other')", OTHER)
    await kept.made_with("same", slot=1)
    await kept.made_with("same", slot=2, status=3)
    await kept.made_with("same", slot=1, tenant=OTHER, status=3)

    await kept.days.run()
    assert await kept.release().run() == 1

    assert not await kept.there("same", slot=1)
    assert await kept.there("same", slot=2)
    assert await kept.there("same", slot=1, tenant=OTHER)


async def test_a_reference_whose_execution_never_came_goes_with_its_day(kept: Kept):
    await kept.made_with("x")
    at = datetime(DAY.year, DAY.month, DAY.day, 13, tzinfo=UTC)
    never = make_uuid7(unix_ms=int(at.timestamp() * 1000), slot=1, noise=5)
    await kept.put(never, "an enqueue that died")
    today = kept.room.entropy.uuid7(int(datetime.now(UTC).timestamp() * 1000), 1)
    await kept.put(today, "an enqueue under way")

    await kept.days.run()
    await kept.release().run()

    assert not await kept.there("an enqueue that died")
    assert await kept.there("an enqueue under way")


async def test_a_store_that_refuses_leaves_the_references_for_the_next_time(
    kept: Kept, room: EngineRoom, home: Path
):
    class Refusing(FilesystemBlobs):
        async def delete(self, keys) -> None:
            await super().delete(keys)
            raise Unavailable(reason="BLOB_STORE_UNAVAILABLE")

    await kept.made_with("gone")
    await kept.days.run()

    with pytest.raises(Unavailable):
        await kept.release(Refusing(home / "blobs")).run()
    assert await kept.refs() == 1

    assert await kept.release().run() == 1
    assert await kept.refs() == 0


async def test_a_put_beside_a_release_writes_the_blob_again(kept: Kept, home: Path):
    """The value is put for a new execution at the very moment in which its last old reference goes."""
    await kept.made_with("again")
    await kept.days.run()
    today = kept.room.entropy.uuid7(int(datetime.now(UTC).timestamp() * 1000), 1)
    asked = []

    class Meanwhile(FilesystemBlobs):
        async def delete(self, keys) -> None:
            asked.append(asyncio.ensure_future(kept.put(today, "again")))
            await waits_for_lock(kept.room)
            await super().delete(keys)

    assert await kept.release(Meanwhile(home / "blobs")).run() == 1
    await asked[0]

    assert await kept.there("again")
    assert await kept.refs() == 1


async def test_the_address_stays_locked_for_as_long_as_the_deleting_takes(
    kept: Kept, room: EngineRoom, home: Path, monkeypatch
):
    """Else whoever puts the same value meanwhile would rely on a blob that is just being deleted."""
    monkeypatch.setitem(pool._SETTINGS, "idle_in_transaction_session_timeout", "50")
    held = []

    class Slow(FilesystemBlobs):
        async def delete(self, keys: Sequence[BlobKey]) -> None:
            await room.sql.fetchval("select pg_sleep(0.5)")
            locked = (
                "select count(*) from pg_locks l join pg_database d on d.oid = l.database "
                "where d.datname = current_database() and l.locktype = 'advisory' and l.granted"
            )
            held.append(await room.sql.fetchval(locked))
            await super().delete(keys)

    await kept.made_with("gone")
    await kept.days.run()

    await kept.release(Slow(home / "blobs")).run()

    assert held == [1]
    assert not await kept.there("gone")


async def test_nothing_goes_while_a_shard_is_closed(kept: Kept, room: EngineRoom):
    """Its executions may stand in a second database by then, and here they are deleted."""
    await kept.made_with("gone")
    await kept.days.run()

    await room.sql.execute("update shards set open = false")
    assert await kept.release().run() == 0
    assert await kept.there("gone")

    await room.sql.execute("update shards set open = true")
    assert await kept.release().run() == 1


async def test_after_a_restart_without_its_disk_a_store_is_away_and_not_made_anew(
    kept: Kept, room: EngineRoom, home: Path
):
    await kept.made_with("gone")
    one = await kept.made_with("kept", status=3)
    await kept.days.run()
    folder, disk = home / "blobs", home / "disk"
    folder.rename(disk)
    folder.mkdir()  # where the disk was mounted
    room.blob_store = FilesystemBlobs(folder)

    for use in (kept.release().run(), kept.put(one, "more")):
        with pytest.raises(Unavailable, match="may not be mounted"):
            await use
    await room.blob_store.tidy(1.0)
    assert list(folder.iterdir()) == []

    folder.rmdir()
    disk.rename(folder)
    assert await kept.release().run() == 1
    assert await kept.there("kept")
    await kept.put(one, "more")
    assert await kept.there("more", slot=1)

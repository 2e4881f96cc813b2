"""Migrations: once, in order, one at a time, and never changed afterwards."""

from __future__ import annotations

import asyncio
import hashlib
from dataclasses import replace

import asyncpg
import pytest

from runtime.model.errors import SetupError, Unavailable
from runtime.store.migrate import Migration, migrate, pending, shipped


def _migration(name: str, sql: str) -> Migration:
    return Migration(
        name, sql, hashlib.sha256(sql.encode()).hexdigest(), "post" if "_post_" in name else "pre"
    )


async def _fetch(url, query):
    connection = await asyncpg.connect(url)
    try:
        return await connection.fetchval(query)
    finally:
        await connection.close()


async def test_each_is_announced_and_applied_once(databases):
    url = databases.empty()
    told: list[str] = []

    first = await migrate(url, told.append)
    second = await migrate(url, told.append)

    assert first == tuple(told) == tuple(migration.name for migration in shipped())
    assert second == ()


async def test_pending_names_what_is_missing(databases):
    url = databases.empty()

    before = await pending(url)
    await migrate(url)

    assert before == tuple(migration.name for migration in shipped())
    assert await pending(url) == ()


async def test_a_changed_file_is_refused_by_name(databases):
    url = databases.clone()
    changed = (replace(shipped()[0], sha256="0" * 64), *shipped()[1:])

    with pytest.raises(SetupError, match="0001_pre_tables was changed"):
        await migrate(url, migrations=changed)


async def test_a_failing_one_leaves_nothing_behind(databases):
    url = databases.clone()
    broken = _migration("0009_pre_broken", "create table maestro.left_over (id int); select 1 / 0")

    with pytest.raises(SetupError, match="0009_pre_broken failed and left nothing behind"):
        await migrate(url, migrations=(*shipped(), broken))

    assert await _fetch(url, "select to_regclass('maestro.left_over')") is None


async def test_phases_run_apart(databases):
    url = databases.clone()
    after = _migration("0009_post_tidy", "create table maestro.tidy (id int)")

    before = await migrate(url, phases=("pre",), migrations=(*shipped(), after))
    then = await migrate(url, phases=("post",), migrations=(*shipped(), after))

    assert (before, then) == ((), ("0009_post_tidy",))


async def test_two_at_once_apply_each_once(databases):
    url = databases.empty()

    found = await asyncio.gather(*(migrate(url) for _ in range(4)))

    assert max(found, key=len) == tuple(migration.name for migration in shipped())
    assert sum(len(names) for names in found) == len(shipped())


async def test_missing_rights_are_explained(databases, postgres_server):
    url = databases.empty()
    admin = await asyncpg.connect(url)
    await admin.execute(
        "drop role if exists mc_nobody; create role mc_nobody login password 'secret'"
    )
    await admin.close()
    user = url.replace(url.split("//")[1].split("@")[0], "mc_nobody:secret")

    with pytest.raises(SetupError, match="needs CREATE on the database") as caught:
        await migrate(user)

    assert "secret" not in caught.value.message


async def test_an_absent_server_is_named():
    with pytest.raises(Unavailable, match=r"127\.0\.0\.1:1/x does not answer"):
        await migrate("postgresql://u:hidden@127.0.0.1:1/x")


async def test_an_address_that_can_not_be_used_is_a_sentence():
    with pytest.raises(SetupError, match=r"127\.0\.0\.1:1/x, or a PG\* .*sslmode") as caught:
        await migrate("postgresql://u:hidden@127.0.0.1:1/x?sslmode=nonsense")

    assert "hidden" not in caught.value.message


async def test_partitions_reach_a_week_ahead(databases):
    url = databases.clone()

    days = await _fetch(
        url,
        "select count(*) from pg_inherits where inhparent = 'maestro.workflow_executions'::regclass",
    )

    assert days >= 10

"""The embedded servers as one thing: started, found again, locked, restarted, and gone with their parent."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import stat
import subprocess
import sys
from pathlib import Path

import asyncpg
import psutil
import pytest
import redis.asyncio as redis

from runtime.embedded import EmbeddedServices, embedded_services
from runtime.embedded.home import MAX_SOCKET_FOLDER_BYTES
from runtime.model.errors import SetupError
from tests.support.processes import ROOT, eventually

PARENT = """
import asyncio, sys
from pathlib import Path
from runtime.embedded import embedded_services

async def main():
    async with embedded_services(Path(sys.argv[1]), postgres=True, redis=True) as services:
        print(*services.pids.values(), flush=True)
        await asyncio.Event().wait()

asyncio.run(main())
"""


async def ask(url: str | None, statement: str) -> object:
    assert url is not None
    connection = await asyncpg.connect(url)
    try:
        return await connection.fetchval(statement)
    finally:
        await connection.close()


async def answers(url: str | None) -> bool:
    try:
        return await ask(url, "select 1") == 1
    except (OSError, asyncpg.PostgresError):
        return False


async def pings(url: str | None) -> bool:
    assert url is not None
    client = redis.from_url(url)
    try:
        return bool(await client.ping())
    except redis.ConnectionError:
        return False
    finally:
        await client.aclose()


def begin_parent(home: Path) -> tuple[subprocess.Popen[str], list[int]]:
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, str(home)],
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert parent.stdout is not None
    with parent.stdout as output:
        return parent, [int(pid) for pid in output.readline().split()]


async def test_a_fresh_start_reports_each_server_and_both_answer(home: Path):
    stages: list[str] = []

    async with embedded_services(home, postgres=True, redis=True, on_stage=stages.append) as found:
        assert await answers(found.database_url)
        assert await pings(found.redis_url)

    assert sorted(line.split(" ready")[0] for line in stages) == ["PostgreSQL", "Redis"]


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("fsync", "on"),
        ("synchronous_commit", "on"),
        ("full_page_writes", "on"),
        ("data_checksums", "on"),
        ("password_encryption", "scram-sha-256"),
        ("listen_addresses", ""),
        ("server_encoding", "UTF8"),
    ],
)
async def test_postgres_keeps_the_meaning_of_production(made_home: Path, setting: str, value: str):
    async with embedded_services(made_home, postgres=True, redis=False) as found:
        assert await ask(found.database_url, f"select current_setting('{setting}')") == value


async def test_variables_for_another_server_change_nothing(
    made_home: Path, monkeypatch: pytest.MonkeyPatch
):
    meant = {"PGSSLMODE": "verify-full", "PGPORT": "1", "PGTARGETSESSIONATTRS": "standby"}
    for name, value in {
        **meant,
        "PGSSLNEGOTIATION": "x",
        "PGSERVICE": "x",
        "PGGSSLIB": "x",
    }.items():
        monkeypatch.setenv(name, value)

    async with embedded_services(made_home, postgres=True, redis=False) as found:
        assert await ask(found.database_url, "select 'here'") == "here"


async def test_nobody_else_can_read_what_lies_in_the_home(home: Path):
    async with embedded_services(home, postgres=True, redis=True):
        open_to_others = [
            path
            for path in (home, *home.glob("*"), *home.glob("*/*"))
            if stat.S_IMODE(path.lstat().st_mode) & 0o077 and not path.name.endswith(".pid")
        ]

    assert open_to_others == []


async def test_a_wrong_password_is_refused_by_both(made_home: Path):
    async with embedded_services(made_home, postgres=True, redis=True) as found:
        assert found.database_url is not None
        assert found.redis_url is not None
        with pytest.raises(asyncpg.InvalidPasswordError):
            await asyncpg.connect(found.database_url, password="guessed")
        guessed = re.sub("//:[^@]+@", "//:guessed@", found.redis_url)
        async with redis.from_url(guessed) as client:
            with pytest.raises(redis.ConnectionError, match="invalid username-password"):
                await client.ping()


async def test_the_second_start_finds_what_the_first_has_stored(made_home: Path):
    async with embedded_services(made_home, postgres=True, redis=False) as found:
        await ask(found.database_url, "create table kept as select 42 as answer")

    async with embedded_services(made_home, postgres=True, redis=False) as found:
        assert await ask(found.database_url, "select answer from kept") == 42


async def test_without_wishes_nothing_is_started_and_nothing_is_touched(tmp_path: Path):
    async with embedded_services(tmp_path / "home", postgres=False, redis=False) as found:
        assert (found.database_url, found.redis_url) == (None, None)

    assert not (tmp_path / "home").exists()


async def test_a_second_start_in_the_same_folder_is_refused_by_the_holders_number(made_home: Path):
    async with embedded_services(made_home, postgres=False, redis=True):
        second = EmbeddedServices(made_home, postgres=False, redis=True)

        with pytest.raises(SetupError, match=f"in use by process {os.getpid()}") as refusal:
            await second.start()

    assert refusal.value.reason == "HOME_IN_USE"


async def test_the_folder_is_free_again_after_a_failed_start(made_home: Path):
    (made_home / "postgres" / "data" / "postgresql.conf").write_text("nonsense = 1\n")
    with pytest.raises(SetupError, match="nonsense"):
        await EmbeddedServices(made_home, postgres=True, redis=True).start()

    async with embedded_services(made_home, postgres=False, redis=True) as found:
        assert await pings(found.redis_url)


@pytest.mark.chaos
async def test_servers_end_with_a_killed_parent_and_the_next_start_finds_the_data(made_home: Path):
    async with embedded_services(made_home, postgres=True, redis=False) as found:
        await ask(found.database_url, "create table kept as select 42 as answer")
    parent, pids = begin_parent(made_home)

    parent.kill()
    parent.wait()

    await eventually(lambda: not any(map(psutil.pid_exists, pids)), what="servers gone")
    async with embedded_services(made_home, postgres=True, redis=True) as found:
        assert await ask(found.database_url, "select answer from kept") == 42
        assert await pings(found.redis_url)


@pytest.mark.chaos
async def test_a_killed_postgres_is_started_again_with_all_that_was_committed(made_home: Path):
    async with embedded_services(made_home, postgres=True, redis=False) as found:
        await ask(found.database_url, "create table kept as select 42 as answer")
        first = found.pids["PostgreSQL"]

        os.kill(first, signal.SIGKILL)

        await eventually(lambda: found.pids.get("PostgreSQL") not in {None, first}, seconds=30)
        await eventually(lambda: answers(found.database_url), seconds=30)
        assert await ask(found.database_url, "select answer from kept") == 42


@pytest.mark.chaos
async def test_postgres_comes_back_although_a_session_is_still_busy(made_home: Path):
    async with embedded_services(made_home, postgres=True, redis=False) as found:
        assert found.database_url is not None
        busy = await asyncpg.connect(found.database_url)
        work = asyncio.create_task(
            busy.fetchval("select count(*) from generate_series(1, 30000000)")
        )
        await eventually(
            lambda: ask(
                found.database_url,
                "select count(*) from pg_stat_activity where query like '%30000000%'"
                " and state = 'active' and pid <> pg_backend_pid()",
            )
        )

        os.kill(found.pids["PostgreSQL"], signal.SIGKILL)

        await eventually(lambda: answers(found.database_url), seconds=60)
        await asyncio.gather(work, return_exceptions=True)


@pytest.mark.chaos
async def test_a_killed_redis_is_started_again(made_home: Path):
    async with embedded_services(made_home, postgres=False, redis=True) as found:
        first = found.pids["Redis"]

        os.kill(first, signal.SIGKILL)

        await eventually(lambda: found.pids.get("Redis") not in {None, first})
        await eventually(lambda: pings(found.redis_url))


async def test_a_long_path_puts_the_sockets_elsewhere_and_takes_them_away_again(
    made_home: Path, tmp_path: Path
):
    far = tmp_path / ("long-" * 15) / "home"
    far.parent.mkdir()
    made_home.rename(far)

    async with embedded_services(far, postgres=True, redis=True) as found:
        assert found.database_url is not None
        sockets = Path(found.database_url.partition("host=")[2])
        assert await answers(found.database_url)
        assert await pings(found.redis_url)
        mode = stat.S_IMODE(sockets.stat().st_mode)

    assert far not in sockets.parents
    assert len(str(sockets)) <= MAX_SOCKET_FOLDER_BYTES
    assert mode == 0o700
    assert not sockets.exists()


async def test_a_path_with_spaces_and_signs_works(made_home: Path, tmp_path: Path):
    odd = made_home.rename(tmp_path / "a b%20#?'ü")

    async with embedded_services(odd, postgres=True, redis=True) as found:
        assert await answers(found.database_url)
        assert await pings(found.redis_url)

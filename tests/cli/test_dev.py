"""`mc dev` as a process: what it prints, what it leaves behind, and that it ends with everything it started."""

from __future__ import annotations

import json
import os
import signal
import socket
import stat
from time import monotonic

import psutil
import pytest

from maestro_cli.local.development import LOCK_FILE
from runtime.embedded.home import locked
from tests.support.processes import eventually, is_alive


def mode(path):
    return stat.S_IMODE(path.stat().st_mode)


async def gone(processes):
    await eventually(
        lambda: not any(process.is_running() for process in processes), what="end of its children"
    )


async def test_a_second_start_is_quick_and_finds_its_data(mc, tmp_path):
    first = await mc.start("dev", "--example").ready()
    await first.printed(r"^Try in another terminal:")
    assert mode(mc.home / "dev-token") == mode(mc.home / "dev.json") == 0o600
    await first.stop(signal.SIGINT)

    begin = monotonic()
    second = mc.start("dev", "--example")
    await second.printed(r"^Try in another terminal:")
    took, worked = monotonic() - begin, psutil.Process(second.pid).cpu_times()

    # Beside other tests on two cores it may have to wait for its turn: then its own work is what counts.
    assert min(took, worked.user + worked.system) < 5
    assert "example      has run in this folder" in second.output()
    listed = await mc.run("executions", "list", "-o", "json")
    assert [row["status"] for row in json.loads(listed.stdout)] == ["completed"]
    assert await second.stop(signal.SIGTERM) == 0


async def test_a_second_one_in_the_same_folder_is_refused_by_pid(mc):
    first = await mc.start("dev").ready()

    same, elsewhere = await mc.run("dev"), await mc.run("dev", "--port", "0")

    assert (same.code, elsewhere.code) == (6, 6)
    assert f"process {first.pid}" in same.stderr
    assert mc.url in same.stderr
    assert f"process {first.pid}" in elsewhere.stderr
    assert (await mc.run("doctor")).code == 0
    assert await first.stop() == 0


@pytest.mark.long
async def test_one_that_only_starts_is_named_and_not_its_port(mc):
    mc.home.mkdir(parents=True, exist_ok=True)
    with socket.create_server(("127.0.0.1", mc.port)), locked(mc.home, LOCK_FILE):
        done = await mc.run("dev")

    assert done.code == 6
    assert f"in use by process {os.getpid()}" in done.stderr
    assert str(mc.port) not in done.stderr


@pytest.mark.long
async def test_a_second_ctrl_c_ends_it_at_once_and_nothing_stays(mc):
    running = await mc.start("dev").ready()
    children = running.descendants()

    running.send(signal.SIGINT)
    running.send(signal.SIGINT)

    assert await running.ended() in {0, 130}
    await gone(children)


@pytest.mark.long
async def test_kill_9_leaves_no_server_and_the_data_is_there_again(mc):
    first = await mc.start("dev").ready()
    children = first.descendants()
    first.kill()
    await gone(children)

    second = await mc.start("dev").ready()

    assert await second.stop() == 0


async def test_a_taken_port_is_named_with_the_way_out(mc):
    with socket.create_server(("127.0.0.1", mc.port)):
        done = await mc.run("dev")

    assert done.code == 6
    assert str(mc.port) in done.stderr
    assert "--port or MC_PORT" in done.stderr
    assert not (mc.home / "postgres").exists()


async def test_a_folder_that_can_not_be_used_is_named(mc, tmp_path):
    (tmp_path / "file").write_text("")

    done = await mc.run("dev", MC_HOME=str(tmp_path / "file" / "home"))

    assert done.code == 1
    assert "MC_HOME" in done.stderr


@pytest.mark.parametrize("verb", ["dev", "serve"])
async def test_development_tokens_are_for_loopback_only(mc, verb):
    done = await mc.run(verb, "--host", "0.0.0.0")

    assert done.code == 2
    assert "MC_AUTH_JWKS_URL" in done.stderr


@pytest.mark.long
async def test_a_killed_database_comes_back_by_itself(mc):
    running = await mc.start("dev").ready()
    server = next(
        p for p in running.descendants() if p.name() == "postgres" and p.ppid() == running.pid
    )

    server.kill()
    await eventually(lambda: not is_alive(server))
    await running.ready()

    assert (await mc.run("workflows", "list")).code == 0
    assert await running.stop() == 0


@pytest.mark.long
async def test_with_outside_servers_it_starts_none_of_its_own(mc, database_url, redis_url):
    running = await mc.start("dev", MC_DATABASE_URL=database_url, MC_REDIS_URL=redis_url).ready()
    second = await mc.run(
        "dev", "--port", "0", MC_DATABASE_URL=database_url, MC_REDIS_URL=redis_url
    )

    assert running.descendants() == []
    assert not (mc.home / "postgres").exists()
    assert second.code == 6
    assert (await mc.run("workflows", "list")).code == 0
    assert await running.stop() == 0

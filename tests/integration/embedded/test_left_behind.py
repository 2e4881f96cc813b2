"""What an earlier start has left: lock files of strangers, servers without a parent, half-made folders."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from runtime.embedded.binaries import postgres_programs, redis_program
from runtime.embedded.home import socket_folder
from runtime.embedded.identity import CHILD_PROGRAM, choose_identity
from runtime.embedded.postgres import EmbeddedPostgres
from runtime.embedded.process import _ps_facts, belongs, end_left_behind
from runtime.embedded.redis import NAMES, EmbeddedRedis
from tests.support.processes import eventually


@pytest.fixture
def stranger() -> Iterator[subprocess.Popen[bytes]]:
    """A process that has nothing to do with us."""
    with subprocess.Popen(["/bin/sleep", "60"]) as process:
        yield process
        process.kill()


async def begin_immortal(*program: str, identity: str = "same") -> asyncio.subprocess.Process:
    """A server that no death of a parent ends (death signal 0), as where the kernel knows none."""
    return await asyncio.create_subprocess_exec(
        sys.executable,
        str(CHILD_PROGRAM),
        *("--identity", identity, "--parent", str(os.getpid()), "--death-signal", "0", "--"),
        *program,
        start_new_session=True,
    )


async def test_a_lock_file_of_postgres_that_names_a_stranger_is_no_obstacle(
    made_home: Path, stranger: subprocess.Popen[bytes]
):
    data = made_home / "postgres" / "data"
    (data / "postmaster.pid").write_text(
        f"{stranger.pid}\n{data}\n1\n5432\n/tmp\n\n  1  1\nready\n"
    )
    server = EmbeddedPostgres(made_home / "postgres", socket_folder(made_home))

    await server.start()
    await server.stop()

    assert stranger.poll() is None


async def test_a_lock_file_of_postgres_without_a_number_is_no_obstacle(made_home: Path):
    (made_home / "postgres" / "data" / "postmaster.pid").write_text("garbage")
    server = EmbeddedPostgres(made_home / "postgres", socket_folder(made_home))

    await server.start()
    await server.stop()


async def test_a_pid_file_of_redis_that_names_a_stranger_harms_nobody(
    home: Path, stranger: subprocess.Popen[bytes]
):
    (home / "redis").mkdir(mode=0o700)
    (home / "redis" / "server.pid").write_text(str(stranger.pid))
    server = EmbeddedRedis(home / "redis", socket_folder(home))

    await server.start()
    await server.stop()

    assert stranger.poll() is None


async def test_a_postgres_without_its_parent_is_stopped_and_replaced(
    made_home: Path, end_process: Callable[[int], None]
):
    sockets = socket_folder(made_home)
    left = await begin_immortal(
        *(str(postgres_programs() / "postgres"), "-D", str(made_home / "postgres" / "data")),
        *("-c", "listen_addresses=", "-c", f"unix_socket_directories={sockets}"),
        identity=(await choose_identity()).argument,
    )
    end_process(left.pid)
    await eventually((sockets / ".s.PGSQL.5432").exists)
    server = EmbeddedPostgres(made_home / "postgres", sockets)

    await server.start()

    assert await left.wait() == 0
    assert server.child is not None
    await server.stop()


async def test_a_redis_without_its_parent_is_stopped_and_replaced(
    home: Path, end_process: Callable[[int], None]
):
    sockets = socket_folder(home)
    first = EmbeddedRedis(home / "redis", sockets)
    await first.start()
    await first.stop()
    left = await begin_immortal(str(redis_program()), str(home / "redis" / "server.conf"))
    end_process(left.pid)
    await eventually((sockets / "redis.sock").exists)

    second = EmbeddedRedis(home / "redis", sockets)
    await second.start()

    assert await left.wait() == 0
    assert second.child is not None
    await second.stop()


async def test_a_half_made_data_folder_counts_as_none(home: Path):
    (home / "postgres" / "data.new").mkdir(parents=True)
    (home / "postgres" / "data.new" / "PG_VERSION").write_text("18\n")
    server = EmbeddedPostgres(home / "postgres", socket_folder(home), overrides={"fsync": "off"})

    await server.start()
    await server.stop()

    assert not (home / "postgres" / "data.new").exists()


async def test_a_stubborn_process_is_ended_by_the_harder_signal():
    deaf = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN);"
        " print('deaf', flush=True); time.sleep(60)",
        stdout=subprocess.PIPE,
    )
    assert deaf.stdout is not None
    await deaf.stdout.readline()

    gone = await end_left_behind(deaf.pid, ((signal.SIGTERM, 0.1), (signal.SIGKILL, 5.0)))

    assert gone
    assert await deaf.wait() == -signal.SIGKILL


async def test_a_server_is_recognised_by_its_program_and_its_folder_together(home: Path):
    server = EmbeddedRedis(home / "redis", socket_folder(home))
    await server.start()
    assert server.child is not None
    pid = server.child.pid

    judged = [
        belongs(pid, NAMES, (home / "redis",)),
        belongs(pid, NAMES, (home / "other",)),
        belongs(pid, ("postgres",), (home / "redis",)),
    ]

    await server.stop()
    assert judged == [True, False, False]


@pytest.mark.skipif(not Path("/bin/ps").exists(), reason="needs /bin/ps")
def test_ps_tells_the_same_as_proc_where_there_is_no_proc():
    facts = _ps_facts(os.getpid())

    assert facts is not None
    assert facts[0].startswith("python")
    assert _ps_facts(2**22 + 1) is None


@pytest.mark.chaos
async def test_the_watcher_ends_its_program_when_its_parent_is_killed(tmp_path: Path):
    script = (
        "import os, subprocess, sys, time\n"
        f"subprocess.Popen([sys.executable, {str(CHILD_PROGRAM)!r}, '--watch', '--parent',"
        " str(os.getpid()), '--death-signal', '15', '--', '/bin/sh', '-c',"
        f" 'echo $$ > {tmp_path}/pid; exec sleep 60'])\n"
        "time.sleep(60)\n"
    )
    parent = await asyncio.create_subprocess_exec(sys.executable, "-c", script)
    pid_file = tmp_path / "pid"
    await eventually(lambda: pid_file.exists() and pid_file.read_text().strip())

    parent.kill()
    await parent.wait()

    await eventually(lambda: not psutil.pid_exists(int(pid_file.read_text())))


async def test_the_watcher_passes_signals_on_and_answers_with_the_programs_code(tmp_path: Path):
    watcher = await asyncio.create_subprocess_exec(
        *(sys.executable, str(CHILD_PROGRAM), "--watch", "--parent", str(os.getpid()), "--"),
        *(
            "/bin/sh",
            "-c",
            f"trap 'exit 7' TERM; touch {tmp_path}/up; while :; do sleep 0.05; done",
        ),
    )
    await eventually((tmp_path / "up").exists)

    watcher.terminate()

    assert await watcher.wait() == 7

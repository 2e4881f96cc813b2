"""`mc serve`, `mc worker`, `mc scheduler` as separate processes, and the engine that lives for one execution."""

from __future__ import annotations

import json
import signal
import time

import pytest

from runtime.settings import WorkerSettings

HELLO = "name: hello\nversion: 1.0.0\nsteps: [{id: greet, uses: core.set@1, with: {text: hi}}]\noutputs: {text: '{{ steps.greet.output.text }}'}\n"

BREWING = """\
from maestro import step
from pydantic import BaseModel


class Tea(BaseModel):
    cups: int


@step(name="tea.brew", version="1.0.0")
def brew(tea: Tea) -> Tea:
    return Tea(cups=tea.cups * 2)
"""


@pytest.fixture
def hello(tmp_path):
    file = tmp_path / "hello.yaml"
    file.write_text(HELLO)
    return str(file)


@pytest.fixture
def nap(tmp_path):
    file = tmp_path / "nap.yaml"
    file.write_text(
        "name: nap\nversion: 1.0.0\nsteps: [{id: rest, uses: core.sleep@1, with: {duration: 60s}}]\n"
    )
    return str(file)


async def test_three_processes_run_an_execution_and_drain_on_sigterm(
    mc, database_url, redis_url, hello
):
    mc.environ = {"MC_DATABASE_URL": database_url, "MC_REDIS_URL": redis_url}
    parts = [mc.start(verb) for verb in ("serve", "worker", "scheduler")]
    await parts[0].ready()
    token = (
        await mc.run("token", "create", "--tenant", "default", "--subject", "me", "--role", "admin")
    ).stdout.strip()

    done = await mc.run("execute", hello, "--wait", "-o", "json", MC_URL=mc.url, MC_TOKEN=token)

    assert done.code == 0, done.stderr + parts[1].output()
    assert json.loads(done.stdout)["output"] == {"text": "hi"}
    assert [await part.stop(signal.SIGTERM) for part in parts] == [0, 0, 0]


@pytest.mark.parametrize(
    "verb",
    ["serve", *(pytest.param(one, marks=pytest.mark.long) for one in ("worker", "scheduler"))],
)
async def test_without_services_they_say_what_to_set(mc, verb):
    done = await mc.run(verb)

    assert done.code == 7
    assert "MC_DATABASE_URL" in done.stderr
    assert "mc dev" in done.stderr


@pytest.mark.long
async def test_an_unreachable_database_is_an_error_not_a_traceback(mc, redis_url):
    done = await mc.run(
        "worker", MC_DATABASE_URL="postgresql://u:s3cret@127.0.0.1:9/x", MC_REDIS_URL=redis_url
    )

    assert done.code in {1, 7}
    assert "Traceback" not in done.stderr
    assert "s3cret" not in done.stderr


async def test_migrate_brings_an_empty_database_up_to_date(mc, databases):
    url = databases.empty()

    before = await mc.run("migrate", "--check", MC_DATABASE_URL=url)
    applied = await mc.run("migrate", MC_DATABASE_URL=url)
    after = await mc.run("migrate", "--check", MC_DATABASE_URL=url)

    assert (before.code, applied.code, after.code) == (1, 0, 0)
    assert "0001" in before.stdout


@pytest.mark.long
async def test_a_worker_joins_a_running_dev_of_the_same_folder(mc):
    dev = await mc.start("dev").ready()

    worker = mc.start("worker")
    await worker.printed("worker ready")

    assert await worker.stop() == 0
    assert await dev.stop() == 0


async def test_a_file_runs_without_any_server_and_leaves_nothing(mc, hello, tmp_path):
    (tmp_path / "tmp").mkdir()

    done = await mc.run("execute", hello, TMPDIR=str(tmp_path / "tmp"))

    first, _, rest = done.stdout.partition("\n")
    assert done.code == 0, done.stderr
    assert len(first) == 36
    assert json.loads(rest) == {"text": "hi"}
    assert list((tmp_path / "tmp").iterdir()) == []
    assert not (mc.home / "dev.json").exists()


@pytest.mark.parametrize("flag", ["--wait", pytest.param("--watch", marks=pytest.mark.long)])
async def test_ctrl_c_ends_a_local_run_at_once_and_says_so(mc, nap, flag):
    running = mc.start("execute", nap, flag)
    await running.printed(r"^([0-9a-f-]{36})$")
    if flag == "--watch":
        await running.printed("step_started")
    before = time.monotonic()

    assert await running.stop(signal.SIGINT) == 130
    # Neither until the step has slept nor until a worker would have drained.
    assert time.monotonic() - before < WorkerSettings().drain_seconds - 5
    assert "Stopped; the execution ended" in running.output()
    assert "Traceback" not in running.output()


@pytest.mark.long
async def test_what_a_killed_local_run_left_is_swept_by_the_next(mc, nap, hello, tmp_path):
    mc.environ = {"TMPDIR": str(tmp_path / "tmp")}
    (tmp_path / "tmp").mkdir()
    (tmp_path / "tmp" / "mc-mine").mkdir(mode=0o700)
    other = mc.start("execute", nap)
    await other.printed(r"^([0-9a-f-]{36})$")
    killed = mc.start("execute", nap)
    await killed.printed(r"^([0-9a-f-]{36})$")
    killed.kill()

    assert (await mc.run("execute", hello)).code == 0
    assert len(list((tmp_path / "tmp").glob("mc-*"))) == 2
    assert await other.stop(signal.SIGINT) == 130


@pytest.mark.long
async def test_a_file_without_server_watched_as_json_is_one_document(mc, hello):
    done = await mc.run("execute", hello, "--watch", "-o", "json")

    assert json.loads(done.stdout)["status"] == "completed"


async def test_an_invalid_file_without_server_is_exit_code_4(mc, tmp_path):
    file = tmp_path / "bad.yaml"
    file.write_text("name: bad\nversion: 1.0.0\nsteps: [{id: a, uses: core.nop@1}]\n")

    done = await mc.run("execute", str(file))

    assert done.code == 4
    assert str(file) in done.stderr


@pytest.mark.long
async def test_a_package_in_the_current_folder_brings_its_steps_to_a_local_run(mc, tmp_path):
    (tmp_path / "brewing.py").write_text(BREWING)
    file = tmp_path / "brew.yaml"
    file.write_text(
        "name: brew\nversion: 1.0.0\nsteps: [{id: a, uses: tea.brew@1, with: {cups: 2}}]\n"
    )

    done = await mc.run("execute", str(file), "--import", "brewing", cwd=tmp_path)

    assert done.code == 0, done.stderr


async def test_a_watcher_goes_on_where_it_was_when_the_api_comes_back(
    mc, database_url, redis_url, tmp_path
):
    mc.environ = {"MC_DATABASE_URL": database_url, "MC_REDIS_URL": redis_url}
    api, _ = mc.start("serve"), mc.start("worker")
    await api.ready()
    token = await mc.run(
        "token", "create", "--tenant", "default", "--subject", "me", "--role", "admin"
    )
    mc.environ |= {"MC_URL": mc.url, "MC_TOKEN": token.stdout.strip()}
    file = tmp_path / "nap.yaml"
    file.write_text(
        "name: nap\nversion: 1.0.0\nsteps: [{id: rest, uses: core.sleep@1, with: {duration: 5s}}]\n"
    )

    watcher = mc.start("execute", str(file), "--watch")
    await watcher.printed("step_started")
    await api.stop()
    await mc.start("serve").ready()

    assert await watcher.ended() == 0
    words = [line.split()[1] for line in watcher.output().splitlines() if line.startswith("20")]
    assert words == [
        "execution_queued",
        "execution_started",
        "step_started",
        "step_completed",
        "execution_completed",
    ]

"""The ritual of make: what it lists, what it says when something is missing, and how Ctrl-C ends it."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.processes import ROOT, Mc, eventually
from tests.support.terminal import CTRL_C, terminal

pytestmark = pytest.mark.skipif(shutil.which("make") is None, reason="needs make")

IN_FRONT = """
all:
\t@exec {python} {foreground} {python} -c "{program}"
"""
PROGRAM = (
    "import signal, sys; signal.signal(signal.SIGINT, lambda *_: sys.exit(0));"
    " print('up', flush=True); signal.pause()"
)
ENGINE = """
import asyncio, signal
from maestro_cli.local.signals import run_until_stopped

async def body():
    print("up, hang-up ignored:", signal.getsignal(signal.SIGHUP) is signal.SIG_IGN, flush=True)
    await asyncio.Event().wait()

run_until_stopped(body())
open("ended", "w").close()
"""


def make(*arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [shutil.which("make") or "make", "--no-print-directory", *arguments],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], **environ},
        capture_output=True,
        text=True,
        check=False,
    )


def folder_of_tools(folder: Path, *names: str) -> str:
    """A PATH with these programs only."""
    for name in names:
        (folder / name).symlink_to(shutil.which(name) or name)
    return str(folder)


def test_help_lists_every_target_with_what_it_does():
    listed = make("help").stdout

    for target in ("run", "test", "test-long", "bench", "check", "schema", "docs", "verify"):
        assert re.search(rf"^  make {target} +\w", listed, re.MULTILINE)


def test_a_machine_without_python_is_told_which_package_it_needs(tmp_path: Path):
    done = make("bootstrap", "SET=runtime", PATH=folder_of_tools(tmp_path, "sh"))

    assert done.returncode != 0
    assert "apt-get install python3 python3-venv" in done.stderr


def test_a_python_without_venv_is_told_which_package_it_needs(tmp_path: Path):
    copy = tmp_path / "project"
    shutil.copytree(
        ROOT / "scripts", copy / "scripts", ignore=shutil.ignore_patterns("node_modules")
    )
    (tmp_path / "ensurepip.py").write_text("raise ImportError\n")

    done = subprocess.run(
        [sys.executable, copy / "scripts" / "bootstrap.py", "runtime"],
        env={"PATH": folder_of_tools(tmp_path, "git"), "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode != 0
    assert "apt-get install python3-venv" in done.stderr


async def test_ctrl_c_in_a_terminal_reaches_the_program_and_make_ends_well(tmp_path: Path):
    (tmp_path / "Makefile").write_text(
        IN_FRONT.format(
            python=sys.executable, foreground=ROOT / "scripts/foreground.py", program=PROGRAM
        )
    )

    with terminal("make", folder=tmp_path, environment=os.environ) as made:
        await made.printed("up")
        made.press(CTRL_C)

        assert await made.ended() == 0, made.output()


async def test_a_closed_terminal_ends_the_program_though_make_tells_it_nothing(tmp_path: Path):
    (tmp_path / "engine.py").write_text(ENGINE)
    foreground = ROOT / "scripts/foreground.py"
    (tmp_path / "Makefile").write_text(
        f"all:\n\t@exec {sys.executable} {foreground} {sys.executable} engine.py\n"
    )

    with terminal(
        "make", folder=tmp_path, environment={**os.environ, "PYTHONPATH": os.fspath(ROOT)}
    ) as made:
        await made.printed("up")
        made.hang_up()

        await made.ended()

    assert (tmp_path / "ended").exists()


@pytest.mark.parametrize("ignored", [False, True])
def test_what_nohup_has_said_stays_said(tmp_path: Path, ignored: bool):
    (tmp_path / "engine.py").write_text(ENGINE)
    # Said in so many words: whoever started these tests may have said it already.
    said_before = "SIG_IGN" if ignored else "SIG_DFL"
    start = (
        f"import os, signal, sys; signal.signal(signal.SIGHUP, signal.{said_before});"
        " os.execv(sys.executable, [sys.executable, 'engine.py'])"
    )

    with subprocess.Popen(
        [sys.executable, "-c", start],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": os.fspath(ROOT)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        said = process.stdout.readline()
        process.kill()

    assert said == f"up, hang-up ignored: {ignored}\n"


async def test_make_run_shows_the_example_its_lines_work_and_ctrl_c_ends_everything(mc: Mc):
    """The first command of the README, as a person meets it; the lines are run as they stand there."""
    with terminal("make", "run", folder=ROOT, environment=_plain(mc)) as made:
        await made.printed(r"^Try in another terminal:\n(?:  .+\n){3}")
        story, family = made.output(), made.family()
        lines = re.findall(
            r"^  (.+)$", story.partition("Try in another terminal:")[2], re.MULTILINE
        )
        tried = [
            subprocess.run(
                ["/bin/sh", "-c", line],
                cwd=ROOT,
                env={"PATH": os.environ["PATH"], "HOME": str(mc.folder)},
                capture_output=True,
                text=True,
                check=False,
            )
            for line in lines
        ]
        made.press(CTRL_C)
        code = await made.ended()

    names = [line.split()[0] for line in story.splitlines()[:7]]
    assert names[:2] + sorted(names[2:4]) + names[4:] == [
        "environment",
        "shop",
        "PostgreSQL",
        "Redis",
        "schema",
        "API",
        "worker",
    ]
    assert "ORD-1001 was charged once" in story
    assert "in parallel with" in story
    assert "retr" in story
    assert f"{mc.url}/graphql#token=" in story
    assert [one.returncode for one in tried] == [0, 0, 0], tried
    assert "execution_completed" in tried[0].stdout
    assert tried[1].stdout.count("order-fulfilment") == 2
    assert '"name":"order-fulfilment"' in tried[2].stdout.replace(" ", "").replace("\n", "")
    assert code == 0
    await eventually(lambda: not any(one.is_running() for one in family), what="nothing left")
    assert not (mc.home / "dev.json").exists()


def _plain(mc: Mc) -> dict[str, str]:
    """The environment of a shell: nothing that the make of the suite has told its children."""
    return {
        name: value
        for name, value in mc.environment().items()
        if not name.startswith(("MAKE", "MFLAGS", "PYTHON"))
    }

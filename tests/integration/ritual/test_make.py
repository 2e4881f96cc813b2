"""The ritual of make: what it lists, what it says when something is missing, and how Ctrl-C ends it."""

from __future__ import annotations

import os
import pty
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.processes import ROOT, eventually

pytestmark = pytest.mark.skipif(shutil.which("make") is None, reason="needs make")

IN_FRONT = """
all:
\t@exec {python} {foreground} {python} -c "{program}"
"""
IN_A_TERMINAL = (
    "import fcntl, os, sys, termios; os.setsid(); fcntl.ioctl(0, termios.TIOCSCTTY, 0);"
    " os.execv(sys.argv[1], sys.argv[1:])"
)
PROGRAM = (
    "import signal, sys; signal.signal(signal.SIGINT, lambda *_: sys.exit(0));"
    " print('up', flush=True); signal.pause()"
)


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
    terminal, inside = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-c", IN_A_TERMINAL, shutil.which("make") or "make"],
        cwd=tmp_path,
        stdin=inside,
        stdout=inside,
        stderr=inside,
    )
    os.close(inside)
    os.set_blocking(terminal, False)
    seen = b""

    def is_up() -> bool:
        nonlocal seen
        try:
            seen += os.read(terminal, 4096)
        except BlockingIOError:
            return False
        return b"up" in seen

    await eventually(is_up)
    os.write(terminal, b"\x03")

    await eventually(lambda: process.poll() is not None)
    os.close(terminal)
    assert process.returncode == 0, seen

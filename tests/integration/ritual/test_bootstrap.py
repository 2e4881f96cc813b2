"""The link that bootstrap makes, in folders and locales as people have them."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from scripts.bootstrap import path_line
from tests.support.processes import ROOT


@pytest.mark.parametrize("name", ["plain", "with space", "clöne 日本"])
def test_the_link_works_in_any_folder_whatever_the_locale(tmp_path, name):
    folder = tmp_path / name
    folder.mkdir()
    (folder / "linked.py").write_text("")
    site = tmp_path / "site"
    site.mkdir()
    (site / "maestro_composer.pth").write_text(path_line(folder), encoding="utf-8")

    done = subprocess.run(
        [sys.executable, "-c", f"import site; site.addsitedir({os.fspath(site)!r}); import linked"],
        capture_output=True,
        text=True,
        check=False,
        env={"LC_ALL": "C"},
    )

    assert (done.returncode, done.stderr) == (0, "")


def bootstrap(folder: Path, uv: str) -> subprocess.Popen[str]:
    """Start it in a copy of the project that has no environment, with this shell script for uv."""
    (folder / "scripts").mkdir()
    shutil.copy(ROOT / "scripts/bootstrap.py", folder / "scripts")
    (folder / "bin").mkdir()
    (folder / "bin/uv").write_text(f"#!/bin/sh\n{uv}\n")
    (folder / "bin/uv").chmod(0o755)
    return subprocess.Popen(
        [sys.executable, folder / "scripts/bootstrap.py", "runtime"],
        env={"PATH": f"{folder / 'bin'}:{os.defpath}"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_an_interrupted_installation_ends_with_one_sentence(tmp_path):
    started = bootstrap(tmp_path, "kill -INT $PPID; exec sleep 0.1")

    said, failed = started.communicate()

    assert started.returncode == 130
    assert said.endswith("environment: interrupted; the next make does the rest\n")
    assert failed == ""


def test_two_at_the_same_moment_take_turns(tmp_path):
    folder = os.open(tmp_path, os.O_RDONLY)
    fcntl.flock(folder, fcntl.LOCK_EX)
    started = bootstrap(tmp_path, "exit 1")
    assert started.stdout is not None

    lines = [started.stdout.readline()]
    while "waiting" not in lines[-1]:
        lines.append(started.stdout.readline())
    os.close(folder)

    said, failed = started.communicate()
    assert lines[-1] == "environment: waiting for another make in this folder\n"
    assert said.startswith("environment: creating .venv")
    assert failed.startswith("uv failed")

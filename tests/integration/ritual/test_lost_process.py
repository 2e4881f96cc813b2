"""A test process that is lost: the test it died in fails by name, every other one runs, and the run ends."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.processes import ROOT

INI = "[pytest]\ntimeout = 1\ntimeout_method = signal\n"
CONFTEST = "from tests.conftest import Together, pytest_xdist_make_scheduler\n"
TESTS = """
import os
import signal
import time

import pytest

@pytest.mark.parametrize("number", range(12))
def test_one(number):
    if number in {deaths}:
        os.kill(os.getpid(), signal.SIGKILL)

def test_that_hangs():
    time.sleep(60)
"""


@pytest.mark.long
def test_a_lost_test_process_costs_its_test_and_nothing_else(tmp_path: Path) -> None:
    """The second death is in the last test of all, after which its replacement has nothing left to do."""
    (tmp_path / "pytest.ini").write_text(INI)
    (tmp_path / "conftest.py").write_text(CONFTEST)
    (tmp_path / "test_dying.py").write_text(TESTS.format(deaths=(3, 11)))
    command = [sys.executable, "-m", "pytest", "-n", "2", "--dist", "loadscope"]
    plain = ["-p", "no:randomly", "-p", "no:valkey", "-p", "no:cacheprovider", "-q"]

    ran = subprocess.run(
        [*command, *plain, str(tmp_path)],
        cwd=tmp_path,
        env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )

    assert "3 failed, 10 passed" in ran.stdout, ran.stdout + ran.stderr
    for number in (3, 11):
        assert f"crashed while running 'test_dying.py::test_one[{number}]'" in ran.stdout
    assert "test_that_hangs - Failed: Timeout" in ran.stdout

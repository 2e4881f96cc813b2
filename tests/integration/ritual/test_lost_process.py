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

def test_that_hangs():
    time.sleep(60)

@pytest.mark.parametrize("number", range(12))
def test_one(number):
    if number in (3, 11):
        os.kill(os.getpid(), signal.SIGKILL)
"""
OTHERS = """
import os
import signal
import time
from pathlib import Path

import pytest

LOST = Path(__file__).with_name("lost")

@pytest.mark.timeout(60)
@pytest.mark.parametrize("number", range(9 if LOST.exists() else 8))
def test_one(number):
    if number == 3:
        LOST.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    while number > 3:
        time.sleep(0.01)
"""
EARLY = """
import os
import signal
import time
from pathlib import Path

import pytest

FOLDER = Path(__file__).parent
NAME = os.environ.get("PYTEST_XDIST_WORKER", "the first")

@pytest.hookimpl(tryfirst=True)
def pytest_collection(session):
    (FOLDER / NAME).touch()

@pytest.hookimpl(tryfirst=True)
def pytest_collection_finish(session):
    awaited = {"gw1": "gw2", "gw2": "gw1-has-told"}.get(NAME)
    while awaited and not (FOLDER / awaited).exists():
        time.sleep(0.01)

@pytest.hookimpl(tryfirst=True)
def pytest_runtestloop(session):
    if NAME == "gw0":
        os.kill(os.getpid(), signal.SIGKILL)
    (FOLDER / f"{NAME}-has-told").touch()
"""


def run(folder: Path) -> subprocess.CompletedProcess[str]:
    """Two test processes over the tests of `folder`."""
    (folder / "pytest.ini").write_text(INI)
    command = [sys.executable, "-m", "pytest", "-n", "2", "--dist", "loadscope"]
    plain = ["-p", "no:randomly", "-p", "no:valkey", "-p", "no:cacheprovider", "-q"]
    return subprocess.run(
        [*command, *plain, str(folder)],
        cwd=folder,
        env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        timeout=40,
        check=False,
    )


@pytest.mark.long
def test_a_lost_test_process_costs_its_test_and_nothing_else(tmp_path: Path) -> None:
    """The second death is in the last test of all, after which its replacement has nothing left to do."""
    (tmp_path / "conftest.py").write_text(CONFTEST)
    (tmp_path / "test_dying.py").write_text(TESTS)

    ran = run(tmp_path)

    assert "3 failed, 10 passed" in ran.stdout, ran.stdout + ran.stderr
    for number in (3, 11):
        assert f"crashed while running 'test_dying.py::test_one[{number}]'" in ran.stdout
    assert "test_that_hangs - Failed: Timeout" in ran.stdout


@pytest.mark.long
def test_a_process_lost_before_the_first_dealing_is_replaced(tmp_path: Path) -> None:
    """It dies when it has told what it collected; the other one tells it after the third has begun."""
    (tmp_path / "conftest.py").write_text(CONFTEST + EARLY)
    (tmp_path / "test_dying.py").write_text(
        TESTS.replace("time.sleep(60)", "pass").replace("(3, 11)", "()")
    )

    ran = run(tmp_path)

    assert (tmp_path / "gw2").exists()
    assert "13 passed" in ran.stdout, ran.stdout + ran.stderr


@pytest.mark.long
def test_a_replacement_that_finds_other_tests_ends_the_run_in_words(tmp_path: Path) -> None:
    """Instead of waiting for it for ever."""
    (tmp_path / "conftest.py").write_text(CONFTEST)
    (tmp_path / "test_dying.py").write_text(OTHERS)

    ran = run(tmp_path)

    assert ran.returncode not in (0, 1), ran.stdout + ran.stderr
    assert "collected other tests than the first ones" in ran.stdout + ran.stderr
    assert "test_one[8]" in ran.stdout + ran.stderr

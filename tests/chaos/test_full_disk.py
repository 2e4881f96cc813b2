"""A full disk under the whole engine: refused by name, nothing acknowledged lost once there is space again."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.outages import CHAIN, all_end_rightly, ready, try_to_start
from tests.support.processes import Mc, eventually
from tests.support.stack import Service, Stack

SIZE = "480m"
CHUNK = 1 << 20
pytestmark = pytest.mark.chaos


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system in memory that is soon full; only root can make one."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount, umount = shutil.which("mount"), shutil.which("umount")
    if sys.platform != "linux" or os.geteuid() != 0 or mount is None or umount is None:
        pytest.skip("a small file system can be mounted by root on Linux only")
    made = subprocess.run(
        [mount, "-t", "tmpfs", "-o", f"size={SIZE},mode=0700", "tmpfs", str(folder)],
        check=False,
        capture_output=True,
        text=True,
    )
    if made.returncode != 0:
        pytest.skip(f"a small file system can't be mounted here: {made.stderr.strip()}")
    yield folder
    subprocess.run([umount, "--lazy", str(folder)], check=True)


@pytest.fixture
def mc(small_disk: Path, tmp_path: Path) -> Iterator[Mc]:
    home = small_disk / "home"
    home.mkdir(mode=0o700)
    made = Mc(home=home, folder=tmp_path)
    yield made
    made.end_all()


def fill(folder: Path, leave: int = 0) -> Path:
    """Take all the space there is, but for some."""
    ballast = folder / "ballast"
    with ballast.open("ab", buffering=0) as file:
        try:
            while shutil.disk_usage(folder).free > leave:
                file.write(b"\0" * min(CHUNK, shutil.disk_usage(folder).free))
        except OSError:
            return ballast
    return ballast


@pytest.mark.long
async def test_a_start_without_space_says_so(mc, small_disk):
    fill(small_disk, leave=100 << 20)

    done = await mc.run("dev")

    assert done.code != 0
    assert "MiB are free" in done.stderr
    assert "make room" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.long
async def test_what_was_acknowledged_before_the_disk_was_full_ends_when_there_is_space(
    mc, small_disk
):
    dev = await mc.start("dev").ready()
    stack = Stack(Service(mc, {"dev": dev}), (mc.home / "dev-token").read_text().strip())
    name = await stack.publish(CHAIN)
    ids = [await stack.enqueue(name, {"n": number}) for number in range(20)]
    ballast = fill(small_disk)

    code = None
    while code is None:
        made, code = await try_to_start(stack, len(ids))
        ids += [made] if made else []
    await eventually(lambda: says_so(stack), seconds=30, what=dev.output())
    # A checkpoint of PostgreSQL may have made a little room again: then it takes one more.
    while (told := await mc.run("execute", name, "-i", "n=0")).code == 0:
        continue
    ballast.unlink()

    assert code == "UNAVAILABLE"
    assert told.code == 7
    assert "no space left on its disk" in told.stderr
    await eventually(lambda: is_ready(stack), seconds=60, what=dev.output())
    await all_end_rightly(stack, [*ids, await stack.enqueue(name, {"n": len(ids)})])


async def says_so(stack: Stack) -> bool:
    status, page = await ready(stack)
    return status == 503 and "MiB are free" in page["dependencies"]["postgresql"].get("detail", "")


async def is_ready(stack: Stack) -> bool:
    return (await ready(stack))[0] == 200

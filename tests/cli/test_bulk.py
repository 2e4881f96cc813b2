"""`mc bulk` against a running `mc dev`: looked at first, done with progress, told what was refused."""

from __future__ import annotations

import json
import uuid

import pytest

BELL = "name: {name}\nversion: 1.0.0\nsteps: [{{id: bell, type: wait, signal: go}}]\n"


@pytest.fixture
async def workflow(dev, tmp_path):
    """A workflow of which three executions wait for a signal."""
    name = f"w-{uuid.uuid4().hex[:8]}"
    file = tmp_path / "bell.yaml"
    file.write_text(BELL.format(name=name))
    assert (await dev.run("publish", str(file))).code == 0
    for _ in range(3):
        assert (await dev.run("execute", name, "-q")).code == 0
    return name


async def test_it_is_looked_at_and_nothing_happens_without_a_yes(dev, workflow):
    looked = await dev.run("bulk", "cancel", f"workflow:{workflow}", "--dry-run")
    unasked = await dev.run("bulk", "cancel", f"workflow:{workflow}")
    none = await dev.run("bulk", "pause", "workflow:nobody", "--yes")
    listed = await dev.run("executions", "list", f"workflow:{workflow}", "-o", "json")

    assert "it is cancelled" in looked.stdout
    assert looked.code == 0
    assert (unasked.code, "--yes" in unasked.stderr, "3 executions match" in unasked.stderr) == (
        2,
        True,
        True,
    )
    assert "No executions match" in none.stderr
    assert {one["status"] for one in json.loads(listed.stdout)} <= {"queued", "running", "waiting"}


async def test_a_signal_reaches_all_and_a_second_time_all_refuse(dev, workflow):
    wanted = f"workflow:{workflow}"

    done = await dev.run("bulk", "signal", "go", wanted, "-d", '{"n": 1}', "--yes", "-o", "json")
    found = json.loads(done.stdout)
    for one in json.loads((await dev.run("bulk", "results", found["id"], "-o", "json")).stdout):
        assert (await dev.run("executions", "watch", one["executionId"], "-q")).code == 0
    again = await dev.run("bulk", "signal", "go", wanted, "--yes", "--reason", "twice")
    shown = await dev.run("bulk", "list", "--limit", "1", "-o", "json")
    stopped = await dev.run("bulk", "stop", found["id"])
    unknown = await dev.run("bulk", "show", f"blk_{uuid.uuid4()}")

    assert (found["status"], found["done"], found["refused"]) == ("completed", 3, 0)
    assert again.stdout.count("has ended already: it is completed") == 3
    assert "3 of 3, 3 refused" in again.stderr
    (newest,) = json.loads(shown.stdout)
    assert (newest["reason"], newest["refused"], newest["action"]) == ("twice", 3, "signal")
    assert "status" in stopped.stdout
    assert unknown.code == 3

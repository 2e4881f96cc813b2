"""The guide to steps of one's own: its blocks are the example's, the example's tests pass, its commands work."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tests.support.processes import Mc, clean_environment

ROOT = Path(__file__).resolve().parents[2]
EXAMPLE = ROOT / "examples" / "own_steps"
GUIDE = (ROOT / "docs" / "guides" / "own-steps.md").read_text("utf-8")
HANDLERS = (ROOT / "docs" / "guides" / "event-handlers.md").read_text("utf-8")
BLOCKS = re.findall(r"^```(\w+) ([\w./]+)\n(.*?)^```", GUIDE + HANDLERS, re.MULTILINE | re.DOTALL)


def run(*command: str, path: tuple[Path, ...]) -> subprocess.CompletedProcess[str]:
    environment = clean_environment() | {"PYTHONPATH": os.pathsep.join(map(str, path))}
    return subprocess.run(
        [sys.executable, *command],
        cwd=EXAMPLE,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


@pytest.mark.parametrize(("language", "name", "text"), BLOCKS, ids=[name for _, name, _ in BLOCKS])
def test_every_block_of_the_guide_is_part_of_the_example(language: str, name: str, text: str):
    written = (EXAMPLE / name).read_text("utf-8")

    for part in re.split(r"\n{3,}(?=def test_)", text.strip()):
        assert part in written


@pytest.mark.long
def test_the_examples_own_tests_pass():
    done = run(
        "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:randomly", "tests",
        path=(EXAMPLE, ROOT),
    )  # fmt: skip

    assert done.returncode == 0, done.stdout + done.stderr


PLACES = "from runtime.connectors.registry import Registry; print(Registry.load().places())"


@pytest.mark.long
def test_the_installed_package_is_found_by_its_entry_point(tmp_path: Path):
    project = tomllib.loads((EXAMPLE / "pyproject.toml").read_text("utf-8"))["project"]
    metadata = tmp_path / "warehouse_steps-1.0.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n"
    )
    (metadata / "entry_points.txt").write_text(
        "".join(
            f"[{group}]\n" + "".join(f"{name} = {value}\n" for name, value in points.items())
            for group, points in project["entry-points"].items()
        )
    )

    installed = run("-c", PLACES, path=(tmp_path, EXAMPLE, ROOT))
    not_installed = run("-c", PLACES, path=(EXAMPLE, ROOT))

    assert "'warehouse.pick@1.0.0': 'warehouse.picking:pick'" in installed.stdout, installed.stderr
    assert "'warehouse.quote@1.0.0': 'warehouse.carrier:Carrier'" in installed.stdout
    assert "warehouse" not in not_installed.stdout


async def test_the_commands_of_the_guide_run_the_workflow(mc: Mc):
    start, execute = (line.split() for line in re.findall(r"^mc (.*)$", GUIDE, re.MULTILINE))
    shutil.copytree(EXAMPLE, mc.folder, dirs_exist_ok=True)

    await mc.start(*start).ready()
    done = await mc.run(*execute, "-o", "json")

    assert done.code == 0, done.stderr
    assert json.loads(done.stdout)["output"]["cents"] == 649


async def test_a_step_that_no_worker_has_is_refused_by_name(mc: Mc):
    done = await mc.run("validate", str(EXAMPLE / "dispatch.yaml"))
    known = await mc.run("validate", "--import", "warehouse", "dispatch.yaml", cwd=EXAMPLE)

    assert re.search(r"dispatch\.yaml:11:\d+: error .*'warehouse\.pick'", done.stdout)
    assert known.code == 0, known.stdout + known.stderr

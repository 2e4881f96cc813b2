"""What CI runs a second time, with Strawberry alone as the executor, is every test that asks the graph."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.support.processes import Mc

ROOT = Path(__file__).resolve().parents[2]
# By what a file is known to ask the graph: it starts an API, or takes a fixture that does.
ASKS = re.compile(
    r"create_app\(|serving\(|[\"']serve[\"']|start\([\"']dev|start_service|/graphql\b|http\.serving|support\.stack"
    r"|\b(?:own_server|tenant_server|lasting_server)\s*[:,)]"
)
# What is found by these words and needs no second run.
LEFT_OUT = {
    "tests/integration/ritual/test_make.py": "starts and stops `make run`, and asks nothing",
    "tests/unit/test_ci.py": "this file names the words",
}


def again() -> tuple[str, ...]:
    """The folders of the second run."""
    script = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    found = re.search(r'MC_EXECUTOR=strawberry make test \\\s+PYTEST_FLAGS="([^"]*)"', script)
    assert found
    return tuple(found[1].split())


def test_every_test_that_asks_the_graph_runs_with_the_library_alone():
    folders = tuple(f"{folder}/" for folder in again())
    asking = {
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / "tests").rglob("*.py")
        if "node_modules" not in path.parts and ASKS.search(path.read_text(encoding="utf-8"))
    }
    outside = {name for name in asking if not name.startswith((*folders, "tests/support/"))}

    assert all((ROOT / folder).is_dir() for folder in folders)
    assert outside == set(LEFT_OUT)


@pytest.mark.parametrize("executor", ["strawberry", "compiled"])
def test_processes_execute_as_the_suite_is_told(executor, monkeypatch, tmp_path):
    monkeypatch.setenv("MC_EXECUTOR", executor)

    assert Mc(home=tmp_path, folder=tmp_path).environment()["MC_EXECUTOR"] == executor

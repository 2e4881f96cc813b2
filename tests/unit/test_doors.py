"""The doors of the house, by import-linter: who may import whom stands in .importlinter."""

from __future__ import annotations

import configparser
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def lint(config: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [Path(sys.executable).with_name("lint-imports"), "--no-cache", "--config", config],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )


def test_imports_go_through_the_doors_only():
    judged = lint(ROOT / ".importlinter")

    assert judged.returncode == 0, judged.stdout


@pytest.mark.parametrize(
    ("source", "target"),
    [("resolvers", "runtime"), ("runtime.engine", "runtime.model")],
)
def test_the_judge_would_notice_a_forbidden_import(tmp_path: Path, source: str, target: str):
    config = tmp_path / "forbidden.ini"
    config.write_text(
        "[importlinter]\nroot_packages =\n    resolvers\n    runtime\n\n"
        "[importlinter:contract:control]\nname = control\ntype = forbidden\n"
        f"source_modules =\n    {source}\nforbidden_modules =\n    {target}\n"
    )

    assert lint(config).returncode == 1


def test_every_connector_stands_in_the_contract_that_keeps_them_apart():
    contracts = configparser.ConfigParser()
    contracts.read(ROOT / ".importlinter")
    listed = contracts["importlinter:contract:connectors"]["modules"].split()
    # A connector's file is named by its name, `core.noop` -> core_noop.py; the others have one word.
    files = {p.stem for p in (ROOT / "runtime" / "connectors").glob("[a-z]*_*.py")}

    assert sorted(listed) == sorted(f"runtime.connectors.{stem}" for stem in files)

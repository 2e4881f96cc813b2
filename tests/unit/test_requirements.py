"""The pinned packages: every one has hashes, nothing names an address, and the lists fit together."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
REQUIREMENTS = ROOT / "requirements"


def pins(name: str) -> dict[str, str]:
    """Package -> version, of a compiled file."""
    text = (REQUIREMENTS / f"{name}.txt").read_text("utf-8")
    return dict(re.findall(r"^([a-z0-9.-]+)==(\S+)", text, re.MULTILINE))


def wishes(name: str) -> set[str]:
    lines = (REQUIREMENTS / f"{name}.in").read_text("utf-8").splitlines()
    names = (re.match(r"[a-z0-9.-]+", line) for line in lines if not line.startswith(("#", "-")))
    return {found.group().replace(".", "-") for found in names if found}


@pytest.mark.parametrize("name", ["runtime", "test"])
def test_every_pin_has_hashes_and_no_address(name: str):
    text = (REQUIREMENTS / f"{name}.txt").read_text("utf-8")
    blocks = re.split(r"^(?=[a-z])", text, flags=re.MULTILINE)[1:]

    assert [block.split("\n")[0] for block in blocks if "--hash=sha256:" not in block] == []
    assert "://" not in text


@pytest.mark.parametrize("name", ["runtime", "test"])
def test_every_wish_is_pinned(name: str):
    assert wishes(name) - set(pins(name)) == set()


def test_tests_run_on_the_pins_of_the_product():
    runtime, test = pins("runtime"), pins("test")

    assert {name: test.get(name) for name in runtime} == runtime


def test_node_locks_record_no_addresses():
    folders = (*ROOT.glob("scripts/*"), ROOT / "tests" / "node")
    locks = [lock for folder in folders if (lock := folder / "package-lock.json").exists()]
    assert {lock.parent.name for lock in locks} == {"compose", "node", "vendor_graphiql"}

    for lock in locks:
        packages = json.loads(lock.read_text("utf-8"))["packages"]
        assert [name for name, facts in packages.items() if "resolved" in facts] == []


def test_both_commands_of_the_package_start_the_same_program():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]

    assert project["scripts"] == dict.fromkeys(("mc", "maestro"), "maestro_cli.main:main")

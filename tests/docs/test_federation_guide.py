"""The guide for gateways shows code that runs: each Python block is a part of the directory of the tests."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
GUIDE = (ROOT / "docs" / "guides" / "federation.md").read_text("utf-8")
DIRECTORY = (ROOT / "tests" / "federation" / "directory.py").read_text("utf-8")
BLOCKS = re.findall(r"^```python\n(.*?)^```", GUIDE, re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("block", BLOCKS)
def test_a_block_is_a_part_of_the_directory(block: str) -> None:
    assert block in DIRECTORY


def test_there_are_blocks() -> None:
    assert len(BLOCKS) == 4


def test_the_configuration_of_hive_is_the_one_of_the_tests() -> None:
    script = (ROOT / "tests" / "node" / "hive.mjs").read_text("utf-8")

    for part in (
        "fromClientToSubgraphs: ({ request }) => ({ authorization:",
        "connectionParams: { authorization: '{context.headers.authorization}' }",
    ):
        assert part in GUIDE
        assert part in script

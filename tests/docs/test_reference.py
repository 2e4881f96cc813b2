"""The pages of docs/reference: the generated ones are fresh, and every link of docs leads somewhere."""

from __future__ import annotations

import re
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import pytest

from subgraph.document.limits import Limits

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]


def test_the_generated_pages_are_fresh():
    done = subprocess.run(
        [sys.executable, "scripts/make_reference.py", "--check"],
        cwd=ROOT,
        env={"PYTHONPATH": str(ROOT), "PATH": ""},
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_leads_to_a_file(page):
    links = re.findall(r"\]\((?!https?:|#)([^)#\s]+)", page.read_text())

    assert [link for link in links if not (page.parent / link).exists()] == []


def test_every_limit_of_the_graph_stands_in_its_table():
    page = (ROOT / "docs" / "reference" / "limits.md").read_text("utf-8")

    for limit in fields(Limits):
        row = rf"\| {limit.default:,} \| `{limit.name.upper()}` \|"
        assert re.search(row, page), f"{limit.name}: {limit.default:,}"

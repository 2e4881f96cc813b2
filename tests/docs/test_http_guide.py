"""The guide to http.request names every error type that the code can raise, and no other."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_every_error_type_is_in_the_guide():
    sources = (
        "runtime/transport/http.py",
        "runtime/connectors/http_request.py",
        "maestro/session.py",
    )
    code = "".join((ROOT / name).read_text("utf-8") for name in sources)
    guide = (ROOT / "docs/guides/http-request.md").read_text("utf-8")

    raised = set(re.findall(r'"(http\.[a-z_]+)"', code)) - {"http.request"}

    assert set(re.findall(r"^\| `(http\.[a-z_]+)` \|", guide, re.MULTILINE)) == raised

"""What an answer is written as, however deep or odd the values in it are."""

from __future__ import annotations

import json

from subgraph.written import written


def test_what_is_too_deep_for_the_fast_writer_is_written_with_all_its_signs():
    deep: object = "ü\ud800"
    for _ in range(300):
        deep = [deep]

    assert json.loads(written({"data": deep})) == {"data": deep}

"""No document, however broken, ends the reader, validation, formatting or converting by anything but an answer."""

from __future__ import annotations

import pytest

from tests.fuzz.run import fuzz


def test_a_few_hundred_broken_documents():
    score = fuzz(seed=0, documents=300)

    assert score.failures == []
    assert score.accepted > 10


# 1008483: a condition that is no expression, and names `tasks`, was written anew before it was read.
@pytest.mark.parametrize("seed", [1_008_483])
def test_what_was_mended_stays_so(seed: int):
    assert fuzz(seed=seed, documents=1).failures == []


@pytest.mark.long
@pytest.mark.timeout(600)
def test_minutes_of_broken_documents():
    assert fuzz(seed=1_000_000, seconds=180).failures == []

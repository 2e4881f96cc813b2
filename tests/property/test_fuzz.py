"""No document, however broken, ends the reader, validation, formatting or converting by anything but an answer."""

from __future__ import annotations

import pytest

from tests.fuzz.run import fuzz


def test_a_few_hundred_broken_documents():
    score = fuzz(seed=0, documents=300)

    assert score.failures == []
    assert score.accepted > 10


@pytest.mark.long
@pytest.mark.timeout(600)
def test_minutes_of_broken_documents():
    assert fuzz(seed=1_000_000, seconds=180).failures == []

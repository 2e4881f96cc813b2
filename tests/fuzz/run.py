"""One broken document after the other, and what must hold for each."""

from __future__ import annotations

import random
import time
from dataclasses import dataclass, field
from typing import Any

from runtime.abi.surroundings import Surroundings
from runtime.connectors.registry import Registry
from runtime.definition import compile_plan, validate
from runtime.definition.layout import LayoutRefused, format_document, same
from runtime.definition.source import read_source
from runtime.definition.spelling import Spelling, convert
from runtime.model.errors import Invalid
from tests.fuzz.mutation import corpus, mutated

SLOW_SECONDS = 5.0
KNOWN = Surroundings(frozenset(), frozenset(), {})


@dataclass(slots=True)
class Score:
    """What a run came to; `failures` hold the seed and what was wrong."""

    documents: int = 0
    accepted: int = 0
    formatted: int = 0
    converted: int = 0
    refused_layouts: int = 0
    slowest_ms: float = 0.0
    failures: list[str] = field(default_factory=list)


def fuzz(*, seed: int, seconds: float | None = None, documents: int | None = None) -> Score:
    """Try documents until the time is over or so many were tried; a failure repeats from its seed."""
    texts, catalog, score = corpus(), Registry.load().catalog(), Score()
    ends = time.monotonic() + seconds if seconds is not None else None
    while len(score.failures) < 10:
        if ends is not None and time.monotonic() >= ends:
            break
        if documents is not None and score.documents >= documents:
            break
        number = seed + score.documents
        text = mutated(texts, random.Random(number))
        score.documents += 1
        began = time.process_time()
        try:
            _try(text, catalog, score)
        except Exception as error:  # noqa: BLE001 - this is what is looked for
            score.failures.append(f"seed {number}: {type(error).__name__}: {error}")
        spent = time.process_time() - began
        score.slowest_ms = max(score.slowest_ms, round(spent * 1000, 1))
        if spent > SLOW_SECONDS:
            score.failures.append(f"seed {number}: took {spent:.1f} s")
    return score


def _try(text: str, catalog: Any, score: Score) -> None:
    found = validate(text, None, catalog, surroundings=KNOWN, publishing=len(text) % 2 == 0)
    if not found.ok:
        assert all(one.line is not None and one.message for one in found.problems)
    else:
        assert found.definition is not None
        assert found.digest is not None
        assert compile_plan(found.definition, found.digest) == found.plan
        score.accepted += 1
    source = read_source(text)
    if not source.is_read or source.findings.has_errors:
        return
    try:
        laid = format_document(source)
    except LayoutRefused:
        score.refused_layouts += 1
        return
    assert same(read_source(laid, source.format).value, source.value)
    score.formatted += 1
    try:
        manifest = convert(source, Spelling.MANIFEST)
        flat = convert(read_source(manifest, source.format), Spelling.FLAT)
    except LayoutRefused:
        score.refused_layouts += 1
        return
    except Invalid:
        assert not found.ok
        return
    if found.ok:
        digests = {validate(one, source.format, catalog).digest for one in (manifest, flat)}
        assert digests == {found.digest}
    score.converted += 1

"""One broken document after the other, and what must hold for each; expressions and simulations in between."""

from __future__ import annotations

import json
import random
import resource
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

from jsonschema import Draft202012Validator

from runtime.abi.surroundings import Surroundings
from runtime.connectors.registry import Registry
from runtime.connectors.rehearsal import rehearse
from runtime.definition import (
    Validation,
    apply_params,
    compile_plan,
    diff_definitions,
    json_schema,
    validate,
)
from runtime.definition.layout import LayoutRefused, format_document, same
from runtime.definition.source import Source, read_source
from runtime.definition.spelling import Spelling, convert
from runtime.engine.simulation import Failing, Script
from runtime.expression import ExpressionError, parse_template
from runtime.model.errors import Invalid
from runtime.model.execution import StepStatus
from runtime.model.plan import Plan, StepKind
from runtime.model.values import Json
from tests.fuzz.expressions import SCOPE, expression
from tests.fuzz.making import document
from tests.fuzz.mutation import corpus, mutated

SLOW_SECONDS: Final = 5.0
LARGE_MIB: Final = 512
KNOWN: Final = Surroundings(frozenset(), frozenset(), {})
_EXPRESSIONS_EACH: Final = 5
_LONGEST_MESSAGE: Final = (
    20_000  # A key of the document may be quoted in it, and has 8,000 characters at most.
)
_SIMULATED_SECONDS: Final = 2.0
_NOW: Final = datetime(2026, 1, 1, tzinfo=UTC)
_GIVEN: Final[dict[str, Json]] = {"text": "a", "long": "b", "yes": True}


@dataclass(slots=True)
class Score:
    """What a run came to; `failures` hold the seed and what was wrong. `kinds` counts steps of accepted documents."""

    documents: int = 0
    accepted: int = 0
    formatted: int = 0
    converted: int = 0
    refused_layouts: int = 0
    expressions: int = 0
    rendered: int = 0
    simulated: int = 0
    differences: int = 0
    kinds: dict[str, int] = field(default_factory=dict)
    slowest_ms: float = 0.0
    peak_mib: int = 0
    failures: list[str] = field(default_factory=list)


def fuzz(*, seed: int, seconds: float | None = None, documents: int | None = None) -> Score:
    """Try documents until the time is over or so many were tried; a failure repeats from its seed."""
    harness, score = _Harness(), Score()
    ends = time.monotonic() + seconds if seconds is not None else None
    began_at = _peak_mib()
    while len(score.failures) < 10:
        if ends is not None and time.monotonic() >= ends:
            break
        if documents is not None and score.documents >= documents:
            break
        number = seed + score.documents
        score.documents += 1
        began = time.process_time()
        try:
            harness.run(number, score)
        except Exception as error:  # noqa: BLE001 - this is what is looked for
            score.failures.append(f"seed {number}: {type(error).__name__}: {str(error)[:500]}")
        spent = time.process_time() - began
        score.slowest_ms = max(score.slowest_ms, round(spent * 1000, 1))
        if spent > SLOW_SECONDS:
            score.failures.append(f"seed {number}: took {spent:.1f} s")
        score.peak_mib = _peak_mib()
        if score.peak_mib - began_at > LARGE_MIB:
            score.failures.append(f"seed {number}: took {score.peak_mib - began_at} MiB")
            began_at = score.peak_mib
    return score


def text_of(number: int, texts: list[str]) -> str:
    """The document of a seed: made anew or from what people wrote, whole or broken."""
    chance = random.Random(number)
    kind = random.Random(f"kind {number}").random()
    if kind < 0.5:
        return mutated(texts, chance)
    made = document(chance)
    return made if kind < 0.8 else mutated([made], chance)


class _Harness:
    def __init__(self) -> None:
        self._texts = corpus()
        self._registry = Registry.load()
        self._catalog = self._registry.catalog()
        self._schema = Draft202012Validator(json_schema(self._catalog))

    def run(self, number: int, score: Score) -> None:
        """All that is to be tried for one seed."""
        chance = random.Random(f"more {number}")
        for _ in range(_EXPRESSIONS_EACH):
            _try_expression(expression(chance), score)
        text = text_of(number, self._texts)
        found = validate(
            text, None, self._catalog, surroundings=KNOWN, publishing=len(text) % 2 == 0
        )
        source = read_source(text)
        if found.ok:
            self._accepted(found, source, chance, score)
        else:
            assert all(one.line is not None and one.message for one in found.problems)
        if source.is_read and not source.findings.has_errors:
            self._try_layout(found, source, score)

    def _accepted(
        self, found: Validation, source: Source, chance: random.Random, score: Score
    ) -> None:
        """Plan, JSON Schema, simulation and diff agree with validation."""
        assert found.definition is not None
        assert found.digest is not None
        assert found.plan is not None
        assert compile_plan(found.definition, found.digest) == found.plan
        wrong = next(iter(self._schema.iter_errors(source.value)), None)
        assert wrong is None, f"the JSON Schema refuses it: {wrong and wrong.message[:200]}"
        score.accepted += 1
        for step in found.plan.steps:
            score.kinds[step.kind.value] = score.kinds.get(step.kind.value, 0) + 1
        self._try_simulation(found.plan, chance, score)
        self._try_diff(found.definition, chance, score)

    def _try_simulation(self, plan: Plan, chance: random.Random, score: Score) -> None:
        keys = [one.key for one in plan.steps if one.kind is StepKind.TASK]
        fails = {one: Failing(chance.choice((None, 1))) for one in keys if chance.random() < 0.2}
        mocks: dict[str, Json] = {one: {"v": 1} for one in keys if chance.random() < 0.3}
        ends = time.process_time() + _SIMULATED_SECONDS
        try:
            shown = rehearse(
                plan, self._registry, apply_params(plan, _GIVEN), Script(mocks=mocks, fails=fails), now=_NOW,
                is_over=lambda: time.process_time() > ends,
            )  # fmt: skip
        except Invalid:
            return  # The params of this document want something else.
        assert sorted(one.order for one in shown.steps) == list(range(1, len(shown.steps) + 1))
        own, undone = shown.steps[: len(plan.steps)], shown.steps[len(plan.steps) :]
        assert [one.key for one in own] == [one.key for one in plan.steps]
        undoing = {
            plan.one(step.compensation).key: step.key for step in plan.steps if step.compensation
        }
        assert {undoing[one.key] for one in undone if one.status is StepStatus.COMPLETED} == {
            one.key for one in own if one.status is StepStatus.COMPENSATED
        }
        order = {one.key: one.order for one in shown.steps if one.is_taken}
        for step in plan.steps:
            if step.key in order and plan.routes is None:
                needs = [plan.steps[need].key for need in step.depends_on]
                assert all(order.get(need, 0) < order[step.key] for need in needs)
        score.simulated += 1

    def _try_diff(
        self, definition: Mapping[str, Json], chance: random.Random, score: Score
    ) -> None:
        other: dict[str, Any] = json.loads(json.dumps(definition))
        steps = other["steps"]
        steps.insert(chance.randrange(len(steps) + 1), {"id": "one_more", "uses": "core.noop@1"})
        there = diff_definitions(definition, other, self._catalog)
        back = diff_definitions(other, definition, self._catalog)
        assert (there.added, back.removed) == (("one_more",), ("one_more",))
        assert not diff_definitions(definition, definition, self._catalog).changed
        score.differences += 1

    def _try_layout(self, found: Validation, source: Source, score: Score) -> None:
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
            digests = {
                validate(one, source.format, self._catalog).digest for one in (manifest, flat)
            }
            assert digests == {found.digest}
        score.converted += 1


def _try_expression(text: str, score: Score) -> None:
    """An expression has a value or an error in our words, after little time and with little memory."""
    score.expressions += 1
    began = time.process_time()
    said = ""
    try:
        parse_template("{{ " + text + " }}").render(SCOPE)
        score.rendered += 1
    except ExpressionError as error:
        said = error.message
    assert "can't be computed" not in said or "Unicode" in said, f"{said} {text[:300]}"
    assert len(said) <= _LONGEST_MESSAGE, text[:300]
    spent = time.process_time() - began
    assert spent < SLOW_SECONDS, f"{spent:.1f} s: {text[:300]}"


def _peak_mib() -> int:
    """The most memory that this process has had."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024

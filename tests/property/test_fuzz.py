"""No document, however broken, ends its reader or whoever works on it by anything but an answer; no expression takes
more than its share."""

from __future__ import annotations

import random
from typing import Any

import pytest

from runtime.connectors.registry import Registry
from runtime.definition import Validation, validate
from runtime.expression.calls import FILTERS, METHODS, TESTS
from runtime.model.plan import StepKind
from tests.fuzz.expressions import expression
from tests.fuzz.making import document
from tests.fuzz.run import fuzz, text_of


def steps_of(found: Validation) -> Any:
    assert found.definition is not None
    return found.definition["steps"]


def test_a_few_documents_broken_and_whole():
    score = fuzz(seed=0, documents=60)

    assert score.failures == []
    assert min(score.accepted, score.simulated, score.differences, score.converted) > 5
    assert score.rendered > 30


@pytest.mark.parametrize("seed", [1_000_111, 1_000_837, 1_001_599])
def test_what_undoes_steps_stands_behind_them(seed: int):
    assert fuzz(seed=seed, documents=1).failures == []


def test_expressions_of_every_filter_test_and_method_are_tried():
    made = " ".join(expression(random.Random(seed)) for seed in range(6_000))

    assert [one for one in FILTERS if f"| {one}" not in made] == []
    assert [one for one in TESTS if one.isalpha() and f"is {one}" not in made] == []
    assert [one for one in METHODS if f").{one}(" not in made] == []
    assert [one for one in (*FILTERS, "default", "select") if f"map('{one}'" not in made] == []
    assert [
        one for one in ("==", "in", "**", "//", "~", " if ", "[", "{'k0'") if one not in made
    ] == []


def test_documents_of_every_kind_and_way_are_made_and_accepted():
    catalog = Registry.load().catalog()
    texts = [document(random.Random(seed)) for seed in range(60)]
    accepted = [found for one in texts if (found := validate(one, None, catalog)).ok]
    steps: list[dict[str, Any]] = [one for found in accepted for one in steps_of(found)]

    assert {step.get("type", "task") for step in steps} == {kind.value for kind in StepKind}
    keys = {key for step in steps for key in step}
    assert keys >= {"cases", "join", "on_error", "on_expiry", "when", "retry", "compensate"}
    assert any(
        "goto" in step["on_error"] for step in steps if isinstance(step.get("on_error"), dict)
    )
    assert {type(step["join"]) for step in steps if "join" in step} == {str, int}
    assert {step["mode"] for step in steps if "mode" in step} == {"exclusive", "inclusive"}
    for form in ("apiVersion: ", '{"apiVersion"', "name: ", '{"name"'):
        assert any(text.startswith(form) for text in texts), form


def test_a_seed_names_the_same_document_again():
    texts = ["name: a\nsteps: []\n"]

    assert [text_of(seed, texts) for seed in range(20)] == [
        text_of(seed, texts) for seed in range(20)
    ]
    assert len({text_of(seed, texts) for seed in range(20)}) > 10


@pytest.mark.long
@pytest.mark.timeout(600)
def test_minutes_of_documents():
    assert fuzz(seed=1_000_000, seconds=180).failures == []

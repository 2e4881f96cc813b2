"""The language pages teach by examples, and every one of them is true."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from runtime.connectors.registry import Registry
from runtime.definition import apply_params, validate
from runtime.definition.language import FLAT, RETRY, STEPS
from runtime.expression import parse_template
from runtime.expression.calls import FILTERS, TESTS
from runtime.model.errors import Invalid, Problem
from runtime.model.plan import StepKind

ROOT = Path(__file__).resolve().parents[2]
PAGES = ROOT / "docs/language"
CATALOG = Registry.load().catalog()
BLOCK = re.compile(r"^```(\w+) (.*?)\n(.*?)^```", re.MULTILINE | re.DOTALL)
BLOCKS = [
    (page.name, language, words.split(), text)
    for page in sorted(PAGES.glob("*.md"))
    for language, words, text in BLOCK.findall(page.read_text("utf-8"))
]
WORKFLOWS = [one for one in BLOCKS if "workflow" in one[2]]
SCOPE: dict[str, Any] = {"params": {"name": "Ada", "n": 3, "tags": ["a", "b"], "none": None}}


def cells(page):
    """The rows of all tables of a page; `\\|` is a bar inside of a cell."""
    for line in (PAGES / page).read_text("utf-8").splitlines():
        if line.startswith("| "):
            yield [one.strip().replace("\\|", "|") for one in re.split(r"(?<!\\)\|", line)[1:-1]]


EXPRESSIONS = [
    (row[-2][1:-1], json.loads(row[-1][1:-1]))
    for row in cells("expressions.md")
    if row[-2].startswith(("`{{", "`n=", "`${")) and row[-1].startswith("`")
]
RULES = [
    (re.findall(r"`([a-z-]+)`", row[0])[0], row[1][1:-1].replace("\\n", "\n").replace("\\t", "\t"))
    for row in cells("findings.md")
    if row[0].startswith("<a id") and row[1].startswith("`")
]


@pytest.mark.parametrize(("page", "language", "words", "text"), WORKFLOWS)
def test_workflows_are_valid(page, language, words, text):
    found = validate(text, None, CATALOG)

    assert found.ok, found.problems
    assert bool(found.problems) is ("warnings" in words)


def test_both_spellings_on_the_page_have_one_digest():
    texts = [text for _, _, words, text in WORKFLOWS if "same" in words]

    assert len(texts) == 2
    assert len({validate(text, None, CATALOG).digest for text in texts}) == 1


def test_the_inputs_on_the_page_fit_and_do_not_fit():
    plan = next(
        found.plan
        for _, _, _, text in WORKFLOWS
        if (found := validate(text, None, CATALOG)).name == "params"
    )
    given, refused = [json.loads(text) for _, _, words, text in BLOCKS if "params" in words]
    assert plan is not None

    assert apply_params(plan, given) == {"id": "x-1", "kind": "new"}
    with pytest.raises(Invalid) as caught:
        apply_params(plan, refused)
    page = (PAGES / "workflow.md").read_text("utf-8")
    for problem in caught.value.problems:
        hint = f" ({problem.hint})" if problem.hint else ""
        assert f"| `{'.'.join(problem.path)}` | {problem.message}{hint} |" in page


@pytest.mark.parametrize(("text", "value"), EXPRESSIONS)
def test_expressions_have_the_value_beside_them(text, value):
    assert parse_template(text).render(SCOPE) == value


@pytest.mark.parametrize(("rule", "text"), RULES)
def test_each_rule_is_broken_by_its_example(rule, text):
    text = text.replace("OWNER_OF_MORE_THAN_200_CHARACTERS", "o" * 201)

    assert rule in [one.rule for one in validate(text, None, CATALOG).problems]


def test_no_rule_is_without_its_line():
    code = "".join(path.read_text("utf-8") for path in (ROOT / "runtime/definition").glob("*.py"))
    raised = set(
        re.findall(
            r'(?:error|warning|report|Refused|_complain|_refusal|_add|Problem)\(\s*"([a-z-]+)"',
            code,
        )
    )
    written = set(
        re.findall(r'<a id="([a-z-]+)"></a>`\1`', (PAGES / "findings.md").read_text("utf-8"))
    )

    assert raised - written == set()
    assert Problem("cycle", "").docs == "docs/language/findings.md#cycle"


def test_no_key_filter_test_or_kind_is_without_its_word():
    text = "".join(path.read_text("utf-8") for path in PAGES.glob("*.md"))
    keys = {key for record in (FLAT, RETRY, *STEPS.values()) for key in record.fields}
    missing = [
        name
        for name in (*FILTERS, *TESTS, *StepKind, *keys)
        if name.replace("_", "").isalpha() and not re.search(rf"\b{name}\b", text)
    ]

    assert missing == []

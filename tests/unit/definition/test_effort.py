"""Large and hostile documents: the effort of validation grows with the document, not with its square."""

from __future__ import annotations

import pytest

from tests.support.effort import effort

COUNT = 2_000
STEPS = range(COUNT)


def document(lines):
    return "name: x\nsteps:\n" + "\n".join(lines)


LARGE = {
    "a chain": [
        f"- {{id: s{i}, uses: core.set@1, depends_on: [{f's{i - 1}' if i else ''}], with: {{v: '{{{{ params.x }}}}'}}}}"
        for i in STEPS
    ],
    "far references": [
        f"- {{id: s{i}, uses: core.set@1, depends_on: [{f's{i - 1}' if i else ''}], with: {{v: '{{{{ steps.s0.output if {i} else 1 }}}}'}}}}"
        for i in STEPS[1:]
    ],
    "conditions everywhere": [
        f"- {{id: s{i}, uses: core.sleep@1, when: '{{{{ params.x }}}}', depends_on: [{f's{i - 1}, s{i // 2}' if i > 2 else ''}], with: {{duration: '{{{{ steps.s{i // 2}.output.seconds }}}}'}}}}"
        for i in STEPS
    ],
    "unknown dependencies": [f"- {{id: step-{i}, uses: core.noop@1, depends_on: [step{i}]}}" for i in STEPS],
    "unknown keys": [f"- {{id: s{i}, uses: core.noop@1, dependz_on: [], timeot: 1s}}" for i in STEPS],
    "broken expressions": [f"- {{id: s{i}, uses: core.set@1, with: {{v: '{{{{ a b }}}}'}}}}" for i in STEPS],
    "one circle": [f"- {{id: s{i}, uses: core.noop@1, depends_on: [s{(i + 1) % COUNT}]}}" for i in STEPS],
    "many circles": [f"- {{id: s{i}, uses: core.noop@1, depends_on: [s{i ^ 1}]}}" for i in STEPS],
    "unknown inputs": [f"- {{id: s{i}, uses: core.sleep@1, with: {{a: 1, b: 2}}}}" for i in STEPS],
    "one join": [*(f"- {{id: s{i}, uses: core.noop@1}}" for i in STEPS), f"- {{id: e, uses: core.noop@1, depends_on: [{', '.join(f's{i}' for i in STEPS)}]}}"],
}  # fmt: skip


@pytest.mark.parametrize("name", LARGE)
def test_the_effort_is_bounded(name, check):
    text = document(LARGE[name])

    with effort() as spent:
        found = check(text)

    assert found.problems or found.ok
    assert spent.seconds < 4


def test_too_many_expressions_are_refused(rules):
    many = "{{ a|d }}" * 400
    text = document(f"- {{id: s{i}, uses: core.set@1, with: {{v: '{many}'}}}}" for i in range(500))

    assert rules(text) == ["too-large"]


def test_findings_stop_at_a_thousand(check):
    assert len(check(document(LARGE["unknown dependencies"])).problems) == 1_000


def test_costly_constant_conditions_are_bounded_in_total(check):
    costly = "{{ '" + "x" * 4_000 + "'|list|length > 1 }}"
    text = document(f'- {{id: s{i}, uses: core.noop@1, when: "{costly}"}}' for i in range(100))

    with effort() as spent:
        found = check(text)

    assert found.ok
    assert spent.seconds < 4

"""Large and hostile documents: the effort of validation grows with the document, not with its square."""

from __future__ import annotations

import pytest

from runtime.definition.finding import MAX_FINDINGS, Findings
from runtime.definition.routes import never_holds
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
    "a read behind a wide join": [
        *(f"- {{id: s{i}, uses: core.noop@1}}" for i in range(8_000)),
        f"- {{id: e, uses: core.set@1, depends_on: [{', '.join(f's{i}' for i in range(8_000))}], with: {{v: 1}}}}",
        "- {id: z, uses: core.set@1, depends_on: [e], with: {v: '{{ steps.e.output.v }}'}}",
    ],
    "reads of what may be skipped, far above": [
        "- {id: a, uses: core.noop@1}", "- {id: b, uses: core.set@1, when: params.x, with: {v: 1}}",
        *(
            f"- {{id: s{i}, uses: core.set@1, depends_on: [a, b, {', '.join(f's{n}' for n in range(max(0, i - 30), i))}], with: {{v: '{{{{ steps.b.output.v }}}}'}}}}"
            for i in range(5_000)
        ),
    ],
    "a first step that is none": [
        "- 5", "- {id: s0, uses: core.noop@1}",
        *(f"- {{id: s{i}, uses: core.set@1, depends_on: [s{i - 1}], with: {{v: '{{{{ steps.s{i - 1}.output }}}}'}}}}" for i in range(1, 15_000)),
    ],
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


def test_a_finding_is_short_whatever_it_quotes(check):
    circle = check(document(LARGE["one circle"])).problems
    tag = check("a: !" + "x" * 1_000_000 + " b").problems

    assert circle[0].message.startswith("these steps wait for each other: s0 -> s1999 -> ")
    assert circle[0].message.endswith(
        " -> ... 1,981 more ... -> s9 -> s8 -> s7 -> s6 -> s5 -> s4 -> s3 -> s2 -> s1 -> s0"
    )
    assert [one.rule for one in tag] == ["yaml-tag"]
    assert len(tag[0].message) == 1_000


def test_findings_stop_at_a_thousand(check):
    assert len(check(document(LARGE["unknown dependencies"])).problems) == 1_000


def test_what_the_reader_complains_of_stops_at_a_thousand_too(check):
    assert len(check("".join(f"{i}: a\n" for i in range(3_000))).problems) == 1_000


def test_a_thousand_warnings_hide_no_error(check):
    warned = "- {id: s%s, uses: core.noop@1, depends_on: [a, a]}"
    text = document(["- {id: a, uses: core.noop@1}", *(warned % i for i in range(1_001))])

    found = check(text + "\n- {id: z, uses: core.nop@1}\n- {id: y, uses: core.nop@1}")

    assert not found.ok
    assert len(found.problems) == 1_000
    assert [one.rule for one in found.problems[-2:]] == ["unknown-connector"] * 2


def test_large_lists_of_maps_are_bounded_in_total(check):
    """A list that reads nothing is computed to know its size: a few large ones, then only small ones."""
    one = '- {id: s%s, type: map, for_each: "{{ range(%s) }}", task: {uses: core.noop@1}}'

    with effort() as spent:
        found = check(document(one % (i, 99_000 - i) for i in range(1_000)))

    assert [one.rule for one in found.problems if one.severity == "error"] == ["fan-out"]
    assert spent.seconds < 5


def test_a_list_that_stands_in_many_maps_is_computed_once_and_told_of_once(check):
    one = "- {id: s%s, type: map, for_each: '{{ range(16000) }}', task: {uses: core.noop@1}}"

    found = check(document(one % i for i in range(9)))

    errors = [each for each in found.problems if each.rule == "fan-out"]
    assert [(each.step_key, each.message[:26]) for each in errors] == [
        ("s6", "this comes to 112,000 item")
    ]


def test_so_many_constant_conditions_are_computed_and_no_more():
    findings = Findings()

    held = [never_holds("{{ 1 == 2 }}", findings) for _ in range(MAX_FINDINGS + 1)]

    assert (held[-2], held[-1]) == (True, False)


def test_costly_constant_conditions_are_bounded_in_total(check):
    costly = "{{ '" + "x" * 4_000 + "'|list|length > 1 }}"
    text = document(f'- {{id: s{i}, uses: core.noop@1, when: "{costly}"}}' for i in range(100))

    with effort() as spent:
        found = check(text)

    assert found.ok
    assert spent.seconds < 4

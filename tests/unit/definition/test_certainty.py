"""Who is warned that an output may be null, and who is not."""

from __future__ import annotations

import pytest

from runtime.definition.document import read_document
from runtime.definition.finding import Findings
from runtime.definition.graph import read_graph
from runtime.definition.meaning import check_meaning
from runtime.definition.names import NameCheck
from runtime.definition.source import read_source

SLEEP = "uses: core.sleep@1, with: {duration: 1s}"
NOOP = "uses: core.noop@1"
READ = 'uses: core.set@1, with: {v: "{{ steps.a.output.seconds }}"}'
OUT = 'outputs: {v: "{{ steps.a.output.seconds }}"}'
MAYBE = (f"id: a, {SLEEP}, when: params.x", f"id: p, {NOOP}")
FAILED, SKIPPED, LATE = "a may have failed", "a may be skipped", "a may not have ended yet"


def with_(expression):
    text = expression.format("'completed'")
    return f'uses: core.set@1, with: {{v: "{{{{ {text} }}}}"}}'


def reading(*expressions):
    """Steps behind one that may be skipped and one that is not, each with an expression."""
    return [f"id: r{i}, depends_on: [a, p], {with_(one)}" for i, one in enumerate(expressions)]


def document(*steps, outputs=""):
    lines = "".join(f"- {{{one}}}\n" for one in steps)
    return f"name: x\nparams: {{x: boolean, k: string}}\nsteps:\n{lines}{outputs}"


CASES = {
    "a failure that goes on": ([f"id: a, {SLEEP}, on_error: continue", f"id: b, depends_on: [a], {READ}"], "", [FAILED]),
    "and in the outputs": ([f"id: a, {SLEEP}, on_error: continue"], OUT, [FAILED]),
    "an output in its place": ([f"id: a, {SLEEP}, on_error: {{action: continue, output: {{seconds: 0, x: 1}}}}",
                                f"id: b, depends_on: [a], {READ}", f"id: c, depends_on: [a], {with_('steps.a.output.x')}"], OUT, []),
    "null in its place": ([f"id: a, {SLEEP}, on_error: {{action: continue, output: null}}", f"id: b, depends_on: [a], {READ}"], OUT, [FAILED] * 2),
    "far behind": ([f"id: a, {SLEEP}, on_error: continue", f"id: b, depends_on: [a], {NOOP}", f"id: c, depends_on: [b], {READ}"], "", [FAILED]),
    "a failure that ends it": ([f"id: a, {SLEEP}, on_error: fail", f"id: b, depends_on: [a], {READ}"], OUT, []),
    "where a failure goes": ([f"id: a, {SLEEP}, on_error: {{goto: b}}", f"id: b, depends_on: [a], {READ}"], OUT, [FAILED] * 2),
    "behind where it goes": ([f"id: a, {SLEEP}, on_error: {{goto: b}}", f"id: b, depends_on: [a], {NOOP}", f"id: c, depends_on: [b], {READ}"], "", [FAILED]),
    "beside where it goes": ([f"id: a, {SLEEP}, on_error: {{goto: b}}", f"id: b, depends_on: [a], {NOOP}", f"id: c, depends_on: [a], {READ}"], "", []),
    "where both ways meet": ([f"id: a, {SLEEP}, on_error: {{goto: b}}", f"id: b, depends_on: [a], {NOOP}", f"id: c, depends_on: [a], {NOOP}",
                              f"id: d, depends_on: [b, c], {READ}"], "", [FAILED]),
    "both ways together are sure": ([f"id: p, {NOOP}, on_error: {{goto: b}}", f"id: b, depends_on: [p], {NOOP}", f"id: c, depends_on: [p], {NOOP}",
                                     f"id: a, depends_on: [b, c], {SLEEP}"], OUT, []),
    "what asks": ([f"id: a, {SLEEP}, on_error: continue", f"id: b, depends_on: [a], when: steps.a.status == 'completed', {READ}"], "", []),
    "what provides": ([f"id: a, {SLEEP}, on_error: continue", 'id: b, depends_on: [a], uses: core.set@1, with: {v: "{{ steps.a.output.seconds | default(1) }}"}'], "", []),
    "a condition that reads": ([f"id: a, {SLEEP}, on_error: continue", f"id: b, depends_on: [a], when: steps.a.output.seconds == 1, {NOOP}"], "", [FAILED]),
    "a condition that asks first": ([f"id: a, {SLEEP}, on_error: continue",
                                     f"id: b, depends_on: [a], when: steps.a.status == 'completed' and steps.a.output.seconds == 1, {NOOP}"], "", []),
    "a condition that asks afterwards": ([f"id: a, {SLEEP}, on_error: continue",
                                          f"id: b, depends_on: [a], when: steps.a.output.seconds == 1 and steps.a.status == 'completed', {NOOP}"], "", [FAILED]),
    "a condition that asks for a failure": ([f"id: a, {SLEEP}, on_error: continue", f"id: b, depends_on: [a], when: steps.a.status == 'failed', {READ}"], "", [FAILED]),
    "a condition that asks or does not": ([f"id: a, {SLEEP}, on_error: continue",
                                           f"id: b, depends_on: [a], when: steps.a.status == 'completed' or params.x, {READ}"], "", [FAILED]),
    "a condition that provides": ([f"id: a, {SLEEP}, on_error: continue", f"id: b, depends_on: [a], when: steps.a.output.seconds | default(5) > 1, {READ}"], "", [FAILED]),
    "a condition that provides what is false": ([f"id: a, {SLEEP}, on_error: continue", f"id: b, depends_on: [a], when: steps.a.output.seconds | default(false), {READ}",
                                                f"id: c, depends_on: [a], when: steps.a.output.seconds.default(''), {READ}"], "", []),
    "a condition that provides what is true": ([f"id: a, {SLEEP}, on_error: continue", f"id: b, depends_on: [a], when: steps.a.output.seconds | default(true), {READ}",
                                               f"id: c, depends_on: [a], when: steps.a.output.seconds | default(params.x), {READ}"], "", [FAILED] * 2),
    "and that it came to something false": ([f"id: a, {SLEEP}, on_error: continue", f"id: b, depends_on: [a], when: not (steps.a.output.seconds | default(true)), {READ}"], "", []),
    "a condition that is denied": ([f"id: a, {SLEEP}, on_error: continue", f"id: b, depends_on: [a], when: not (steps.a.status != 'completed' or params.x), {READ}"], "", []),
    "a condition on what was read": ([f"id: a, {SLEEP}, on_error: continue", f"id: b, depends_on: [a], when: steps.a.output and params.x, {READ}"], "", []),
    "asked in the same expression": ([
        f"id: a, {SLEEP}, on_error: continue", f"id: b, depends_on: [a], {with_('steps.a.output.seconds if steps.a.status == {0} else 0')}",
        f"id: c, depends_on: [a], {with_('0 if steps.a.output is none else steps.a.output.seconds')}",
        f"id: d, depends_on: [a], {with_('steps.a.output and steps.a.output.seconds > 1')}",
    ], "", []),
    "asked for the other": ([f"id: a, {SLEEP}, on_error: continue",
                             f"id: b, depends_on: [a], {with_('0 if steps.a.status == {0} else steps.a.output.seconds')}"], "", [FAILED]),
    "asked and read again outside": ([f"id: a, {SLEEP}, on_error: continue",
                                      f"id: b, depends_on: [a], {with_('(steps.a.output.k if steps.a.status == {0} else 0) + steps.a.output.k')}"], "", [FAILED]),
    "a case that reads": ([f"id: a, {SLEEP}, when: params.x", f"id: p, {NOOP}", "id: g, type: gateway, depends_on: [a, p], cases: [{when: steps.a.output.seconds == 1, then: b}, {else: b}]",
                           f"id: b, depends_on: [g], {NOOP}"], "", [SKIPPED]),
    "a part by a computed key": ([*MAYBE, *reading("steps.a.output[params.k]", "steps.a.output['k' ~ '']", "steps.a['output'][params.k].x")], "", [SKIPPED] * 3),
    "a slice": ([*MAYBE, *reading("steps.a.output[0:1]", "steps.a.output[0:1] | default([])")], "", [SKIPPED] * 2),
    "a key that is null": ([*MAYBE, *reading("params[steps.a.output]", "{{steps.a.output: 1}}")], "", [SKIPPED] * 2),
    "a part that is provided for": ([*MAYBE, *reading("steps.a.output[params.k] | default(0)", "steps.a.output[params.k] is defined")], "", []),
    "a filter of the whole": ([*MAYBE, *reading("steps.a.output | length", "steps.a.output | map(attribute='k') | list", "steps.a.output.keys()", "steps.a.output | length > 1")], "", [SKIPPED] * 4),
    "a default behind that comes too late": ([*MAYBE, *reading("steps.a.output | length | default(0)")], "", [SKIPPED]),
    "a default that leaves null": ([*MAYBE, *reading("(steps.a.output | default({{}})).k", "steps.a.output | default([]) | length", "steps.a.output.default([]) | length")], "", [SKIPPED] * 3),
    "a default that replaces null": ([*MAYBE, *reading("steps.a.output | default([], true) | length", "(steps.a.output or []) | length", "(steps.a.output | d('', boolean=true)).x")], "", []),
    "null that comes to a filter": ([*MAYBE, *reading("(steps.a.output if params.x else []) | length", "(params.x and steps.a.output) | length", "(params.x or steps.a.output) | length",
                                                      "steps.a.output | jmespath('k') | length")], "", [SKIPPED] * 4),
    "an operator on the whole": ([*MAYBE, *reading("steps.a.output + 1", "1 < steps.a.output", "-steps.a.output", "1 in steps.a.output", "1 not in steps.a.output", "steps.a.output is odd",
                                                   "1 is in steps.a.output", "range(steps.a.output)", "1 < 2 <= steps.a.output")], "", [SKIPPED] * 9),
    "where null is fine": ([*MAYBE, *reading("steps.a.output", "steps.a.output ~ ''", "steps.a.output == 1", "steps.a.output in [1]", "steps.a.output is mapping", "not steps.a.output", "steps.a.output | json",
                                             "[steps.a.output]", "steps.a.output | string | length", "[steps.a.output | jmespath('k')]", "steps.a.output if steps.a.output else 0")], "", []),
    "asked before a filter": ([*MAYBE, *reading("steps.a.output | length if steps.a.output is not none else 0", "steps.a.output and steps.a.output | length", "steps.a.output | length if steps.a.output is list else 0")], "", []),
    "asked once is enough": ([*MAYBE, *reading("steps.a.output | length > 0 and steps.a.output[params.k]")], "", [SKIPPED]),
    "asked by a list or a value": ([*MAYBE, *reading("steps.a.output.k if steps.a.status in ['completed'] else 0", "0 if steps.a.status not in ['completed'] else steps.a.output.k",
                                                     "steps.a.output.k if steps.a.output == {{'k': 1}} else 0", "steps.a.output.k if steps.a.output in ['a', [1]] else 0")], "", []),
    "asked by a list that says too little": ([*MAYBE, *reading("steps.a.output.k if steps.a.status in ['completed', 'skipped'] else 0", "steps.a.output.k if steps.a.output in [none, 1] else 0",
                                                               "steps.a.output.k if steps.a.output in [] else 0", "steps.a.output.k if steps.a.output == params.k else 0")], "", [SKIPPED] * 4),
    "a condition before a filter": ([*MAYBE, "id: b, depends_on: [a, p], when: steps.a.status == 'completed', uses: core.set@1, with: {v: '{{ steps.a.output | length }}'}"], "", []),
    "a map over the whole": ([*MAYBE, "id: b, type: map, depends_on: [a, p], for_each: '{{ steps.a.output }}', task: {uses: core.noop@1}"], "", [SKIPPED]),
    "a map over what may be it": ([*MAYBE, "id: b, type: map, depends_on: [a, p], for_each: '${ steps.a.output if params.x else [] }', task: {uses: core.noop@1}"], "", [SKIPPED]),
    "a map that provides": ([*MAYBE, "id: b, type: map, depends_on: [a, p], for_each: '{{ steps.a.output or [] }}', task: {uses: core.noop@1}"], "", []),
    "a map of a list with it": ([*MAYBE, "id: b, type: map, depends_on: [a, p], for_each: ['{{ steps.a.output }}'], task: {uses: core.noop@1}"], "", []),
    "a map that asks": ([*MAYBE, "id: b, type: map, depends_on: [a, p], when: steps.a.status == 'completed', for_each: '{{ steps.a.output }}', task: {uses: core.noop@1}"], "", []),
    "a wait until then": ([*MAYBE, "id: b, type: wait, depends_on: [a, p], until: '{{ steps.a.output }}'"], "", [SKIPPED]),
    "a join that is early": ([f"id: a, {SLEEP}", f"id: b, {NOOP}", f"id: c, join: any, depends_on: [a, b], {READ}"], OUT, [LATE]),
    "behind a join that is early": ([f"id: a, {SLEEP}", f"id: b, {NOOP}", f"id: c, join: 1, depends_on: [a, b], {NOOP}", f"id: d, depends_on: [c], {READ}"], "", [LATE]),
    "before what is early": ([f"id: a, {SLEEP}", f"id: b, depends_on: [a], {NOOP}", f"id: c, depends_on: [a], {NOOP}", f"id: d, join: any, depends_on: [b, c], {READ}"], "", []),
    "a join of all of them": ([f"id: a, {SLEEP}, when: params.x", f"id: b, {NOOP}", f"id: c, join: 2, depends_on: [a, b], {READ}", f"id: d, depends_on: [c], {READ}"], OUT, [SKIPPED]),
    "one of both": ([f"id: a, {SLEEP}, when: params.x", f"id: b, {NOOP}", f"id: c, depends_on: [a, b], {READ}"], "", [SKIPPED]),
    "behind a redundant edge": ([f"id: p, {NOOP}, when: params.x", f"id: a, depends_on: [p], {SLEEP}", f"id: c, depends_on: [p, a], {READ}"], "", []),
    "far behind a redundant edge": ([f"id: p, {NOOP}, when: params.x", f"id: q, depends_on: [p], {NOOP}", f"id: a, depends_on: [q], {SLEEP}", f"id: c, depends_on: [p, a], {READ}"], "", []),
    "chosen together": (["id: g, type: gateway, cases: [{when: params.x, then: [a, c]}, {else: d}]", f"id: a, depends_on: [g], {SLEEP}", f"id: c, depends_on: [g, a], {READ}",
                         f"id: d, depends_on: [g], {NOOP}"], "", []),
    "chosen by other cases": (["id: g, type: gateway, cases: [{when: params.x, then: a}, {else: c}]", f"id: a, depends_on: [g], {SLEEP}", f"id: c, depends_on: [g, a], {READ}"], "", [SKIPPED]),
    "an edge that is redundant but for its condition": ([f"id: p, {NOOP}, when: params.x", f"id: a, depends_on: [p], when: params.x, {SLEEP}", f"id: c, depends_on: [p, a], {READ}"], "", [SKIPPED]),
    "a redundant edge past a failure": ([f"id: p, {NOOP}, when: params.x", f"id: a, depends_on: [p], {SLEEP}, on_error: continue", f"id: c, depends_on: [p, a], {READ}"], "", [SKIPPED]),
    "a redundant edge and an early join": ([f"id: p, {NOOP}, when: params.x", f"id: a, depends_on: [p], {SLEEP}", f"id: c, join: any, depends_on: [p, a], {READ}"], "", [SKIPPED]),
    "what undoes it": ([f"id: p, {NOOP}, when: params.x", f"id: a, depends_on: [p], {SLEEP}, compensate: {{{READ}}}"], "", []),
    "what falls with it": ([f"id: a, {SLEEP}, when: params.x", f"id: b, depends_on: [a], {NOOP}", f"id: c, depends_on: [b], {READ}"], "", []),
    "cases that are all": (["id: g, type: gateway, cases: [{when: params.x, then: b}, {else: c}]", f"id: b, depends_on: [g], {NOOP}", f"id: c, depends_on: [g], {NOOP}",
                            f"id: a, depends_on: [b, c], {SLEEP}"], OUT, []),
    "cases within cases": (["id: g, type: gateway, cases: [{when: params.x, then: h}, {else: c}]", "id: h, type: gateway, depends_on: [g], cases: [{when: params.x, then: b}, {else: d}]",
                            *(f"id: {one}, depends_on: [{by}], {NOOP}" for one, by in ("bh", "cg", "dh")), f"id: a, depends_on: [b, c, d], {SLEEP}"], OUT, []),
    "cases that are not all": (["id: g, type: gateway, cases: [{when: params.x, then: b}, {else: c}]", f"id: b, depends_on: [g], {NOOP}", f"id: c, depends_on: [g], {NOOP}",
                                f"id: d, {NOOP}", f"id: a, depends_on: [b], {SLEEP}"], OUT, [SKIPPED]),
    "a gateway that may fail": (["id: g, type: gateway, on_error: continue, cases: [{when: params.x, then: a}]", f"id: a, depends_on: [g], {SLEEP}"], OUT, [SKIPPED]),
    "a gateway of one case": (["id: g, type: gateway, cases: [{when: params.x, then: a}]", f"id: a, depends_on: [g], {SLEEP}"], OUT, []),
    "chosen by what read it": ([f"id: a, {SLEEP}, when: params.x", f"id: p, {NOOP}", "id: g, type: gateway, depends_on: [a], cases: [{else: b}]",
                                f"id: b, depends_on: [g, p], {READ}"], "", []),
    "a person who is late": (["id: a, type: human_task, assignees: [ann], timeout: 1d, on_expiry: {goto: b}",
                              'id: b, depends_on: [a], uses: core.set@1, with: {v: "{{ steps.a.output.by }}"}'], "", [FAILED]),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_who_is_warned(name, check):
    steps, outputs, said = CASES[name]

    found = check(document(*steps, outputs=outputs))

    warned = [one for one in found.problems if one.rule == "may-be-skipped"]
    assert [one.message.partition(";")[0] for one in warned] == said
    assert [one.rule for one in found.problems if one.severity == "error"] == []


def test_each_warning_names_a_fix_that_helps(check, rules):
    """Taken word for word, it ends the warning."""
    first = f"id: a, {SLEEP}, on_error: continue"
    direct = check(document(first, f"id: b, depends_on: [a], {READ}", outputs=OUT)).problems
    asking = check(
        document(first, f"id: b, depends_on: [a], when: steps.a.output.seconds > 1, {NOOP}")
    )

    assert [one.hint for one in (*direct, *asking.problems)] == [
        "write steps.a.output.seconds | default(...), or a `when` that asks for steps.a.status",
        "write steps.a.output.seconds | default(...)",
        "write steps.a.output.seconds | default(...), or ask for steps.a.status first",
    ]
    fixed = [
        f"id: b, depends_on: [a], when: steps.a.status == 'completed', {READ}",
        f"id: c, depends_on: [a], {READ.replace('seconds', 'seconds | default(0)')}",
        f"id: d, depends_on: [a], when: steps.a.output.seconds | default(0) > 1, {NOOP}",
    ]
    outputs = OUT.replace("seconds", "seconds | default(0)")
    assert rules(document(first, *fixed, outputs=outputs)) == []


def test_of_a_whole_output_the_fix_replaces_null(check, rules):
    maybe = (f"id: a, {SLEEP}, when: params.x", f"id: p, {NOOP}")
    found = check(document(*maybe, *reading("steps.a.output | length"))).problems

    assert [one.hint for one in found] == [
        "write steps.a.output | default(..., true), or a `when` that asks for steps.a.status"
    ]
    assert rules(document(*maybe, *reading("steps.a.output | default([], true) | length"))) == []


TIMES = ["for: 1s", "until: '2026-01-01'"]
WHOLE = ["steps.w.output", "steps.w.output is none", "steps.w.output | default(1, true) + 1"]
PARTS = ["steps.w.output.k", "steps.w.output[params.k]", "steps.w.output | length", "steps.w.output.k if steps.w.status == {0} else 0", "steps.w.output.k | default(0)"]  # fmt: skip


@pytest.mark.parametrize("time", TIMES)
@pytest.mark.parametrize("expression", [*WHOLE, *PARTS])
@pytest.mark.parametrize("when", ["", "when: steps.w.status == 'completed', "])
def test_a_wait_for_a_time_has_no_output_to_read(time, expression, when, check):
    """Whatever was asked before: it has completed, and its output is null."""
    wait, read = f"id: w, type: wait, {time}", f"id: b, depends_on: [w], {when}{with_(expression)}"
    found = check(document(wait, read)).problems

    assert [(one.rule, one.message) for one in found] == [
        ("unknown-output", "the output of w always is null, and so nothing of it can be used")
    ] * (expression in PARTS)
    assert check(document("id: w, type: wait, signal: s", read)).problems == ()


@pytest.mark.parametrize(
    ("expression", "when", "warned"),
    [
        ("params.o", "", True),
        ("params.o if params.o is defined else 0", "", False),
        ("params.o is defined and params.o.k", "", False),
        ("0 if params.o is undefined else params.o", "", False),
        ("params.o if params.o.k is defined else 0", "", False),
        ("params.o if 'o' in params else 0", "", False),
        ("0 if 'o' not in params else params.o", "", False),
        ("params.o if 'q' in params else 0", "", True),
        ("params.o if params.q is defined else 0", "", True),
        ("params.o if params.o is not defined else 0", "", True),
        ("params.o if params.o is defined or params.x else 0", "", True),
        ("[params.o | default(0), params.o]", "", True),
        ("trigger.payload.o if trigger.payload.o is defined else 0", "", False),
        ("trigger.payload.o", "", True),
        ("params.o", "params.o is defined", False),
        ("params.o", "'o' in params", False),
        ("params.o", "params.o is defined or params.x", True),
        ("params.o", "params.q is defined", True),
    ],
)
def test_a_param_that_was_asked_for_is_not_called_absent(expression, when, warned, check):
    condition = f'when: "{when}", ' if when else ""
    text = document(f"id: b, {condition}{with_(expression)}")
    optional = "o: {type: object, required: false}, q: {type: object, required: false}"
    found = check(text.replace("k: string", optional)).problems

    assert {one.rule for one in found} == ({"may-be-absent"} if warned else set())


class Needs(list[int]):
    """Counts how many of its elements are looked at."""

    looked = 0

    def __contains__(self, one: object) -> bool:
        Needs.looked += len(self)
        return super().__contains__(one)

    def __iter__(self):
        Needs.looked += len(self)
        return super().__iter__()


@pytest.mark.parametrize("more", ["", ", when: params.x"])
def test_reads_of_a_wide_join_look_at_its_needs_a_few_times(more, catalog):
    """Each of 200 or 400 reads looked through all needs of its step: the square."""
    looked = []
    for count in (200, 400):
        names = [f"s{i}" for i in range(count)]
        reads = ", ".join(f'{one}: "{{{{ steps.{one}.output.seconds }}}}"' for one in names)
        text = document(
            *(f"id: {one}, {SLEEP}{more}" for one in names),
            f"id: z, depends_on: [{', '.join(names)}], uses: core.set@1, with: {{{reads}}}",
        )
        findings = Findings()
        read = read_document(read_source(text, None).value, findings)
        graph = read_graph(read, findings)
        graph.needs = [Needs(one) for one in graph.needs]
        Needs.looked = 0

        NameCheck(read, graph, catalog, findings).run()

        assert len(findings.found) == (count if more else 0)
        looked.append(Needs.looked)
    assert 0 < looked[1] <= 2 * looked[0] + 100


def test_cases_that_name_one_step_look_at_its_needs_a_few_times():
    findings = Findings()
    names = ", ".join(f"s{i}" for i in range(100))
    text = document(
        *(f"id: s{i}, {NOOP}" for i in range(100)),
        f"id: g, type: gateway, cases: [{{else: [{', '.join(['z'] * 100)}]}}]",
        f"id: z, depends_on: [{names}, g], {NOOP}",
    )
    read = read_document(read_source(text, None).value, findings)
    graph = read_graph(read, findings)
    graph.needs = [Needs(one) for one in graph.needs]
    Needs.looked = 0

    check_meaning(read, graph, findings, publishing=False)

    assert Needs.looked < 1_000


LACKS = "core.sleep has no 'v' in its output"
LACKS_INSTEAD = "what a gives when it has failed has no 'seconds'"
NULL_UNLESS = "the output of a is null unless it has failed"


@pytest.mark.parametrize(
    ("step", "output", "when", "expression", "said"),
    [
        (SLEEP, "{v: 1}", "", "steps.a.output.v", LACKS),
        (SLEEP, "{v: 1}", "", "steps.a.output.v | default(0)", None),
        (SLEEP, "{v: 1}", "", "steps.a.output.seconds", LACKS_INSTEAD),
        (SLEEP, "no", "", "steps.a.output.seconds", LACKS_INSTEAD),
        (SLEEP, "{v: 1}", "", "steps.a.output.seconds | default(0)", None),
        (SLEEP, "{v: 1}", "", "steps.a.output.k | default(0)", LACKS.replace("'v'", "'k'")),
        (SLEEP, "{v: 1}", "steps.a.status == 'completed'", "steps.a.output.seconds", None),
        (SLEEP, "{v: 1}", "steps.a.status == 'completed'", "steps.a.output.v", LACKS),
        (SLEEP, "{seconds: 1}", "", "steps.a.output.seconds", None),
        (SLEEP, '"{{ params }}"', "", "steps.a.output.seconds", None),
        ("uses: core.set@1, with: {k: 1}", "{v: [1]}", "", "steps.a.output.v[0]", None),
        ("type: wait, for: 1s", "{v: 1}", "", "steps.a.output.v", NULL_UNLESS),
        ("type: wait, for: 1s", "{v: 1}", "", "steps.a.output | length", NULL_UNLESS),
        ("type: wait, for: 1s", "{v: 1}", "", "steps.a.output.k | default(0)", NULL_UNLESS),
        ("type: wait, for: 1s", "{v: 1}", "", "steps.a.output.v | default(0)", None),
        ("type: wait, for: 1s", "{v: 1}", "", "steps.a.output", None),
    ],
)  # fmt: skip
def test_what_stands_in_on_error_is_read_only_where_both_have_it(
    step, output, when, expression, said, check
):
    """An output in `on_error` had switched off every check of what the step itself gives."""
    first = f"id: a, {step}, on_error: {{action: continue, output: {output}}}"
    condition = f"when: {when}, " if when else ""
    found = check(document(first, f"id: b, depends_on: [a], {condition}{with_(expression)}"))

    assert [(one.rule, one.message) for one in found.problems] == (
        [("unknown-output", said)] if said else []
    )


def test_the_fix_of_an_output_in_place_says_where_it_is(check):
    first = f"id: a, {SLEEP}, on_error: {{action: continue, output: {{v: 1}}}}"
    found = check(document(first, f"id: b, depends_on: [a], {with_('steps.a.output.v')}")).problems

    assert [one.hint for one in found] == [
        "only the output in on_error has it; write steps.a.output.v | default(...)"
    ]


def test_what_undoes_a_step_reads_its_own_output_only(check):
    first = (
        f"id: a, {SLEEP}, on_error: {{action: continue, output: {{v: 1}}}}, compensate: {{{READ}}}"
    )

    assert check(document(first)).problems == ()


NOTE = "steps.a.output.response.note"
ALONE = "a may be decided without an answer; its response is then null"
OPTIONAL = "the field note of the form of a may be absent"
NEEDED = "form: {type: object, properties: {note: {type: string}}, required: [note]}"
FREE = NEEDED.replace(", required: [note]", "")


@pytest.mark.parametrize(
    ("task", "when", "expression", "said"),
    [
        (NEEDED, "", NOTE, None),
        (f"{NEEDED}, timeout: 1d, on_expiry: {{outcome: rejected}}", "", NOTE, ALONE),
        (f"{NEEDED}, timeout: 1d, on_expiry: {{outcome: rejected}}", "", f"{NOTE} | default('')", None),
        (f"{NEEDED}, timeout: 1d, on_expiry: {{outcome: rejected}}", "", "steps.a.output.response", None),
        (f"{NEEDED}, timeout: 1d, on_expiry: {{outcome: rejected}}", "steps.a.output.outcome == 'approved'", NOTE, None),
        (f"{NEEDED}, timeout: 1d, on_expiry: fail", "", NOTE, None),
        (f"{NEEDED}, escalate: [{{after: 1h, outcome: rejected}}]", "", NOTE, ALONE),
        (f"{NEEDED}, escalate: [{{after: 1h, notify: [ann]}}]", "", NOTE, None),
        (FREE, "", NOTE, OPTIONAL),
        (FREE.replace("string", "string, default: x"), "", NOTE, None),
        (FREE, "", f"{NOTE} if steps.a.output.outcome == {{0}} else ''", None),
    ],
)  # fmt: skip
def test_a_field_that_nobody_may_have_filled_in(task, when, expression, said, check):
    condition = f"when: {when}, " if when else ""
    steps = (f"id: a, type: human_task, assignees: [ann], {task}", f"id: b, depends_on: [a], {condition}{with_(expression)}")  # fmt: skip
    found = check(document(*steps)).problems

    assert [(one.rule, one.message) for one in found] == ([("may-be-absent", said)] if said else [])

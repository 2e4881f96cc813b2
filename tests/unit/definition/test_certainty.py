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
FAILED, SKIPPED, LATE = "a may have failed", "a may be skipped", "a may not have ended yet"


def with_(expression):
    text = expression.format("'completed'")
    return f'uses: core.set@1, with: {{v: "{{{{ {text} }}}}"}}'


def document(*steps, outputs=""):
    lines = "".join(f"- {{{one}}}\n" for one in steps)
    return f"name: x\nparams: {{x: boolean}}\nsteps:\n{lines}{outputs}"


CASES = {
    "a failure that goes on": ([f"id: a, {SLEEP}, on_error: continue", f"id: b, depends_on: [a], {READ}"], "", [FAILED]),
    "and in the outputs": ([f"id: a, {SLEEP}, on_error: continue"], OUT, [FAILED]),
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

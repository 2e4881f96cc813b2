"""The language, rule by rule, and the one canonical form of both spellings."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from runtime.abi.surroundings import Surroundings
from runtime.definition import compile_plan, config_hash
from runtime.model.errors import Severity
from runtime.model.plan import Backoff, ConnectorRef, Effect, Jitter
from runtime.model.values import Digest, Duration, SemVer

FLAT = """
name: both
version: 2
labels: {team: a}
params: {id: string, n: {type: integer, default: 1}}
policy: {purpose: test}
max_parallel_steps: 2
retry: {max_attempts: 4}
steps:
  - {id: a, uses: core.set@1, with: {keepMe: "{{ params.id }}"}}
  - id: b
    uses: core.noop@1
    depends_on: [a]
    when: steps.a.output.keepMe == 'x'
    retry: {max_attempts: 2, never_on: [timeout]}
  - {id: c, type: human_approval, depends_on: b, candidate_groups: [ops], separation_of_duties: true}
outputs: {out: "{{ steps.a.output }}"}
"""
MANIFEST = """
apiVersion: composer/v1
kind: Workflow
metadata: {name: both, version: 2.0.0, labels: {team: a}}
spec:
  params:
    type: object
    properties: {id: {type: string}, n: {type: integer, default: 1}}
    required: [id]
    additionalProperties: false
  policy: {purpose: test}
  maxParallelSteps: 2
  retry: {maxAttempts: 4}
  tasks:
    - {id: a, uses: tasks/core.set@1, with: {keepMe: "${params.id}"}}
    - id: b
      uses: core.noop@1
      dependsOn: [a]
      when: "${ tasks.a.output.keepMe == 'x' }"
      retry: {maxAttempts: 2, neverOn: [timeout]}
    - {id: c, type: human_approval, dependsOn: [b], with: {candidateGroups: [ops], separationOfDuties: true}}
  outputs: {out: "${tasks.a.output}"}
"""


def test_both_spellings_have_one_canonical_form_and_one_digest(check):
    flat, manifest = check(FLAT), check(MANIFEST)

    assert flat.ok, flat.problems
    assert manifest.definition == flat.definition
    assert manifest.digest == flat.digest


def test_what_a_manifest_says_beside_its_input_is_found_beside_it(check):
    rule = '{action: continue, output: "{{ steps.a.error.type }}", goto: b}'
    steps = f"[{{id: a, uses: core.set@1, with: {{v: 1}}, onError: {rule}}}]"
    found = check(
        f"apiVersion: composer/v1\nkind: Workflow\nmetadata: {{name: x}}\nspec: {{tasks: {steps}}}"
    )

    placed = {one.rule: one.path for one in found.problems}
    assert placed["on-error"] == ("spec", "tasks", "0", "onError")
    assert "not-upstream" not in placed, "its own error is to be read there"


def test_the_canonical_form_is_its_own_canonical_form(check):
    once = check(FLAT)

    again = check(yaml.safe_dump(once.definition, sort_keys=False))

    assert (again.definition, again.digest) == (once.definition, once.digest)


def test_another_order_of_keys_is_the_same_and_another_order_of_steps_is_not(check):
    steps = ["{id: a, uses: core.noop@1}", "{uses: core.noop@1, id: b}"]
    digest = check(f"name: x\nsteps: [{steps[0]}, {steps[1]}]").digest

    assert check(f"steps: [{steps[0]}, {{id: b, uses: core.noop@1}}]\nname: x").digest == digest
    assert check(f"name: x\nsteps: [{steps[1]}, {steps[0]}]").digest != digest


def test_what_is_in_with_is_left_as_it_was_written(check):
    definition = check(MANIFEST).definition

    assert definition["steps"][0]["with"] == {"keepMe": "{{ params.id }}"}


def step(more, **others):
    rest = "".join(
        f"\n  - {{id: {key}, uses: core.noop@1{value}}}" for key, value in others.items()
    )
    return f"name: x\nsteps:\n  - {{id: s, {more}}}{rest}\n"


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (step("uses: core.noop@1"), []),
        (step("uses: core.noop@1, dependsOn: []"), ["unknown-key"]),
        (step("uses: core.noop@1, depends_on: [a]", a=", depends_on: [s]"), ["cycle"]),
        (step("uses: core.noop@1, depends_on: [a, a]", a=""), ["duplicate-dependency"]),
        (step("uses: core.noop@1, when: '{{ 1 == 1 }}'"), []),
        (step("uses: core.noop@1, when: '{{ 1 == 2 }}'"), ["unreachable-step"]),
        (step("uses: core.noop@1, when: 5"), ["type"]),
        (step("uses: slack.message@1"), ["connector-not-installed"]),
        (step("uses: slak.message@1"), ["unknown-connector"]),
        (step("uses: core.noop@1.0.0"), []),
        (step("uses: core.noop@1.7"), ["unknown-connector-version"]),
        (step("uses: core.sleep@1, with: {duration: '{{ params.x }}'}"), []),
        (step("uses: core.sleep@1, with: {duration: 'for {{ params.x }}'}"), []),
        (step("uses: core.sleep@1, with: {duration: [1]}"), ["connector-input"]),
        (step("uses: core.sleep@1, with: {}"), ["connector-input"]),
        (step("uses: core.sleep@1"), ["connector-input"]),
        (step("uses: http.request@1, with: {url: 'http://x', method: '{{ params.m }}'}"), []),
        (step("uses: core.set@1, with: {a: '{{ steps.s2.output }}'}", s2=""), ["not-upstream"]),
        (step("uses: core.set@1, with: {a: '{{ index }}'}"), ["unknown-reference"]),
        (step("uses: core.set@1, with: {a: '{{ secrets[execution.id] }}', b: '{{ secrets | json }}'}"), ["computed-reference"] * 2),
        (step("uses: core.set@1, with: {a: '{{ steps[execution.id].output }}', b: '{{ tasks | length }}'}"), ["computed-reference"] * 2),
        (step("uses: core.noop@1, when: steps | length > 1"), ["computed-reference"]),
        (step("uses: core.noop@1") + "\noutputs: {a: '{{ steps | length }}', b: '{{ steps[execution.id].output }}'}", []),
        (step("uses: core.set@1, with: {a: '{{ execution.idd }}'}"), ["unknown-reference"]),
        (step("uses: core.set@1, with: {a: '{{ a b }}', b: '{{ c d }}'}"), ["expression", "expression"]),
        (step("uses: core.set@1, with: {'{{ a }}': 1}"), ["expression"]),
        (step("uses: core.noop@1, with: 5"), ["type"]),
        (step("type: map, for_each: [1], task: {uses: core.set@1, with: {a: '{{ item ~ index }}'}}"), []),
        (step("type: map, for_each: '{{ range(execution.generation) }}', task: {uses: core.noop@1}"), ["map-list-changes"]),
        (step("type: map, for_each: '{{ [execution] }}', task: {uses: core.noop@1}"), ["map-list-changes"]),
        (step("type: map, for_each: '{{ [execution.id] }}', task: {uses: core.set@1, with: {g: '{{ execution.generation }}'}}"), []),
        (step("type: gateway, cases: [{else: a}], retry: {max_attempts: 2}, timeout: 1s", a=", depends_on: [s]"), ["gateway"] * 2),
        (step("type: gateway, cases: [{else: a}], on_error: continue", a=", depends_on: [s]"), []),
        (step("type: wait, signal: go"), []),
        (step("type: wait, signal: go, timeout: 1h, default: {a: '{{ steps.x.output }}'}"), ["unknown-reference"]),
        (step("type: wait, until: '2026-01-31T12:00:00+01:00'"), []),
        (step("type: wait, until: '{{ secrets.S }}'"), ["secret-outside-with"]),
        (step("type: wait, for: 1h, uses: core.noop@1"), ["unknown-key"]),
        (step("type: wait, for: 1h, retry: {}, cache: {ttl: 1s}, compensate: {uses: core.noop@1}, runs_on: gpu"), ["wait"] * 4),
        (step("type: gateway, cases: [{else: a}], cache: {ttl: 1s}, compensate: {uses: core.noop@1}, runs_on: gpu", a=", depends_on: [s]"), ["gateway"] * 3),
        (step("uses: core.noop@1, cache: {ttl: 1h, key: '{{ execution.workflow }}'}"), []),
        (step("uses: core.noop@1, cache: {}"), ["missing-key"]),
        (step("uses: core.noop@1, cache: {ttl: 0s}"), ["bad-duration"]),
        (step("uses: core.noop@1, cache: {ttl: 1h}, compensate: {uses: core.noop@1}"), ["cache"]),
        (step("uses: core.noop@1, cache: {ttl: 1h, key: '{{ secrets.S }}'}"), ["secret-outside-with"]),
        (step("uses: core.set@1, with: {v: '{{ secrets.S }}'}, cache: {ttl: 1h}"), ["cache"]),
        (step("type: workflow, workflow: y, cache: {ttl: 1h}"), ["cache"]),
        (step("type: map, for_each: [1], task: {uses: core.noop@1}, cache: {ttl: 1h}"), []),
        (step("type: map, for_each: [1], task: {uses: core.noop@1}, cache: {ttl: 1h, key: a}"), ["cache"]),
        (step("type: map, for_each: [1], task: {uses: core.set@1, with: {v: '{{ secrets.S }}'}}, cache: {ttl: 1h}"), ["cache"]),
        (step("kind: wait, for: 1h"), ["unknown-key"]),
        (step("kind: waiting, for: 1h"), ["unknown-key"]),
        (step("uses: core.noop@1, on_error: continue"), []),
        (step("uses: core.noop@1, on_error: {action: continue, output: 1}"), []),
        (step('uses: core.noop@1, on_error: {action: continue, output: "{{ steps.s.error.type }} {{ steps.s.status }}"}'), []),
        (step('uses: core.noop@1, on_error: {action: continue, output: {was: "{{ steps.s.output }}"}}'), ["not-upstream"]),
        (step('uses: core.noop@1, on_error: {action: continue, output: "{{ steps.s }}"}'), ["not-upstream"]),
        (step('uses: core.set@1, with: {on_error: "{{ steps.s.error }}"}'), ["not-upstream"]),
        (step('uses: core.noop@1, on_error: {action: continue, output: "{{ secrets.x }}"}'), ["secret-outside-with"]),
        (step('uses: core.set@1, with: {compensate: "{{ steps.s.output.v }}"}'), ["not-upstream"]),
        (step('uses: core.set@1, with: {compensate: "{{ steps.s.output.v }}"}, compensate: {uses: core.noop@1}'), ["not-upstream"]),
        (step('uses: core.set@1, with: {v: 1}, compensate: {uses: core.set@1, with: {v: "{{ steps.s.output.v }}"}}'), []),
        (step('type: map, for_each: [1], task: {uses: core.noop@1}, on_error: {action: continue, output: {task: "{{ item }}"}}'), ["unknown-reference"]),
        (step('type: map, for_each: [1], task: {uses: core.set@1, with: {v: "{{ item }}"}}'), []),
        (step("uses: core.noop@1, compensate: {uses: core.noop@1, retry: {max_attempts: 2}}"), []),
        (step("type: map, for_each: [1], task: {uses: core.noop@1}, compensate: {uses: core.noop@1}"), ["not-in-this-version"]),
        (step("type: agent_task, agent: a"), ["missing-key", "not-in-this-version"]),
        ("name: x\nsteps: []", ["empty"]),
        ("name: x", ["missing-key"]),
        ("- a", ["type"]),
        ("just text", ["type"]),
        ("apiVersion: composer/v1\nkind: Workflow\nmetadata: {name: x}", ["missing-key"]),
    ],
)  # fmt: skip
def test_rules(text, found, rules):
    assert rules(text) == found


@pytest.mark.parametrize(
    ("key", "meant"),
    [("kind: gateway, cases: [{else: a}]", "type"), ("uses: core.noop@1, needs: [a]", "depends_on"),
     ("uses: core.noop@1, if: 'true'", "when"), ("uses: core.noop@1, timout: 1s", "timeout")],
)  # fmt: skip
def test_a_key_of_another_language_is_told_ours(key, meant, check):
    found = check(step(key, a=", depends_on: [s]")).problems

    assert [(one.rule, one.hint) for one in found] == [("unknown-key", f"did you mean '{meant}'?")]


def test_what_a_kind_can_never_have_is_said_in_the_manifest_too(check):
    text = (
        "apiVersion: composer/v1\nkind: Workflow\nmetadata: {name: x}\n"
        "spec: {tasks: [{id: a, type: wait, for: 1s, runsOn: [gpu]}]}"
    )

    assert [(one.rule, one.message) for one in check(text).problems] == [
        ("wait", "a wait step makes no call for which a worker could be chosen")
    ]


def test_a_step_that_falls_with_the_skipped_one_is_not_warned_about(rules):
    text = """
name: x
steps:
  - {id: a, uses: core.noop@1}
  - {id: b, uses: core.sleep@1, when: "{{ steps.a.status == 'x' }}", depends_on: [a], with: {duration: 1s}}
  - {id: c, uses: core.set@1, depends_on: [b], with: {v: "{{ steps.b.output.seconds }}"}}
  - {id: d, uses: core.set@1, depends_on: [c], with: {v: "{{ steps.b.output.seconds }}"}}
  - {id: e, uses: core.set@1, depends_on: [a, c], with: {v: "{{ steps.b.output.seconds }}"}}
  - {id: f, uses: core.set@1, depends_on: [a, c], when: "{{ steps.b.status == 'completed' }}", with: {v: "{{ steps.b.output.seconds }}"}}
"""
    assert rules(text) == ["may-be-skipped"]


def test_ids_that_are_no_identifiers_are_written_in_brackets(check):
    found = check(
        "name: x\nsteps:\n  - {id: a-b.c, uses: core.noop@1}\n"
        "  - {id: d, uses: core.set@1, depends_on: [a-b.c], with: {v: \"{{ steps['a-b.c'].output }}\"}}"
    )

    assert found.problems == ()


def test_a_definition_with_ten_faults_has_ten_findings(check):
    faults = "".join(f"  - {{id: s{i}, uses: core.noop@1, timeout: bad}}\n" for i in range(10))

    found = check("name: x\nsteps:\n" + faults)

    assert [(one.line, one.column) for one in found.problems] == [(i + 3, 42) for i in range(10)]
    assert {one.step_key for one in found.problems} == {f"s{i}" for i in range(10)}


def test_a_workflow_has_at_most_so_many_steps(check):
    text = "name: x\nsteps:\n" + "".join(
        f"- {{id: s{i}, uses: core.noop@1}}\n" for i in range(20_001)
    )

    found = check(text, surroundings=Surroundings(name="y")).problems

    assert [one.rule for one in found] == ["name-mismatch", "too-large"]


def test_the_plan_is_numbers(check):
    plan = check(FLAT).plan

    assert (plan.name, plan.version, plan.max_parallel_steps) == ("both", SemVer(2), 2)
    assert plan.index_of == {"a": 0, "b": 1, "c": 2}
    assert plan.successors == ((1,), (2,), ())
    assert plan.indegree == (0, 1, 1)
    assert [one.depends_on for one in plan.steps] == [(), (0,), (1,)]
    assert plan.steps[0].uses == ConnectorRef("core.set", 1)
    assert plan.steps[0].config == {"keepMe": "{{ params.id }}"}
    assert plan.policy.purpose == "test"
    assert plan.labels == {"team": "a"}


def test_retry_of_the_workflow_holds_for_steps_that_have_none(check):
    plan = check(FLAT).plan

    # The third asks people, and makes no call that could be repeated.
    assert [one.retry.max_attempts for one in plan.steps] == [4, 2, 1]
    assert plan.steps[1].retry.never_on == ("timeout",)


def test_every_part_of_a_retry_block_is_taken_over(check):
    retry = "{max_attempts: 5, backoff: linear, initial: 2s, max: 9s, factor: 3, jitter: none, on: [timeout]}"
    plan = check(
        step(f"uses: core.noop@1, effect: idempotent, timeout: 1m30s, retry: {retry}")
    ).plan

    policy = plan.steps[0].retry
    assert (policy.max_attempts, policy.backoff, policy.jitter) == (5, Backoff.LINEAR, Jitter.NONE)
    assert (policy.initial, policy.max, policy.factor) == (Duration(2000), Duration(9000), 3.0)
    assert policy.on == ("timeout",)
    assert (plan.steps[0].effect, plan.steps[0].timeout) == (Effect.IDEMPOTENT, Duration(90_000))


def test_the_config_hash_of_a_step_changes_with_the_step_alone(check):
    one = check(step("uses: core.noop@1", b="")).plan
    other = check(step("uses: core.noop@1", b=", timeout: 1s")).plan

    assert config_hash(one.steps[0]) == config_hash(other.steps[0])
    assert config_hash(one.steps[1]) != config_hash(other.steps[1])


def test_a_stored_definition_compiles_to_the_same_plan(check):
    found = check(FLAT)

    assert compile_plan(found.definition, found.digest) == found.plan


@pytest.mark.parametrize("version", ["-1", "'12345678901'", "12345678901", "1.9999999999.0"])
def test_a_version_has_parts_of_at_most_nine_digits(version, rules):
    assert rules(f"name: x\nversion: {version}\nsteps: [{{id: a, uses: core.noop@1}}]") == [
        "bad-version"
    ]


def test_a_timeout_leaves_some_time(rules):
    text = "name: x\ntimeout: 0s\nsteps: [{id: a, uses: core.noop@1, timeout: PT0S}]"

    assert rules(text) == ["bad-duration", "bad-duration"]


def test_a_pattern_that_no_engine_counts_does_not_end_validation(check):
    text = "name: x\nparams: {a: {type: string, pattern: 'a{99999999999}', default: a}}\nsteps: [{id: a, uses: core.noop@1}]"

    assert not check(text).ok


def only_finding(check, *steps: str):
    source = "name: a\nparams: {x: string}\nsteps:\n" + "".join(f"  - {one}\n" for one in steps)
    found = [one for one in check(source).problems if one.severity == "error"]
    assert len(found) == 1, found
    return found[0]


@pytest.mark.parametrize(
    ("signal", "words"),
    [('""', "1 to 200 characters"), ('"{{ params.x }}"', "as it is written"), ('"a-${params.x}"', "no expression")],
)  # fmt: skip
def test_a_signal_that_nobody_can_send_is_told_of(check, signal, words):
    found = only_finding(check, f"{{id: a, type: wait, signal: {signal}}}")

    assert (found.rule, found.path[-1]) == ("wait", "signal")
    assert words in found.message


@pytest.mark.parametrize(
    ("name", "words"),
    [("first", "comes before"), ("chosen", "choose itself"), ("me", "right after")],
)
@pytest.mark.parametrize("kind", ["goto", "gateway"])
def test_no_hint_leads_into_a_cycle(check, kind, name, words):
    choosing = {
        "goto": f"{{id: chosen, uses: core.noop@1, depends_on: [first], on_error: {{goto: {name}}}}}",
        "gateway": f"{{id: chosen, type: gateway, depends_on: [first], cases: [{{when: params.x == 'a', then: {name}}}]}}",
    }[kind]

    found = only_finding(
        check, "{id: first, uses: core.noop@1}", choosing, "{id: me, uses: core.noop@1}"
    )

    assert found.rule == f"{kind}-target"
    assert words in found.message
    assert ("depends_on" in found.hint) == (name == "me")


@pytest.mark.parametrize("key", ["with: {v: %s}", "when: %s"])
def test_half_of_a_surrogate_pair_is_refused_where_it_is_written(check, key):
    expression = r"""'{{ params.x == "\ud800" }}'"""

    found = only_finding(check, f"{{id: a, uses: core.set@1, {key % expression}}}")

    assert found.rule == "expression"
    assert "surrogate" in found.message


@pytest.mark.parametrize(
    ("step", "words"),
    [
        ("{id: a, type: wait, for: 99999999h}", "longer than ten years"),
        ("{id: a, type: wait, for: soon}", "'soon' is not a duration"),
        ("{id: a, uses: core.noop@1, timeout: P99999D}", "longer than ten years"),
    ],
)
def test_a_duration_that_can_not_be_is_one_finding(check, step, words):
    found = only_finding(check, step)

    assert found.rule == "bad-duration"
    assert words in found.message


def test_a_label_that_is_no_text_is_shown_as_it_is_written(check):
    found = check("name: a\nlabels: {x: true}\nsteps: [{id: a, uses: core.noop@1}]\n")

    assert [one.hint for one in found.problems] == ['write "true"']


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("backoff: fixed, factor: 3", "a fixed delay does not grow by a factor"),
        ("on: [timeout, a], never_on: [b, timeout]", "timeout stands in `on` too"),
    ],
)
def test_what_a_retry_says_for_nothing_is_warned_of(check, text, words):
    found = check(f"name: x\nretry: {{{text}}}\nsteps: [{{id: a, uses: core.noop@1}}]")

    (one,) = found.problems
    assert (one.rule, one.severity) == ("retry-ignored", Severity.WARNING)
    assert one.message.startswith(words)
    assert (
        check(
            "name: x\nretry: {factor: 3, on: [a], never_on: [b]}\nsteps: [{id: a, uses: core.noop@1}]"
        ).problems
        == ()
    )


def test_an_else_beside_the_cases_is_told_where_it_belongs(check):
    text = "name: x\nsteps: [{id: a, type: gateway, cases: [{when: '{{ 1 == 1 }}', then: b}], else: b}, {id: b, uses: core.noop@1, depends_on: [a]}]"

    assert "is one of its cases" in check(text).problems[0].message


def test_a_step_that_can_be_undone_is_called_each_time_whatever_an_old_version_says():
    """What undoes it would undo what another execution did; such a version can't be published any more."""
    step: dict[str, Any] = {"id": "a", "uses": "core.noop@1", "cache": {"ttl": "1h"}}
    undo: Any = {"uses": "core.noop@1"}
    plan = compile_plan({"name": "x", "steps": [{**step, "compensate": undo}]}, Digest.of(b"x"))
    assert (plan.steps[0].cache, plan.compensations[0].cache) == (None, None)
    assert compile_plan({"name": "x", "steps": [step]}, Digest.of(b"y")).steps[0].cache is not None


def test_a_secret_in_what_is_asked_is_told_of_which_with(check):
    """`with` of a step that asks people is no input of a call: that a secret may stand inside of `with` was no help."""
    text = step("type: human_task, assignees: [ann], with: {title: '{{ secrets.S }}'}")

    assert [one.message for one in check(text).problems] == [
        "secrets may stand only inside of the `with` of a call"
    ]

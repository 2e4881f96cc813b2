"""Simulations: the engine's own decisions on a virtual clock, answers in place of calls, and nothing else."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from runtime.connectors.registry import Registry
from runtime.connectors.rehearsal import rehearse
from runtime.definition import apply_params, validate
from runtime.engine.simulation import Failing, PastStep, Script, Simulation, Source
from runtime.model.errors import BadInput, Invalid, StepErrorKind
from runtime.model.event import EventKind
from runtime.model.execution import ExecutionStatus, StepStatus
from runtime.model.values import Duration, Money

REGISTRY = Registry.load(["tests.support.steps"])
NOW = datetime(2026, 1, 1, tzinfo=UTC)
ORDER = """
name: order
params: {amount: integer}
steps:
  - {id: read, uses: core.set@1, with: {amount: "{{ params.amount }}", key: "{{ secrets.KEY }}"}}
  - id: charge
    uses: http.request@1
    depends_on: [read]
    effect: idempotent
    timeout: 30s
    retry: {max_attempts: 3, initial: 10s, jitter: none}
    with: {url: "https://pay.example/{{ steps.read.output.amount }}", headers: {key: "{{ secrets.KEY }}"}}
  - {id: big, uses: core.noop@1, depends_on: [charge], when: params.amount > 100}
  - {id: after_big, uses: core.noop@1, depends_on: [big]}
  - {id: small, uses: core.noop@1, depends_on: [charge], when: params.amount <= 100}
outputs: {status: "{{ steps.charge.output.status }}"}
"""


def simulated(source: str, given: Any = None, **script: Any) -> Simulation:
    plan = validate(source, None, REGISTRY.catalog()).plan
    assert plan is not None
    return rehearse(plan, REGISTRY, apply_params(plan, given), Script(**script), now=NOW)


def output_of(simulation: Simulation) -> Any:
    return simulation.output


def by_key(simulation: Simulation) -> dict[str, Any]:
    return {one.key: one for one in simulation.steps}


def test_order_branches_and_why():
    steps = by_key(simulated(ORDER, {"amount": 50}))

    assert [steps[key].order for key in ("read", "charge", "big", "small", "after_big")] == [
        1, 2, 3, 5, 4,
    ]  # fmt: skip
    assert (steps["big"].is_taken, steps["big"].reason) == (False, "its condition is false")
    assert [(one.path, one.value) for one in steps["big"].reads] == [("params.amount", 50)]
    assert (steps["small"].is_taken, steps["small"].reason) == (True, "its condition holds")
    assert steps["after_big"].reason == "all steps it depends on were skipped"


def test_inputs_are_rendered_and_secrets_masked():
    steps = by_key(simulated(ORDER, {"amount": 50}))

    assert steps["charge"].rendered_input == {
        "url": "https://pay.example/50",
        "headers": {"key": "***"},
    }
    assert steps["read"].output == {"amount": 50, "key": "***"}


def test_outputs_come_from_mocks_then_the_past_then_the_schema():
    past = {"charge": PastStep({"status": 201}, 2.0)}

    mocked = simulated(ORDER, {"amount": 1}, mocks={"charge": {"status": 202}}, past=past)
    passed = simulated(ORDER, {"amount": 1}, past=past)
    made = simulated(ORDER, {"amount": 1})

    assert [one.output for one in (mocked, passed, made)] == [
        {"status": 202}, {"status": 201}, {"status": 0},
    ]  # fmt: skip
    sources = [by_key(one)["charge"].source for one in (mocked, passed, made)]
    assert sources == [Source.MOCK, Source.PAST, Source.SCHEMA]
    assert passed.duration_ms == 2_000
    assert made.unknown_durations == ("charge",)


def test_a_failure_that_is_asked_for_is_retried_as_the_policy_says():
    found = simulated(
        ORDER,
        {"amount": 1},
        fails={"charge": Failing(2)},
        durations={"charge": Duration(1_500)},
        costs={"charge": Money.parse("0.10 EUR")},
    )

    assert found.status is ExecutionStatus.COMPLETED
    assert by_key(found)["charge"].attempts == 3
    assert found.duration_ms == 3 * 1_500 + 10_000 + 20_000
    assert [str(one) for one in found.costs] == ["0.30 EUR"]


def test_a_permanent_failure_ends_the_execution_and_says_what_was_not_reached():
    found = simulated(ORDER, {"amount": 1}, fails={"charge": Failing(1, StepErrorKind.PERMANENT)})

    steps = by_key(found)
    assert found.status is ExecutionStatus.FAILED
    assert found.error is not None
    assert found.error.step_key == "charge"
    assert (steps["charge"].attempts, steps["charge"].status) == (1, StepStatus.FAILED)
    assert (steps["small"].is_taken, steps["small"].reason) == (False, "the execution ended before")


def test_an_attempt_that_takes_too_long_times_out():
    found = simulated(ORDER, {"amount": 1}, durations={"charge": Duration(40_000)})

    assert found.status is ExecutionStatus.TIMED_OUT or found.status is ExecutionStatus.FAILED
    assert by_key(found)["charge"].status is StepStatus.TIMED_OUT
    assert found.duration_ms == 3 * 30_000 + 10_000 + 20_000


def test_waits_and_human_tasks_as_they_would_appear():
    source = """
name: waits
steps:
  - {id: ask, type: human_approval, title: "Pay {{ execution.workflow }}?", candidate_groups: [fin], outcomes: [yes, no], sla: 2h}
  - {id: nap, type: wait, for: 5m, depends_on: [ask]}
  - {id: paid, type: wait, signal: paid, timeout: 1h, depends_on: [nap], default: {late: true}}
outputs: {paid: "{{ steps.paid.output }}", said: "{{ steps.ask.output.outcome }}"}
""".replace("[yes, no]", '["yes", "no"]')

    late = simulated(source)
    early = simulated(source, mocks={"paid": {"late": False}, "ask": {"outcome": "no"}})

    assert late.output == {"paid": {"late": True}, "said": "yes"}
    assert early.output == {"paid": {"late": False}, "said": "no"}
    assert (late.duration_ms, early.duration_ms) == (65 * 60_000, 5 * 60_000)
    assert [(one.step, one.signal, one.due.isoformat()) for one in late.timers if one.due] == [
        ("nap", None, "2026-01-01T00:05:00+00:00"),
        ("paid", "paid", "2026-01-01T01:05:00+00:00"),
    ]
    (task,) = late.tasks
    assert isinstance(task.fields, dict)
    assert (task.fields["title"], task.fields["outcomes"]) == ("Pay waits?", ["yes", "no"])
    assert task.due == datetime(2026, 1, 1, 2, tzinfo=UTC)


def test_a_signal_that_nobody_sends_leaves_it_waiting():
    found = simulated("name: w\nsteps: [{id: a, type: wait, signal: go}]")

    assert found.status is ExecutionStatus.WAITING
    assert found.timers[0].due is None


def test_connectors_of_others_are_never_called():
    source = "name: x\nsteps: [{id: a, uses: probe.flaky@1, with: {marker: never, failures: 9}}]"

    assert simulated(source).status is ExecutionStatus.COMPLETED


def test_the_deadline_of_the_workflow_counts():
    found = simulated(
        "name: x\ntimeout: 1s\nsteps: [{id: a, uses: core.sleep@1, with: {duration: 5s}}]"
    )

    assert (found.status, found.duration_ms) == (ExecutionStatus.TIMED_OUT, 1_000)


def test_the_branch_that_is_taken_and_why():
    source = """
name: x
params: {n: integer}
steps:
  - {id: way, type: gateway, cases: [{when: params.n > 9, then: big}, {when: params.n > 0, then: small}, {else: none}]}
  - {id: big, uses: core.noop@1, depends_on: [way]}
  - {id: small, uses: core.noop@1, depends_on: [way], on_error: {goto: none}}
  - {id: none, uses: core.noop@1, depends_on: [way, small]}
  - {id: first, uses: core.noop@1, depends_on: [big, small, none], join: any}
"""
    found = simulated(source, {"n": 4}, fails={"small": Failing(kind=StepErrorKind.PERMANENT)})
    steps = by_key(found)

    assert found.status is ExecutionStatus.COMPLETED
    assert (steps["way"].output, steps["way"].source) == (
        {"cases": [1], "then": ["small"]},
        Source.COMPUTED,
    )
    assert steps["way"].reason == "case 2 of 3 holds"
    assert [(one.path, one.value) for one in steps["way"].reads] == [("params.n", 4)]
    assert steps["big"].reason == "no step it depends on led to it"
    assert {key: one.status.name for key, one in steps.items()} == {
        "way": "COMPLETED", "big": "SKIPPED", "small": "FAILED", "none": "COMPLETED", "first": "COMPLETED",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("n", "mode", "read"),
    [
        (9, "exclusive", ["params.n"]),
        (9, "inclusive", ["params.n", "params.m", "params.k"]),
        (0, "exclusive", ["params.n", "params.m", "params.k"]),
    ],
)
def test_a_gateway_tells_all_that_the_conditions_it_judged_read(n, mode, read):
    source = f"""
name: x
params: {{n: integer, m: integer, k: integer}}
steps:
  - id: way
    type: gateway
    mode: {mode}
    cases: [{{when: params.n > 0, then: a}}, {{when: params.m > 0, then: a}}, {{when: params.k > 0, then: a}}, {{else: a}}]
  - {{id: a, uses: core.noop@1, depends_on: [way]}}
"""
    way = by_key(simulated(source, {"n": n, "m": 0, "k": 0}))["way"]

    assert [one.path for one in way.reads] == read


CALLS_NOTHING = """
name: x
steps:
  - {id: way, type: gateway, cases: [{else: a}]}
  - {id: a, uses: core.noop@1, depends_on: [way]}
  - {id: rest, type: wait, for: 1h}
  - {id: go, type: wait, signal: go}
"""
EXPIRES = """
name: x
steps:
  - {id: a, type: human_task, outcomes: ["done"], timeout: 1d, on_expiry: %s}
  - {id: late, uses: core.noop@1, depends_on: [a]}
  - {id: good, uses: core.noop@1, depends_on: [a], when: "{{ steps.a.output.decision == 'done' }}"}
"""
IN_TIME, TOO_LATE = Duration(1_000), Duration(90_000_000)


@pytest.mark.parametrize(
    ("rule", "after", "ended", "status"),
    [
        (
            "{goto: late}",
            TOO_LATE,
            ["TIMED_OUT", "COMPLETED", "SKIPPED"],
            ExecutionStatus.COMPLETED,
        ),
        ("{goto: late}", IN_TIME, ["COMPLETED", "SKIPPED", "COMPLETED"], ExecutionStatus.COMPLETED),
        ("{outcome: done}", TOO_LATE, ["COMPLETED"] * 3, ExecutionStatus.COMPLETED),
        ("fail", TOO_LATE, ["TIMED_OUT", "PENDING", "PENDING"], ExecutionStatus.FAILED),
    ],
)
def test_a_task_that_is_not_answered_in_time_goes_the_way_of_its_expiry(rule, after, ended, status):
    found = simulated(EXPIRES % rule, durations={"a": after})

    assert [one.status.name for one in found.steps] == ended
    assert found.status is status
    assert found.duration_ms == min(after.milliseconds, 86_400_000)


ESCALATES = """
name: x
steps:
  - id: a
    type: human_approval
    timeout: %s
    on_expiry: {outcome: approved}
    escalate: [{after: 1h, notify: [ops]}, {after: 4h, outcome: rejected}]
"""
SYSTEM = {"subject": "system", "kind": "system"}


@pytest.mark.parametrize(
    ("timeout", "takes", "outcome", "by", "hours"),
    [
        ("8h", "5h", "rejected", SYSTEM, 4),
        ("4h", "5h", "rejected", SYSTEM, 4),
        ("3h", "5h", "approved", None, 3),
        ("8h", "4h", "approved", {"subject": "somebody", "kind": "user"}, 4),
    ],
)
def test_of_an_answer_an_escalation_that_decides_and_an_expiry_the_first_counts(
    timeout, takes, outcome, by, hours
):
    found = simulated(ESCALATES % timeout, durations={"a": Duration.parse(takes)})

    assert by_key(found)["a"].output == {
        "outcome": outcome,
        "response": {} if by and by != SYSTEM else None,
        "by": by,
        "at": f"2026-01-01T0{hours}:00:00+00:00",
    }
    assert found.duration_ms == hours * 3_600_000


def test_an_answer_that_never_comes_in_time_is_not_asked_to_fail_either():
    found = simulated(
        ESCALATES % "8h",
        durations={"a": Duration.parse("5h")},
        fails={"a": Failing(kind=StepErrorKind.PERMANENT)},
    )

    assert found.status is ExecutionStatus.COMPLETED


def test_a_task_is_no_timer_and_its_answer_is_of_then_and_of_somebody():
    source = """
name: x
steps:
  - {id: a, type: human_task, assignees: [ann, bob]}
  - id: next-day
    type: wait
    until: "{{ steps.a.output.at | add_duration('1d') }}"
    depends_on: [a]
outputs: {by: "{{ steps.a.output.by.subject }}"}
"""

    found = simulated(source, durations={"a": Duration.parse("2h")})

    assert [one.step for one in found.timers] == ["next-day"]
    assert found.duration_ms == 26 * 3_600_000
    assert output_of(found) == {"by": "ann"}


UNDONE = """
name: x
steps:
  - id: a
    uses: core.noop@1
    compensate: {uses: core.noop@1}
  - {id: b, uses: core.noop@1, depends_on: [a]}
"""


def test_what_undoes_a_step_takes_a_mock_like_any_other():
    found = simulated(
        UNDONE,
        mocks={"a:compensate": 1},
        fails={"b": Failing(kind=StepErrorKind.PERMANENT)},
    )

    assert by_key(found)["a:compensate"].output == 1


@pytest.mark.parametrize(
    ("mock", "words"),
    [
        ({"outcome": "dome"}, "did you mean 'done'"),
        ({"outcome": ["done"]}, "an outcome of the step"),
        ({"response": {}}, "an outcome of the step"),
        ("done", "an outcome of the step"),
    ],
)
def test_a_mock_that_is_no_answer_to_a_task_is_refused(mock, words):
    with pytest.raises(BadInput, match=words) as refused:
        simulated(EXPIRES % "fail", mocks={"a": mock})

    assert refused.value.reason == "SCRIPT"
    assert simulated(EXPIRES % "fail", mocks={"a": {"outcome": "done"}}).output is None


def test_an_answer_that_is_asked_to_fail_fails_its_step():
    found = simulated(EXPIRES % "fail", fails={"a": Failing(kind=StepErrorKind.PERMANENT)})

    assert (found.status, by_key(found)["a"].status) == (ExecutionStatus.FAILED, StepStatus.FAILED)


@pytest.mark.parametrize(
    ("source", "script", "reason"),
    [
        *(
            (CALLS_NOTHING, script, "SCRIPT")
            for script in (
                {"fails": {"way": Failing()}},
                {"mocks": {"way": 1}},
                {"durations": {"way": Duration(1)}},
                {"costs": {"way": Money.parse("1 EUR")}},
                {"fails": {"rest": Failing()}},
                {"mocks": {"rest": 1}},
                {"durations": {"rest": Duration(1)}},
                {"fails": {"go": Failing()}},
                {"fails": {"a": Failing(0)}},
                {"mocks": {"go": {"n": 1 << 64}}},
                {"mocks": {"go": "\0"}},
            )
        ),
        (
            "name: x\nsteps: [{id: charge, uses: core.noop@1}]",
            {"mocks": {"chrage": 1}},
            "UNKNOWN_STEP",
        ),
    ],
)
def test_what_nobody_can_say_is_refused(source, script, reason):
    with pytest.raises(BadInput) as refused:
        simulated(source, **script)

    assert refused.value.reason == reason


def test_an_input_that_does_not_fit_is_refused():
    with pytest.raises(Invalid):
        simulated(ORDER, {"amount": "much"})


def test_one_decision_about_many_dear_conditions_is_broken_off():
    dear = "(params.text * 900000) | length > 1"
    lines = [f"  - {{id: s{i}, uses: core.noop@1, when: '{dear}'}}" for i in range(2_000)]
    plan = validate(
        "name: x\nparams: {text: string}\nsteps:\n" + "\n".join(lines), None, REGISTRY.catalog()
    ).plan
    assert plan is not None
    asked: list[int] = []

    def is_over() -> bool:
        asked.append(0)
        return len(asked) > 20

    found = rehearse(plan, REGISTRY, {"text": "a"}, Script(), now=NOW, is_over=is_over)

    assert (found.status, found.stopped) == (ExecutionStatus.RUNNING, "it took too long")
    assert sum(one.is_taken for one in found.steps) < 20


def test_a_simulation_is_broken_off_when_its_time_is_over():
    plan = validate(ORDER, None, REGISTRY.catalog()).plan
    assert plan is not None

    found = rehearse(plan, REGISTRY, {"amount": 1}, Script(), now=NOW, is_over=lambda: True)

    assert (found.status, found.stopped) == (ExecutionStatus.RUNNING, "it took too long")


EACH = """
name: each
params: {{words: {{type: array, items: {{type: string}}}}}}
steps:
  - id: all
    type: map
    for_each: "{{{{ params.words }}}}"
    {more}
    task: {{uses: {uses}, with: {{{given}}}, retry: {{max_attempts: 2, initial: 10s, jitter: none}}}}
  - {{id: last, uses: core.set@1, depends_on: [all], with: {{got: "{{{{ steps.all.output }}}}"}}}}
outputs: {{got: "{{{{ steps.last.output.got }}}}"}}
"""
SET = EACH.format(more="", uses="core.set@1", given="w: '{{ item }}', n: '{{ index }}'")
SLEEP = EACH.format(more="max_concurrency: 2", uses="core.sleep@1", given="duration: 10s")
COLLECT = EACH.format(more="failure_policy: collect", uses="core.set@1", given="w: '{{ item.x }}'")


def test_a_map_goes_over_its_list_and_its_results_are_its_output():
    found = simulated(SET, {"words": ["a", "b"]})

    assert found.output == {"got": [{"w": "a", "n": 0}, {"w": "b", "n": 1}]}
    step = by_key(found)["all"]
    assert (step.status, step.items, step.failed_items) == (StepStatus.COMPLETED, 2, 0)
    assert (step.rendered_input, step.source) == ({"w": "a", "n": 0}, Source.COMPUTED)
    assert simulated(SET, {"words": []}).output == {"got": []}


def test_items_of_a_map_take_their_time_side_by_side():
    assert simulated(SLEEP, {"words": list("abcde")}).duration_ms == 30_000


def test_each_item_is_tried_again_and_the_first_that_fails_for_good_ends_its_map():
    fails = {"all": Failing(1)}
    found = simulated(SET, {"words": ["a", "b"]}, fails=fails)
    assert (found.status, found.duration_ms) == (ExecutionStatus.COMPLETED, 10_000)
    assert by_key(found)["all"].attempts == 2

    found = simulated(SET, {"words": ["a", "b"]}, fails={"all": Failing(None)})
    step = by_key(found)["all"]
    assert (found.status, step.status) == (ExecutionStatus.FAILED, StepStatus.FAILED)
    assert found.error is not None
    assert found.error.message.startswith("item 0 failed: ")


def test_a_map_that_collects_says_of_each_item_how_it_ended():
    found = simulated(COLLECT, {"words": ["a"]})

    ((one,),) = output_of(found).values()
    assert (one["status"], one["error"]["type"]) == ("failed", "expression")
    assert by_key(found)["all"].failed_items == 1


def test_an_item_gives_what_it_gave_before_or_what_is_given_for_it():
    past = {"all": PastStep([1, 2], 60.0)}
    found = simulated(SET, {"words": ["a", "b", "c"]}, past=past)
    assert found.output == {"got": [1, 2, {"w": "c", "n": 2}]}
    assert found.duration_ms == 0

    assert simulated(SET, {"words": ["a", "b"]}, mocks={"all": 7}).output == {"got": [7, 7]}
    both = EACH.format(more="failure_policy: collect", uses="core.set@1", given="w: '{{ item }}'")
    entries: list[Any] = [{"status": "completed", "output": 5}, {"status": "failed", "error": {}}]
    found = simulated(both, {"words": ["a", "b"]}, past={"all": PastStep(entries, None)})
    assert [one["output"] for one in output_of(found)["got"]] == [5, {"w": "b"}]


def test_of_a_long_list_the_events_of_the_first_items_are_told():
    found = simulated(SET, {"words": ["a"] * 3_000})

    assert by_key(found)["all"].items == 3_000
    assert len(output_of(found)["got"]) == 3_000
    assert len(found.events) < 300


def test_what_takes_too_long_in_a_list_is_broken_off():
    plan = validate(SET, None, REGISTRY.catalog()).plan
    assert plan is not None
    looks = iter(range(50))
    found = rehearse(
        plan,
        REGISTRY,
        {"words": ["a"] * 1_000},
        Script(),
        now=NOW,
        is_over=lambda: next(looks, None) is None,
    )
    assert (found.status, found.stopped) == (ExecutionStatus.RUNNING, "it took too long")


def test_a_child_is_answered_like_a_task():
    source = """
name: above
steps:
  - {id: call, type: workflow, workflow: "below@^1", input: {n: "{{ 1 + 1 }}"}, timeout: 1h, on_error: continue}
outputs: {got: "{{ steps.call.output.word | default('nothing') }}"}
"""
    mocked = simulated(source, mocks={"call": {"word": "hello"}})
    failed = simulated(source, fails={"call": Failing()})

    assert (mocked.status, mocked.output) == (ExecutionStatus.COMPLETED, {"got": "hello"})
    assert (failed.status, failed.output) == (ExecutionStatus.COMPLETED, {"got": "nothing"})


HALF = r"""{{ params.x ~ ('"\\ud800"' | fromjson) }}"""
NUL = r"{{ params.x ~ '\x00' }}"


def setting(value: str, **more: Any) -> str:
    step = {"id": "a", "uses": "core.set@1", "with": {"v": value}}
    return json.dumps({"name": "odd", "params": {"x": "string"}, "steps": [step]} | more)


def test_an_output_that_no_row_can_hold_fails_as_it_does_in_a_run():
    found = simulated(setting(NUL), {"x": "q"})

    error = by_key(found)["a"].error
    assert found.status is ExecutionStatus.FAILED
    assert error is not None
    assert error.type == "output_not_storable"
    assert error.message == (
        "The output of step 'a' holds the character U+0000, which PostgreSQL can't store."
    )


def test_an_input_that_can_not_be_written_as_json_fails_as_it_does_in_a_run():
    found = simulated(setting(HALF), {"x": "q"})

    error = by_key(found)["a"].error
    assert (found.status, found.stopped) == (ExecutionStatus.FAILED, None)
    assert error is not None
    assert error.type == "expression"
    assert error.message.startswith("`with` of step 'a' can't be written as JSON: ")


@pytest.mark.parametrize(("value", "why"), [(NUL, "U+0000"), (HALF, "surrogates")])
def test_outputs_that_no_row_can_hold_fail_the_execution(value: str, why: str):
    found = simulated(setting("a", outputs={"o": value}), {"x": "q"})

    assert (found.status, found.output) == (ExecutionStatus.FAILED, None)
    assert found.error is not None
    assert found.error.type == "output_not_storable"
    assert why in found.error.message
    assert [one.kind for one in found.events][-1] is EventKind.EXECUTION_FAILED


def test_a_default_that_no_row_can_hold_fails_its_wait():
    wait = {"id": "a", "type": "wait", "signal": "go", "timeout": "1s", "default": NUL}

    found = simulated(setting("a", steps=[wait]), {"x": "q"})

    error = by_key(found)["a"].error
    assert error is not None
    assert error.type == "output_not_storable"

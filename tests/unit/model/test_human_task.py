"""Human tasks: one table of transitions, who may do what, and a history that says everything."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import product
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime.model import human_task_rules as rules
from runtime.model.errors import BadInput, Denied, InvalidState, MaestroError
from runtime.model.human_task import (
    Escalation,
    HumanTask,
    HumanTaskChange,
    HumanTaskChangeKind,
    HumanTaskStatus,
    Origin,
    created,
    fold,
    people_of,
    state_of,
    task_of,
)
from runtime.model.human_task_rules import TRANSITIONS, Person
from runtime.model.identity import SYSTEM, Actor

NOW = datetime(2026, 1, 1, tzinfo=UTC)
ID = UUID(int=7)
S, K = HumanTaskStatus, HumanTaskChangeKind
OWNER = "olga"


def at(minutes: float) -> datetime:
    return NOW + timedelta(minutes=minutes)


def task(**fields: Any) -> HumanTask:
    return HumanTask(ID, ID, "Pay?", Actor(OWNER), NOW, **fields)


def person(name: str, *groups: str, is_manager: bool = False) -> Person:
    return Person(Actor(name), frozenset(groups), is_manager)


def of_step() -> Origin:
    return Origin(UUID(int=8), 2, 0, "approve", UUID(int=9))


def done(result: rules.Changed | None) -> HumanTask:
    assert result is not None
    return result[0]


def refused(kind: type[MaestroError], reason: str, deed: Any, *args: Any) -> str:
    with pytest.raises(kind) as caught:
        deed(*args)
    assert caught.value.reason == reason
    return caught.value.message


# --- any sequence of deeds -------------------------------------------------------------------------------

PEOPLE = [person(OWNER), person("ann", "clerks"), person("bob", "clerks"), person("cy", "bosses"), person("eve"),
          person("max", is_manager=True)]  # fmt: skip
NAMES = [one.subject for one in PEOPLE]
DEEDS = {
    "claim": lambda t, p, _n, w: rules.claim(t, p, w),
    "release": lambda t, p, _n, w: rules.release(t, p, w),
    "assign": rules.assign,
    "delegate": rules.delegate,
    "escalate": lambda t, p, _n, w: rules.escalate(t, p, None, w),
    "escalate_to": rules.escalate,
    "approve": lambda t, p, _n, w: rules.answer(t, p, "approved", {"by": p.subject}, w),
    "reject": lambda t, p, _n, w: rules.answer(t, p, "rejected", None, w),
    "cancel": lambda t, p, _n, w: rules.cancel(t, p, w),
    "comment": lambda t, p, _n, w: rules.comment(t, p, w, "hm"),
    "later": lambda t, p, _n, w: rules.update(t, p, {"due_at": w + timedelta(minutes=3)}, w),
    "tick": lambda t, _p, _n, w: rules.tick(t, w),
}
TASKS = st.builds(
    task,
    candidate_users=st.sampled_from([(), ("ann", "bob"), ("ann", OWNER, "eve")]),
    candidate_groups=st.sampled_from([(), ("clerks",), ("clerks", "bosses")]),
    quorum=st.integers(1, 2),
    separation_of_duties=st.booleans(),
    excluded=st.sampled_from([(), (OWNER,), (OWNER, "bob")]),
    delegation=st.booleans(),
    origin=st.sampled_from([None, of_step()]),
    due_at=st.just(at(4)),
    warn_at=st.sampled_from([None, at(2)]),
    expires_at=st.sampled_from([None, at(20)]),
    expiry_outcome=st.sampled_from([None, "rejected"]),
    escalations=st.sampled_from(
        [(), (Escalation(at(5), to="cy"), Escalation(at(6), candidate_groups=("bosses",)),
              Escalation(at(7), notify=("max",)), Escalation(at(8), outcome="rejected"))]
    ),
)  # fmt: skip
STEPS = st.lists(
    st.tuples(
        st.sampled_from(sorted(DEEDS)), st.sampled_from(PEOPLE), st.sampled_from(NAMES),
        st.sampled_from([0.0, 0.5, 1.0, 3.0]),
    ),
    max_size=25,
)  # fmt: skip


@settings(max_examples=300, deadline=None)
@given(TASKS, STEPS)
def test_whatever_is_done_the_history_is_the_task_and_the_table_holds(
    first: HumanTask, steps: list[tuple[str, Person, str, float]]
) -> None:
    now, held = first, NOW
    history: list[HumanTaskChange] = [created(first)]
    for name, who, to, minutes in steps:
        held += timedelta(minutes=minutes)
        try:
            found = DEEDS[name](now, who, to, held)
        except MaestroError:
            continue
        if found is None:
            continue
        after, change = found
        assert after.status is now.status or after.status in TRANSITIONS[now.status]
        assert not now.status.is_over
        assert change.sequence == after.version == now.version + 1
        assert {k: v for k, v in state_of(now).items() if k in change.before} == change.before
        if name in {"approve", "reject", "claim"}:
            assert who.subject not in now.closed_to
        assert len({one.by.subject for one in after.answers}) == len(after.answers)
        now = after
        history.append(change)
    assert fold(history) == state_of(now)
    assert task_of(ID, ID, now.origin, now.version, fold(history)) == now
    if now.status is S.COMPLETED and now.ended_by != SYSTEM:
        assert sum(one.outcome == now.outcome for one in now.answers) == now.quorum
    assert now.status.is_over == (now.ended_at is not None) == (people_of(now) == [])
    assert not now.status.is_over or now.next_at is None


@pytest.mark.parametrize(("before", "after"), list(product(S, S)))
def test_no_deed_makes_a_transition_outside_of_the_table(
    before: HumanTaskStatus, after: HumanTaskStatus
) -> None:
    ended: dict[str, Any] = {"ended_at": NOW, "ended_by": Actor("bob")} if before.is_over else {}
    holder = None if before is S.OPEN else "ann"
    one = task(status=before, assignee=holder, escalations=(Escalation(at(1), to="cy"),), expires_at=at(2), **ended)  # fmt: skip
    made: set[HumanTaskStatus] = set()
    for name, who in product(DEEDS, PEOPLE):
        try:
            found = DEEDS[name](one, who, "bob", at(3))
        except MaestroError:
            continue
        if found:
            made.add(found[0].status)
    late = rules.tick(replace(one, escalation_level=1), at(3))
    made |= {late[0].status} if late else set()
    assert (after in made) <= (after is before or after in TRANSITIONS[before])
    assert (after in TRANSITIONS[before]) <= (after in made)


# --- who may ---------------------------------------------------------------------------------------------


def test_who_is_named_may_claim_and_nobody_else() -> None:
    one = task(candidate_users=("ann",), candidate_groups=("bosses",))

    assert done(rules.claim(one, person("ann"), NOW)).assignee == "ann"
    assert done(rules.claim(one, person("cy", "bosses"), NOW)).status is S.CLAIMED
    refused(Denied, "NOT_A_CANDIDATE", rules.claim, one, person("eve", "clerks"), NOW)
    assert done(rules.claim(task(), person("eve"), NOW)).assignee == "eve"


def test_what_somebody_has_nobody_else_takes_and_is_told_who_and_since_when() -> None:
    held = done(rules.claim(task(), person("ann"), at(1)))

    told = refused(InvalidState, "TASK_TAKEN", rules.claim, held, person("bob"), at(2))
    assert "ann" in told
    assert "2026-01-01T00:01:00" in told
    refused(InvalidState, "TASK_TAKEN", rules.answer, held, person("bob"), "approved", None, at(2))
    assert rules.claim(held, person("ann"), at(2)) is None
    refused(Denied, "NOT_THE_OWNER", rules.release, held, person("bob"), at(2))
    assert done(rules.release(held, person("ann"), at(2))).status is S.OPEN
    assert done(rules.release(held, person("max", is_manager=True), at(2))).assignee is None


def test_the_loser_of_a_race_is_told_who_when_and_how() -> None:
    over = done(rules.answer(task(), person("ann"), "approved", None, at(1)))

    told = refused(
        InvalidState, "TASK_COMPLETED", rules.answer, over, person("bob"), "rejected", None, at(2)
    )
    assert "by ann, at 2026-01-01T00:01:00+00:00, with the outcome 'approved'" in told


def test_a_quorum_is_of_people_who_agree() -> None:
    one = task(quorum=2, candidate_users=("ann", "bob", "cy"))

    first = done(rules.answer(one, person("ann"), "approved", {"n": 1}, at(1)))
    assert (first.status, first.assignee, len(first.answers)) == (S.OPEN, None, 1)
    refused(Denied, "ANSWERED", rules.answer, first, person("ann"), "approved", None, at(2))
    second = done(rules.answer(first, person("bob"), "rejected", None, at(2)))
    assert second.status is S.OPEN
    third = done(rules.answer(second, person("cy"), "approved", {"n": 3}, at(3)))
    assert (third.status, third.outcome, third.response) == (S.COMPLETED, "approved", {"n": 3})
    assert third.ended_by == Actor("cy")


@pytest.mark.parametrize(
    ("said", "answers", "short"),
    [
        ({"quorum": 2, "candidate_users": ("ann", "bob")}, [], 0),
        ({"quorum": 2, "candidate_users": ("ann", "bob")}, ["approved"], 0),
        ({"quorum": 2, "candidate_users": ("ann", "bob")}, ["approved", "rejected"], 1),
        ({"quorum": 2, "candidate_users": ("ann", "bob"), "separation_of_duties": True, "excluded": ("ann",)}, [], 1),
        ({"quorum": 2, "candidate_users": ("ann", "bob"), "excluded": ("ann",)}, [], 0),
        ({"candidate_users": ("ann",), "separation_of_duties": True, "excluded": ("ann",)}, [], 1),
        ({"candidate_users": ("ann",), "separation_of_duties": True, "excluded": ("ann",), "assignee": "bob"}, [], 0),
        ({"quorum": 2, "candidate_users": ("ann",), "candidate_groups": ("clerks",)}, [], 0),
        ({"quorum": 5}, [], 0),
        ({"candidate_users": ("ann",)}, ["approved"], 0),
    ],
)  # fmt: skip
def test_of_how_many_people_a_quorum_is_short(said, answers, short) -> None:
    one = task(**said)
    for number, outcome in enumerate(answers):
        one = done(
            rules.answer(one, person(one.candidate_users[number]), outcome, None, at(number))
        )

    assert rules.short_by(one) == short


def test_who_started_it_or_approved_before_may_neither_take_nor_be_given_it() -> None:
    one = task(separation_of_duties=True, excluded=(OWNER, "bob"), candidate_groups=("clerks",))

    refused(Denied, "SEPARATION_OF_DUTIES", rules.claim, one, person("bob", "clerks"), NOW)
    refused(Denied, "SEPARATION_OF_DUTIES", rules.answer, one, person(OWNER, "clerks"), "approved", None, NOW)  # fmt: skip
    refused(BadInput, "ASSIGNEE_EXCLUDED", rules.assign, one, person(OWNER), "bob", NOW)
    held = done(rules.claim(one, person("ann", "clerks"), NOW))
    refused(BadInput, "ASSIGNEE_EXCLUDED", rules.delegate, held, person("ann"), "bob", NOW)
    late = done(rules.tick(replace(one, escalations=(Escalation(at(1), to="bob"),)), at(1)))
    assert (late.status, late.assignee) == (S.ESCALATED, None)


def test_who_has_it_hands_it_on_where_that_may_be() -> None:
    held = done(rules.claim(task(), person("ann"), NOW))

    assert done(rules.delegate(held, person("ann"), "bob", NOW)).assignee == "bob"
    refused(Denied, "NOT_YOURS", rules.delegate, held, person("bob"), "cy", NOW)
    closed = replace(held, delegation=False)
    refused(Denied, "DELEGATION_NOT_ALLOWED", rules.delegate, closed, person("ann"), "bob", NOW)


def test_owners_assign_change_and_cancel_and_nobody_cancels_the_task_of_a_step() -> None:
    one = task()

    assert done(rules.assign(one, person(OWNER), "eve", NOW)).status is S.ASSIGNED
    refused(Denied, "NOT_THE_OWNER", rules.assign, one, person("ann"), "eve", NOW)
    refused(Denied, "NOT_THE_OWNER", rules.update, one, person("ann"), {"title": "x"}, NOW)
    refused(Denied, "NOT_THE_OWNER", rules.cancel, one, person("ann"), NOW)
    assert done(rules.cancel(one, person(OWNER), NOW)).status is S.CANCELLED
    step = replace(one, origin=of_step())
    refused(Denied, "NOT_THE_OWNER", rules.cancel, step, person(OWNER), NOW)
    refused(InvalidState, "TASK_OF_A_STEP", rules.cancel, step, person("max", is_manager=True), NOW)


# --- time ------------------------------------------------------------------------------------------------


def test_time_does_each_thing_once_in_order_and_a_late_look_does_all_of_them() -> None:
    one = task(
        warn_at=at(1), due_at=at(2), expires_at=at(6), expiry_outcome="rejected",
        escalations=(Escalation(at(3), candidate_groups=("bosses",)), Escalation(at(4), notify=("max",)),
                     Escalation(at(5), to="cy")),
        candidate_users=("ann",),
    )  # fmt: skip
    kinds, now = [], one
    assert rules.tick(one, at(0.9)) is None
    while found := rules.tick(now, at(60)):
        now = found[0]
        kinds.append((found[1].kind, found[1].actor.subject))

    assert [kind for kind, _ in kinds] == [
        K.SLA_WARNED, K.SLA_BREACHED, K.ESCALATED, K.ESCALATED, K.ESCALATED, K.EXPIRED,
    ]  # fmt: skip
    assert {actor for _, actor in kinds} == {"system"}
    assert (now.status, now.outcome, now.notified) == (S.EXPIRED, "rejected", ("max",))
    assert now.candidate_groups == ("bosses",)
    assert now.assignee == "cy"
    assert now.next_at is None


def test_escalating_tells_takes_widens_or_decides() -> None:
    held = done(rules.claim(task(candidate_users=("ann",)), person("ann"), NOW))

    def late(step: Escalation) -> HumanTask:
        return done(rules.tick(replace(held, escalations=(step,)), at(2)))

    told = late(Escalation(at(1), notify=("max",)))
    assert (told.status, told.assignee, told.notified) == (S.CLAIMED, "ann", ("max",))
    wide = late(Escalation(at(1), candidate_groups=("bosses",)))
    assert (wide.status, wide.assignee, wide.candidate_groups) == (S.ESCALATED, None, ("bosses",))
    decided = late(Escalation(at(1), outcome="rejected"))
    assert (decided.status, decided.outcome) == (S.COMPLETED, "rejected")
    anyone = done(rules.tick(task(escalations=(Escalation(at(1), candidate_groups=("bosses",)),)), at(2)))  # fmt: skip
    assert anyone.is_for_anyone


def test_a_new_due_time_is_warned_of_and_breached_anew() -> None:
    one = task(warn_at=at(1), due_at=at(2), warned_at=at(1), breached_at=at(2))

    later = done(rules.update(one, person(OWNER), {"due_at": at(10)}, at(3)))

    assert (later.warn_at, later.warned_at, later.breached_at) == (at(9), None, None)
    assert later.next_at == at(9)
    refused(
        BadInput, "DUE_IN_THE_PAST", rules.update, one, person(OWNER), {"due_at": at(2.5)}, at(3)
    )


# --- bad input -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"due_at": at(0)}, "DUE_IN_THE_PAST"),
        ({"outcomes": ()}, "OUTCOMES"),
        ({"outcomes": ("yes", "yes")}, "OUTCOMES"),
        ({"quorum": 3, "candidate_users": ("ann", "bob", "ann")}, "QUORUM_TOO_LARGE"),
        ({"quorum": 2, "candidate_users": ("ann", "bob"), "separation_of_duties": True, "excluded": ("ann",)}, "QUORUM_TOO_LARGE"),
        ({"quorum": 0}, "QUORUM"),
        ({"assignee": "ann", "separation_of_duties": True, "excluded": ("ann",)}, "ASSIGNEE_EXCLUDED"),
        ({"escalations": (Escalation(at(1), outcome="aproved"),)}, "UNKNOWN_OUTCOME"),
        ({"escalations": (Escalation(at(1)),)}, "ESCALATION_EMPTY"),
        ({"escalations": (Escalation(at(2), to="a"), Escalation(at(1), to="b"))}, "ESCALATION_ORDER"),
        ({"warn_at": at(3), "due_at": at(2)}, "WARNING_TIME"),
        ({"expires_at": at(0)}, "EXPIRY_IN_THE_PAST"),
        ({"expiry_outcome": "approved"}, "EXPIRY_OUTCOME"),
    ],
)  # fmt: skip
def test_what_no_task_can_be_is_refused(fields: dict[str, Any], reason: str) -> None:
    refused(BadInput, reason, rules.check_task, task(**fields), NOW)
    rules.check_task(task(due_at=at(1), quorum=2, candidate_groups=("clerks",)), NOW)


def test_an_outcome_that_does_not_exist_is_told_with_the_nearest() -> None:
    told = refused(
        BadInput, "UNKNOWN_OUTCOME", rules.answer, task(), person("ann"), "aproved", None, NOW
    )
    assert "did you mean 'approved'?" in told

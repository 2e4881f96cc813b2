"""What may be done to a human task, by whom, and what it becomes: one table of transitions, one function a deed.

Pure: who asks, and the time, come in. Every path (graph, command line, timers) decides by these functions under the
lock of the task's row. Each returns the task afterwards with the entry of its history, or None when nothing changes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from difflib import get_close_matches
from typing import Any, Final, TypeAlias

from runtime.model.errors import BadInput, Denied, InvalidState
from runtime.model.human_task import (
    Answer,
    Escalation,
    HumanTask,
    HumanTaskChange,
    HumanTaskChangeKind,
    HumanTaskStatus,
    changed,
)
from runtime.model.identity import SYSTEM, Actor
from runtime.model.values import Json

_S: Final = HumanTaskStatus
_K: Final = HumanTaskChangeKind
_ENDS: Final = frozenset({_S.COMPLETED, _S.EXPIRED, _S.CANCELLED})
TRANSITIONS: Final[Mapping[HumanTaskStatus, frozenset[HumanTaskStatus]]] = {
    _S.OPEN: _ENDS | {_S.ASSIGNED, _S.CLAIMED, _S.ESCALATED},
    _S.ASSIGNED: _ENDS | {_S.OPEN, _S.CLAIMED, _S.ESCALATED},
    _S.CLAIMED: _ENDS | {_S.OPEN, _S.ASSIGNED, _S.ESCALATED},
    _S.ESCALATED: _ENDS | {_S.OPEN, _S.ASSIGNED, _S.CLAIMED},
    **dict.fromkeys(_ENDS, frozenset()),
}
"""From which status a task may go to which."""

Changed: TypeAlias = tuple[HumanTask, HumanTaskChange]


@dataclass(frozen=True, slots=True)
class Person:
    """Who wants to do something. A manager may do what the creator of a task may."""

    actor: Actor
    groups: frozenset[str] = frozenset()
    is_manager: bool = False

    @property
    def subject(self) -> str:
        """The name under which the person stands in tasks."""
        return self.actor.subject


# --- who may ---------------------------------------------------------------------------------------------


def refuse_over(task: HumanTask) -> None:
    """Raise InvalidState for a task that is over; the message says who ended it, when, and how."""
    if not task.status.is_over:
        return
    by = task.ended_by.subject if task.ended_by else "nobody"
    at = task.ended_at.isoformat(timespec="seconds") if task.ended_at else "an unknown time"
    how = f", with the outcome {task.outcome!r}" if task.outcome is not None else ""
    raise InvalidState(
        f"This task is {task.status.name.lower()}: by {by}, at {at}{how}. Nothing was changed.",
        reason=f"TASK_{task.status.name}",
    )


def refuse_to_answer(task: HumanTask, person: Person) -> None:
    """Raise Denied for who may not answer, InvalidState where somebody else has the task."""
    if task.separation_of_duties and person.subject in task.excluded:
        raise Denied(
            "Who started this, or approved it before, may not answer: the task asks for separation of duties.",
            reason="SEPARATION_OF_DUTIES",
        )
    if person.subject in task.closed_to:
        raise Denied("You have answered this task already; others have to.", reason="ANSWERED")
    if task.assignee == person.subject:
        return
    is_candidate = (
        task.is_for_anyone
        or person.subject in task.candidate_users
        or not person.groups.isdisjoint(task.candidate_groups)
    )
    if not is_candidate:
        raise Denied(
            "You are none of those who may answer this task, and in none of their groups.",
            reason="NOT_A_CANDIDATE",
        )
    if task.assignee is not None:
        since = f" since {task.claimed_at.isoformat(timespec='seconds')}" if task.claimed_at else ""
        raise InvalidState(
            f"{task.assignee} has this task{since}: ask for its release, or for another assignee.",
            reason="TASK_TAKEN",
        )


def _owns(task: HumanTask, person: Person) -> bool:
    return person.is_manager or (task.origin is None and task.created_by.subject == person.subject)


def _require_owner(task: HumanTask, person: Person) -> None:
    if _owns(task, person):
        return
    raise Denied(
        "Only who has created this task, or holds the scope `tasks:admin`, may do this.",
        reason="NOT_THE_OWNER",
    )


def _require_holder(task: HumanTask, person: Person) -> None:
    if task.assignee != person.subject:
        raise Denied("Only who has this task may do this: claim it first.", reason="NOT_YOURS")


def _refuse_closed(task: HumanTask, name: str, path: str) -> None:
    if name in task.closed_to:
        raise BadInput(
            f"{name!r} may not answer this task: excluded by separation of duties, or answered already.",
            reason="ASSIGNEE_EXCLUDED",
            path=(path,),
        )


# --- what a task may be ----------------------------------------------------------------------------------


def check_task(task: HumanTask, at: datetime) -> None:
    """Raise BadInput for a task that can't be created: its people, its outcomes and its times, in that order."""
    if task.assignee is not None:
        _refuse_closed(task, task.assignee, "assignee")
    if not task.outcomes or len(set(task.outcomes)) < len(task.outcomes):
        raise BadInput(
            "A task has at least one outcome, each of them once.",
            reason="OUTCOMES",
            path=("outcomes",),
        )
    check_quorum(task)
    for path, name in _default_outcomes(task):
        check_outcome(task, name, path)
    check_due(task.due_at, at)
    _check_times(task, at)


def check_quorum(task: HumanTask) -> None:
    """Raise BadInput when fewer people may answer than have to agree."""
    if task.quorum < 1:
        raise BadInput("A quorum is at least 1.", reason="QUORUM", path=("quorum",))
    if task.candidate_groups or task.is_for_anyone:
        return
    most = len(_named(task).difference(task.excluded if task.separation_of_duties else ()))
    if task.quorum > most:
        raise BadInput(
            f"{task.quorum} people have to agree, and only {most} may answer: lower the quorum, or name more people.",
            reason="QUORUM_TOO_LARGE",
            path=("quorum",),
        )


def short_by(task: HumanTask) -> int:
    """How many people it lacks before any outcome can have its quorum; 0 when it is over.

    A group, or anyone, is as many as are needed. Separation of duties may leave too few of those who are named. A step
    asks all the same: an escalation, an update or a delegation may name more.
    """
    if task.status.is_over or task.candidate_groups or task.is_for_anyone:
        return 0
    given = Counter(one.outcome for one in task.answers)
    most = max(given.values(), default=0) + len(_named(task).difference(task.closed_to))
    return max(0, task.quorum - most)


def _named(task: HumanTask) -> set[str]:
    return set(task.candidate_users) | ({task.assignee} if task.assignee else set())


def check_outcome(task: HumanTask, outcome: str, path: tuple[str, ...]) -> None:
    """Raise BadInput for an outcome that the task does not have; the message names the nearest."""
    if outcome in task.outcomes:
        return
    near = get_close_matches(outcome[:200], task.outcomes, 1)
    hint = f"did you mean {near[0]!r}?" if near else f"known here: {', '.join(task.outcomes)}."
    raise BadInput(
        f"This task has no outcome {outcome[:200]!r}: {hint}", reason="UNKNOWN_OUTCOME", path=path
    )


def check_due(due: datetime | None, at: datetime) -> None:
    """Raise BadInput for a due time that is over."""
    if due is not None and due <= at:
        raise BadInput(
            f"The task would be due at {due.isoformat()}, which is over.",
            reason="DUE_IN_THE_PAST",
            path=("dueAt",),
        )


def _default_outcomes(task: HumanTask) -> list[tuple[tuple[str, ...], str]]:
    found: list[tuple[tuple[str, ...], str | None]] = [
        (("escalations", str(index), "outcome"), one.outcome)
        for index, one in enumerate(task.escalations)
    ]
    found.append((("expiryOutcome",), task.expiry_outcome))
    return [(path, name) for path, name in found if name is not None]


def _check_times(task: HumanTask, at: datetime) -> None:
    if task.warn_at is not None and (task.due_at is None or task.warn_at >= task.due_at):
        raise BadInput(
            "A warning is given before a task is due.", reason="WARNING_TIME", path=("warnAt",)
        )
    if task.expires_at is not None and task.expires_at <= at:
        raise BadInput(
            "The task would expire at once.", reason="EXPIRY_IN_THE_PAST", path=("expiresAt",)
        )
    if task.expires_at is None and task.expiry_outcome is not None:
        raise BadInput(
            "A task that never expires has no outcome for that: say `expiresAt`, too.",
            reason="EXPIRY_OUTCOME",
            path=("expiryOutcome",),
        )
    last = at
    for index, one in enumerate(task.escalations):
        if one.at < last:
            raise BadInput(
                "Escalations stand in the order of their times, none of them in the past.",
                reason="ESCALATION_ORDER",
                path=("escalations", str(index), "at"),
            )
        if not (one.to or one.candidate_groups or one.notify or one.outcome):
            raise BadInput(
                "An escalation says what to do: `to`, `candidateGroups`, `notify` or `outcome`.",
                reason="ESCALATION_EMPTY",
                path=("escalations", str(index)),
            )
        last = one.at


# --- deeds of people -------------------------------------------------------------------------------------


def claim(
    task: HumanTask, person: Person, at: datetime, reason: str | None = None
) -> Changed | None:
    """Take it; None for who has it already."""
    refuse_over(task)
    refuse_to_answer(task, person)
    if task.status is _S.CLAIMED and task.assignee == person.subject:
        return None
    return _move(
        task, _K.CLAIMED, _S.CLAIMED, person.actor, at, reason,
        assignee=person.subject, claimed_at=at,
    )  # fmt: skip


def release(
    task: HumanTask, person: Person, at: datetime, reason: str | None = None
) -> Changed | None:
    """Give it back to all candidates: who has it, or its owner; None when nobody has it."""
    refuse_over(task)
    if task.assignee is None:
        return None
    if task.assignee != person.subject:
        _require_owner(task, person)
    return _move(
        task, _K.RELEASED, _S.OPEN, person.actor, at, reason, assignee=None, claimed_at=None
    )


def assign(
    task: HumanTask, person: Person, to: str, at: datetime, reason: str | None = None
) -> Changed | None:
    """Give it to somebody, candidate or not, by its owner; None when that one has it already."""
    refuse_over(task)
    _require_owner(task, person)
    _refuse_closed(task, to, "assignee")
    if task.assignee == to and task.status in {_S.ASSIGNED, _S.CLAIMED}:
        return None
    return _move(
        task, _K.ASSIGNED, _S.ASSIGNED, person.actor, at, reason, assignee=to, claimed_at=None
    )


def delegate(
    task: HumanTask, person: Person, to: str, at: datetime, reason: str | None = None
) -> Changed | None:
    """Hand it on, by who has it, where the task lets that be."""
    refuse_over(task)
    _require_holder(task, person)
    if not task.delegation:
        raise Denied("This task may not be handed on.", reason="DELEGATION_NOT_ALLOWED")
    _refuse_closed(task, to, "assignee")
    if to == person.subject:
        return None
    return _move(
        task, _K.DELEGATED, _S.ASSIGNED, person.actor, at, reason, assignee=to, claimed_at=None
    )


def escalate(
    task: HumanTask, person: Person, to: str | None, at: datetime, reason: str | None = None
) -> Changed:
    """Do the next step of its chain now, by whoever may answer it or owns it; or give it to `to`, by its owner."""
    refuse_over(task)
    if to is not None:
        _require_owner(task, person)
        _refuse_closed(task, to, "to")
        return _move(
            task, _K.ESCALATED, _S.ESCALATED, person.actor, at, reason, assignee=to, claimed_at=None
        )
    if not _owns(task, person):
        refuse_to_answer(task, person)
    if task.escalation_level >= len(task.escalations):
        raise InvalidState(
            "This task has no further step of escalation: say to whom it is to go.",
            reason="NOTHING_TO_ESCALATE",
        )
    step = task.escalations[task.escalation_level]
    if step.outcome is not None:
        # Whoever waits for the deadline decides nothing himself: a person answers, and does not let time do it.
        raise InvalidState(
            "The next step of escalation decides this task, which time alone may do.",
            reason="ESCALATION_DECIDES",
        )
    return _escalated(task, step, person.actor, at, reason)


def answer(
    task: HumanTask,
    person: Person,
    outcome: str,
    response: Json,
    at: datetime,
    reason: str | None = None,
) -> Changed:
    """Answer it. It is completed when a quorum of people gave the same outcome, and open to the others until then.

    The response was checked against the form before.
    """
    refuse_over(task)
    refuse_to_answer(task, person)
    check_outcome(task, outcome, ("outcome",))
    answers = (*task.answers, Answer(person.actor, at, outcome, response))
    if sum(one.outcome == outcome for one in answers) < task.quorum:
        return _move(
            task, _K.ANSWERED, _S.OPEN, person.actor, at, reason,
            answers=answers, assignee=None, claimed_at=None,
        )  # fmt: skip
    return _move(
        task, _K.COMPLETED, _S.COMPLETED, person.actor, at, reason, answers=answers,
        outcome=outcome, response=response, ended_at=at, ended_by=person.actor,
    )  # fmt: skip


def cancel(task: HumanTask, person: Person, at: datetime, reason: str | None = None) -> Changed:
    """End it without an answer, by its owner; that of a step ends with its execution alone."""
    refuse_over(task)
    _require_owner(task, person)
    if task.origin is not None:
        raise InvalidState(
            "This is the task of a step: cancel its execution, or answer it.",
            reason="TASK_OF_A_STEP",
        )
    return _move(
        task, _K.CANCELLED, _S.CANCELLED, person.actor, at, reason,
        ended_at=at, ended_by=person.actor,
    )  # fmt: skip


def comment(task: HumanTask, person: Person, at: datetime, text: str) -> Changed:
    """Write something into its history."""
    refuse_over(task)
    return changed(task, _K.COMMENTED, person.actor, at, text)


def update(
    task: HumanTask,
    person: Person,
    fields: Mapping[str, Any],
    at: datetime,
    reason: str | None = None,
) -> Changed | None:
    """Set fields of UPDATABLE, by its owner; a new due time has a warning and a breach of its own."""
    refuse_over(task)
    _require_owner(task, person)
    said = {name: value for name, value in fields.items() if getattr(task, name) != value}
    if not said:
        return None
    if "due_at" in said:
        check_due(said["due_at"], at)
        said |= _warned_anew(task, said["due_at"])
    after = changed(task, _K.UPDATED, person.actor, at, reason, **said)
    check_quorum(after[0])
    return after


UPDATABLE: Final[Collection[str]] = frozenset(
    {"title", "description", "data", "priority", "due_at", "candidate_users", "candidate_groups", "attachments"}
)  # fmt: skip
"""What the owner of a task may change; what was asked (form, outcomes, quorum) stays."""


def _warned_anew(task: HumanTask, due: datetime | None) -> dict[str, Any]:
    if due is None or task.due_at is None or task.warn_at is None:
        return {"warn_at": None, "warned_at": None, "breached_at": None}
    warn_at = due - (task.due_at - task.warn_at)
    return {"warn_at": warn_at, "warned_at": None, "breached_at": None}


# --- deeds of time ---------------------------------------------------------------------------------------


def tick(task: HumanTask, at: datetime) -> Changed | None:
    """The first thing that time alone does until `at`; None when there is none (any more)."""
    due = [one for one in task.pending() if one[0] <= at]
    if not due:
        return None
    _, kind = min(due, key=lambda one: one[0])
    match kind:
        case _K.SLA_WARNED:
            return changed(task, kind, SYSTEM, at, None, warned_at=at)
        case _K.SLA_BREACHED:
            return changed(task, kind, SYSTEM, at, None, breached_at=at)
        case _K.ESCALATED:
            return _escalated(task, task.escalations[task.escalation_level], SYSTEM, at, None)
        case _:
            return _move(
                task, _K.EXPIRED, _S.EXPIRED, SYSTEM, at, None,
                outcome=task.expiry_outcome, ended_at=at, ended_by=SYSTEM,
            )  # fmt: skip


def end_with_execution(task: HumanTask, at: datetime) -> Changed | None:
    """Cancel the task of an execution that takes no answer any more; None for one that is over."""
    if task.status.is_over:
        return None
    return _move(
        task, _K.CANCELLED, _S.CANCELLED, SYSTEM, at, "its execution has ended",
        ended_at=at, ended_by=SYSTEM,
    )  # fmt: skip


def _escalated(
    task: HumanTask, step: Escalation, actor: Actor, at: datetime, reason: str | None
) -> Changed:
    level = task.escalation_level + 1
    if step.outcome is not None:
        return _move(
            task, _K.COMPLETED, _S.COMPLETED, actor, at, reason, escalation_level=level,
            outcome=step.outcome, ended_at=at, ended_by=actor,
        )  # fmt: skip
    groups, users = step.candidate_groups, task.candidate_users
    if groups and task.is_for_anyone:
        # More may answer than before, never fewer: everybody may already, or else the one who has it stays one of them.
        groups, users = ((), users) if task.assignee is None else (groups, (task.assignee,))
    fields: dict[str, Any] = {
        "escalation_level": level,
        "notified": _joined(task.notified, step.notify),
        "candidate_users": users,
        "candidate_groups": _joined(task.candidate_groups, groups),
    }
    if not step.to and not step.candidate_groups:
        # Who is told is no reason to take it from who has it.
        return changed(task, _K.ESCALATED, actor, at, reason, **fields)
    # Who may not answer does not get it by waiting either; the candidates have it then.
    to = step.to if step.to not in task.closed_to else None
    return _move(
        task, _K.ESCALATED, _S.ESCALATED, actor, at, reason,
        assignee=to, claimed_at=None, **fields,
    )  # fmt: skip


def _joined(some: tuple[str, ...], more: tuple[str, ...]) -> tuple[str, ...]:
    return (*some, *(one for one in more if one not in some))


def _move(
    task: HumanTask,
    kind: HumanTaskChangeKind,
    status: HumanTaskStatus,
    actor: Actor,
    at: datetime,
    reason: str | None,
    **fields: Any,
) -> Changed:
    if status is not task.status and status not in TRANSITIONS[task.status]:
        raise AssertionError(f"no task goes from {task.status.name} to {status.name}")
    return changed(task, kind, actor, at, reason, status=status, **fields)

"""HumanTask: work that waits for a person; its states, and how it and its history are written as JSON.

What may be done to one, by whom, stands in `human_task_rules`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, fields, replace
from datetime import datetime
from enum import IntEnum, StrEnum
from typing import Any, Final
from uuid import UUID

from runtime.model.identity import Actor, ActorKind
from runtime.model.values import Json


class HumanTaskStatus(IntEnum):
    """As stored in `human_tasks.status`; what is above ESCALATED is over."""

    OPEN = 0
    ASSIGNED = 1
    CLAIMED = 2
    ESCALATED = 3
    COMPLETED = 4
    EXPIRED = 5
    CANCELLED = 6

    @property
    def is_over(self) -> bool:
        """Whether nothing can happen to it any more."""
        return self > HumanTaskStatus.ESCALATED


class HumanTaskChangeKind(StrEnum):
    """What happened to a task, as stored in `human_task_events.kind`."""

    CREATED = "created"
    UPDATED = "updated"
    COMMENTED = "commented"
    ASSIGNED = "assigned"
    CLAIMED = "claimed"
    RELEASED = "released"
    DELEGATED = "delegated"
    ESCALATED = "escalated"
    ANSWERED = "answered"
    COMPLETED = "completed"
    CANCELLED = "cancelled"
    SLA_WARNED = "sla_warned"
    SLA_BREACHED = "sla_breached"
    EXPIRED = "expired"


@dataclass(frozen=True, slots=True)
class Origin:
    """The step that has opened a task; `step` is its number in the plan, `step_key` its name."""

    execution_id: UUID
    step: int
    generation: int
    step_key: str
    workflow_id: UUID


@dataclass(frozen=True, slots=True)
class Escalation:
    """What happens at a point in time when nobody has answered: one or several of these, or the outcome alone.

    `to` gets the task; members of `candidate_groups` may answer, too; `notify` are named in the history; with
    `outcome` it is decided.
    """

    at: datetime
    to: str | None = None
    candidate_groups: tuple[str, ...] = ()
    notify: tuple[str, ...] = ()
    outcome: str | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """What one person has answered."""

    by: Actor
    at: datetime
    outcome: str
    response: Json = None


@dataclass(frozen=True, slots=True)
class HumanTask:
    """Work that waits for a person. Times are absolute; None is a time that never comes.

    Nobody named (`candidate_users`, `candidate_groups`, `assignee`) means whoever may answer tasks at all. `excluded`
    counts with `separation_of_duties` alone. `quorum` people must give the same outcome. `version` rises by one with
    each change, and is the number of its event.
    """

    id: UUID
    tenant_id: UUID
    title: str
    created_by: Actor
    created_at: datetime
    origin: Origin | None = None
    description: str | None = None
    form: Json = None
    data: Json = None
    outcomes: tuple[str, ...] = ("approved", "rejected")
    candidate_users: tuple[str, ...] = ()
    candidate_groups: tuple[str, ...] = ()
    priority: int = 0
    quorum: int = 1
    separation_of_duties: bool = False
    excluded: tuple[str, ...] = ()
    delegation: bool = True
    attachments: tuple[str, ...] = ()
    due_at: datetime | None = None
    warn_at: datetime | None = None
    escalations: tuple[Escalation, ...] = ()
    expires_at: datetime | None = None
    expiry_outcome: str | None = None
    status: HumanTaskStatus = HumanTaskStatus.OPEN
    assignee: str | None = None
    claimed_at: datetime | None = None
    escalation_level: int = 0
    notified: tuple[str, ...] = ()
    warned_at: datetime | None = None
    breached_at: datetime | None = None
    answers: tuple[Answer, ...] = ()
    outcome: str | None = None
    response: Json = None
    ended_at: datetime | None = None
    ended_by: Actor | None = None
    version: int = 1

    @property
    def closed_to(self) -> frozenset[str]:
        """Who may not answer (any more), whatever groups they are in."""
        answered = frozenset(answer.by.subject for answer in self.answers)
        return answered.union(self.excluded if self.separation_of_duties else ())

    @property
    def is_for_anyone(self) -> bool:
        """Whether nobody is named who may answer."""
        return not self.candidate_users and not self.candidate_groups

    @property
    def next_at(self) -> datetime | None:
        """When time alone will next change something."""
        return min((at for at, _ in self.pending()), default=None)

    def pending(self) -> list[tuple[datetime, HumanTaskChangeKind]]:
        """What time alone will do, as things are now; at the same time in this order."""
        if self.status.is_over:
            return []
        found: list[tuple[datetime | None, HumanTaskChangeKind]] = []
        if self.breached_at is None:
            if self.warned_at is None:
                found.append((self.warn_at, HumanTaskChangeKind.SLA_WARNED))
            found.append((self.due_at, HumanTaskChangeKind.SLA_BREACHED))
        if self.escalation_level < len(self.escalations):
            found.append(
                (self.escalations[self.escalation_level].at, HumanTaskChangeKind.ESCALATED)
            )
        found.append((self.expires_at, HumanTaskChangeKind.EXPIRED))
        return [(at, kind) for at, kind in found if at is not None]


@dataclass(frozen=True, slots=True)
class NewHumanTask:
    """What is said of a task that is created on its own; the fields mean what those of HumanTask do."""

    title: str
    description: str | None = None
    form: Json = None
    data: Json = None
    outcomes: tuple[str, ...] = ("approved", "rejected")
    candidate_users: tuple[str, ...] = ()
    candidate_groups: tuple[str, ...] = ()
    assignee: str | None = None
    priority: int = 0
    quorum: int = 1
    separation_of_duties: bool = False
    excluded: tuple[str, ...] = ()
    delegation: bool = True
    attachments: tuple[str, ...] = ()
    due_at: datetime | None = None
    warn_at: datetime | None = None
    escalations: tuple[Escalation, ...] = ()
    expires_at: datetime | None = None
    expiry_outcome: str | None = None

    def begun(self, id: UUID, tenant_id: UUID, by: Actor, at: datetime) -> HumanTask:
        """The task; with separation of duties who creates it is excluded, too."""
        said = {one.name: getattr(self, one.name) for one in fields(self)}
        if self.separation_of_duties and by.subject not in self.excluded:
            said["excluded"] = (*self.excluded, by.subject)
        if self.assignee is not None:
            said["status"] = HumanTaskStatus.ASSIGNED
        return HumanTask(id=id, tenant_id=tenant_id, created_by=by, created_at=at, **said)


@dataclass(frozen=True, slots=True)
class HumanTaskFilter:
    """Which tasks a list has; None restricts nothing.

    `mine` are those that who asks has, or may take; they are open, and so are those of `group` and those that are
    `overdue`, which come in the order of their due times.
    """

    statuses: tuple[HumanTaskStatus, ...] | None = None
    mine: bool = False
    group: str | None = None
    assignee: str | None = None
    overdue: bool = False
    workflow_id: UUID | None = None
    execution_id: UUID | None = None


@dataclass(frozen=True, slots=True)
class HumanTaskChange:
    """One entry of a task's history. `before` and `after` are the fields that it changed, as stored.

    `sequence` counts from 1, without gaps; the first one's `after` is the whole task.
    """

    sequence: int
    kind: HumanTaskChangeKind
    actor: Actor
    at: datetime
    before: Mapping[str, Json]
    after: Mapping[str, Json]
    reason: str | None = None


class TaskMark(StrEnum):
    """Under which words a task stands in the lists of people: `<mark>` and, behind it, the name."""

    USER = "user:"
    GROUP = "group:"
    ANYONE = "anyone"


def people_of(task: HumanTask) -> list[tuple[str, bool]]:
    """In whose lists a task stands, each with whether somebody else has it."""
    if task.status.is_over:
        return []
    is_held, closed = task.assignee is not None, task.closed_to
    found = {TaskMark.USER + one: is_held for one in task.candidate_users if one not in closed}
    found |= {TaskMark.GROUP + one: is_held for one in task.candidate_groups}
    if task.is_for_anyone:
        found[TaskMark.ANYONE] = is_held
    if task.assignee is not None:
        found[TaskMark.USER + task.assignee] = False
    return sorted(found.items())


# --- as JSON ------------------------------------------------------------------------------------------


def actor_state(actor: Actor) -> dict[str, Json]:
    """An actor as rows and events keep it."""
    said: dict[str, Json] = {"subject": actor.subject, "kind": str(actor.kind)}
    return said if actor.display_name is None else said | {"display_name": actor.display_name}


def actor_from(said: Any) -> Actor:
    """From what `actor_state` wrote."""
    return Actor(said["subject"], ActorKind(said["kind"]), said.get("display_name"))


def _same(value: Any) -> Any:
    return value


def _time_in(at: datetime) -> str:
    return at.isoformat()


def _escalation_in(one: Escalation) -> dict[str, Json]:
    said: dict[str, Json] = {
        "at": _time_in(one.at),
        "to": one.to,
        "candidate_groups": list(one.candidate_groups),
        "notify": list(one.notify),
        "outcome": one.outcome,
    }
    return {name: value for name, value in said.items() if value}


def _escalation_out(said: Any) -> Escalation:
    return Escalation(
        datetime.fromisoformat(said["at"]),
        said.get("to"),
        tuple(said.get("candidate_groups", ())),
        tuple(said.get("notify", ())),
        said.get("outcome"),
    )


def _answer_in(one: Answer) -> dict[str, Json]:
    return {
        "by": actor_state(one.by),
        "at": _time_in(one.at),
        "outcome": one.outcome,
        "response": one.response,
    }


def _answer_out(said: Any) -> Answer:
    at = datetime.fromisoformat(said["at"])
    return Answer(actor_from(said["by"]), at, said["outcome"], said["response"])


@dataclass(frozen=True, slots=True)
class _Codec:
    """How the values of a field are written and read; a list is written item by item, None as null."""

    write: Callable[[Any], Json] = _same
    read: Callable[[Any], Any] = _same
    is_list: bool = False

    def encode(self, value: Any) -> Json:
        if value is None:
            return None
        return [self.write(one) for one in value] if self.is_list else self.write(value)

    def decode(self, said: Any) -> Any:
        if said is None:
            return None
        return tuple(self.read(one) for one in said) if self.is_list else self.read(said)


def _form_in(form: Any) -> str:
    return json.dumps(form, ensure_ascii=False, separators=(",", ":"))


_PLAIN: Final = _Codec()
# As text: PostgreSQL's jsonb sorts the names of an object, and a form is drawn in the order in which it was written.
_FORM: Final = _Codec(_form_in, json.loads)
_TEXTS: Final = _Codec(is_list=True)
_TIME: Final = _Codec(_time_in, datetime.fromisoformat)
_ACTOR: Final = _Codec(actor_state, actor_from)
_CODECS: Final[Mapping[str, _Codec]] = {
    "title": _PLAIN,
    "created_by": _ACTOR,
    "created_at": _TIME,
    "description": _PLAIN,
    "form": _FORM,
    "data": _PLAIN,
    "outcomes": _TEXTS,
    "candidate_users": _TEXTS,
    "candidate_groups": _TEXTS,
    "priority": _PLAIN,
    "quorum": _PLAIN,
    "separation_of_duties": _PLAIN,
    "excluded": _TEXTS,
    "delegation": _PLAIN,
    "attachments": _TEXTS,
    "due_at": _TIME,
    "warn_at": _TIME,
    "escalations": _Codec(_escalation_in, _escalation_out, is_list=True),
    "expires_at": _TIME,
    "expiry_outcome": _PLAIN,
    "status": _Codec(lambda one: one.name, lambda said: HumanTaskStatus[said]),
    "assignee": _PLAIN,
    "claimed_at": _TIME,
    "escalation_level": _PLAIN,
    "notified": _TEXTS,
    "warned_at": _TIME,
    "breached_at": _TIME,
    "answers": _Codec(_answer_in, _answer_out, is_list=True),
    "outcome": _PLAIN,
    "response": _PLAIN,
    "ended_at": _TIME,
    "ended_by": _ACTOR,
}


def state_of(task: HumanTask) -> dict[str, Json]:
    """All that a task's history makes of it, as `human_tasks.state` keeps it: its id, tenant and origin are columns."""
    return {name: codec.encode(getattr(task, name)) for name, codec in _CODECS.items()}


def task_of(
    id: UUID, tenant_id: UUID, origin: Origin | None, version: int, state: Mapping[str, Json]
) -> HumanTask:
    """From what is stored."""
    said = {name: codec.decode(state[name]) for name, codec in _CODECS.items() if name in state}
    return HumanTask(id=id, tenant_id=tenant_id, origin=origin, version=version, **said)


def fold(changes: Iterable[HumanTaskChange]) -> dict[str, Json]:
    """What a history makes of a task: the same as its row keeps."""
    state: dict[str, Json] = {}
    for change in changes:
        state |= change.after
    return state


def created(task: HumanTask, reason: str | None = None) -> HumanTaskChange:
    """The first entry of a task's history."""
    state = state_of(task)
    kind = HumanTaskChangeKind.CREATED
    return HumanTaskChange(1, kind, task.created_by, task.created_at, {}, state, reason)


def changed(
    task: HumanTask,
    kind: HumanTaskChangeKind,
    actor: Actor,
    at: datetime,
    reason: str | None,
    **said: Any,
) -> tuple[HumanTask, HumanTaskChange]:
    """A task with other values in some fields, and the entry that says so."""
    after = replace(task, version=task.version + 1, **said)
    old = {name: _CODECS[name].encode(getattr(task, name)) for name in said}
    new = {name: _CODECS[name].encode(getattr(after, name)) for name in said}
    moved = [name for name in sorted(said) if old[name] != new[name]]
    return after, HumanTaskChange(
        after.version,
        kind,
        actor,
        at,
        {name: old[name] for name in moved},
        {name: new[name] for name in moved},
        reason,
    )

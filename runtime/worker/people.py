"""Human tasks in a worker: what of a task that a step opens is written, and what the end of one comes to.

Nothing is written here: a task goes out with the event that tells of it (`mc_flush_4`), and its end comes as a message.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

import orjson

from runtime.clock import Clock
from runtime.engine.command import OpenTask
from runtime.engine.event import WAITED, Facts, HumanTaskEnded
from runtime.engine.people import answer, called_off, expired
from runtime.model.human_task import Escalation, HumanTask, HumanTaskStatus, Origin
from runtime.model.identity import SYSTEM
from runtime.model.values import Json, parse_instant
from runtime.store.human_task import opening
from runtime.worker.encode import encode
from runtime.worker.run import Run
from runtime.worker.waiting import database_now

# Who answers is told how much a response may be; here nothing may be refused any more.
_ANY_SIZE: Final = 1 << 40


def task_text(run: Run, clock: Clock, command: OpenTask) -> str:
    """The task as `mc_task_open` reads it; its times count from now, by the clock of the database.

    Who started the execution is excluded where duties are separated; the database adds who has answered in it before.
    """
    owned, asked = run.owned, _said(command)
    now = database_now(owned, clock.monotonic() - run.claimed_at)
    step = run.prepared.program.steps[command.step].plan
    due = parse_instant(asked["due"]) if asked["due"] else _after(now, asked["due_in_ms"])
    expires = _after(now, asked["expires_in_ms"])
    human = step.human
    task = HumanTask(
        id=command.task,
        tenant_id=owned.tenant_id,
        title=asked["title"],
        created_by=SYSTEM,
        created_at=now,
        origin=Origin(owned.id, command.step, owned.generation, step.key, owned.workflow_id),
        description=asked["description"],
        form=asked["form"],
        outcomes=tuple(asked["outcomes"]),
        candidate_users=tuple(asked["assignees"]),
        candidate_groups=tuple(asked["candidate_groups"]),
        priority=asked["priority"],
        quorum=asked["quorum"],
        separation_of_duties=asked["separation_of_duties"],
        excluded=_initiator(owned.meta),
        delegation=asked["delegation"],
        attachments=tuple(asked["attachments"]),
        due_at=due,
        warn_at=_before(due, asked["warn_before_ms"]),
        escalations=tuple(_escalation(now, one) for one in asked["escalate"]),
        expires_at=expires,
        expiry_outcome=None if human is None or expires is None else human.expiry_outcome,
    )
    return orjson.dumps(opening(task)).decode()


def task_ended(run: Run, data: Mapping[str, Json]) -> HumanTaskEnded | None:
    """The end of the task of a step, with what the row of the step says; None when the step waits for no answer."""
    task, step = UUID(str(data["task"])), data.get("step")
    if type(step) is not int or run.state.tasks.get(step) != task:
        return None
    status, outcome = data.get("status"), data.get("outcome")
    tail = f',"task":"{task}"'
    if status == HumanTaskStatus.CANCELLED.name:
        return HumanTaskEnded(
            task,
            None,
            called_off(run.state.key(step), None),
            facts=Facts(WAITED, tail=tail),
            step=step,
        )
    if not isinstance(outcome, str):
        return HumanTaskEnded(
            task, None, expired(run.state.key(step)), facts=Facts(WAITED, tail=tail), step=step
        )
    # Nobody has answered what expired: the definition says how it is decided then.
    by = data.get("actor") if status == HumanTaskStatus.COMPLETED.name else None
    output = answer(outcome, data.get("response"), by, str(data["at"]))
    kept = encode(output, "The answer to a human task", _ANY_SIZE)
    facts = Facts(WAITED, kept.raw.decode(), f',"out":"{kept.digest}"{tail}')
    return HumanTaskEnded(task, output, None, {"outcome": outcome, "by": by}, facts, step)


def _said(command: OpenTask) -> Any:
    """What the core has made of the step, and checked."""
    return command.asked


def _initiator(meta: Mapping[str, Json]) -> tuple[str, ...]:
    actor = meta.get("actor")
    subject = actor.get("subject") if isinstance(actor, dict) else None
    return (subject,) if isinstance(subject, str) else ()


def _escalation(now: datetime, said: Any) -> Escalation:
    return Escalation(
        at=_after(now, said["after_ms"]) or datetime.max.replace(tzinfo=now.tzinfo),
        to=said.get("to"),
        candidate_groups=tuple(said.get("candidate_groups", ())),
        notify=tuple(said.get("notify", ())),
        outcome=said.get("outcome"),
    )


def _after(now: datetime, milliseconds: int | None) -> datetime | None:
    """So long after; None where that lies beyond the calendar: it never comes."""
    if milliseconds is None:
        return None
    try:
        return now + timedelta(milliseconds=milliseconds)
    except OverflowError:
        return None


def _before(due: datetime | None, milliseconds: int | None) -> datetime | None:
    if due is None or milliseconds is None:
        return None
    try:
        return due - timedelta(milliseconds=milliseconds)
    except OverflowError:
        return None

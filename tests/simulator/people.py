"""Human steps of a program: what they ask, the tasks as the database keeps them, and a judge of tasks and log together.

What people answer is not written in the program: what is said here about a task is what must come of its step.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from random import Random
from typing import Any, Final
from uuid import UUID

from runtime.model.event import EventKind as Kind
from runtime.model.execution import StepStatus
from runtime.model.plan import HumanPlan, StepKind
from runtime.model.values import Duration
from tests.simulator.loop import START
from tests.simulator.rewinds import AGAIN

OPEN, COMPLETED, EXPIRED, CANCELLED = 0, 4, 5, 6
LATE: Final = "late"
OUTCOMES: Final = ("yes", "no")
WORDS: Final = {COMPLETED: "COMPLETED", EXPIRED: "EXPIRED", CANCELLED: "CANCELLED"}
# Of forty seeds those in which no defect of test_simulator is looked for first: the others tell the stories they always told.
_SEEDS: Final = frozenset({8, 10, 25, 29, 31, 34, 36, 37, 38, 39})
_STOPS: Final = frozenset(
    {Kind.EXECUTION_CANCEL_REQUESTED, Kind.EXECUTION_DEADLINE_REACHED, Kind.EXECUTION_COMPENSATING}
)
_FINAL: Final = frozenset({2, 4, 5, 6, 7})


@dataclass(frozen=True, slots=True)
class Ask:
    """What a step asks: `ms` until that expires, and what comes then: an outcome, the step `goto`, or a failure."""

    ms: int | None = None
    outcome: str | None = None
    goto: int | None = None

    def plan(self, needs: Iterable[int]) -> dict[str, Any]:
        """As `plan_of` takes it; what it says is made of what came before it."""
        seen = " ".join(f"{{{{ steps.s{need}.output or 0 }}}}" for need in needs)
        return {
            "kind": StepKind.HUMAN_TASK,
            "uses": None,
            "human": HumanPlan(
                outcomes=OUTCOMES,
                expires=None if self.ms is None else Duration(self.ms),
                expiry_outcome=self.outcome,
            ),
            "config": {"title": "which?", "message": f"seen: {seen}", "assignees": ["ann"]},
        }


@dataclass(slots=True)
class Task:
    """A row of `human_tasks`."""

    id: UUID
    execution: UUID
    step: int
    generation: int
    expires_at: float | None
    expiry_outcome: str | None
    status: int = OPEN
    outcome: str | None = None
    response: Any = None
    by: Any = None
    at: str = ""

    @property
    def output(self) -> Any:
        """What its step gives, as expressions see it; None where it expired without an outcome."""
        if self.outcome is None:
            return None
        by = self.by if self.status == COMPLETED else None
        said = {"outcome": self.outcome, "response": self.response, "by": by, "at": self.at}
        return {**said, "decision": self.outcome}


class TaskTable:
    """All tasks."""

    def __init__(self, mutants: frozenset[str]) -> None:
        self.rows: dict[UUID, Task] = {}
        self._mutants = mutants

    def change(self, executions: Mapping[UUID, Any], columns: Sequence[Any]) -> None:
        """What a flush says: tasks begin, those of executions that stop are cancelled."""
        _, begun, stopped, _ = columns or ([], [], [], [])
        for row in begun:
            self._open(executions[UUID(row["execution_id"])], row)
        for one in stopped if "tasks_unstopped" not in self._mutants else ():
            self.cancel(one)

    def _open(self, e: Any, row: Mapping[str, Any]) -> None:
        """Idempotent, by the id and by execution, step and generation."""
        e.meta = {**(e.meta or {}), "tasks": True}
        task, place = UUID(row["id"]), (e.id, row["step"], row["generation"])
        known = {(one.execution, one.step, one.generation) for one in self.rows.values()}
        if task in self.rows or place in known:
            return
        at = row["state"].get("expires_at")
        expires = None if at is None else (datetime.fromisoformat(at) - START).total_seconds()
        self.rows[task] = Task(task, *place, expires, row["state"].get("expiry_outcome"))

    def cancel(self, execution: UUID) -> None:
        for task in self.rows.values():
            if task.execution == execution and task.status == OPEN:
                task.status = CANCELLED

    def end(self, id: UUID, status: int, outcome: str | None, by: Any, now: float) -> Any:
        """What its execution is told; None where it is over already."""
        task = self.rows[id]
        if task.status != OPEN:
            return None
        task.status, task.outcome, task.by = status, outcome, by
        task.at = (START + timedelta(seconds=now)).isoformat()
        task.response = {"n": task.step} if status == COMPLETED else None
        return {
            "task": str(id), "step": task.step, "generation": task.generation, "status": WORDS[status],
            "outcome": outcome, "response": task.response, "actor": by, "at": task.at,
        }  # fmt: skip


class People:
    """Whoever answers tasks, and time, which lets them expire; neither does while the server `is_down`."""

    def __init__(
        self,
        server: Any,
        *,
        luck: Random,
        tell: Callable[[UUID], None],
    ) -> None:
        self._server = server
        self._model = server.model
        self._luck = luck
        self._tell = tell
        self._asked: set[UUID] = set()

    def look(self) -> None:
        """Somebody sees each new task: answers it, now or later, or (where that may expire) perhaps never."""
        for task in tuple(self._model.tasks.rows.values()):
            if task.id in self._asked:
                continue
            self._asked.add(task.id)
            if task.expires_at is not None:
                left = max(0.0, task.expires_at - self._model.now)
                self._server.later(left, self._expire, task.id)
            if task.expires_at is None or self._luck.random() < 0.6:
                after = self._luck.random() * self._luck.choice((0.0, 0.01, 0.5, 4.0))
                self._server.later(after, self.answer, task.id)

    def interfere(self, executions: Collection[UUID]) -> None:
        """At the worst moment: while these are written, perhaps as they park."""
        for task in tuple(self._model.tasks.rows.values()):
            is_near = task.status == OPEN and task.execution in executions
            if is_near and self._luck.random() < 0.3:
                self.answer(task.id)

    def answer(self, id: UUID) -> None:
        by = {"subject": "ann", "kind": "user"}
        self._end(id, COMPLETED, self._luck.choice(OUTCOMES), by, self.answer)

    def _expire(self, id: UUID) -> None:
        by, outcome = (
            {"subject": "system", "kind": "system"},
            self._model.tasks.rows[id].expiry_outcome,
        )
        self._end(id, EXPIRED, outcome, by, self._expire)

    def _end(
        self, id: UUID, status: int, outcome: str | None, by: Any, again: Callable[[UUID], None]
    ) -> None:
        if self._server.is_down:
            self._server.later(0.2, again, id)
        elif self._model.task_end(id, status, outcome, by):
            self._tell(self._model.tasks.rows[id].execution)


def has_people(seed: int) -> bool:
    """In one seed of four."""
    return seed % 40 in _SEEDS


def with_people(steps: tuple[Any, ...], seed: int) -> tuple[Any, ...]:
    """The same steps, of which some ask people."""
    if not has_people(seed):
        return steps
    random = Random(f"people {seed} {len(steps)}")
    return tuple(_asking(random, steps, index) for index in range(len(steps)))


def _asking(random: Random, steps: tuple[Any, ...], index: int) -> Any:
    one = steps[index]
    if not one.calls or one.many is not None or random.random() < 0.45:
        return one
    after = [i for i, other in enumerate(steps) if index in other.needs]
    ms = random.choice((None, 400, 1_500, 9_000))
    outcome, goto = None, None
    if ms is not None and random.random() < 0.4:
        outcome = random.choice(OUTCOMES)
    elif ms is not None and after and random.random() < 0.6:
        goto = random.choice(after)
    return replace(one, ask=Ask(ms, outcome, goto))


def ended_tasks(tasks: Mapping[UUID, Task], execution: UUID) -> dict[int, Task]:
    """The newest task of each step that somebody answered, or nobody in time."""
    found: dict[int, Task] = {}
    for one in sorted(tasks.values(), key=lambda task: task.generation):
        if one.execution == execution and one.status in {COMPLETED, EXPIRED}:
            found[one.step] = one
    return found


class TaskJudge:
    """Looks at the tasks of one execution, and at what its log and its rows say of them."""

    def __init__(self, e: Any, tasks: Mapping[UUID, Task], say: Callable[[str], None]) -> None:
        self._e = e
        self._tasks = {one.id: one for one in tasks.values() if one.execution == e.id}
        self._say = say

    def look(self) -> None:
        """One task for each step and generation, told by one event; none is open that nobody waits for."""
        e, told, generation, stops = self._e, dict[UUID, tuple[int, int]](), 0, False
        for n, (kind, said) in sorted(e.events.items()):
            if kind in AGAIN:
                generation, stops = generation + 1, False
            stops |= kind in _STOPS
            if kind != Kind.HUMAN_TASK_CREATED:
                continue
            task, place = UUID(said["task"]), (said["step"], generation)
            if task in told or place in told.values():
                self._say(f"task: step {said['step']} of {e.id} asked twice in {generation} ({n})")
            told[task] = place
            kept = self._tasks.get(task)
            if kept is None or (kept.step, kept.generation) != place:
                self._say(f"task: {task} of {e.id} is told of ({n}), and is not there as {place}")
        if self._tasks.keys() - told.keys():
            self._say(f"task: {self._tasks.keys() - told.keys()} of {e.id} are told of nowhere")
        left = [one.id for one in self._tasks.values() if one.status == OPEN]
        if left and (stops or e.status in _FINAL):
            self._say(f"task: {left} of {e.id} are open, and it ends")

    def at_end(self) -> None:
        """What was answered ended its step so, or is told as unread: once, and never both."""
        e = self._e
        heard = [(row, r) for row, (_, _, r) in e.steps.items() if "task" in r]
        unread = [
            UUID(said["task"])
            for kind, said in e.events.values()
            if kind == Kind.MESSAGE_UNREAD and "task" in (said or {})
        ]
        for task in self._tasks.values():
            ends = [(row, r) for row, r in heard if UUID(r["task"]) == task.id]
            count = len(ends) + unread.count(task.id)
            if count != (task.status in {COMPLETED, EXPIRED}):
                self._say(
                    f"answer: {task.id} of {e.id} is {task.status}, and was heard {count} times"
                )
            for (step, _, generation, _), result in ends:
                if (step, generation) != (task.step, task.generation):
                    self._say(f"answer: {task.id} of {e.id} ended step {step} in {generation}")
                given = (result.get("output") or {}).get("outcome")
                if given != task.outcome:
                    self._say(
                        f"answer: {task.id} of {e.id} was {task.outcome}, its step has {given}"
                    )


def is_late(ask: Ask | None, row: Any) -> bool:
    """Whether a step went where its expiry leads."""
    status, _, result = row
    is_handled = result.get("handled") is True
    return (
        ask is not None and ask.goto is not None and is_handled and status == StepStatus.TIMED_OUT
    )

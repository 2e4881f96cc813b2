"""Human steps: the task that one opens, and the answer with which it goes on. What happens to one is decided here.

One commit holds HUMAN_TASK_CREATED and the task itself; its id follows from execution, step and generation, so whoever
opens it again opens the same. From then on the step waits, with no place in any worker, until the commit that answers
the task, or lets it expire, tells the execution. What stops cancels its tasks in the commit of the event that is the
cause.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from runtime.engine.about import about
from runtime.engine.command import BeginWait, Command, OpenTask, RecordEvent
from runtime.engine.ending import end_badly, end_well, status_of
from runtime.engine.event import WAITED, Facts, HumanTaskEnded, StepError
from runtime.engine.scope import scope_of
from runtime.engine.state import WAITING, ExecutionState
from runtime.expression import ExpressionError
from runtime.model.durable import why_not_durable
from runtime.model.errors import StepErrorKind
from runtime.model.event import EventKind
from runtime.model.execution import StepStatus
from runtime.model.ids import human_task_id
from runtime.model.plan import HumanPlan
from runtime.model.values import Duration, Json, parse_instant

# So many people, groups or attachments one task may name; so long may a name of one be, and a text of its.
MOST_NAMES: Final = 100
LONGEST_NAME: Final = 255
LONGEST_PLACE: Final = 2_000
LONGEST_TITLE: Final = 255
LONGEST_TEXT: Final = 20_000
NOT_ASKED: Final = "human_task.not_asked"
EXPIRED: Final = "human_task.expired"
CANCELLED: Final = "human_task.cancelled"

# Whom an answer names that an escalation has given.
_SYSTEM: Final[dict[str, Json]] = {"subject": "system", "kind": "system"}
_NO_ATTEMPT: Final = Facts(WAITED)
_NAMES: Final = {
    "assignees": LONGEST_NAME,
    "candidate_groups": LONGEST_NAME,
    "attachments": LONGEST_PLACE,
}
_WHO: Final = frozenset(("assignees", "candidate_groups"))
_ESCALATED: Final = ("candidate_groups", "notify")


def open_task(state: ExecutionState, step: int, human: HumanPlan, out: list[Command]) -> None:
    """Ask people, and wait for their answer. When a large value is missing, nothing has changed."""
    asked = _asked(state, step, human)
    state.attempt[step] += 1
    state.status[step] = WAITING
    state.busy += 1
    out.append(RecordEvent(EventKind.STEP_STARTED, about(state, step)))
    if isinstance(asked, StepError):
        state.busy -= 1
        end_badly(state, step, StepStatus.FAILED, asked, _NO_ATTEMPT, out)
        return
    run, attempt = state.run, state.attempt[step]
    task = state.tasks[step] = human_task_id(run.id, step, run.generation)
    data: dict[str, Json] = {**about(state, step), "task": str(task)}
    # Who can answer, and until when: why the step waits is read from this. What it is about stands in the task.
    data |= {
        name: asked[name]
        for name in ("assignees", "candidate_groups", "quorum", "expires_in_ms")
        if asked.get(name)
    }
    out.append(RecordEvent(EventKind.HUMAN_TASK_CREATED, data))
    out.append(OpenTask(step, attempt, task, asked))
    out.append(BeginWait(step, attempt))


def task_ended(state: ExecutionState, event: HumanTaskEnded, out: list[Command]) -> None:
    """The task of a step was answered, or will not be. Of a task that nobody waits for nothing is heard."""
    step, error = event.step, event.error
    if step is None:
        step = next((one for one, task in state.tasks.items() if task == event.task), None)
    if step is None or state.tasks.get(step) != event.task:
        return
    del state.tasks[step]
    said: dict[str, Json] = {"task": str(event.task), **event.said}
    if error is None:
        end_well(state, step, event.output, event.facts, out, said)
        return
    state.busy -= 1
    end_badly(state, step, status_of(error), error, event.facts, out, said)


def answer(outcome: str, response: Json, by: Json, at: str) -> dict[str, Json]:
    """The output of a human step: `at` is an instant, `by` nobody where the task expired."""
    return {"outcome": outcome, "response": response, "by": by, "at": at}


def expired(step: str) -> StepError:
    """The failure of a step whose task nobody has answered in time, unless it says what happens then."""
    words = f"Nobody has answered the task of step {step!r} in time."
    return StepError(EXPIRED, words, StepErrorKind.TIMEOUT)


def called_off(step: str, reason: str | None) -> StepError:
    """The failure of a step whose task somebody has cancelled."""
    words = f"The task of step {step!r} was cancelled{f': {reason}' if reason else ''}."
    return StepError(CANCELLED, words, StepErrorKind.CANCELLED)


def decided_by_time(
    asked: Mapping[str, Any], human: HumanPlan
) -> tuple[int, str | None, Json] | None:
    """After how long a task that nobody answers is over, with which outcome (None: it fails), and who decides it then.

    Escalations happen one after another; of what comes at the same time the escalation is first.
    """
    after = 0
    for one in asked["escalate"]:
        after = max(after, one["after_ms"])
        if human.expires is not None and after > human.expires.milliseconds:
            break
        if "outcome" in one:
            return after, one["outcome"], _SYSTEM
    if human.expires is None:
        return None
    return human.expires.milliseconds, human.expiry_outcome, None


def _asked(state: ExecutionState, step: int, human: HumanPlan) -> dict[str, Json] | StepError:
    """All that a task says; or why nobody can be asked that."""
    program = state.program.steps[step]
    try:
        rendered = program.config.render(scope_of(state, resolve=state.resolve, step=step))
    except ExpressionError as problem:
        words = f"The task of step {state.key(step)!r} can't be opened: {problem.message}"
        return StepError("expression", words)
    written: dict[str, Json] = rendered if isinstance(rendered, dict) else {}
    try:
        asked = _read(written, human, program.plan.name or program.plan.key)
    except ValueError as problem:
        return StepError(NOT_ASKED, f"The task of step {state.key(step)!r}: {problem}.")
    why = why_not_durable(asked, f"The task of step {state.key(step)!r}")
    return asked if why is None else StepError(NOT_ASKED, why)


def _read(written: dict[str, Json], human: HumanPlan, name: str) -> dict[str, Json]:
    names = {key: _names(written.get(key), key, most) for key, most in _NAMES.items()}
    people, groups = names["assignees"], names["candidate_groups"]
    if not people and not groups and not _WHO.isdisjoint(written):
        # Whoever names people means some: where they come to nobody, not everybody is asked in their place.
        raise ValueError("its `assignees` and `candidate_groups` come to nobody")
    if people and not groups and human.quorum > len(people):
        raise ValueError(f"{human.quorum} must agree, and only {len(people)} may answer")
    due = written.get("due")
    return {
        "title": _text(written.get("title", name), "title", LONGEST_TITLE) or name,
        "description": _text(written.get("message", ""), "message", LONGEST_TEXT) or None,
        **names,
        "outcomes": [*human.outcomes],
        "form": human.form,
        "quorum": human.quorum,
        "separation_of_duties": human.separated,
        "delegation": human.delegable,
        "priority": human.priority,
        "due": None if due is None else _instant(due),
        "due_in_ms": _ms(human.due),
        "warn_before_ms": _ms(human.warn),
        "expires_in_ms": _ms(human.expires),
        "escalate": _escalations(written.get("escalate")),
    }


def _escalations(written: Json) -> list[Json]:
    found: list[Json] = []
    for place, one in enumerate(written if isinstance(written, list) else []):
        said: dict[str, Json] = one if isinstance(one, dict) else {}
        where = f"escalate.{place}"
        told: dict[str, Json] = {"after_ms": Duration.parse(str(said["after"])).milliseconds}
        if "to" in said:
            told["to"] = _text(said["to"], f"{where}.to", LONGEST_NAME)
        for key in _ESCALATED:
            if key in said:
                told[key] = _names(said[key], f"{where}.{key}")
        if "outcome" in said:
            told["outcome"] = said["outcome"]
        found.append(told)
    return found


def _names(value: Json, where: str, longest: int = LONGEST_NAME) -> list[Json]:
    """Texts, each once, in their order; what an expression gives may be a list of them."""
    found: dict[str, None] = {}
    for one in value if isinstance(value, list) else [] if value is None else [value]:
        for name in one if isinstance(one, list) else [one]:
            if not isinstance(name, str) or not name.strip():
                raise ValueError(f"`{where}` must give texts")
            if len(name) > longest:
                raise ValueError(f"a text of `{where}` is longer than {longest:,} characters")
            found[name] = None
    if len(found) > MOST_NAMES:
        raise ValueError(f"`{where}` gives more than {MOST_NAMES} texts")
    return [*found]


def _text(value: Json, where: str, longest: int) -> str:
    """A text; numbers are written out."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise ValueError(f"`{where}` must give a text")  # noqa: TRY004 - said of the document, as all here
    text = str(value)
    if len(text) > longest:
        raise ValueError(f"`{where}` is longer than {longest:,} characters")
    return text


def _instant(value: Json) -> str:
    try:
        return parse_instant(value).isoformat()
    except ValueError as problem:
        raise ValueError(f"`due`: {str(problem).rstrip('.')}") from None


def _ms(duration: Duration | None) -> int | None:
    return None if duration is None else duration.milliseconds

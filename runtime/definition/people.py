"""The keys of human tasks: who is asked what, until when, and what happens when nobody answers.

Part of the language's table; what these keys mean beyond their form is checked here too. What holds an expression is
judged when the task is opened, by the same bounds.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, Final

from runtime.definition.document import Step
from runtime.definition.finding import Findings, Path, known_here
from runtime.definition.shape import parse_duration
from runtime.expression import has_expression
from runtime.model.plan import DEFAULT_OUTCOMES
from runtime.model.values import Duration, Json, parse_instant

_DEEDS: Final = ("to", "candidate_groups", "notify", "outcome")
# So long may be what is asked, and the names in it: those of runtime/engine/people.py, which a test holds together.
LONGEST: Final = {"title": 255, "message": 20_000}
LONGEST_NAMES: Final = {"assignees": 255, "candidate_groups": 255, "attachments": 2_000}
_LONGEST_ESCALATED: Final = {"to": 255, "candidate_groups": 255, "notify": 255}


def check_human(step: Step, findings: Findings) -> None:
    """Outcomes that exist, people enough for the quorum, an order of times that can be."""
    outcomes = _outcomes(step)
    _check_texts(step, findings)
    _check_due(step, findings)
    _check_quorum(step, findings)
    _check_escalation(step, outcomes, findings)
    _check_times(step, findings)
    expiry = step.value.get("on_expiry")
    if isinstance(expiry, dict):
        if ("outcome" in expiry) == ("goto" in expiry):
            message = "on_expiry names an outcome or a step to go to, one of them"
            findings.error("expiry", message, step.place("on_expiry"))
        _check_outcome(expiry, outcomes, step.place("on_expiry", "outcome"), findings)
    if expiry is not None and "timeout" not in step.raw:
        findings.warning(
            "expiry", "this task never expires: its step has no timeout",
            step.place("on_expiry"), hint="write timeout: 2d",
        )  # fmt: skip


def _outcomes(step: Step) -> dict[str, None] | None:
    """Those that there are, in their order; None where they can't be told, of which something is said already."""
    found = step.value.get("outcomes")
    if isinstance(found, list):
        return dict.fromkeys(one for one in found if isinstance(one, str))
    inside = step.raw.get("with")
    is_written = "outcomes" in step.raw or (isinstance(inside, dict) and "outcomes" in inside)
    return None if is_written else dict.fromkeys(DEFAULT_OUTCOMES)


def _check_outcome(
    holder: dict[str, Json], outcomes: Collection[str] | None, place: Path, findings: Findings
) -> None:
    name = holder.get("outcome")
    if outcomes is not None and isinstance(name, str) and name not in outcomes:
        hint = findings.near(name, outcomes) or known_here(outcomes)
        findings.error("unknown-outcome", f"there is no outcome {name!r}", place, hint=hint)


def _check_texts(step: Step, findings: Findings) -> None:
    for key, longest in LONGEST.items():
        _check_length(step.value.get(key), longest, step, (key,), findings)
    for key, longest in LONGEST_NAMES.items():
        _check_names(step.value.get(key), longest, step, (key,), findings)
    chain = step.value.get("escalate")
    for index, one in enumerate(chain if isinstance(chain, list) else []):
        for key, longest in _LONGEST_ESCALATED.items():
            found = one.get(key) if isinstance(one, dict) else None
            _check_names(found, longest, step, ("escalate", index, key), findings)


def _check_names(
    found: Json, longest: int, step: Step, keys: tuple[str | int, ...], findings: Findings
) -> None:
    if isinstance(found, list):
        for index, name in enumerate(found):
            _check_names(name, longest, step, (*keys, index), findings)
    elif isinstance(found, str) and not found.strip():
        findings.error("empty", "a name is needed here", step.place(*keys))
    else:
        _check_length(found, longest, step, keys, findings)


def _check_length(
    text: Json, longest: int, step: Step, keys: tuple[str | int, ...], findings: Findings
) -> None:
    if isinstance(text, str) and len(text) > longest and not has_expression(text):
        findings.error("text", f"at most {longest:,} characters are allowed", step.place(*keys))


def _check_due(step: Step, findings: Findings) -> None:
    due, sla = step.value.get("due"), step.value.get("sla")
    if isinstance(due, str) and not has_expression(due):
        try:
            parse_instant(due)
        except ValueError as error:
            findings.error("human", str(error), step.place("due"))
    if due is not None and sla is not None:
        findings.warning(
            "human", "due says when an answer is wanted, so that of the sla does not count",
            step.place("due"), hint="leave one of them out",
        )  # fmt: skip
    if isinstance(sla, dict):
        length, warn = _duration(sla.get("due")), _duration(sla.get("warn"))
        if due is None and length and warn and warn > length:
            findings.warning(
                "timeout-contradiction",
                f"the warning would come before the task is opened: {sla['warn']} before an answer is due,"
                f" which is {sla['due']} after that",
                step.place("sla", "warn"),
            )


def _check_times(step: Step, findings: Findings) -> None:
    """Escalations that come: none after the task has expired, none behind one that decides it."""
    end, decides = _duration(step.value.get("timeout")), False
    chain = step.value.get("escalate")
    for index, one in enumerate(chain if isinstance(chain, list) else []):
        if not isinstance(one, dict):
            continue
        place, after = step.place("escalate", index), _duration(one.get("after"))
        if decides:
            findings.warning(
                "escalation", "this never happens: an escalation before it decides the task", place
            )
            break
        if end and after and after > end:
            findings.warning(
                "timeout-contradiction",
                f"this never happens: the task expires before it ({step.value['timeout']})",
                place,
            )
            break
        decides = "outcome" in one


def _duration(text: Json) -> Duration | None:
    return parse_duration(text) if isinstance(text, str) else None


def _check_quorum(step: Step, findings: Findings) -> None:
    quorum, people = step.value.get("quorum", 1), step.value.get("assignees")
    if not isinstance(quorum, int) or not isinstance(people, list):
        return
    if "candidate_groups" in step.value or any(has_expression(str(one)) for one in people):
        return
    count = len(set(map(str, people)))
    if quorum > count:
        findings.error(
            "quorum", f"{quorum} must agree, and only {count} may answer",
            step.place("quorum"), hint="lower the quorum, or add assignees or candidate_groups",
        )  # fmt: skip
    elif (
        quorum == count
        and step.value.get("separation_of_duties") is True
        and not _asks_others(step, people)
    ):
        who = (
            f"all {count} who may answer must agree"
            if count > 1
            else f"only {people[0]} may answer"
        )
        findings.warning(
            "quorum", f"{who}, and separation of duties turns away who started the execution, and who has"
            " answered another task of it: the quorum may be out of reach",
            step.place("quorum" if "quorum" in step.value else "assignees"),
            hint="add assignees or candidate_groups, or escalate to somebody else",
        )  # fmt: skip


def _asks_others(step: Step, people: list[Json]) -> bool:
    """Whether an escalation gives the task to others, or decides it, so that nobody waits for ever."""
    chain = step.value.get("escalate")
    return any(
        "candidate_groups" in one or "outcome" in one or ("to" in one and one["to"] not in people)
        for one in (chain if isinstance(chain, list) else [])
        if isinstance(one, dict)
    )


def _check_escalation(step: Step, outcomes: Collection[str] | None, findings: Findings) -> None:
    chain = step.value.get("escalate")
    last = None
    for index, one in enumerate(chain if isinstance(chain, list) else []):
        if not isinstance(one, dict):
            continue
        if not any(key in one for key in _DEEDS) and _is_whole(step, index, one):
            message = f"an escalation says what to do: {', '.join(_DEEDS)}"
            findings.error("escalation", message, step.place("escalate", index))
        _check_outcome(one, outcomes, step.place("escalate", index, "outcome"), findings)
        at = _duration(one.get("after"))
        if at is not None and last is not None and at < last:
            findings.error(
                "escalation", "escalations stand in the order of their times",
                step.place("escalate", index, "after"),
            )  # fmt: skip
        last = at or last


def _is_whole(step: Step, index: int, read: dict[str, Json]) -> bool:
    """Whether all that was written there was understood; of the rest it is said already what is wrong with it."""
    written: Any = step.raw
    for key in step.place("escalate", index)[len(step.path) :]:
        written = written[key]
    return isinstance(written, dict) and len(written) == len(read)

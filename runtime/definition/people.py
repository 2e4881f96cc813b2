"""The keys of human tasks: who is asked what, until when, and what happens when nobody answers.

Part of the language's table; what these keys mean beyond their form is checked here too.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, Final

from runtime.definition.document import Step
from runtime.definition.finding import Findings, Path, known_here
from runtime.definition.shape import parse_duration
from runtime.expression import has_expression
from runtime.model.plan import DEFAULT_OUTCOMES
from runtime.model.values import Json

_DEEDS: Final = ("to", "candidate_groups", "notify", "outcome")


def check_human(step: Step, findings: Findings) -> None:
    """Outcomes that exist, people enough for the quorum, an order of times that can be."""
    outcomes = _outcomes(step)
    _check_quorum(step, findings)
    _check_escalation(step, outcomes, findings)
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


def _outcomes(step: Step) -> dict[str, None]:
    """Those that there are, in their order; each is looked for once for every escalation."""
    found = step.value.get("outcomes")
    if isinstance(found, list):
        return dict.fromkeys(one for one in found if isinstance(one, str))
    return dict.fromkeys(DEFAULT_OUTCOMES)


def _check_outcome(
    holder: dict[str, Json], outcomes: Collection[str], place: Path, findings: Findings
) -> None:
    name = holder.get("outcome")
    if isinstance(name, str) and name not in outcomes:
        hint = findings.near(name, outcomes) or known_here(outcomes)
        findings.error("unknown-outcome", f"there is no outcome {name!r}", place, hint=hint)


def _check_quorum(step: Step, findings: Findings) -> None:
    quorum, people = step.value.get("quorum"), step.value.get("assignees")
    if not isinstance(quorum, int) or not isinstance(people, list):
        return
    is_open = "candidate_groups" in step.value or any(has_expression(str(one)) for one in people)
    if not is_open and quorum > len(set(map(str, people))):
        findings.error(
            "quorum", f"{quorum} must agree, and only {len(set(map(str, people)))} may answer",
            step.place("quorum"), hint="lower the quorum, or add assignees or candidate_groups",
        )  # fmt: skip


def _check_escalation(step: Step, outcomes: Collection[str], findings: Findings) -> None:
    chain = step.value.get("escalate")
    last = None
    for index, one in enumerate(chain if isinstance(chain, list) else []):
        if not isinstance(one, dict):
            continue
        if not any(key in one for key in _DEEDS) and _is_whole(step, index, one):
            message = f"an escalation says what to do: {', '.join(_DEEDS)}"
            findings.error("escalation", message, step.place("escalate", index))
        _check_outcome(one, outcomes, step.place("escalate", index, "outcome"), findings)
        after = one.get("after")
        at = parse_duration(after) if isinstance(after, str) else None
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

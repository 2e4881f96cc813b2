"""What a document means, beyond its form: names that must exist, paths that must be possible.

Called by validate after the document was read; every check reports and none stops the others.
"""

from __future__ import annotations

from typing import Final

from runtime.definition.caching import check_cache, secrets_by_step
from runtime.definition.document import Document, Step
from runtime.definition.finding import Findings, Path
from runtime.definition.graph import Graph
from runtime.definition.language import NOT_RUN_KEYS, NOT_RUN_KINDS, NOT_RUN_STEP_KEYS
from runtime.definition.people import check_human
from runtime.definition.routes import (
    check_gateway,
    check_gotos,
    check_join,
    check_unchosen,
    never_holds,
)
from runtime.definition.shape import parse_duration
from runtime.definition.starting import check_triggers
from runtime.definition.waits import check_wait
from runtime.model.plan import Backoff, StepKind
from runtime.model.values import Duration, Json

# The keys about which there is something to check; most steps have none of them.
_CHECKED: Final = frozenset(
    (
        *NOT_RUN_STEP_KEYS,
        "compensate",
        "join",
        "on_error",
        "when",
        "retry",
        "in_doubt",
        "cache",
        "sla",
        "on_expiry",
        "cases",
    )
)
DEFAULT_RETRY_INITIAL = "1s"
DEFAULT_RETRY_MAX = "60s"


def check_meaning(
    document: Document, graph: Graph, findings: Findings, *, publishing: bool
) -> None:
    """All checks that need neither references nor connectors."""
    _check_top(document, findings, publishing=publishing)
    is_timed = "timeout" in document.value
    hidden: dict[int, str] | None = None
    for position, step in enumerate(graph.steps):
        if step.kind is StepKind.TASK and _CHECKED.isdisjoint(step.value) and not is_timed:
            continue
        findings.step = step.id or None
        _check_runs(step, findings, publishing=publishing)
        _check_condition(step, findings)
        _check_times(document, step, findings)
        check_gotos(graph, position, step, findings)
        check_join(graph, position, step, findings)
        if "cache" in step.value:
            hidden = secrets_by_step(document) if hidden is None else hidden
            check_cache(step, hidden.get(step.index), findings)
        match step.kind:
            case StepKind.GATEWAY:
                check_gateway(graph, position, step, findings)
            case StepKind.HUMAN_APPROVAL | StepKind.HUMAN_TASK:
                check_human(step, findings)
            case StepKind.WAIT:
                check_wait(document, step, findings)
            case StepKind.WORKFLOW:
                _check_workflow(document, step, findings)
            case _:
                pass
    findings.step = None
    check_unchosen(graph, findings)


def _not_yet(
    findings: Findings, message: str, path: Path, *, publishing: bool, on_key: bool
) -> None:
    report = findings.error if publishing else findings.warning
    report("not-in-this-version", message, path, on_key=on_key)


def _check_top(document: Document, findings: Findings, *, publishing: bool) -> None:
    for key in NOT_RUN_KEYS:
        if key in document.value:
            message = (
                f"{key} is not carried out by this version; it can be validated, not published"
            )
            _not_yet(findings, message, document.place(key), publishing=publishing, on_key=True)
    retry = document.value.get("retry")
    if isinstance(retry, dict):
        _check_retry(retry, document.place("retry"), findings)
    check_triggers(document, findings)


def _check_runs(step: Step, findings: Findings, *, publishing: bool) -> None:
    if step.kind in NOT_RUN_KINDS:
        message = f"{step.kind.value} steps are not run by this version; they can be validated, not published"
        _not_yet(findings, message, step.place("type"), publishing=publishing, on_key=False)
    for key in NOT_RUN_STEP_KEYS:
        if key in step.value:
            message = (
                f"{key} is not carried out by this version; it can be validated, not published"
            )
            _not_yet(findings, message, step.place(key), publishing=publishing, on_key=True)
    if step.kind is StepKind.MAP and "compensate" in step.value:
        message = (
            "compensate of a map is not carried out by this version, since its items would have to be undone one by "
            "one; it can be validated, not published"
        )
        _not_yet(findings, message, step.place("compensate"), publishing=publishing, on_key=True)


def _check_condition(step: Step, findings: Findings) -> None:
    if "when" in step.value and never_holds(step.value["when"], findings):
        findings.error(
            "unreachable-step", "this step can never run: its condition is always false",
            step.place("when"), hint="remove the step or its condition",
        )  # fmt: skip


def _check_times(document: Document, step: Step, findings: Findings) -> None:
    undoes = step.value.get("compensate")
    undoes = undoes.get("retry") if isinstance(undoes, dict) else None
    if isinstance(undoes, dict):
        _check_retry(undoes, step.place("compensate", "retry"), findings)
    retry = step.value.get("retry")
    if isinstance(retry, dict):
        _check_retry(retry, step.place("retry"), findings)
        if step.value.get("effect") == "at_most_once" and retry.get("max_attempts") != 1:
            findings.warning(
                "retry-ignored",
                "a step with effect at_most_once is repeated only when its call was certainly not made",
                step.place("retry"), hint="say effect: idempotent if a second call does no harm",
            )  # fmt: skip
    if "in_doubt" in step.value and step.value.get("effect") in {"pure", "idempotent"}:
        findings.warning(
            "in-doubt-ignored",
            f"a step with effect {step.value['effect']} is called again, so it is never in doubt",
            step.place("in_doubt"), hint="leave it out, or say effect: at_most_once",
        )  # fmt: skip
    whole, own = _duration(document.value.get("timeout")), _duration(step.value.get("timeout"))
    if whole and own and own > whole:
        findings.warning(
            "timeout-contradiction",
            f"this step may take longer ({step.value['timeout']}) than the whole execution "
            f"({document.value['timeout']})",
            step.place("timeout"),
        )
    due = step.value.get("sla")
    due = due.get("due") if isinstance(due, dict) else due
    sla = _duration(due)
    if sla and own and sla > own:
        findings.warning(
            "timeout-contradiction",
            f"an answer is due (sla {due}) only after the step has timed out "
            f"({step.value['timeout']})",
            step.place("sla"),
        )


def _check_retry(retry: dict[str, Json], place: Path, findings: Findings) -> None:
    first = _duration(retry.get("initial", DEFAULT_RETRY_INITIAL))
    longest = _duration(retry.get("max", DEFAULT_RETRY_MAX))
    if first and longest and first > longest:
        findings.error(
            "timeout-contradiction",
            f"the first delay ({retry.get('initial', DEFAULT_RETRY_INITIAL)}) is longer than the "
            f"longest ({retry.get('max', DEFAULT_RETRY_MAX)})",
            (*place, "max" if "max" in retry else "initial"),
        )
    if "factor" in retry and retry.get("backoff", Backoff.EXPONENTIAL) != Backoff.EXPONENTIAL:
        findings.warning(
            "retry-ignored",
            f"a {retry['backoff']} delay does not grow by a factor",
            (*place, "factor"),
            hint="leave it out, or say backoff: exponential",
        )
    once, never = retry.get("on", []), retry.get("never_on", [])
    if isinstance(once, list) and isinstance(never, list):
        for number, one in enumerate(never):
            if one in once:
                findings.warning(
                    "retry-ignored",
                    f"{one} stands in `on` too; it is never repeated",
                    (*place, "never_on", number),
                    hint="leave it in one of them",
                )


def _duration(text: Json) -> Duration | None:
    return parse_duration(text) if isinstance(text, str) else None


def _check_workflow(document: Document, step: Step, findings: Findings) -> None:
    written = step.value.get("workflow")
    name = written.partition("@")[0] if isinstance(written, str) else None
    if name is not None and name == document.value.get("name"):
        findings.error(
            "workflow-recursion", f"{name} would start itself without end", step.place("workflow")
        )

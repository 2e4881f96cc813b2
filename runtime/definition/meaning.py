"""What a document means, beyond its form: names that must exist, paths that must be possible.

Called by validate after the document was read; every check reports and none stops the others.
"""

from __future__ import annotations

from runtime.definition.document import Document, Step
from runtime.definition.finding import Findings, Path
from runtime.definition.graph import Graph
from runtime.definition.language import NOT_RUN_KEYS, NOT_RUN_KINDS, NOT_RUN_STEP_KEYS
from runtime.definition.shape import kind_of, parse_duration
from runtime.definition.waits import check_wait
from runtime.expression import (
    ExpressionError,
    constant_condition,
    has_expression,
    inspect_template,
    write_path,
)
from runtime.model.plan import StepKind
from runtime.model.values import Duration, Json

DEFAULT_RETRY_INITIAL = "1s"
DEFAULT_RETRY_MAX = "60s"


def check_meaning(
    document: Document, graph: Graph, findings: Findings, *, publishing: bool
) -> None:
    """All checks that need neither references nor connectors."""
    _check_top(document, findings, publishing=publishing)
    for position, step in enumerate(graph.steps):
        findings.step = step.id or None
        _check_runs(step, findings, publishing=publishing)
        _check_condition(step, findings)
        _check_times(document, step, findings)
        match step.kind:
            case StepKind.GATEWAY:
                _check_gateway(graph, position, step, findings)
            case StepKind.MAP:
                _check_map(document, step, findings)
            case StepKind.WAIT:
                check_wait(document, step, findings)
            case StepKind.WORKFLOW:
                _check_workflow(document, step, findings)
            case _:
                pass
    findings.step = None
    _check_unchosen(graph, findings)


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


def _check_runs(step: Step, findings: Findings, *, publishing: bool) -> None:
    if step.kind in NOT_RUN_KINDS:
        message = f"{step.kind.value} steps are not run by this version; they can be validated, not published"
        _not_yet(findings, message, step.place("type"), publishing=publishing, on_key=False)
    if step.kind is StepKind.WAIT and "signal" in step.value:
        message = "signals are not sent by this version; the step can be validated, not published"
        _not_yet(findings, message, step.place("signal"), publishing=publishing, on_key=True)
    for key in NOT_RUN_STEP_KEYS:
        if key in step.value:
            message = (
                f"{key} is not carried out by this version; it can be validated, not published"
            )
            _not_yet(findings, message, step.place(key), publishing=publishing, on_key=True)


def _check_condition(step: Step, findings: Findings) -> None:
    if "when" in step.value and _always(step.value["when"]) is False:
        findings.error(
            "unreachable-step", "this step can never run: its condition is always false",
            step.place("when"), hint="remove the step or its condition",
        )  # fmt: skip


def _always(condition: Json) -> bool | None:
    try:
        return constant_condition(condition)
    except ExpressionError:
        return None


def _check_times(document: Document, step: Step, findings: Findings) -> None:
    retry = step.value.get("retry")
    if isinstance(retry, dict):
        _check_retry(retry, step.place("retry"), findings)
        if step.value.get("effect") == "at_most_once" and retry.get("max_attempts") != 1:
            findings.warning(
                "retry-ignored", "a step with effect at_most_once is never repeated by itself",
                step.place("retry"), hint="say effect: idempotent if a second call does no harm",
            )  # fmt: skip
    whole, own = _duration(document.value.get("timeout")), _duration(step.value.get("timeout"))
    if whole and own and own > whole:
        findings.warning(
            "timeout-contradiction",
            f"this step may take longer ({step.value['timeout']}) than the whole execution "
            f"({document.value['timeout']})",
            step.place("timeout"),
        )
    sla = _duration(step.value.get("sla"))
    if sla and own and sla > own:
        findings.warning(
            "timeout-contradiction",
            f"an answer is due (sla {step.value['sla']}) only after the step has timed out "
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


def _duration(text: Json) -> Duration | None:
    return parse_duration(text) if isinstance(text, str) else None


def targets(step: Step) -> list[tuple[str, Path]]:
    """The steps that a gateway's cases name, and where."""
    out: list[tuple[str, Path]] = []
    cases = step.raw.get("cases")
    for index, case in enumerate(cases if isinstance(cases, list) else []):
        for key in ("then", "else"):
            written = case.get(key) if isinstance(case, dict) else None
            place = step.place("cases", index, key)
            if isinstance(written, list):
                out += [(one, (*place, i)) for i, one in enumerate(written) if isinstance(one, str)]
            elif isinstance(written, str):
                out.append((written, place))
    return out


def _check_gateway(graph: Graph, position: int, step: Step, findings: Findings) -> None:
    for name, place in targets(step):
        target = graph.index_of.get(name)
        if target is None:
            findings.error(
                "unknown-step", f"there is no step {name!r}", place,
                hint=findings.near(name, graph.index_of),
            )  # fmt: skip
        elif not graph.is_upstream(position, target):
            findings.error(
                "gateway-target", f"{name} does not come after {step.id}, so {step.id} can't choose it",
                place, hint=f"write depends_on: [{step.id}] at {name}",
            )  # fmt: skip
    cases = step.value.get("cases")
    listed = [one for one in cases if isinstance(one, dict)] if isinstance(cases, list) else []
    for index, case in enumerate(listed):
        if "else" in case and ("when" in case or "then" in case or index != len(listed) - 1):
            findings.error(
                "gateway-case", "else stands alone, in the last case", step.place("cases", index)
            )
        elif "else" not in case and not ("when" in case and "then" in case):
            findings.error("gateway-case", "a case has when and then", step.place("cases", index))


def _check_unchosen(graph: Graph, findings: Findings) -> None:
    """A step right behind a gateway that no case leads to would wait for ever."""
    for position, gateway in enumerate(graph.steps):
        if gateway.kind is not StepKind.GATEWAY:
            continue
        chosen = {name for name, _ in targets(gateway)}
        for successor in graph.successors[position]:
            step = graph.steps[successor]
            if (
                step.id in chosen
                or len(graph.needs[successor]) > 1
                or _always(step.value.get("when")) is False
            ):
                continue
            findings.step = step.id
            findings.error(
                "unreachable-step", f"this step can never run: no case of {gateway.id} leads to it",
                step.place("depends_on"), hint=f"name it in a case of {gateway.id}",
            )  # fmt: skip
    findings.step = None


def _check_map(document: Document, step: Step, findings: Findings) -> None:
    value = step.value.get("for_each")
    if value is None:
        return
    if isinstance(value, str) and has_expression(value):
        kind = _known_type(document, value)
        if kind is not None and kind != "array":
            findings.error(
                "map-without-list", f"this is of type {kind}, not a list", step.place("for_each")
            )
    elif not isinstance(value, list):
        findings.error(
            "map-without-list", f"a map goes over a list, not {kind_of(value)}", step.place("for_each"),
            hint="write an expression that gives a list",
        )  # fmt: skip


def _known_type(document: Document, text: str) -> str | None:
    """The declared type of a template that is one param."""
    try:
        references = inspect_template(text).references
    except ExpressionError:
        return None
    params = document.value.get("params")
    properties = params.get("properties") if isinstance(params, dict) else None
    if len(references) != 1 or not isinstance(properties, dict):
        return None
    path = references[0].path
    if path[:1] != ("params",) or text.strip() != "{{ " + write_path(path[:2]) + " }}":
        return None
    schema = properties.get(str(path[1]))
    kind = schema.get("type") if isinstance(schema, dict) else None
    return kind if isinstance(kind, str) else None


def _check_workflow(document: Document, step: Step, findings: Findings) -> None:
    written = step.value.get("workflow")
    name = written.partition("@")[0] if isinstance(written, str) else None
    if name is not None and name == document.value.get("name"):
        findings.error(
            "workflow-recursion", f"{name} would start itself without end", step.place("workflow")
        )

"""Ways through the graph that a step chooses: cases of gateways, what follows an error, joins.

Whoever is chosen must come after the one that chooses, and whoever waits for a choice must be one.
"""

from __future__ import annotations

from typing import Final

from runtime.definition.document import Step
from runtime.definition.finding import Findings, Path
from runtime.definition.graph import Graph
from runtime.expression import ExpressionError, constant_condition
from runtime.model.plan import StepKind
from runtime.model.values import Json

_GOING: Final = ("on_error", "on_expiry")
_LATER: Final = "name a step that comes right after this one"


def never_holds(condition: Json, findings: Findings) -> bool:
    """Whether a condition is false whatever happens."""
    try:
        return constant_condition(condition, findings.may_compute) is False
    except ExpressionError:
        return False


def targets(step: Step) -> list[tuple[str, Path]]:
    """The steps that a gateway's cases name, and where."""
    out: list[tuple[str, Path]] = []
    cases = step.raw.get("cases")
    if cases is None:
        return out
    for index, case in enumerate(cases if isinstance(cases, list) else []):
        for key in ("then", "else"):
            written = case.get(key) if isinstance(case, dict) else None
            place = step.place("cases", index, key)
            if isinstance(written, list):
                out += [(one, (*place, i)) for i, one in enumerate(written) if isinstance(one, str)]
            elif isinstance(written, str):
                out.append((written, place))
    return out


def gotos(step: Step) -> list[tuple[str, Path]]:
    """The steps that are gone to when this one failed or expired, and where that is written."""
    out: list[tuple[str, Path]] = []
    for key in _GOING:
        rule = step.value.get(key)
        name = rule.get("goto") if isinstance(rule, dict) else None
        if isinstance(name, str):
            out.append((name, step.place(key, "goto")))
    return out


def check_gotos(graph: Graph, position: int, step: Step, findings: Findings) -> None:
    """`on_error` and `on_expiry` say one thing, and go to a step that comes later."""
    rule = step.value.get("on_error")
    if isinstance(rule, dict):
        if ("action" in rule) == ("goto" in rule):
            message = "on_error says an action or a step to go to, one of them"
            findings.error("on-error", message, step.place("on_error"))
        elif "output" in rule and rule.get("action") != "continue":
            message = "an output is only taken when on_error continues"
            findings.error("on-error", message, step.place("on_error", "output"))
    for name, place in gotos(step):
        _check_target(graph, position, name, place, "goto-target", findings)


def check_join(graph: Graph, position: int, step: Step, findings: Findings) -> None:
    """A join can't wait for more steps than there are."""
    join, count = step.value.get("join"), len(graph.needs[position])
    wanted = join if isinstance(join, int) else 1
    if join is not None and wanted > count:
        findings.error(
            "join", f"this waits for {wanted} of {count} steps", step.place("join"),
            hint="name the steps in depends_on",
        )  # fmt: skip


def check_gateway(graph: Graph, position: int, step: Step, findings: Findings) -> None:
    """Cases that are whole, and lead to steps that come later."""
    for name, place in targets(step):
        _check_target(graph, position, name, place, "gateway-target", findings)
    cases = step.value.get("cases")
    listed = [one for one in cases if isinstance(one, dict)] if isinstance(cases, list) else []
    for index, case in enumerate(listed):
        if "else" in case and ("when" in case or "then" in case or index != len(listed) - 1):
            findings.error(
                "gateway-case", "else stands alone, in the last case", step.place("cases", index)
            )
        elif "else" not in case and not ("when" in case and "then" in case):
            findings.error("gateway-case", "a case has when and then", step.place("cases", index))


def check_unchosen(graph: Graph, findings: Findings) -> None:
    """A step right behind a gateway that no case leads to would wait for ever."""
    for position, gateway in enumerate(graph.steps):
        if gateway.kind is not StepKind.GATEWAY:
            continue
        listed = {name for name, _ in targets(gateway)} | {name for name, _ in gotos(gateway)}
        for successor in graph.successors[position]:
            step = graph.steps[successor]
            if (
                step.id in listed
                or len(graph.needs[successor]) > 1
                or never_holds(step.value.get("when", True), findings)
            ):
                continue
            findings.step = step.id
            findings.error(
                "unreachable-step", f"this step can never run: no case of {gateway.id} leads to it",
                step.place("depends_on"), hint=f"name it in a case of {gateway.id}",
            )  # fmt: skip
    findings.step = None


def _check_target(
    graph: Graph, position: int, name: str, place: Path, rule: str, findings: Findings
) -> None:
    step = graph.steps[position]
    target = graph.index_of.get(name)
    if target is None:
        findings.error(
            "unknown-step", f"there is no step {name!r}", place,
            hint=findings.near(name, graph.index_of),
        )  # fmt: skip
    elif target == position:
        findings.error(rule, f"{step.id} can't choose itself", place, hint=_LATER)
    elif graph.is_upstream(target, position):
        message = f"{name} comes before {step.id}, so {step.id} can't choose it"
        findings.error(rule, message, place, hint=_LATER)
    elif not graph.is_needed(position, target):
        findings.error(
            rule, f"{name} does not come right after {step.id}, so {step.id} can't choose it", place,
            hint=f"write depends_on: [{step.id}] at {name}",
        )  # fmt: skip

"""What `cache` may stand on: a step that makes a call whose input nobody has to keep secret."""

from __future__ import annotations

from runtime.definition.document import Document, Step
from runtime.definition.finding import Findings
from runtime.model.plan import StepKind


def secrets_by_step(document: Document) -> dict[int, str]:
    """A secret that the input of each step reads, of those that read one."""
    found: dict[int, str] = {}
    for use in document.uses:
        if use.area != "with" or use.step is None or "compensate" in use.path:
            continue
        for reference in use.references:
            root, *rest = reference.path
            if root == "secrets" and rest:
                found.setdefault(use.step, str(rest[0]))
    return found


def check_cache(step: Step, secret: str | None, findings: Findings) -> None:
    """No child, no secret in the input, no key for the items of a map, and nothing that can be undone."""
    cache = step.value.get("cache")
    if step.kind is StepKind.WORKFLOW:
        findings.error(
            "cache", "a workflow step starts an execution, which an output can't stand for",
            step.place("cache"), on_key=True, hint="write cache at the steps of its workflow",
        )  # fmt: skip
    if step.kind is StepKind.MAP and isinstance(cache, dict) and "key" in cache:
        findings.error(
            "cache", "a key would be the same for all items of the map", step.place("cache", "key"),
            on_key=True, hint="leave it out: each item is known by its input",
        )  # fmt: skip
    if "compensate" in step.value:
        findings.error(
            "cache", "what undoes it would undo the call of another execution, or give again what was undone",
            step.place("cache"), on_key=True, hint="leave out cache, or compensate",
        )  # fmt: skip
    if secret is not None:
        findings.error(
            "cache", f"its input has the secret {secret}, so its output is for nobody else",
            step.place("cache"), on_key=True, hint="leave cache out, or read the secret in another step",
        )  # fmt: skip

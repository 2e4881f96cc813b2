"""What a document calls by name: other workflows, agents, secrets. They must exist where it will run.

A workflow may be written before the one that it calls, so that is a warning until it is published;
secrets and agents may be there on other machines, so theirs are warnings always.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final

from runtime.abi.surroundings import KnownWorkflow, Surroundings
from runtime.definition.document import Document
from runtime.definition.finding import Findings, Path
from runtime.definition.language import NAME
from runtime.model.plan import StepKind
from runtime.model.values import Json, SemVer

_NAME: Final = re.compile(NAME)
_LONGEST: Final = 100  # Letters of a name.
_RANGE: Final = re.compile(r"([\^~]?)(\d+)(?:\.(\d+))?(?:\.(\d+))?")


def called(definition: Json) -> frozenset[str]:
    """The names of the workflows that a canonical definition calls."""
    if not isinstance(definition, dict):
        return frozenset()
    steps: Any = definition.get("steps")
    found = {one.get("workflow") for one in steps or () if isinstance(one, dict)}
    after = definition.get("on_failure")
    if isinstance(after, dict):
        found.add(after.get("workflow"))
    return frozenset(one.partition("@")[0] for one in found if isinstance(one, str))


def check_calls(
    document: Document, known: Surroundings, findings: Findings, *, publishing: bool
) -> None:
    """The document's own name and everything that is called by name, as far as the surroundings are known."""
    check_name(document, known, findings)
    if known.secrets is not None:
        _check_secrets(document, known.secrets, findings)
    if known.agents is not None:
        _check_agents(document, known.agents, findings)
    if known.workflows is not None:
        report = findings.error if publishing else findings.warning
        for step, written, place in _workflow_calls(document):
            findings.step = step
            name, _, wanted = written.partition("@")
            one = known.workflows.get(name)
            if name == document.value.get("name"):
                continue
            if one is None or not one.versions:
                hint = findings.near(name, known.workflows)
                report(
                    "unknown-workflow", f"there is no published workflow {name!r}", place, hint=hint
                )
            elif not any(fits(version, wanted) for version in one.versions):
                newest = max(one.versions)
                report("unknown-workflow", _without_fit(name, wanted, newest), place)
            _check_recursion(document, name, known.workflows, place, findings)
        findings.step = None


def check_name(document: Document, known: Surroundings, findings: Findings) -> None:
    """That a document is named as the workflow that it is written for, where one is."""
    written, wanted = document.value.get("name"), known.name
    if isinstance(written, str) and wanted is not None and written != wanted:
        place = ("metadata", "name") if document.camel else ("name",)
        message = f"this document is named {written!r}, the workflow {wanted[:_LONGEST]!r}"
        # By the one that a workflow can have: what is written was judged already.
        can_be = _NAME.fullmatch(wanted) is not None
        hint = f"name it {wanted!r} here too" if can_be else f"save it as {written!r}"
        findings.error("name-mismatch", message, place, hint=hint)


def fits(version: SemVer, wanted: str) -> bool:
    """Whether a version lies in a range: `1.2`, `^1.2` (up to 2), `~1.2` (up to 1.3); empty is any. Never a preview."""
    if version.prerelease:
        return False
    match = _RANGE.fullmatch(wanted)
    if match is None:
        return not wanted
    sign, *written = match.groups()
    parts = tuple(int(one) for one in written if one is not None)
    have = (version.major, version.minor, version.patch)
    kept = {"^": 1, "~": min(2, len(parts))}.get(sign, len(parts))
    return have[:kept] == parts[:kept] and have[: len(parts)] >= parts


def _without_fit(name: str, wanted: str, newest: SemVer) -> str:
    if wanted:
        return f"no published version of {name} fits {wanted!r}; the newest is {newest}"
    return f"{name} has only previews, and none is started; the newest is {newest}"


def _workflow_calls(document: Document) -> Iterator[tuple[str | None, str, Path]]:
    for step in document.steps:
        written = step.value.get("workflow")
        if step.kind is StepKind.WORKFLOW and isinstance(written, str):
            yield step.id or None, written, step.place("workflow")
    after = document.value.get("on_failure")
    written = after.get("workflow") if isinstance(after, dict) else None
    if isinstance(written, str):
        yield None, written, document.place("on_failure", "workflow")


def _check_recursion(
    document: Document,
    name: str,
    workflows: Any,
    place: Path,
    findings: Findings,
) -> None:
    """A circle of calls that leads back here."""
    start = document.value.get("name")
    trails: list[tuple[str, ...]] = [(name,)]
    seen = {name}
    while trails:
        trail = trails.pop()
        one: KnownWorkflow | None = workflows.get(trail[-1])
        for following in sorted(one.calls) if one is not None else ():
            if following == start:
                way = " -> ".join((str(start), *trail, str(start)))
                message = f"these workflows would start each other without end: {way}"
                findings.error("workflow-recursion", message, place)
                return
            if following not in seen:
                seen.add(following)
                trails.append((*trail, following))


def _check_secrets(document: Document, known: frozenset[str], findings: Findings) -> None:
    for use in document.uses:
        for reference in use.references if use.area == "with" else ():
            root, *rest = reference.path
            name = str(rest[0]) if root == "secrets" and rest else None
            if name is not None and name not in known:
                hint = findings.near(name, known) or "add it to the secrets file of the workers"
                findings.warning(
                    "unknown-secret", f"the secret {name} is not defined here",
                    (*use.path, *reference.at), hint=hint,
                )  # fmt: skip


def _check_agents(document: Document, known: frozenset[str], findings: Findings) -> None:
    for step in document.steps:
        name = step.value.get("agent")
        if step.kind is StepKind.AGENT_TASK and isinstance(name, str) and name not in known:
            findings.step = step.id or None
            findings.warning(
                "unknown-agent", f"there is no agent {name!r} registered here", step.place("agent"),
                hint=findings.near(name, known),
            )  # fmt: skip
    findings.step = None

"""Publishing over the graph: of a file the draft is made or brought up to date, then it becomes a version."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import Any

from maestro_cli.client import Client, check_payload
from maestro_cli.documents import read_definition
from maestro_cli.errors import CliError, Place
from maestro_cli.names import id_of
from maestro_cli.options import Options
from maestro_cli.output import word


@dataclass(frozen=True, slots=True)
class Published:
    """What came of it: the workflow's name, the version, its digest, and what it changes."""

    name: str
    version: str
    digest: str
    workflow_id: str
    created: bool
    diff: dict[str, Any] | None


@dataclass(frozen=True, slots=True)
class Wish:
    """What the caller says about the version."""

    bump: str | None = None
    version: str | None = None
    changelog: str | None = None
    may_be_smaller: bool = False


def publish_file(
    client: Client, options: Options, file: str, wish: Wish | None = None
) -> Published:
    """Publish a file and say what came of it; findings are shown on standard error."""
    source, form = read_definition(file)
    name, namespace = _name_of(file, source, form)
    target = {"name": name, "namespace": client.server.namespace or namespace}
    saved = _save(client, options, target, source, form, file)
    draft = saved["draft"] or {}
    return _publish(client, saved["id"], wish or Wish(), digest=draft.get("digest"), file=file)


def publish_draft(client: Client, workflow: str, wish: Wish) -> Published:
    """Publish the draft that a workflow has on the server."""
    return _publish(client, id_of(client, workflow), wish, digest=None, file=None)


def change_lines(diff: dict[str, Any] | None) -> list[str]:
    """What a version changes since the release before it, for people."""
    if diff is None:
        return []
    counts = [
        f"{len(diff[what])} {what}"
        for what in ("added", "removed", "changed", "moved")
        if diff[what]
    ]
    steps = f"steps: {', '.join(counts)}" if counts else "no step differs"
    head = f"since {diff['from']['version']}: {steps}; {word(diff['compatibility'])}"
    return [head, *(f"  {one['rule']}: {one['message']}" for one in diff["effects"])]


def _publish(
    client: Client, workflow_id: str, wish: Wish, *, digest: str | None, file: str | None
) -> Published:
    values = {
        "workflowId": workflow_id,
        "expectedDigest": digest,
        "bump": wish.bump.upper() if wish.bump else None,
        "version": wish.version,
        "allowSmaller": wish.may_be_smaller or None,
        "changelog": wish.changelog,
    }
    payload = client.run("publish_workflow", input=values)["publishWorkflow"]
    check_payload(payload, file=file)
    made, workflow = payload["version"], payload["workflow"]
    return Published(
        workflow["name"],
        made["version"],
        made["digest"],
        workflow["id"],
        created=payload["created"],
        diff=payload["diff"],
    )


def _save(
    client: Client, options: Options, target: dict[str, Any], source: str, form: str, file: str
) -> dict[str, Any]:
    """Create the workflow, or update its draft when it is there."""
    found = client.run("find_workflow", **target)["workflow"]
    values: dict[str, Any] = {"source": source, "format": form}
    if found is None:
        payload = client.run("create_workflow", input={**target, **values})["createWorkflow"]
    else:
        payload = client.run("update_workflow", input={"workflowId": found["id"], **values})[
            "updateWorkflow"
        ]
    for finding in payload["findings"]:
        if not options.quiet and finding["severity"] != "ERROR":
            print(finding_line(file, finding), file=sys.stderr)
    check_payload(payload, file=file)
    saved: dict[str, Any] = payload["workflow"]
    return saved


def finding_line(file: str, finding: dict[str, Any]) -> str:
    """`file:line:column: severity rule: message`."""
    place = Place(file, finding.get("line") or 1, finding.get("column") or 1)
    return f"{place}: {finding['severity'].lower()} {finding['rule']}: {finding['message']}"


def _name_of(file: str, source: str, form: str) -> tuple[str, str | None]:
    """The name that the document gives itself, in either spelling, and its namespace."""
    from runtime.definition import validate
    from runtime.model.workflow import DefinitionFormat

    result = validate(source, DefinitionFormat(form.lower()), {})
    if result.name is None:
        first = result.problems[0] if result.problems else None
        raise CliError(
            first.message if first else f"{file} names no workflow.",
            code="VALIDATION_FAILED",
            place=Place(file, first.line, first.column) if first else Place(file),
            hint=first.hint if first else "add `name:`",
        )
    return result.name, result.plan.namespace if result.plan else None

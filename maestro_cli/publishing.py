"""Publishing a definition file over the graph: the draft is made or brought up to date, then becomes a version."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import Any

from maestro_cli.client import Client, check_payload
from maestro_cli.documents import read_definition
from maestro_cli.errors import CliError, Place
from maestro_cli.options import Options


@dataclass(frozen=True, slots=True)
class Published:
    """What came of a file: the workflow's name, the version and its digest."""

    name: str
    version: str
    digest: str
    workflow_id: str


def publish_file(
    client: Client,
    options: Options,
    file: str,
    *,
    bump: str | None = None,
    version: str | None = None,
    changelog: str | None = None,
) -> Published:
    """Publish a file and say what came of it; findings are shown on standard error."""
    source, form = read_definition(file)
    name, namespace = _name_of(file, source, form)
    target = {"name": name, "namespace": client.server.namespace or namespace}
    saved = _save(client, options, target, source, form, file)
    values = {
        "workflowId": saved["id"],
        "expectedDigest": (saved["draft"] or {}).get("digest"),
        "bump": bump.upper() if bump else None,
        "version": version,
        "changelog": changelog,
    }
    payload = client.run(
        "publish_workflow", input={k: v for k, v in values.items() if v is not None}
    )["publishWorkflow"]
    check_payload(payload, file=file)
    made = payload["version"]
    return Published(
        payload["workflow"]["name"], made["version"], made["digest"], payload["workflow"]["id"]
    )


def _save(
    client: Client, options: Options, target: dict[str, Any], source: str, form: str, file: str
) -> dict[str, Any]:
    """Create the workflow, or update its draft when it is there."""
    found = client.run("find_workflow", **target)["workflow"]
    values: dict[str, Any] = {"source": source, "format": form}
    if found is None:
        named = {key: value for key, value in target.items() if value is not None}
        payload = client.run("create_workflow", input={**named, **values})["createWorkflow"]
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

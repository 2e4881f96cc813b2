"""How people name a workflow and a version of it, and what is said when there is none."""

from __future__ import annotations

import re
from typing import Any, Final

from maestro_cli.client import Client
from maestro_cli.errors import CliError, usage

_UUID: Final = re.compile(r"(?:wf_)?[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)


def reference(client: Client, workflow: str) -> dict[str, Any]:
    """How the graph is asked for a workflow that a user named by id, or by name in the namespace in use."""
    if _UUID.fullmatch(workflow):
        return {"id": workflow}
    return {"name": workflow, "namespace": client.server.namespace}


def id_of(client: Client, workflow: str) -> str:
    """The id of a workflow that a user named; raises CliError when there is none."""
    found = client.run("find_workflow", **reference(client, workflow))["workflow"]
    if found is None:
        raise unknown(workflow)
    return str(found["id"])


def named(target: str) -> tuple[str, str | None]:
    """`NAME[@VERSION]` as its two parts; what is no version is refused."""
    workflow, separator, version = target.partition("@")
    if not separator:
        return workflow, None
    check_version(target, version)
    return workflow, version


def unknown(workflow: str) -> CliError:
    """The error for a workflow that is not there."""
    return CliError(
        f"There is no workflow {workflow!r}.",
        code="NOT_FOUND",
        reason="WORKFLOW_NOT_FOUND",
        hint="see `mc workflows list`",
    )


def check_version(target: str, version: str) -> None:
    """What is no version is refused in the words that were typed, before anybody is asked."""
    from runtime.model.values import SemVer

    try:
        SemVer.parse(version)
    except ValueError as error:
        raise usage(f"{target}, version {version!r}: {error}.") from error

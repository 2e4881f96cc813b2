"""`mc workflows`: what is published, what is a draft, and the end of versions and workflows."""

from __future__ import annotations

from typing import Any, Final

import click

from maestro_cli.client import Client, check_payload
from maestro_cli.errors import usage
from maestro_cli.groups import VerbGroup
from maestro_cli.migrating import OPEN, show_migration
from maestro_cli.names import check_version, id_of, named, reference, unknown
from maestro_cli.options import Options
from maestro_cli.output import Column, print_document, show_fields, show_one, show_rows, word
from maestro_cli.paging import collect
from maestro_cli.verbs.bulk import do_to_all

_COLUMNS: Final = (
    Column("NAME", "name"),
    Column("VERSION", "currentVersion.version"),
    Column("STATUS", "status", "status"),
    Column("UPDATED", "updatedAt", "time"),
    Column("ID", "id", wide=True),
    Column("DIGEST", "currentVersion.digest", wide=True),
)
_VERSION_COLUMNS: Final = (
    Column("VERSION", "version"),
    Column("STATE", "state", "status"),
    Column("PUBLISHED", "publishedAt", "time"),
    Column("BY", "publishedBy.subject"),
    Column("DIGEST", "digest", wide=True),
    Column("CHANGELOG", "changelog", wide=True),
)
_LIMIT = click.option(
    "--limit", type=click.IntRange(1), default=50, show_default=True, help="At most so many."
)


_REASON = click.option("--reason", metavar="TEXT", help="Why; stands on the event.")


@click.group(cls=VerbGroup)
def workflows() -> None:
    """Workflows: names with a draft and immutable versions."""


@workflows.command("list")
@click.option(
    "--status",
    multiple=True,
    type=click.Choice(["draft", "published", "archived"]),
    help="Repeatable.",
)
@click.option("--name", "contains", metavar="TEXT", help="Only names that contain this.")
@_LIMIT
@click.pass_obj
def list_(options: Options, status: tuple[str, ...], contains: str | None, limit: int) -> None:
    """List workflows by name."""
    client = Client.of(options)
    wanted: dict[str, Any] = {
        "status": [s.upper() for s in status] or None,
        "nameContains": contains,
    }
    filter = {name: value for name, value in wanted.items() if value is not None}  # noqa: A001 - the graph's word
    rows = collect(
        lambda size, after: client.run("list_workflows", filter=filter, first=size, after=after)[
            "workflows"
        ],
        limit,
    )
    show_rows(
        options,
        rows,
        _COLUMNS,
        name="name",
        empty="No workflows; publish one with `mc publish FILE`.",
    )


@workflows.command()
@click.argument("workflow", metavar="NAME|ID")
@click.pass_obj
def get(options: Options, workflow: str) -> None:
    """Show one workflow and the steps of its current version."""
    client = Client.of(options)
    found = client.run("get_workflow", **reference(client, workflow))["workflow"]
    if found is None:
        raise unknown(workflow)
    show_one(options, found, lambda: _draw(found), name="name")


@workflows.command()
@click.argument("workflow", metavar="NAME|ID")
@_LIMIT
@click.pass_obj
def versions(options: Options, workflow: str, limit: int) -> None:
    """List the versions of a workflow, newest first."""
    client = Client.of(options)

    def fetch(size: int, after: str | None) -> dict[str, Any]:
        found = client.run(
            "list_workflow_versions", first=size, after=after, **reference(client, workflow)
        )["workflow"]
        if found is None:
            raise unknown(workflow)
        page: dict[str, Any] = found["versions"]
        return page

    show_rows(
        options,
        collect(fetch, limit),
        _VERSION_COLUMNS,
        name="version",
        empty="No version is published yet.",
    )


@workflows.command()
@click.argument("target", metavar="NAME@VERSION")
@_REASON
@click.pass_obj
def deprecate(options: Options, target: str, reason: str | None) -> None:
    """Deprecate a version: it is taken only by those who name it."""
    workflow, version = named(target)
    if version is None:
        raise usage(f"Name the version, like {workflow}@1.2.0.")
    _end_version(
        options,
        "deprecate_workflow_version",
        "deprecateWorkflowVersion",
        (workflow, version),
        reason,
    )


@workflows.command()
@click.argument("target", metavar="NAME[@VERSION]")
@_REASON
@click.pass_obj
def archive(options: Options, target: str, reason: str | None) -> None:
    """Archive a workflow for good, or one deprecated version: it starts no executions any more."""
    workflow, version = named(target)
    if version is not None:
        name, field = "archive_workflow_version", "archiveWorkflowVersion"
        _end_version(options, name, field, (workflow, version), reason)
        return
    client = Client.of(options)
    values = {"workflowId": id_of(client, workflow), "reason": reason}
    payload = client.run("archive_workflow", input=values)["archiveWorkflow"]
    check_payload(payload)
    found = payload["workflow"]
    show_one(options, found, lambda: print(f"{found['name']} {word(found['status'])}"), name="name")


@workflows.command()
@click.argument("workflow", metavar="NAME|ID")
@_REASON
@click.pass_obj
def delete(options: Options, workflow: str, reason: str | None) -> None:
    """Delete a draft of which no version was ever published; anything else is archived."""
    client = Client.of(options)
    values = {"workflowId": id_of(client, workflow), "reason": reason}
    payload = client.run("delete_workflow", input=values)["deleteWorkflow"]
    check_payload(payload)
    if options.is_document:
        print_document(options, {"deletedId": payload["deletedId"]})
    else:
        print(payload["deletedId"] if options.format == "name" else f"{workflow} deleted")


@workflows.command()
@click.argument("workflow", metavar="NAME|ID")
@click.option("--from", "before", metavar="VERSION", required=True, help="What they run now.")
@click.option("--to", "after", metavar="VERSION", required=True, help="What they would go on with.")
@_REASON
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--dry-run", is_flag=True, help="Only say what each would come to.")
@click.option("--no-wait", is_flag=True, help="Print the id, and do not wait for its end.")
@click.pass_obj
def migrate(
    options: Options, /, workflow: str, before: str, after: str, *, dry_run: bool, **asked: Any
) -> None:
    """Let executions that have not ended go on with another version, those for which that is safe."""
    for version in (before, after):
        check_version(f"{workflow}@{version}", version)
    if dry_run:
        show_migration(options, workflow, before, after)
        return
    if not options.is_document and options.format != "name" and not asked["yes"]:
        show_migration(options, workflow, before, after)
    id = id_of(Client.of(options), workflow)  # noqa: A001 - the graph's word
    wanted = {"workflowId": [id], "version": before, "status": list(OPEN)}
    do_to_all(options, {"type": "MIGRATE", "toVersion": after}, wanted, **asked)


def _end_version(
    options: Options, name: str, field: str, target: tuple[str, str], reason: str | None
) -> None:
    client = Client.of(options)
    workflow, version = target
    values = {"workflowId": id_of(client, workflow), "version": version, "reason": reason}
    payload = client.run(name, input=values)[field]
    check_payload(payload)
    changed, current = payload["version"], payload["workflow"]["currentVersion"]
    shown = {"name": payload["workflow"]["name"], **changed, "currentVersion": current}

    def draw() -> None:
        rest = f"current is {current['version']}" if current else "no version is current"
        print(f"{shown['name']}@{changed['version']} {word(changed['state'])}; {rest}")

    show_one(options, shown, draw, name="name")


def _draw(found: dict[str, Any]) -> None:
    current = found["currentVersion"] or {}
    show_fields(
        {
            "name": found["name"],
            "id": found["id"],
            "status": word(found["status"]),
            "version": current.get("version"),
            "digest": current.get("digest"),
            "description": found["description"],
            "labels": ", ".join(f"{label['key']}={label['value']}" for label in found["labels"])
            or None,
            "created": f"{found['createdAt']} by {found['createdBy']['subject']}",
            "updated": found["updatedAt"],
        }
    )
    for step in current.get("steps", ()):
        after = f"  after {', '.join(step['dependsOn'])}" if step["dependsOn"] else ""
        print(f"  {step['key']}  {step['type']}{after}")

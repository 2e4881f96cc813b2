"""`mc publish FILE`: a definition file becomes an immutable version."""

from __future__ import annotations

import click

from maestro_cli.client import Client
from maestro_cli.groups import Verb
from maestro_cli.names import check_version
from maestro_cli.options import Options
from maestro_cli.output import print_document
from maestro_cli.publishing import publish_file


@click.command(cls=Verb)
@click.argument("file")
@click.option(
    "--bump", type=click.Choice(["major", "minor", "patch"]), help="When the file names no version."
)
@click.option("--version", "wanted", metavar="SEMVER", help="When the file names no version.")
@click.option(
    "--changelog", metavar="TEXT", help="What changed, for readers of the list of versions."
)
@click.pass_obj
def publish(
    options: Options, file: str, bump: str | None, wanted: str | None, changelog: str | None
) -> None:
    """Publish a definition file; prints name, version and digest. The same content twice is the same version."""
    if wanted is not None:
        check_version(file, wanted)
    done = publish_file(
        Client.of(options), options, file, bump=bump, version=wanted, changelog=changelog
    )
    if options.is_document:
        print_document(
            options,
            {
                "name": done.name,
                "version": done.version,
                "digest": done.digest,
                "workflowId": done.workflow_id,
            },
        )
    else:
        print(
            f"{done.name}@{done.version}"
            if options.format == "name"
            else f"{done.name} {done.version} {done.digest}"
        )

"""`mc publish FILE|NAME`: a definition file, or the draft on the server, becomes an immutable version."""

from __future__ import annotations

import click

from maestro_cli.client import Client
from maestro_cli.documents import looks_like_file
from maestro_cli.groups import Verb
from maestro_cli.names import check_version
from maestro_cli.options import Options
from maestro_cli.output import lowered, print_document
from maestro_cli.publishing import Published, Wish, change_lines, publish_draft, publish_file


@click.command(cls=Verb)
@click.argument("target", metavar="FILE|NAME")
@click.option(
    "--bump", type=click.Choice(["major", "minor", "patch"]), help="When the file names no version."
)
@click.option("--version", "wanted", metavar="SEMVER", help="When the file names no version.")
@click.option("--yes", is_flag=True, help="Also when the number tells of less than has changed.")
@click.option(
    "--changelog", metavar="TEXT", help="What changed, for readers of the list of versions."
)
@click.pass_obj
def publish(
    options: Options,
    target: str,
    bump: str | None,
    wanted: str | None,
    yes: bool,
    changelog: str | None,
) -> None:
    """Publish a definition file, or the draft of a workflow; prints name, version and digest.

    The same content twice is the same version. Without a number the changes say which one.
    """
    if wanted is not None:
        check_version(target, wanted)
    client = Client.of(options)
    wish = Wish(bump, wanted, changelog, may_be_smaller=yes)
    if looks_like_file(target):
        done = publish_file(client, options, target, wish)
    else:
        done = publish_draft(client, target, wish)
    _show(options, done)


def _show(options: Options, done: Published) -> None:
    if options.is_document:
        document = {
            "name": done.name,
            "version": done.version,
            "digest": done.digest,
            "workflowId": done.workflow_id,
            "created": done.created,
            "diff": lowered(done.diff),
        }
        print_document(options, document)
        return
    for line in change_lines(done.diff):
        options.say(line)
    print(
        f"{done.name}@{done.version}"
        if options.format == "name"
        else f"{done.name} {done.version} {done.digest}"
    )

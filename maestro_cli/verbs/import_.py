"""`mc import wfformat FILE`: a workflow of another system as a definition; says what could not be mapped."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from maestro_cli.documents import read_definition
from maestro_cli.errors import CliError, Place
from maestro_cli.groups import Verb
from maestro_cli.options import Options
from maestro_cli.output import print_document
from maestro_cli.visible import on_one_line


@click.command("import", cls=Verb)
@click.argument("form", metavar="FORMAT", type=click.Choice(("wfformat",)))
@click.argument("file", metavar="FILE")
@click.option("--write", "target", metavar="FILE", help="Write the definition to this file.")
@click.pass_obj
def import_(options: Options, form: str, file: str, target: str | None) -> int:  # noqa: ARG001 - one format so far
    """Print a WfCommons WfFormat 1.5 document as a definition, and on standard error what it does not carry."""
    from runtime.definition.wfformat import import_wfformat
    from runtime.model.errors import Invalid

    text, _ = read_definition(file)
    try:
        found = import_wfformat(text)
    except Invalid as error:
        first = error.problems[0]
        where = ".".join(first.path)
        raise CliError(
            f"{first.message}{f' ({where})' if where else ''}.",
            code="VALIDATION_FAILED",
            place=Place(file, first.line or 1, first.column or 1),
        ) from error
    lost = [{"path": one.path, "count": one.count, "why": one.why} for one in found.unmapped]
    if target is not None:
        Path(target).write_text(found.source, encoding="utf-8")
    if options.is_document:
        print_document(options, {"source": found.source, "steps": found.tasks, "unmapped": lost})
        return 0
    if target is None:
        print(found.source, end="")
    for one in lost:
        said = f"not mapped: {one['path']} ({one['count']}): {one['why']}"
        print(on_one_line(said), file=sys.stderr)
    options.say(f"{file}: {found.tasks} steps" + (f" written to {target}" if target else ""))
    return 0

"""`mc diff A B`: what changed between two definitions, and what it means for callers; or where two executions part."""

from __future__ import annotations

import re
import sys
from typing import Final

import click

from maestro_cli.differences import as_document, as_lines, compare, load_side
from maestro_cli.groups import Verb
from maestro_cli.options import Options, imports_option, see_current_folder
from maestro_cli.output import print_document

_ID: Final = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)


@click.command(cls=Verb)
@click.argument("a", metavar="A")
@click.argument("b", metavar="B")
@imports_option()
@click.pass_obj
def diff(options: Options, a: str, b: str, imports: tuple[str, ...]) -> None:
    """Compare two definitions: FILE, NAME (the current version), NAME@VERSION or NAME@draft; or two executions: ID.

    Two files are compared offline.
    """
    if _is_id(a) and _is_id(b):
        from maestro_cli.comparing import show_comparison

        show_comparison(options, a, b)
        return
    from runtime.connectors.registry import Registry

    see_current_folder(imports)
    catalog = Registry.load(imports).catalog()
    before, after = load_side(options, a, catalog), load_side(options, b, catalog)
    found = compare(before, after, catalog)
    if options.is_document:
        print_document(options, as_document(before, after, found))
    elif options.format == "name":
        for key in [*found.removed, *found.added, *(one.key for one in found.changed)]:
            print(key)
    else:
        colored = options.is_colored(sys.stdout)
        print(f"{before.label} -> {after.label}")
        for line in as_lines(found, colored=colored):
            print(line)


def _is_id(text: str) -> bool:
    """Whether this is an execution's id: no name of a workflow looks like one, and no file should."""
    return _ID.fullmatch(text) is not None

"""`mc fmt FILE…`, `mc convert FILE --to SPELLING`: files laid out evenly, or spelt the other way; offline."""

from __future__ import annotations

import difflib
import sys
from typing import Any

import click

from maestro_cli.documents import read_definition, write_whole
from maestro_cli.errors import FAILED, CliError, Place, refused
from maestro_cli.groups import Verb
from maestro_cli.options import Options

_STDIN = "-"


@click.command(cls=Verb)
@click.argument("files", nargs=-1, required=True, metavar="FILE...")
@click.option("--check", is_flag=True, help="Change nothing; exit with 1 if a file would change.")
@click.option("--diff", is_flag=True, help="Change nothing; print what would change.")
@click.pass_obj
def fmt(options: Options, files: tuple[str, ...], check: bool, diff: bool) -> int:
    """Lay out definition files evenly; comments, quotes and the order of keys stay. `-` reads and prints."""
    changed = 0
    for file in files:
        source = _read(file)
        text = _formatted(file, source)
        if file == _STDIN and not (check or diff):
            print(text, end="")
            continue
        if text == source.text:
            continue
        changed += 1
        if diff:
            _print_diff(file, source.text, text)
        elif check:
            options.say(f"{file}: would be changed")
        else:
            write_whole(file, text)
            options.say(f"{file}: changed")
    if not changed:
        options.say(f"{len(files)} as they should be" if len(files) > 1 else "as it should be")
    return FAILED if changed and (check or diff) else 0


@click.command(cls=Verb)
@click.argument("file", metavar="FILE")
@click.option("--to", "spelling", type=click.Choice(("flat", "manifest")), required=True)
@click.option("--write", is_flag=True, help="Write the file instead of printing it.")
@click.pass_obj
def convert(options: Options, file: str, spelling: str, write: bool) -> int:
    """Print a definition file in the other spelling; nothing is lost, its digest stays the same."""
    from runtime.definition.spelling import Spelling
    from runtime.definition.spelling import convert as convert_document
    from runtime.model.errors import Invalid

    source = _read(file)
    try:
        text = convert_document(source, Spelling(spelling))
    except Invalid as error:
        raise refused(file, error.problems) from error
    if not write or file == _STDIN:
        print(text, end="")
        return 0
    write_whole(file, text)
    options.say(f"{file}: {spelling}")
    return 0


def _read(file: str) -> Any:
    """A file that our own reader accepts, whatever is wrong with its meaning."""
    from runtime.definition.source import read_source
    from runtime.model.workflow import DefinitionFormat

    text, form = read_definition(file)
    source = read_source(text, DefinitionFormat(form.lower()))
    if not source.is_read or source.findings.has_errors:
        raise refused(file, [one.as_problem() for one in source.findings.found])
    return source


def _formatted(file: str, source: Any) -> str:
    from runtime.definition.layout import LayoutRefused, format_document

    try:
        return format_document(source)
    except LayoutRefused as error:
        raise CliError(error.message, place=Place(file)) from error


def _print_diff(file: str, before: str, after: str) -> None:
    lines = difflib.unified_diff(
        before.splitlines(keepends=True),
        after.splitlines(keepends=True),
        file,
        f"{file} (formatted)",
    )
    sys.stdout.writelines(line if line.endswith("\n") else f"{line}\n" for line in lines)

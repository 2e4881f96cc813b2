"""`mc validate FILE…`: the same checks as publishing, offline, with the connectors that are installed here."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import click

from maestro_cli.documents import read_document
from maestro_cli.errors import INVALID, Finding, Place, excerpt, finding_in
from maestro_cli.groups import Verb
from maestro_cli.options import Options, imports_option, see_current_folder
from maestro_cli.output import print_documents
from maestro_cli.visible import json_text, on_one_line

FORMATS: Final = ("pretty", "json", "sarif", "github")
_SARIF_SCHEMA: Final = "https://json.schemastore.org/sarif-2.1.0.json"
_SARIF_LEVELS: Final = {"error": "error", "warning": "warning", "info": "note"}
_GITHUB_LEVELS: Final = {"error": "error", "warning": "warning", "info": "notice"}


@dataclass(frozen=True, slots=True)
class Report:
    """What was found in one file."""

    file: str
    findings: tuple[Finding, ...]
    name: str | None = None
    version: str | None = None
    digest: str | None = None

    @property
    def errors(self) -> int:
        """How many findings refuse the file."""
        return sum(finding.severity == "error" for finding in self.findings)


@click.command(cls=Verb)
@click.argument("files", nargs=-1, required=True, metavar="FILE...")
@click.option("--strict", is_flag=True, help="Warnings refuse too.")
@click.option("--format", "form", type=click.Choice(FORMATS), default="pretty", show_default=True)
@imports_option()
@click.pass_obj
def validate(
    options: Options, files: tuple[str, ...], strict: bool, form: str, imports: tuple[str, ...]
) -> int:
    """Check definition files; prints `file:line:column: severity rule: message` for each finding."""
    from runtime.connectors.registry import Registry

    see_current_folder(imports)
    catalog = Registry.load(imports).catalog()
    reports = [_check(file, catalog) for file in files]
    _show(options, form, reports)
    refused = any(report.errors or (strict and report.findings) for report in reports)
    return INVALID if refused else 0


def _hint(rule: str, hint: str | None) -> str | None:
    """A connector that is not known here may stand in a package that was not named."""
    if rule == "unknown-connector" and hint is None:
        return "name the package it comes from with --import"
    return hint


def _show(options: Options, form: str, reports: Sequence[Report]) -> None:
    if form == "pretty" and options.format == "name":
        print("".join(f"{report.name}\n" for report in reports if report.name), end="")
    elif form == "pretty" and not options.is_document:
        _print_lines(options, reports)
    elif form == "github":
        _print_github(reports)
    elif form == "sarif":
        print(json_text(_sarif(reports), indent=2))
    else:
        print_documents(options, [_document(report) for report in reports])


def _check(file: str, catalog: Any) -> Report:
    from runtime.abi.surroundings import Surroundings
    from runtime.deep import deeply
    from runtime.definition import validate as validate_definition
    from runtime.model.workflow import DefinitionFormat

    source, form = read_document(file)
    known = Surroundings(agents=frozenset())
    spelling = DefinitionFormat(form.lower())
    result = deeply(lambda: validate_definition(source, spelling, catalog, surroundings=known))
    findings = tuple(
        finding_in(file, problem)._replace(hint=_hint(problem.rule, problem.hint))
        for problem in result.problems
    )
    version, digest = result.version, result.digest
    return Report(
        file,
        findings,
        result.name,
        str(version) if version else None,
        str(digest) if digest else None,
    )


def _print_lines(options: Options, reports: Sequence[Report]) -> None:
    """A line per finding with its hint; a person at a terminal also sees the place."""
    live = options.is_live(sys.stdout)
    for report in reports:
        for finding in report.findings:
            said = f"{finding.severity} {finding.rule}: {_said(finding)}"
            print(on_one_line(f"{finding.place}: {said}"))
            if live and finding.place:
                print("\n".join(excerpt(finding.place)))
        options.say(_summary(report))


def _said(finding: Finding) -> str:
    """What is wrong, and what to write instead."""
    return f"{finding.message} ({finding.hint})" if finding.hint else finding.message


def _summary(report: Report) -> str:
    if report.findings:
        warnings = len(report.findings) - report.errors
        counts = [_count(report.errors, "error"), _count(warnings, "warning")]
        return f"{report.file}: {', '.join(count for count in counts if count)}"
    version = f" {report.version}" if report.version else " (draft)"
    return f"{report.file}: ok, {report.name}{version} {report.digest}"


def _count(number: int, noun: str) -> str:
    if not number:
        return ""
    return f"1 {noun}" if number == 1 else f"{number} {noun}s"


def _document(report: Report) -> dict[str, Any]:
    return {
        "file": report.file,
        "valid": not report.errors,
        "name": report.name,
        "version": report.version,
        "digest": report.digest,
        "findings": [finding.to_json() for finding in report.findings],
    }


def _print_github(reports: Sequence[Report]) -> None:
    """Workflow commands of GitHub Actions; they become annotations of the changed lines."""
    for finding in (finding for report in reports for finding in report.findings):
        place = finding.place or Place("")
        text = on_one_line(_said(finding)).replace("%", "%25")
        level = _GITHUB_LEVELS[finding.severity]
        print(
            f"::{level} file={place.file},line={place.line},col={place.column},title={finding.rule}::{text}"
        )


def _sarif(reports: Sequence[Report]) -> dict[str, Any]:
    findings = [finding for report in reports for finding in report.findings]
    rules = sorted({finding.rule or "" for finding in findings})
    return {
        "$schema": _SARIF_SCHEMA,
        "version": "2.1.0",
        "runs": [
            {
                "tool": {
                    "driver": {
                        "name": "maestro-composer",
                        "rules": [
                            {
                                "id": rule,
                                "help": {"text": f"docs/language/findings.md#{rule}"},
                            }
                            for rule in rules
                        ],
                    }
                },
                "results": [_sarif_result(finding) for finding in findings],
            }
        ],
    }


def _sarif_result(finding: Finding) -> dict[str, Any]:
    place = finding.place or Place("", 1, 1)
    return {
        "ruleId": finding.rule,
        "level": _SARIF_LEVELS[finding.severity],
        "message": {"text": _said(finding)},
        "locations": [
            {
                "physicalLocation": {
                    "artifactLocation": {"uri": place.file},
                    "region": _region(place),
                }
            }
        ],
    }


def _region(place: Place) -> dict[str, Any]:
    region = {
        "startLine": place.line,
        "startColumn": place.column,
        "endLine": place.end_line,
        "endColumn": place.end_column,
    }
    return {name: value for name, value in region.items() if value is not None}

"""Validation: one service for API, CLI, editors and publishing; all findings in one pass.

Text -> source -> document -> graph -> names, connectors, meaning -> canonical definition -> plan.
Each stage reports into one list and goes on as long as there is something to look at.
"""

from __future__ import annotations

from dataclasses import dataclass

from runtime.abi.catalog import Catalog
from runtime.abi.surroundings import NOTHING_KNOWN, Surroundings
from runtime.definition.calling import called, check_calls, check_name
from runtime.definition.canonical import canonical_digest
from runtime.definition.compile import compile_plan
from runtime.definition.connector import ConnectorCheck
from runtime.definition.document import Document, read_document
from runtime.definition.fan_out import check_maps
from runtime.definition.finding import Findings
from runtime.definition.graph import MAX_STEPS, read_graph
from runtime.definition.meaning import check_meaning
from runtime.definition.names import NameCheck
from runtime.definition.source import Source, read_source
from runtime.definition.template import TooMuch
from runtime.definition.types import Types
from runtime.expression import MAX_CHARACTERS
from runtime.model.errors import Problem, Severity
from runtime.model.plan import Plan
from runtime.model.values import Digest, Json, SemVer
from runtime.model.workflow import DefinitionFormat


@dataclass(frozen=True, slots=True)
class Validation:
    """What became of a document. Definition, digest and plan are there when there is no error."""

    problems: tuple[Problem, ...]
    definition: dict[str, Json] | None = None
    digest: Digest | None = None
    plan: Plan | None = None
    name: str | None = None
    version: SemVer | None = None
    calls: frozenset[str] = frozenset()

    @property
    def ok(self) -> bool:
        """Whether the document is accepted; warnings do not refuse it."""
        return not any(one.severity is Severity.ERROR for one in self.problems)


def validate(
    source: str | bytes,
    format: DefinitionFormat | None,
    catalog: Catalog,
    *,
    publishing: bool = False,
    surroundings: Surroundings = NOTHING_KNOWN,
) -> Validation:
    """Judge a document; never raises for anything that stands in it.

    `calls` of the result are the workflows that it names: who knows them asks again with them.
    """
    read = read_source(source, format)
    findings = read.findings
    if not read.is_read:
        return _judged(read, Document({}))
    try:
        document = read_document(read.value, findings)
    except TooMuch as refused:
        message = "this document holds too many expressions"
        hint = f"at most {MAX_CHARACTERS:,} characters of them, each counted with 40 more"
        findings.error("too-large", message, refused.path, hint=hint)
        return _judged(read, Document({}))
    if len(document.steps) > MAX_STEPS:
        place = document.steps[MAX_STEPS].path
        findings.error("too-large", f"a workflow has at most {MAX_STEPS:,} steps", place)
        check_name(document, surroundings, findings)
        return _judged(read, document)
    _check(document, catalog, findings, publishing=publishing)
    check_calls(document, surroundings, findings, publishing=publishing)
    return _judged(read, document)


def _check(document: Document, catalog: Catalog, findings: Findings, *, publishing: bool) -> None:
    graph = read_graph(document, findings)
    check_meaning(document, graph, findings, publishing=publishing)
    types = Types(document, graph, catalog)
    check_maps(graph, types, findings)
    connectors = ConnectorCheck(catalog, findings, types, publishing=publishing)
    for step in document.steps:
        connectors.run(step)
    NameCheck(document, graph, catalog, findings).run()


def _judged(source: Source, document: Document) -> Validation:
    findings = source.findings
    source.locate(findings.found)
    problems = sorted((one.as_problem() for one in findings.found), key=_order)
    name, version = document.value.get("name"), document.value.get("version")
    calls = called(document.value)
    if findings.has_errors:
        return Validation(
            tuple(problems),
            name=name if isinstance(name, str) else None,
            version=SemVer.parse(version) if isinstance(version, str) else None,
            calls=calls,
        )
    digest = canonical_digest(document.value)
    plan = compile_plan(document.value, digest)
    return Validation(tuple(problems), document.value, digest, plan, plan.name, plan.version, calls)


def _order(problem: Problem) -> tuple[int, int, str]:
    return problem.line or 0, problem.column or 0, problem.rule

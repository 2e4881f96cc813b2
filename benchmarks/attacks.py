"""Hostile GraphQL documents, each as bad as its kind may be: what one takes until it is refused or ready to run.

Two sorts: those that ask for far too much, and those that ask for just as much as they may, which cost more, because
they are parsed and validated. None is remembered from the run before. Tests send the same documents to a real server.
"""

from __future__ import annotations

import statistics
import time
from typing import Final

from graphql import GraphQLError, get_introspection_query

from benchmarks.line import Effort, Line, at_most
from benchmarks.surroundings import Surroundings
from subgraph.document.documents import Documents
from subgraph.errors import present_all
from subgraph.schema.build import build_schema

NAME = "attacks"
_WORKFLOW: Final = '{ workflow(name: "x") { '


def _chain(length: int, spreads: int) -> str:
    """Fragments that each spread the next one so many times."""
    links = "".join(
        f"fragment F{n} on Query {{ {f'...F{n + 1} ' * spreads} }} " for n in range(length)
    )
    return f"{{ ...F0 }} {links} fragment F{length} on Query {{ __typename }}"


def _fragments(count: int, body: str) -> str:
    """So many fragments of the same fields, all spread in one place."""
    names = " ".join(f"...F{n}" for n in range(count))
    made = " ".join(f"fragment F{n} on Workflow {{ {body} }}" for n in range(count))
    return f"{_WORKFLOW} {names} }} }} {made}"


# Far too much.
REFUSED: Final[dict[str, str]] = {
    "megabyte of tokens": "{ " + "a " * 500_000 + "}",
    "64 KiB of tokens": "{ " + "a " * 32_000 + "}",
    "64 KiB of brackets": "{" * 65_000,
    "64 KiB of bytes that are few characters": '{ a(x: "' + "\U0001f525" * 20_000 + '") }',
    "fragment bomb": _chain(25, 2),
    "fragment bomb without an end": _chain(90, 8),
    "long chain of fragments": _chain(90, 1),
    "circle of fragments": "{ ...A } fragment A on Query { ...B } fragment B on Query { ...A }",
    "circles in all directions": "{ ...F0 } "
    + " ".join(
        f"fragment F{n} on Query {{ {' '.join(f'...F{m}' for m in range(20))} }}" for n in range(20)
    ),
    "alias bomb": "{ " + " ".join(f"a{n}: __typename" for n in range(900)) + " }",
    "deep nesting": "{ a" * 5_000 + " }" * 5_000,
    "deep nesting of values": f"{{ a(x: {'[' * 20_000}{']' * 20_000}) }}",
    "deep nesting of fragments in place": "{ " + "... { " * 500 + "a" + " }" * 500 + " }",
    "flood of directives": "{ __typename " + "@skip(if: false) " * 700 + "}",
    "flood of directives on many fields": "{ workflow { "
    + "id @skip(if: false) @include(if: true) " * 250
    + "} }",
    "100,000 digits": "{ executions(first: " + "9" * 60_000 + ") { totalCount } }",
    "a name without an end": "{ " + "a" * 65_000 + " }",
    "many operations": " ".join(f"query Q{n} {{ __typename }}" for n in range(500)),
    "many fragments": "{ __typename } "
    + " ".join(f"fragment F{n} on Query {{ __typename }}" for n in range(400)),
    "many variables": f"query({' '.join(f'$v{n}: Int' for n in range(700))}) {{ __typename }}",
    "comments only": "{ __typename } " + "#\n" * 32_000,
    "many root fields": "{ " + "workflows { totalCount } " * 300 + "}",
    "fields of one name": _WORKFLOW + "draft { id } " * 480 + "} }",
    "fields of one name through fragments": _fragments(
        95, "id name status description draft { id }"
    ),
    "introspection in circles": "{ __schema { types { fields { type { fields { type "
    "{ fields { type { name } } } } } } } } }",
    "introspection many times": "{ "
    + " ".join(f"a{n}: __schema {{ types {{ fields {{ args {{ name }} }} }} }}" for n in range(40))
    + " }",
    "pages inside pages": "{ executions(first: 100) { edges { node { workflow { executions(first: 100) "
    "{ edges { node { steps { id } } } } } } } } }",
}
# As much as there may be, or wrong in a way that takes long to say.
BORDERLINE: Final[dict[str, str]] = {
    "sixty fields of one name": _WORKFLOW + "id " * 60 + "} }",
    "many fields of one name": _WORKFLOW + "draft { id } " * 65 + "} }",
    "many fragments of the same fields": _fragments(40, "id name status description"),
    "unknown fields": _WORKFLOW + " ".join(f"descriptio{n:03}" for n in range(490)) + " } }",
    "unknown types": _WORKFLOW
    + " ".join(f"... on WorkflowVersio{n:03} {{ id }}" for n in range(240))
    + " } }",
    "unknown arguments": "{ executions("
    + " ".join(f"firs{n:03}: 1" for n in range(480))
    + ") { totalCount } }",
    "unknown enum values": "{ executions(filter: { status: ["
    + " ".join(f"COMPLETE{n:03}" for n in range(1_480))
    + "] }) { totalCount } }",
    "unknown fields after 60,000 lines": _WORKFLOW
    + "\n" * 60_000
    + " ".join(f"x{n}" for n in range(490))
    + " } }",
    "conflicts": _WORKFLOW + "a: id a: name " * 50 + "} }",
    "a long list": "{ nodes(ids: [" + '"x" ' * 1_480 + "]) { id } }",
    "a long list of wrong items": "{ nodes(ids: [" + "1.5 " * 1_480 + "]) { id } }",
    "many input objects": 'mutation { enqueueExecution(input: { workflowName: "x", labels: ['
    + '{key: "a", value: "b"} ' * 160
    + "] }) { created } }",
    "deep JSON": 'mutation { enqueueExecution(input: { workflowName: "x", input: '
    + "{a: [" * 28
    + "1"
    + "]}" * 28
    + "}) { created } }",
    "64 KiB of block string": '{ validateWorkflow(source: """'
    + "  a\n" * 16_000
    + '""") { valid } }',
    "64 KiB of escapes": '{ validateWorkflow(source: "' + "\\u0041" * 10_800 + '") { valid } }',
    "64 KiB of blanks": "{ __typename " + " " * 65_000 + "}",
    "64 KiB of commas": "{ __typename " + "," * 65_000 + "}",
    "64 KiB in comments": "{ __typename } " + ("#" + "x" * 63 + "\n") * 990,
    "a hundred unused variables": f"query({' '.join(f'$v{n}: Int' for n in range(100))}) {{ __typename }}",
    "a hundred unused fragments": "{ __typename } "
    + " ".join(f"fragment F{n} on Query {{ __typename }}" for n in range(100)),
    "operations that share a fragment": " ".join(
        f"query Q{n}($a: Int, $b: Int, $c: Int) {{ ...F }}" for n in range(20)
    )
    + " fragment F on Query { "
    + "executions(first: $a, after: $x) { totalCount } " * 24
    + "}",
    "the usual introspection": get_introspection_query(
        descriptions=True, specified_by_url=True, input_value_deprecation=True
    ),
    "long names that are none": _WORKFLOW
    + " ".join("a" * 250 + f"{n:03}" for n in range(230))
    + " } }",
}


def look_at(documents: Documents, text: str) -> tuple[GraphQLError, ...]:
    """Everything that a server does with a document before it runs it, or instead; what it answers."""
    found = documents.operation(text, None, None)
    errors = found if isinstance(found, tuple) else ()
    for error in present_all(errors, "0" * 32):
        str(error.formatted)
    return errors


async def measure(_around: Surroundings, effort: Effort) -> Line:
    """Milliseconds of processor for the worst of them; which one that is, and the worst refused one, are facts."""
    schema = build_schema()
    spent: dict[str, float] = {}
    for name, text in (REFUSED | BORDERLINE).items():
        runs = []
        for _ in range(effort.of(7, 1)):
            documents = Documents(schema)
            began = time.process_time()
            look_at(documents, text)
            runs.append((time.process_time() - began) * 1000)
        spent[name] = statistics.median(runs)
    worst = max(spent, key=lambda name: spent[name])
    refused = max(REFUSED, key=lambda name: spent[name])
    return Line(
        bench=NAME,
        letter="X",
        unit="ms",
        measured=spent[worst],
        goals=[at_most("measured", 50.0)],
        facts={
            "documents": len(spent),
            "worst": worst,
            "worst_refused": refused,
            "worst_refused_ms": spent[refused],
            "median_ms": statistics.median(spent.values()),
        },
    )

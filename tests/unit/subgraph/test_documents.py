"""Documents: checked once, remembered within bounds, and the operation that a request means."""

from __future__ import annotations

import gc
import weakref
from typing import Any

import pytest

from subgraph.document import documents as module
from subgraph.document import persisted as persisted_module
from subgraph.document.documents import Documents, Operation
from subgraph.document.persisted import PersistedDocuments, digest_of
from subgraph.schema.build import build_schema

TWO = "query A { workflows { totalCount } } mutation B { cancelExecution(input: {executionId: 1}) { errors { code } } }"


@pytest.fixture(scope="module")
def documents() -> Documents:
    return Documents(build_schema())


def test_a_document_is_checked_once(documents: Documents) -> None:
    text = "{ workflows { totalCount } }"

    assert documents.prepare(text) is documents.prepare(text)


def test_refusals_are_remembered_too(documents: Documents) -> None:
    assert documents.prepare("{ nothing }") is documents.prepare("{ nothing }")


def test_a_refusal_keeps_its_places_and_no_tree(documents: Documents) -> None:
    prepared = documents.prepare("{\n  workflows { nothing }\n}")

    (error,) = prepared.errors
    assert (prepared.document, error.nodes) == (None, None)
    assert error.formatted["locations"] == [{"line": 2, "column": 15}]


@pytest.mark.parametrize(
    ("text", "most"),
    [
        ("{ workflows { totalCount } }" + " " * 15_960, 6),
        (f"{{ nodes(ids: [{'1 ' * 1_400}]) {{ id }} }}", 8),
    ],
    ids=["letters", "tokens"],
)
def test_what_is_remembered_is_bounded(
    monkeypatch: pytest.MonkeyPatch, text: str, most: int
) -> None:
    monkeypatch.setattr(module, "_REMEMBERED", 100_000)
    documents = Documents(build_schema())

    for n in range(most + 3):
        documents.prepare(f"# {n}\n{text}")

    assert len(documents._known) == most
    assert documents._weight == sum(each.weight(text) for text, each in documents._known.items())


@pytest.mark.parametrize(
    "text",
    ["{", "{" + " a" * 600 + "}", "{ ...A } fragment A on Query { ...A }", "{ nothing }"],
    ids=["parse", "limits", "cycle", "validation"],
)
def test_a_refusal_keeps_nothing_of_the_request_that_met_it(
    documents: Documents, text: str
) -> None:
    class Variables(dict[str, Any]):
        """What can be looked for afterwards."""

    def ask() -> weakref.ref[Variables]:
        variables = Variables()
        assert not isinstance(documents.operation(text, None, variables), Operation)
        return weakref.ref(variables)

    asked = ask()
    gc.collect()

    assert text in documents._known
    assert asked() is None


def test_short_refusals_are_bounded_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_REMEMBERED", 1_000)
    documents = Documents(build_schema())

    for n in range(100):
        documents.prepare(f"{{{n}")

    assert len(documents._known) == 14
    assert documents._weight == sum(each.weight(text) for text, each in documents._known.items())


def test_persisted_documents_are_bounded_however_short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(persisted_module, "_MOST_CHARACTERS", 1_000)
    persisted = PersistedDocuments()

    for n in range(100):
        text = f"{{a{n}}}"
        persisted.remember(text, digest_of(text))

    assert len(persisted._known) == 3
    assert persisted.text_of(None, digest_of("{a99}")) == "{a99}"


def test_a_long_document_is_not_remembered(documents: Documents) -> None:
    text = "{ workflows { totalCount } }" + " " * 20_000

    assert documents.prepare(text).errors == ()
    assert text not in documents._known


@pytest.mark.parametrize(("name", "kind"), [("A", "query"), ("B", "mutation")])
def test_the_named_operation_is_meant(documents: Documents, name: str, kind: str) -> None:
    operation = documents.operation(TWO, name, None)

    assert isinstance(operation, Operation)
    assert (operation.name, operation.kind) == (name, kind)


@pytest.mark.parametrize("name", [None, "C"])
def test_an_operation_that_cannot_be_told_is_refused(
    documents: Documents, name: str | None
) -> None:
    errors = documents.operation(TWO, name, None)

    assert isinstance(errors, tuple)
    assert (errors[0].extensions or {})["code"] == "BAD_USER_INPUT"


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("{", "GRAPHQL_PARSE_FAILED"),
        ("{ nothing }", "GRAPHQL_VALIDATION_FAILED"),
        ("{" + " a" * 10_001 + "}", "QUERY_TOO_COMPLEX"),
        ("{ " + "... { " * 63 + "workflows { totalCount }" + " }" * 64, "QUERY_TOO_COMPLEX"),
    ],
)
def test_a_refusal_has_its_code(documents: Documents, text: str, code: str) -> None:
    (error, *_) = documents.prepare(text).errors

    assert (error.extensions or {})["code"] == code


def test_long_chains_of_fragments_are_refused_not_fatal(documents: Documents) -> None:
    chain = "".join(
        f"fragment F{n} on Query {{ {'... { ' * 20} ...F{n + 1} {'} ' * 20} }} " for n in range(150)
    )
    text = f"{{ ...F0 }} {chain} fragment F150 on Query {{ workflows {{ totalCount }} }}"

    (error, *_) = documents.prepare(text).errors

    assert (error.extensions or {})["code"] == "QUERY_TOO_COMPLEX"

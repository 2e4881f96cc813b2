"""Documents by their digest: automatic persisted queries, and trusted documents."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from gql import GraphQLRequest

from maestro_cli.client import operation
from runtime.bootstrap import Runtime
from runtime.settings import TrustedDocuments
from subgraph.app import create_app
from subgraph.document.persisted import digest_of, manifest_of
from tests.http.serving import Served, listening

QUERY = "query Count { workflows { totalCount } }"
COUNTED = {"data": {"workflows": {"totalCount": 0}}}


def named(sha256: str, version: int = 1) -> dict[str, Any]:
    return {"persistedQuery": {"version": version, "sha256Hash": sha256}}


async def post(server: Served, **body: Any) -> Any:
    return await server.request("POST", "/graphql", json=body, headers=server.bearer())


async def test_a_document_is_sent_once_and_then_named(server: Served) -> None:
    known = named(digest_of(QUERY))

    first = await post(server, extensions=known)
    second = await post(server, query=QUERY, extensions=known)
    third = await post(server, extensions=known)
    read = await server.request(
        "GET", "/graphql", params={"extensions": json.dumps(known)}, headers=server.bearer()
    )

    assert (first.status, first.codes) == (200, ["PERSISTED_QUERY_NOT_FOUND"])
    assert first.body["errors"][0]["message"] == "PersistedQueryNotFound"
    assert second.body == third.body == read.body == COUNTED


@pytest.mark.parametrize(
    ("extensions", "code"),
    [
        (named("0" * 64), "BAD_USER_INPUT"),
        (named("xyz"), "BAD_USER_INPUT"),
        (named(digest_of(QUERY), version=2), "PERSISTED_QUERY_NOT_SUPPORTED"),
        ({"persistedQuery": 5}, "PERSISTED_QUERY_NOT_SUPPORTED"),
    ],
)
async def test_a_digest_that_is_none_is_refused(server: Served, extensions: Any, code: str) -> None:
    answer = await post(server, query=QUERY, extensions=extensions)

    assert (answer.status, answer.codes) == (400, [code])


async def test_a_document_that_cannot_run_is_not_kept(server: Served) -> None:
    wrong = "{ nothing }"
    await post(server, query=wrong, extensions=named(digest_of(wrong)))

    again = await post(server, extensions=named(digest_of(wrong)))

    assert again.codes == ["PERSISTED_QUERY_NOT_FOUND"]


def with_trusted(rt: Runtime, mode: str, *files: Path) -> Runtime:
    """The same runtime with another rule for documents."""
    api = replace(rt.settings.api, trusted_documents=TrustedDocuments(mode, files))
    return replace(rt, settings=replace(rt.settings, api=api))


async def test_where_only_trusted_documents_run_others_are_refused(
    server: Served, tmp_path: Path
) -> None:
    mine = tmp_path / "mine.json"
    mine.write_text(manifest_of([QUERY]))
    async with listening(create_app(with_trusted(server.rt, "only", mine))) as url:
        strict = replace(server, url=url)
        ours = await post(strict, query=operation("list_workflows"), variables={"first": 5})
        by_text = await post(strict, query=QUERY)
        by_digest = await post(strict, extensions=named(digest_of(QUERY)))
        other = await post(strict, query="query Other { workflows { totalCount } }")
        sent_along = await post(
            strict,
            query="query O { __typename }",
            extensions=named(digest_of("query O { __typename }")),
        )

    assert ours.body["data"]["workflows"]["edges"] == []
    assert by_text.body == by_digest.body == COUNTED
    assert (other.status, other.codes) == (403, ["FORBIDDEN"])
    assert other.body["errors"][0]["extensions"]["reason"] == "DOCUMENT_NOT_TRUSTED"
    assert sent_along.codes == ["FORBIDDEN"]


async def test_to_log_is_to_let_run(server: Served) -> None:
    async with listening(create_app(with_trusted(server.rt, "log"))) as url:
        answer = await post(replace(server, url=url), query=QUERY)

    assert answer.body == COUNTED


async def test_the_verbs_of_mc_watch_where_only_trusted_documents_run(
    server: Served, worker: None
) -> None:
    """`gql`, which `mc --watch` uses, prints a document anew before it sends it."""
    await server.publish()
    async with server.client() as session:
        execution_id = await server.enqueue(session)
    async with listening(create_app(with_trusted(server.rt, "only"))) as url:
        request = GraphQLRequest(operation("watch_execution"), variable_values={"id": execution_id})
        async with replace(server, url=url).listener() as session:
            events = [event async for event in session.subscribe(request)]

    assert events

"""Introspection: worked out once, the same for everybody; and not at all where it is switched off."""

from __future__ import annotations

from dataclasses import replace

import pytest
from graphql import get_introspection_query

from subgraph.app import create_app
from tests.http.serving import Served, listening

USUAL = get_introspection_query(descriptions=True)


async def test_the_same_question_is_worked_out_once(
    server: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(*_: object, **__: object) -> None:
        raise AssertionError("worked out again")

    first = await server.ask(USUAL)
    monkeypatch.setattr("strawberry.federation.Schema.execute", fail)
    monkeypatch.setattr("subgraph.compiled.plans.Plans.execute", fail)

    again = await server.ask(USUAL)

    assert again.body == first.body
    assert again.body["data"]["__schema"]["queryType"]["name"] == "Query"


async def test_gateways_get_a_text_that_was_written_once(
    server: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = await server.ask("{ _service { sdl } }")
    # It takes the time of a thousand requests, and an operation may ask for it fifty times.
    monkeypatch.setattr("subgraph.schema.sdl.print_schema", None)

    again = await server.ask("{ a: _service { sdl } b: _service { sdl } }")

    assert again.body["data"]["a"] == again.body["data"]["b"] == first.body["data"]["_service"]


async def test_what_variables_decide_is_worked_out_anew(server: Served) -> None:
    query = "query($name: String!) { __type(name: $name) { name } }"

    found = [(await server.ask(query, {"name": each})).body for each in ("Query", "Mutation")]

    assert [each["data"]["__type"]["name"] for each in found] == ["Query", "Mutation"]


async def test_a_server_may_keep_its_schema_to_itself(server: Served) -> None:
    api = server.rt.settings.api
    settings = replace(
        server.rt.settings, api=replace(api, graph=replace(api.graph, shows_schema=False))
    )
    async with listening(create_app(replace(server.rt, settings=settings))) as url:
        quiet = replace(server, url=url)
        schema = await quiet.ask(USUAL)
        typename = await quiet.ask("{ __typename }")

    assert schema.codes == ["GRAPHQL_VALIDATION_FAILED"]
    assert schema.body["errors"][0]["extensions"]["reason"] == "INTROSPECTION_OFF"
    assert typename.body == {"data": {"__typename": "Query"}}

"""GraphQL over HTTP: who gets in, what is too much, and what a refusal looks like."""

from __future__ import annotations

import gzip
import io
import json
from typing import Any

import pytest
from graphql import (
    build_schema,
    get_nullable_type,
    is_enum_type,
    is_input_object_type,
    is_list_type,
    is_required_argument,
    is_required_input_field,
)

from runtime.services.workflow import WorkflowService
from subgraph.directives import ACCESS
from tests.http.serving import Served
from tests.support.processes import ROOT

QUERY = "{ workflows { totalCount } }"
NESTED = """{ executions(first: 100) { edges { node { workflow { executions(first: 100) { edges { node {
  steps { stepKey } } } } } } } } }"""
GRAPH = build_schema((ROOT / "schema.graphql").read_text(encoding="utf-8"), assume_valid=True)
STRICT = "application/graphql-response+json"


@pytest.fixture
def server(tenant_server: Served) -> Served:
    """These tests only speak to it."""
    return tenant_server


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Authorization": "Bearer"},
        {"Authorization": "Bearer x.y.z"},
        {"Authorization": "Basic YTpi"},
        {"Authorization": "Bearer " + "a" * 5000},
    ],
)
@pytest.mark.parametrize("path", ["/graphql", "/api/executions", "/"])
async def test_without_a_valid_token_there_is_401(
    server: Served, headers: dict[str, str], path: str
) -> None:
    answer = await server.request("POST", path, json={"query": QUERY}, headers=headers)

    assert answer.status == 401
    assert answer.headers["WWW-Authenticate"].startswith("Bearer")
    assert "UNAUTHENTICATED" in json.dumps(answer.body)


async def test_an_expired_token_is_401(server: Served) -> None:
    answer = await server.ask(QUERY, **server.bearer(ttl_seconds=-60))

    assert (answer.status, answer.codes) == (401, ["UNAUTHENTICATED"])


async def test_the_document_is_not_looked_at_before_the_token(server: Served) -> None:
    answer = await server.request("POST", "/graphql", data=b"{" * 100_000)

    assert answer.status == 401


async def test_a_read_without_its_scope_is_an_error_of_the_response(server: Served) -> None:
    answer = await server.ask(QUERY, **server.bearer(None, scopes=["executions:read"]))

    assert answer.status == 200
    assert answer.codes == ["FORBIDDEN"]
    assert "workflows:read" in answer.body["errors"][0]["message"]


@pytest.mark.parametrize(
    ("mutation", "input"),
    [
        ("createWorkflow", {"name": "x", "source": "name: x"}),
        ("updateWorkflow", {"workflowId": "wf_01890a5d-ac96-774b-bcce-b302099a8057"}),
        ("publishWorkflow", {"workflowId": "wf_01890a5d-ac96-774b-bcce-b302099a8057"}),
        ("enqueueExecution", {"workflowName": "x"}),
        ("cancelExecution", {"executionId": "01890a5d-ac96-774b-bcce-b302099a8057"}),
        ("retryExecution", {"executionId": "01890a5d-ac96-774b-bcce-b302099a8057"}),
        (
            "rewindExecution",
            {"executionId": "01890a5d-ac96-774b-bcce-b302099a8057", "stepKey": "a"},
        ),
    ],
)
async def test_a_change_without_its_scope_is_refused_as_data(
    server: Served, mutation: str, input: dict[str, Any]
) -> None:
    kind = mutation[0].upper() + mutation[1:] + "Input"
    query = f"mutation M($input: {kind}!) {{ {mutation}(input: $input) {{ errors {{ code message }} }} }}"

    answer = await server.ask(query, {"input": input}, **server.bearer("viewer"))

    errors = answer.body["data"][mutation]["errors"]
    assert [error["code"] for error in errors] == ["FORBIDDEN"]


SOMETHING = {"ID": "01890a5d-ac96-774b-bcce-b302099a8057", "String": "x", "SemVer": "1.0.0"}
# What the types leave open and the operation asks for.
MORE: dict[str, dict[str, Any]] = {
    "enqueueExecution": {"workflowName": "x"},
    "redriveDeadLetters": {"ids": [f"{SOMETHING['ID']}.d.0"]},
    "discardDeadLetters": {"ids": [f"{SOMETHING['ID']}.d.0"]},
}


def some(type_: Any) -> Any:
    """A value of an input type: what it must have, and no more."""
    kind = get_nullable_type(type_)
    if is_list_type(kind):
        return [some(kind.of_type)]
    if is_input_object_type(kind):
        return {n: some(f.type) for n, f in kind.fields.items() if is_required_input_field(f)}
    if is_enum_type(kind):
        return next(iter(kind.values))
    return SOMETHING[kind.name]


async def test_an_endless_number_is_refused_with_its_place(server: Served) -> None:
    text = 'mutation { enqueueExecution(input: {workflowName: "x", input: {n: %s}}) { created } }'
    strict = {**server.bearer(), "Accept": "application/graphql-response+json"}

    answers = [await server.ask(text % number, **strict) for number in ("1e400", "-1E999")]
    held = await server.ask(text % "1e308", **strict)

    for answer in answers:
        assert (answer.status, answer.codes) == (400, ["GRAPHQL_PARSE_FAILED"])
        (error,) = answer.body["errors"]
        assert error["extensions"]["reason"] == "NUMBER"
        assert error["locations"] == [{"line": 1, "column": 67}]
    assert held.status == 200


async def test_of_several_ids_only_the_one_that_is_refused_is_null(server: Served) -> None:
    workflow = await server.publish()
    async with server.client() as session:
        one = await server.enqueue(session)
    who = server.bearer(None, scopes=["executions:read"])

    answer = await server.ask(
        "query($ids: [ID!]!) { nodes(ids: $ids) { id } }", {"ids": [one, workflow, one]}, **who
    )

    assert answer.body["data"]["nodes"] == [{"id": one}, None, {"id": one}]
    (error,) = answer.body["errors"]
    assert error["path"] == ["nodes", 1]
    assert error["extensions"]["code"] == "FORBIDDEN"


@pytest.mark.parametrize("place", [place for place, rule in ACCESS.items() if rule.scope])
async def test_the_access_table_names_what_services_ask_for(server: Served, place: str):
    root, _, name = place.partition(".")
    field = GRAPH.type_map[root].fields[name]  # type: ignore[attr-defined] # an object type
    if root == "Mutation":
        arguments, shape = "(input: $i) { errors { message } }", field.args["input"].type
        query = f"mutation($i: {shape}) {{ {name}{arguments} }}"
        given = MORE.get(name) or some(shape)
        answer = await server.ask(query, {"i": given}, **server.bearer("viewer"))
        said = answer.body["data"][name]["errors"][0]["message"]
    else:
        needed = {n: a.type for n, a in field.args.items() if is_required_argument(a)}
        given = {n: some(shape) for n, shape in needed.items()}
        words = ", ".join(f"{n}: ${n}" for n in needed)
        head = ", ".join(f"${n}: {shape}" for n, shape in needed.items())
        query = f"query{f'({head})' if head else ''} {{ {name}{f'({words})' if words else ''} {{ __typename }} }}"
        answer = await server.ask(query, given, **server.bearer("viewer"))
        said = answer.body["errors"][0]["message"]

    assert f"`{ACCESS[place].scope}`" in said


@pytest.mark.parametrize(
    ("data", "headers", "status", "code"),
    [
        (b"{", {}, 400, "BAD_USER_INPUT"),
        (b"\xff\xfe", {}, 400, "BAD_USER_INPUT"),
        (b"[]", {}, 400, "BAD_USER_INPUT"),
        (b"{}", {}, 400, "BAD_USER_INPUT"),
        (b'{"query": 5}', {}, 400, "BAD_USER_INPUT"),
        (b'{"query": "{ a }", "variables": []}', {}, 400, "BAD_USER_INPUT"),
        (b'{"query": "{ a }", "operationName": 5}', {}, 400, "BAD_USER_INPUT"),
        (b'{"query": "{ a }"}', {"Content-Type": "text/plain"}, 415, "BAD_USER_INPUT"),
        # What a page of another origin can send without asking first.
        (
            b"query=mutation",
            {"Content-Type": "application/x-www-form-urlencoded"},
            415,
            "BAD_USER_INPUT",
        ),
        (
            b'--x\r\nContent-Disposition: form-data; name="operations"\r\n\r\n{"query": "{ a }"}\r\n--x--',
            {"Content-Type": "multipart/form-data; boundary=x"},
            415,
            "BAD_USER_INPUT",
        ),
        (b'{"query": "{ a }"}', {"Content-Encoding": "br"}, 415, "BAD_USER_INPUT"),
        (b'{"query": "{ a }"}', {"Content-Encoding": "gzip"}, 415, "BAD_USER_INPUT"),
        (b"null", {}, 400, "BAD_USER_INPUT"),
        (b'"{ a }"', {}, 400, "BAD_USER_INPUT"),
        (b"5", {}, 400, "BAD_USER_INPUT"),
        (b'{"query": "{ a }", "variables": {"a": NaN}}', {}, 400, "BAD_USER_INPUT"),
        (b'{"query": "\xff"}', {}, 400, "BAD_USER_INPUT"),
        (b"[" * 100_000 + b"]" * 100_000, {}, 400, "BAD_USER_INPUT"),
        (b'{"query": ' + b"9" * 100_000 + b"}", {}, 400, "BAD_USER_INPUT"),
        (b'{"query": "{ a }", "extensions": 5}', {}, 400, "BAD_USER_INPUT"),
        (
            b'{"extensions": {"persistedQuery": {"version": true}}}',
            {},
            400,
            "PERSISTED_QUERY_NOT_SUPPORTED",
        ),
        (
            b'{"extensions": {"persistedQuery": {"version": 2}}}',
            {},
            400,
            "PERSISTED_QUERY_NOT_SUPPORTED",
        ),
        (b'{"query": "subscription { executionEvents(id: 1) { id } }"}', {}, 400, "BAD_USER_INPUT"),
    ],
)
async def test_a_malformed_request_is_400(
    server: Served, data: bytes, headers: dict[str, str], status: int, code: str
) -> None:
    sent = {"Content-Type": "application/json", **server.bearer(), **headers}
    answer = await server.request("POST", "/graphql", data=data, headers=sent)

    assert (answer.status, answer.codes) == (status, [code])


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("{", "GRAPHQL_PARSE_FAILED"),
        ("{ nothing }", "GRAPHQL_VALIDATION_FAILED"),
        (
            "query A { workflows { totalCount } } query B { workflows { totalCount } }",
            "BAD_USER_INPUT",
        ),
        ("{ " + "a " * 60 + "}", "QUERY_TOO_COMPLEX"),
        (NESTED, "QUERY_TOO_COMPLEX"),
        ("{ a" * 100 + " }" * 100, "QUERY_TOO_COMPLEX"),
        ("{ workflows { edges { node { name } } } " + " " * 70_000 + "}", "QUERY_TOO_COMPLEX"),
        (
            "".join(f"fragment F{n} on Query {{ ...F{n + 1} }} " for n in range(1500))
            + "{ ...F0 }",
            "QUERY_TOO_COMPLEX",
        ),
    ],
)
async def test_a_document_that_cannot_run_says_why(server: Served, query: str, code: str) -> None:
    body = {"query": query}
    loose = await server.request("POST", "/graphql", json=body, headers=server.bearer())
    strict = await server.request(
        "POST", "/graphql", json=body, headers={**server.bearer(), "Accept": STRICT}
    )

    assert (loose.status, loose.codes) == (200, [code])
    assert (strict.status, strict.codes) == (400, [code])
    assert strict.headers["Content-Type"] == STRICT


async def test_variables_that_do_not_fit_are_the_callers(server: Served) -> None:
    query = "query($first: Int) { workflows(first: $first) { totalCount } }"

    wrong_type = await server.ask(query, {"first": "many"})
    too_many = await server.ask(query, {"first": 101})
    bad_cursor = await server.ask('{ workflows(after: "x") { edges { cursor } } }')

    assert wrong_type.codes == ["BAD_USER_INPUT"]
    assert too_many.codes == ["BAD_USER_INPUT"]
    assert bad_cursor.codes == ["BAD_USER_INPUT"]


@pytest.mark.parametrize("size", [1_600_000, 10_000_000])
async def test_a_body_over_the_limit_is_413(own_server: Served, size: int) -> None:
    body = json.dumps({"query": QUERY, "variables": {"x": "x" * size}}).encode()
    headers = {**own_server.bearer(), "Content-Type": "application/json"}

    answer = await own_server.request("POST", "/graphql", data=io.BytesIO(body), headers=headers)

    assert (answer.status, answer.codes) == (413, ["PAYLOAD_TOO_LARGE"])


async def test_a_body_of_unknown_length_is_cut_at_the_limit(own_server: Served) -> None:
    async def parts() -> Any:
        for _ in range(200):
            yield b" " * 65_536

    headers = {**own_server.bearer(), "Content-Type": "application/json"}
    answer = await own_server.request("POST", "/graphql", data=parts(), headers=headers)

    assert answer.status == 413


async def test_a_packed_body_counts_by_what_it_unpacks_to(own_server: Served) -> None:
    def packed(query: str, size: int) -> bytes:
        return gzip.compress(json.dumps({"query": query, "x": "x" * size}).encode())

    sent = {**own_server.bearer(), "Content-Type": "application/json", "Content-Encoding": "gzip"}
    fits = await own_server.request("POST", "/graphql", data=packed(QUERY, 10), headers=sent)
    bomb = await own_server.request(
        "POST", "/graphql", data=packed(QUERY, 50_000_000), headers=sent
    )

    assert fits.body == {"data": {"workflows": {"totalCount": 0}}}
    assert (bomb.status, bomb.codes) == (413, ["PAYLOAD_TOO_LARGE"])


async def test_a_packed_body_that_never_ends_is_cut_at_the_limit(own_server: Served) -> None:
    async def parts() -> Any:
        yield gzip.compress(b"")[:10]
        for _ in range(200):
            yield b"\x00\x00\x00\xff\xff" * 13_000  # Blocks of nothing.

    sent = {**own_server.bearer(), "Content-Type": "application/json", "Content-Encoding": "gzip"}
    answer = await own_server.request("POST", "/graphql", data=parts(), headers=sent)

    assert (answer.status, answer.codes) == (413, ["PAYLOAD_TOO_LARGE"])


@pytest.mark.parametrize("cut", ["shorter", "longer", "pieces"])
async def test_a_packed_body_is_one_whole_stream(own_server: Served, cut: str) -> None:
    packed = gzip.compress(json.dumps({"query": QUERY}).encode())

    async def parts() -> Any:
        yield packed[:-8] if cut == "shorter" else packed
        if cut == "longer":
            yield gzip.compress(b"{}")
        for _ in range(100 if cut == "pieces" else 0):
            yield b"x" * 65_536

    sent = {**own_server.bearer(), "Content-Type": "application/json", "Content-Encoding": "gzip"}
    answer = await own_server.request("POST", "/graphql", data=parts(), headers=sent)

    assert (answer.status, answer.codes) == (415, ["BAD_USER_INPUT"])


@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE", "OPTIONS"])
async def test_other_methods_are_told_which_are_taken(server: Served, method: str) -> None:
    answer = await server.request(method, "/graphql", headers=server.bearer())

    assert (answer.status, answer.headers["Allow"]) == (405, "GET, POST")
    assert answer.codes == ["BAD_USER_INPUT"]


async def test_variables_that_do_not_fit_leave_no_data(server: Served) -> None:
    body = {
        "query": "query($first: Int!) { workflows(first: $first) { totalCount } }",
        "variables": {"first": "many"},
    }
    loose = await server.request("POST", "/graphql", json=body, headers=server.bearer())
    strict = await server.request(
        "POST", "/graphql", json=body, headers={**server.bearer(), "Accept": STRICT}
    )

    assert (loose.status, strict.status) == (200, 400)
    assert "data" not in loose.body
    assert "data" not in strict.body
    assert strict.codes == ["BAD_USER_INPUT"]
    assert "many" not in json.dumps(strict.body)


async def test_a_fault_shows_nothing_of_its_inside(
    server: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(*_: object, **__: object) -> None:
        raise RuntimeError("postgresql://user:hunter2@db")

    monkeypatch.setattr(WorkflowService, "find", fail)
    trace_id = "0af7651916cd43dd8448eb211c80319c"
    headers = {**server.bearer(), "traceparent": f"00-{trace_id}-b7ad6b7169203331-01"}

    answer = await server.ask('{ workflow(name: "greet") { id } }', **headers)

    assert "hunter2" not in json.dumps(answer.body)
    assert "RuntimeError" not in json.dumps(answer.body)
    assert answer.body["data"] == {"workflow": None}
    assert answer.body["errors"][0]["extensions"] == {"code": "INTERNAL", "trace_id": trace_id}


async def test_get_is_for_queries(server: Served) -> None:
    read = await server.request("GET", "/graphql", params={"query": QUERY}, headers=server.bearer())
    change = await server.request(
        "GET",
        "/graphql",
        params={
            "query": 'mutation { cancelExecution(input: {executionId: "x"}) { errors { code } } }'
        },
        headers=server.bearer(),
    )

    wrong = await server.request(
        "GET",
        "/graphql",
        params={"query": QUERY, "variables": "[1]"},
        headers=server.bearer(),
    )

    assert read.body == {"data": {"workflows": {"totalCount": 0}}}
    assert wrong.body["errors"][0]["message"].startswith("`variables` must be one JSON object")
    assert change.status == 405
    assert change.headers["Allow"] == "POST"


async def test_a_browser_gets_graphiql_without_a_token(server: Served) -> None:
    page = await server.request("GET", "/graphql", headers={"Accept": "text/html,*/*"})

    assert page.status == 200
    assert page.headers["Content-Type"].startswith("text/html")


async def test_introspection_is_answered(server: Served) -> None:
    answer = await server.ask("{ __schema { queryType { name } } _service { sdl } }")

    assert answer.body["data"]["__schema"] == {"queryType": {"name": "Query"}}
    assert "type Execution implements Node" in answer.body["data"]["_service"]["sdl"]


async def test_the_newer_media_type_is_given_to_those_who_name_it(server: Served) -> None:
    answer = await server.ask(QUERY, **server.bearer(), Accept=f"{STRICT}, application/json;q=0.9")

    assert answer.headers["Content-Type"] == STRICT
    assert answer.body == {"data": {"workflows": {"totalCount": 0}}}


async def test_other_origins_get_no_permission_and_browsers_are_told_to_be_careful(
    server: Served,
) -> None:
    answer = await server.ask(QUERY, **server.bearer(), Origin="https://evil.example")

    assert not [name for name in answer.headers if name.lower().startswith("access-control")]
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["X-Frame-Options"] == "DENY"
    assert answer.headers["Cache-Control"] == "no-store"
    assert "default-src 'none'" in answer.headers["Content-Security-Policy"]


async def test_the_purpose_of_access_is_kept(server: Served) -> None:
    await server.publish()
    query = """mutation { enqueueExecution(input: {workflowName: "greet", input: {name: "Ada"}}) {
      execution { purpose events { edges { node { data } } } } } }"""

    answer = await server.ask(query, **server.bearer(), **{"x-purpose": "audit"})

    execution = answer.body["data"]["enqueueExecution"]["execution"]
    assert execution["purpose"] == "audit"
    assert execution["events"]["edges"][0]["node"]["data"]["purpose"] == "audit"

"""GraphiQL as a browser meets it: complete in the package, closed to other origins, ready to use.

The browser tests run a real Chromium against a real server on loopback; the GraphQL behind it is
a small peer in this file, because what is judged here is the page, not the engine.
"""

from __future__ import annotations

import asyncio
import gzip
import hashlib
import io
import json
import re
import socket
import zipfile
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import uvicorn
from graphql import GraphQLSchema, build_schema, graphql_sync, parse, validate
from graphql.execution.values import get_variable_values
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route, WebSocketRoute
from starlette.types import Message
from starlette.websockets import WebSocket

from runtime.model.errors import SetupError
from subgraph.document.persisted import PRODUCT, digest_of, read_manifests
from subgraph.http import graphiql
from tests.http.browser import CHROMIUM, Page, open_page

ROOT = Path(__file__).parents[2]
FOLDER = files("subgraph.http") / "graphiql"
ARCHIVE = (FOLDER / graphiql.ARCHIVE).read_bytes()
MANIFEST = (FOLDER / graphiql.MANIFEST).read_bytes()
TABS = (FOLDER / graphiql.TABS).read_bytes()
# Claims: sub alice, tenant default. Signed by nobody: the peer compares, it does not verify.
TOKEN = "eyJhbGciOiJub25lIn0.eyJzdWIiOiJhbGljZSIsInRlbmFudCI6ImRlZmF1bHQifQ.x"

browser = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed"),
]


@dataclass
class Answer:
    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""


async def ask(path: str, **headers: str) -> Answer:
    """One GET, straight into the application: its bytes as they would leave."""
    routes = [*graphiql.routes(), Route("/graphql", graphiql.graphiql_page, methods=["GET"])]
    answer = Answer()

    async def send(message: Message) -> None:
        if message["type"] == "http.response.start":
            answer.status = message["status"]
            answer.headers = {name.decode(): value.decode() for name, value in message["headers"]}
        answer.body += message.get("body", b"")

    async def receive() -> Message:
        return {"type": "http.request"}

    sent = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    scope = {"type": "http", "method": "GET", "path": path, "headers": sent, "query_string": b""}
    await Starlette(routes=routes)(scope, receive, send)
    return answer


def members() -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(ARCHIVE)) as bundle:
        return {name: bundle.read(name) for name in bundle.namelist()}


def named(part: str) -> str:
    return next(name for name in members() if name.startswith("assets/") and part in name)


# ---------------------------------------------------------------- the archive


def test_archive_is_what_its_manifest_says_file_by_file():
    manifest = json.loads(MANIFEST)

    found = {
        name: {"bytes": len(body), "sha256": hashlib.sha256(body).hexdigest()}
        for name, body in members().items()
    }

    assert manifest["files"] == found
    assert manifest["archive"] == {
        "file": graphiql.ARCHIVE,
        "bytes": len(ARCHIVE),
        "sha256": hashlib.sha256(ARCHIVE).hexdigest(),
    }


def test_a_changed_archive_is_refused_by_name():
    broken = ARCHIVE[:-1] + bytes([ARCHIVE[-1] ^ 1])

    with pytest.raises(SetupError, match=r"graphiql\.zip is not the archive .* names"):
        graphiql.load(broken, MANIFEST, TABS)


def test_archive_is_small_and_brings_no_source_maps():
    assert len(ARCHIVE) < 4_000_000
    assert not [name for name in members() if name.endswith(".map")]


def test_manifest_names_version_and_licence_of_every_bundled_package():
    packages = {package["name"]: package for package in json.loads(MANIFEST)["packages"]}

    assert packages["graphiql"]["version"].startswith("5.")
    assert {"react", "graphql", "graphql-ws", "monaco-editor"} <= packages.keys()
    assert {package["license"] for package in packages.values()} <= {
        "0BSD",
        "Apache-2.0",
        "Apache-2.0 OR OFL-1.1",
        "BSD-2-Clause",
        "CC-BY-4.0",
        "MIT",
        "OFL-1.1",
    }
    licences = members()["LICENSES.txt"].decode()
    assert not [name for name in packages if name not in licences]


def test_archive_was_built_from_the_sources_that_lie_here():
    folder = ROOT / "scripts" / "vendor_graphiql"

    built_from = json.loads(MANIFEST)["sources"]

    lying = [*folder.glob("src/*"), *folder.glob("public/*")]
    assert {path.relative_to(folder).as_posix() for path in lying} < built_from.keys()
    assert built_from == {
        name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in built_from
    }, "run: cd scripts/vendor_graphiql && npm ci && npm run build"


def test_lock_file_of_the_build_names_no_registry():
    lock = (ROOT / "scripts" / "vendor_graphiql" / "package-lock.json").read_text()

    assert '"resolved"' not in lock
    assert '"integrity"' in lock


# ---------------------------------------------------------------- over HTTP


async def test_page_opens_without_a_token_and_is_never_stale():
    page = await ask("/graphql", accept="text/html")

    assert page.status == 200
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert page.headers["cache-control"] == "no-cache"
    assert page.headers["vary"] == "Accept, Accept-Encoding"


async def test_page_refers_to_nothing_but_its_own_files():
    page = (await ask("/graphql")).body.decode()

    referred = re.findall(r'(?:src|href)="([^"]+)"', page)

    assert len(referred) == 3
    assert [(await ask(f"/{path}")).status for path in referred] == [200, 200, 200]
    assert not re.search(r"<script(?![^>]* src=)", page)


@pytest.mark.parametrize("ending", [None, ".worker", ".js"])
async def test_policy_closes_every_door_but_its_own(ending):
    path = f"/graphiql/{named(ending)}" if ending else "/graphql"

    policy = (await ask(path)).headers["content-security-policy"]

    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    assert rules["default-src"] == rules["base-uri"] == rules["frame-ancestors"] == "'none'"
    assert rules["script-src"] == rules["connect-src"] == rules["worker-src"] == "'self'"
    assert "http" not in policy


@pytest.mark.parametrize("name", sorted(members().keys() - {"index.html"}))
async def test_every_file_is_served_whole_gzipped_or_not(name):
    plain = await ask(f"/graphiql/{name}")
    packed = await ask(f"/graphiql/{name}", accept_encoding="br, gzip;q=0.8")

    assert plain.body == gzip.decompress(packed.body) == members()[name]
    assert packed.headers["content-encoding"] == "gzip"
    assert "content-encoding" not in plain.headers
    assert plain.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize(
    ("ending", "media_type"),
    [
        (".js", "text/javascript; charset=utf-8"),
        (".css", "text/css; charset=utf-8"),
        (".ttf", "font/ttf"),
    ],
)
async def test_hashed_files_may_be_kept_for_ever(ending, media_type):
    answer = await ask(f"/graphiql/{named(ending)}")

    assert answer.headers["content-type"] == media_type
    assert answer.headers["cache-control"] == "public, max-age=31536000, immutable"


@pytest.mark.parametrize("path", ["/graphql", "/graphiql/tabs.json", "/graphiql/favicon.svg"])
async def test_known_etag_spares_the_body(path):
    etag = (await ask(path)).headers["etag"]

    again = await ask(path, if_none_match=f'"other", W/{etag}')

    assert (again.status, again.body) == (304, b"")


@pytest.mark.parametrize("path", ["nothing.js", "index.html", "../graphiql.py", "assets/", ""])
async def test_other_paths_are_not_found(path):
    assert (await ask(f"/graphiql/{path}")).status == 404


@pytest.mark.parametrize("accepted", ["gzip;q=0", "br", "", "deflate, x-gzip;q=1"])
async def test_gzip_is_sent_only_to_who_takes_it(accepted):
    answer = await ask("/graphiql/tabs.json", accept_encoding=accepted)

    assert "content-encoding" not in answer.headers


# ---------------------------------------------------------------- the ready tabs


def tabs() -> list[dict[str, str]]:
    loaded: list[dict[str, str]] = json.loads(
        graphiql.load(ARCHIVE, MANIFEST, TABS)["tabs.json"].body
    )
    return loaded


def operation_name(tab: dict[str, str]) -> str:
    match = re.search(r"^(?:query|mutation|subscription) (\w+)", tab["query"], re.MULTILINE)
    assert match is not None
    return match[1]


@pytest.fixture(scope="module")
def schema() -> GraphQLSchema:
    path = ROOT / "schema.graphql"
    if not path.exists():
        pytest.skip("schema.graphql has not been written: make schema")
    return build_schema(path.read_text(), assume_valid_sdl=True)


def test_tabs_are_list_start_watch_and_look():
    assert [operation_name(tab) for tab in tabs()] == [
        "ListWorkflows",
        "StartOrder",
        "WatchExecution",
        "ExecutionWithSteps",
    ]


@pytest.mark.parametrize("tab", tabs(), ids=operation_name)
def test_tab_is_valid_against_our_schema(schema, tab):
    document = parse(tab["query"])
    variables = json.loads(tab.get("variables", "{}"))

    assert validate(schema, document) == []
    definitions = document.definitions[0].variable_definitions or ()  # type: ignore[attr-defined] # one operation each
    coerced = get_variable_values(schema, definitions, variables)
    assert not isinstance(coerced, list), coerced


def test_the_ready_tabs_are_trusted_documents():
    trusted = read_manifests((PRODUCT,))

    assert {digest_of(tab["query"]) for tab in tabs()} <= trusted.keys()


# ---------------------------------------------------------------- in a browser


SDL = """
scalar JSON
type Query { workflows(first: Int): Workflows execution(id: ID!): Execution }
type Workflows { totalCount: Int edges: [Edge!]! }
type Edge { node: Workflow! }
type Workflow { name: String! description: String status: String currentVersion: Version }
type Version { version: String digest: String publishedAt: String }
type Mutation { enqueueExecution(input: EnqueueExecutionInput!): Enqueued! }
input EnqueueExecutionInput { workflowName: String namespace: String! = "default" input: JSON }
type Enqueued { created: Boolean! execution: Execution errors: [Problem!]! }
type Problem { code: String message: String path: [String!] }
type Execution { id: ID! status: String }
type Subscription { executionEvents(id: ID!, after: String): Event! }
type Event { sequence: Int type: String stepKey: String attempt: Int executionStatus: String at: String data: JSON }
"""


class Peer:
    """A GraphQL server that keeps what it was asked, over HTTP and graphql-transport-ws."""

    def __init__(self) -> None:
        self.schema = build_schema(SDL)
        self.posts: list[tuple[dict[str, str], dict[str, Any]]] = []
        self.inits: list[Any] = []
        self.subscribed: list[Any] = []

    async def post(self, request: Request) -> Response:
        body = await request.json()
        self.posts.append((dict(request.headers), body))
        if request.headers.get("authorization") != f"Bearer {TOKEN}":
            return JSONResponse({"errors": [{"message": "A valid token is needed."}]}, 401)
        root = {
            "enqueueExecution": {
                "created": True,
                "execution": {"id": "e-77", "status": "QUEUED"},
                "errors": [],
            }
        }
        result = graphql_sync(
            self.schema,
            body["query"],
            root,
            variable_values=body.get("variables"),
            operation_name=body.get("operationName"),
        )
        return JSONResponse(result.formatted, media_type="application/graphql-response+json")

    async def socket(self, websocket: WebSocket) -> None:
        await websocket.accept("graphql-transport-ws")
        self.inits.append(await websocket.receive_json())
        await websocket.send_json({"type": "connection_ack"})
        message = await websocket.receive_json()
        self.subscribed.append(message["payload"])
        for sequence, kind in ((1, "EXECUTION_QUEUED"), (2, "EXECUTION_COMPLETED")):
            event = {"executionEvents": {"sequence": sequence, "type": kind}}
            await websocket.send_json(
                {"id": message["id"], "type": "next", "payload": {"data": event}}
            )
        await websocket.send_json({"id": message["id"], "type": "complete"})
        await websocket.receive()

    def asked(self, name: str) -> list[tuple[dict[str, str], dict[str, Any]]]:
        return [post for post in self.posts if post[1].get("operationName") == name]


@pytest.fixture
async def served() -> AsyncIterator[tuple[str, Peer]]:
    peer = Peer()
    app = Starlette(
        routes=[
            *graphiql.routes(),
            Route("/graphql", graphiql.graphiql_page, methods=["GET"]),
            Route("/graphql", peer.post, methods=["POST"]),
            WebSocketRoute("/graphql", peer.socket),
        ]
    )
    listening = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(
        uvicorn.Config(
            app, log_level="warning", ws="websockets-sansio", timeout_graceful_shutdown=1
        )
    )
    task = asyncio.create_task(server.serve([listening]))
    yield f"http://127.0.0.1:{listening.getsockname()[1]}", peer
    server.should_exit = True
    await task


@pytest.fixture
async def page() -> AsyncIterator[Page]:
    async with open_page() as opened:
        yield opened


TITLES = "[...document.querySelectorAll('.graphiql-tab')].map((tab) => tab.querySelector('button').textContent)"
READY = "document.querySelector('.graphiql-query-editor .view-line')"
MODEL = "__MONACO.editor.getModels().find((model) => model.uri.path.includes('%s'))"
MARKERS = (
    "__MONACO.editor.getModelMarkers({}).filter((mark) => mark.resource.path.includes('variables'))"
)
ANSWER = f"{MODEL % 'response'}.getValue()"


class TestPageInChromium:
    pytestmark = browser

    async def test_opens_with_ready_tabs_and_asks_no_other_origin(self, served, page):
        address, peer = served

        await page.goto(f"{address}/graphql#token={TOKEN}")
        await page.until(READY)
        await page.until("document.querySelector('.mc-who[data-state=ok]')")
        await page.until_asked("graphql.worker")

        assert [title.strip() for title in await page.evaluate(TITLES)] == [
            operation_name(tab) for tab in tabs()
        ]
        assert {urlsplit(url).netloc for url in page.requests} == {urlsplit(address).netloc}
        assert page.complaints == []
        assert peer.asked("IntrospectionQuery")[0][0]["authorization"] == f"Bearer {TOKEN}"

    @pytest.mark.long
    async def test_token_leaves_the_address_bar_at_once_and_stays_for_a_reload(self, served, page):
        address, _ = served

        await page.goto(f"{address}/graphql#token={TOKEN}")
        await page.until("text('.mc-who') === 'alice · default'")

        assert await page.evaluate("location.href") == f"{address}/graphql"
        await page.click("#graphiql-session-tab-1")
        await page.until("JSON.stringify(localStorage).includes('StartOrder')")
        assert TOKEN not in await page.evaluate("JSON.stringify(localStorage)")
        await page.goto(f"{address}/graphql")
        await page.until("text('.mc-who') === 'alice · default'")

    async def test_starts_an_execution_and_watches_it_without_copying_its_id(self, served, page):
        address, peer = served
        await page.goto(f"{address}/graphql#token={TOKEN}")
        await page.until(READY)

        await page.click("#graphiql-session-tab-1")
        await page.click(".graphiql-execute-button")
        await page.until(f"{ANSWER}.includes('e-77')")
        await page.click("#graphiql-session-tab-2")
        await page.click(".graphiql-execute-button")
        await page.until(f"{ANSWER}.includes('\"complete\": true')")

        answer = await page.evaluate(ANSWER)
        assert answer.index("EXECUTION_COMPLETED") < answer.index("EXECUTION_QUEUED")
        headers, body = peer.asked("StartOrder")[0]
        assert body["variables"]["input"]["workflowName"] == "order-fulfilment"
        assert headers["accept"].startswith("application/graphql-response+json")
        assert peer.inits == [
            {"type": "connection_init", "payload": {"authorization": f"Bearer {TOKEN}"}}
        ]
        assert peer.subscribed[0]["variables"]["id"] == "e-77"

    @pytest.mark.long
    async def test_without_a_token_it_loads_says_why_and_takes_one(self, served, page):
        address, peer = served
        await page.goto(f"{address}/graphql")
        await page.until(READY)

        await page.click(".graphiql-execute-button")
        await page.until(f"{ANSWER}.includes('A valid token is needed.')")
        await page.click(".mc-token input")
        await page.evaluate("document.querySelector('.mc-token input').focus()")
        await page.call("Input.insertText", text=f"Bearer {TOKEN}")
        await page.click(".mc-token button")
        await page.until("document.querySelector('.mc-who[data-state=ok]')")

        assert peer.posts[-1][0]["authorization"] == f"Bearer {TOKEN}"
        await page.click(".graphiql-execute-button")
        await page.until(f"{ANSWER}.includes('\"workflows\": null')")

    @pytest.mark.long
    async def test_docs_and_explorer_show_the_schema(self, served, page):
        address, _ = served
        await page.goto(f"{address}/graphql#token={TOKEN}")
        await page.until(READY)
        await page.until("document.querySelector('.mc-who[data-state=ok]')")

        for name, shown in (
            ("Documentation Explorer", "Subscription"),
            ("GraphiQL Explorer", "execution"),
        ):
            await page.click(f'.graphiql-sidebar button[aria-label="Show {name}"]')
            await page.until(
                f"document.querySelector('.graphiql-plugin')?.textContent.includes('{shown}')"
            )

    @pytest.mark.long
    async def test_ready_variables_are_not_underlined(self, served, page):
        address, _ = served
        await page.goto(f"{address}/graphql#token={TOKEN}")
        await page.until(READY)
        await page.click("#graphiql-session-tab-1")
        await page.until(f"{MODEL % 'variables'}.getValue().includes('order-fulfilment')")

        # A wrong value is underlined: so validation is awake, and its silence before means something.
        await page.evaluate(
            f'{MODEL % "variables"}.setValue(\'{{"input": {{"workflowName": 1}}}}\')'
        )
        await page.until(f"{MARKERS}.length === 1")
        await page.evaluate(f"{MODEL % 'variables'}.setValue({json.dumps(tabs()[1]['variables'])})")
        await page.until(f"{MARKERS}.length === 0")

    @pytest.mark.long
    async def test_watching_before_starting_says_what_to_do(self, served, page):
        address, peer = served
        await page.goto(f"{address}/graphql#token={TOKEN}")
        await page.until(READY)

        await page.click("#graphiql-session-tab-2")
        await page.click(".graphiql-execute-button")

        await page.until(f"{ANSWER}.includes('run StartOrder first')")
        assert peer.subscribed == []

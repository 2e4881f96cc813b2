"""The one-shot client against real listeners: what each bad answer becomes."""

from __future__ import annotations

import json
import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from click.testing import CliRunner

from maestro_cli.client import Client, check_payload
from maestro_cli.errors import CliError, render
from maestro_cli.options import Options
from maestro_cli.servers import Server
from maestro_cli.verbs.resolve import resolve
from tests.support.processes import free_port


class Listener(ThreadingHTTPServer):
    """Answers every POST with what it was told to, and keeps what it was sent."""

    def __init__(self, status, kind, body):
        self.answer = (status, kind, body.encode())
        self.seen = []
        super().__init__(("127.0.0.1", 0), Handler)

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        listener = self.server
        assert isinstance(listener, Listener)
        listener.seen.append((self.path, dict(self.headers), json.loads(body)))
        status, kind, answer = listener.answer
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *arguments):
        pass


@pytest.fixture
def listen():
    listeners = []

    def start(status=200, kind="application/json", body='{"data": {"ok": true}}'):
        listener = Listener(status, kind, body)
        threading.Thread(
            target=listener.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True
        ).start()
        listeners.append(listener)
        return listener

    yield start
    for listener in listeners:
        listener.shutdown()
        listener.server_close()


def client_of(url, **options):
    return Client(Server(url, "secret", None, "--endpoint"), Options(**options))


def test_an_operation_carries_token_purpose_and_variables(listen):
    listener = listen()

    assert client_of(listener.url, purpose="billing audit").send("{ ok }", {"a": 1}) == {"ok": True}

    path, headers, body = listener.seen[0]
    assert path == "/graphql"
    assert headers["Authorization"] == "Bearer secret"
    assert headers["x-purpose"] == "billing audit"
    assert body == {"query": "{ ok }", "variables": {"a": 1}}


@pytest.mark.parametrize(
    ("status", "body", "code"),
    [
        (401, {"errors": [{"message": "no", "extensions": {"code": "UNAUTHENTICATED"}}]}, 5),
        (401, {"type": "about:blank", "code": "UNAUTHENTICATED", "detail": "no"}, 5),
        (
            200,
            {"data": None, "errors": [{"message": "no", "extensions": {"code": "NOT_FOUND"}}]},
            3,
        ),
        (429, {"errors": [{"message": "no", "extensions": {"code": "RATE_LIMITED"}}]}, 7),
        (
            400,
            {"errors": [{"message": "no", "extensions": {"code": "GRAPHQL_VALIDATION_FAILED"}}]},
            4,
        ),
        (500, {"errors": [{"message": "no"}]}, 1),
    ],
)
def test_a_refusal_becomes_the_exit_code_of_its_kind(listen, status, body, code):
    listener = listen(status, "application/json", json.dumps(body))

    with pytest.raises(CliError, match="no") as caught:
        client_of(listener.url).send("{ ok }", {})

    assert caught.value.exit_code == code


def test_what_is_no_graphql_server_is_called_so(listen):
    listener = listen(200, "text/html", "<h1>hello</h1>")

    with pytest.raises(CliError, match="no GraphQL server"):
        client_of(listener.url).send("{ ok }", {})


def test_nobody_listening_is_unreachable_and_names_where_the_address_came_from():
    with pytest.raises(CliError, match="connection refused") as caught:
        client_of(f"http://127.0.0.1:{free_port()}").send("{ ok }", {})

    assert caught.value.exit_code == 7
    assert "--endpoint" in (caught.value.hint or "")


def test_a_silent_server_times_out():
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"

        with pytest.raises(CliError, match="did not answer") as caught:
            client_of(url, timeout=0.2).send("{ ok }", {})

    assert caught.value.exit_code == 8


def test_the_token_is_never_shown_however_verbose(listen, capsys):
    client_of(listen().url, verbose=2).send("{ ok }", {"a": 1}, label="Ask")

    shown = capsys.readouterr().err
    assert "> Ask" in shown
    assert '{"a": 1}' in shown
    assert "secret" not in shown


@pytest.mark.parametrize(
    ("code", "exit_code"), [("CONFLICT", 6), ("NOT_FOUND", 3), ("VALIDATION_FAILED", 4)]
)
def test_a_mutation_refused_as_data_is_a_failure_too(code, exit_code):
    with pytest.raises(CliError, match="moved on") as caught:
        check_payload({"errors": [{"code": code, "message": "moved on", "path": None}]})

    assert caught.value.exit_code == exit_code


def test_findings_keep_their_place_in_the_file():
    errors = [
        {
            "code": "VALIDATION_FAILED",
            "message": "cycle",
            "rule": "cycle",
            "line": 4,
            "column": 2,
            "path": [],
        }
    ]

    with pytest.raises(CliError) as caught:
        check_payload({"errors": errors}, file="order.yaml")

    assert str(caught.value.findings[0].place) == "order.yaml:4:2"


def test_what_is_wrong_with_an_input_is_told_field_by_field():
    errors = [
        {
            "code": "VALIDATION_FAILED",
            "message": f"{name} is missing",
            "path": ["input", "input", name],
        }
        for name in "ab"
    ]

    with pytest.raises(CliError, match="2 things are wrong") as caught:
        check_payload({"errors": errors})

    assert [".".join(finding.path) for finding in caught.value.findings] == ["input.a", "input.b"]


@pytest.mark.parametrize(
    ("path", "typed"),
    [
        (["input", "idempotencyKey"], "at --idempotency-key"),
        (["input", "workflowName"], "at NAME"),
        (["input", "input", "who", "name"], "at input.who.name"),
    ],
)
def test_a_place_is_named_as_it_was_typed(path, typed):
    refused = {"errors": [{"message": "no", "code": "BAD_USER_INPUT", "path": path}]}

    with pytest.raises(CliError) as error:
        check_payload(refused)

    assert typed in render(error.value, as_json=False)


def refused(*messages, code="BAD_USER_INPUT"):
    return {"errors": [{"message": one, "extensions": {"code": code}} for one in messages]}


@pytest.mark.parametrize(
    ("place", "reason", "said", "typed"),
    [
        (" at .version", "Not a SemVer: write 1.4.0.", "not taken: write 1.4.0", "--version"),
        (" at .priority", "Int cannot represent non 32-bit signed integer value.", "32", "--prio"),
        (
            " at .labels[0].key",
            "String cannot represent a non string value.",
            "text",
            "label.0.key",
        ),
        ("", "Expected value of type 'X' to include required field 'reason'.", "miss", "--reason"),
        ("", "Expected value of type 'X' not to include unknown field 'a'.", "version", "at a"),
        (" at .decision", "Expected a value of the enum 'DoubtDecision'.", "word", "--made"),
        ("", "Something new about 'XInput'.", "right type", ""),
    ],
)
def test_a_variable_that_does_not_fit_is_told_as_it_was_typed(listen, place, reason, said, typed):
    answer = refused(f"Variable '$input' has invalid value{place}: {reason}")
    listener = listen(400, "application/json", json.dumps(answer))

    with pytest.raises(CliError) as caught:
        client_of(listener.url).run("signal_execution", input={})

    shown = render(caught.value, as_json=False)
    assert said in shown
    assert typed in shown
    assert caught.value.exit_code == 4
    for word in ("Variable", "$input", "invalid value", "'X", "SemVer", "Int cannot"):
        assert word not in shown


def test_a_server_of_another_version_is_told_apart_from_a_wrong_word(listen):
    answer = refused("Cannot query field 'a' on type 'B'.", code="GRAPHQL_VALIDATION_FAILED")
    listener = listen(400, "application/json", json.dumps(answer))

    with pytest.raises(CliError, match="two versions"):
        client_of(listener.url).run("signal_execution", input={})


def test_who_writes_graphql_reads_graphql(listen):
    message = "Variable '$first' has invalid value: Int cannot represent non-integer value."
    listener = listen(400, "application/json", json.dumps(refused(message)))

    with pytest.raises(CliError) as caught:
        client_of(listener.url).send("query($first: Int) { a }", {"first": "x"})

    assert caught.value.message == message


def test_what_a_call_gave_is_data_and_the_format_of_the_answer_is_output(listen):
    execution = {"id": "e1", "status": "RUNNING"}
    done = {"data": {"resolveInDoubt": {"execution": execution, "errors": []}}}
    listener = listen(200, "application/json", json.dumps(done))
    words = ["e1", "pay", "--made", "-d", '{"id": 7}', "--output", "json"]

    shown = CliRunner().invoke(resolve, words, obj=Options(endpoint=listener.url, token="t"))

    assert shown.exit_code == 0, shown.output
    assert json.loads(shown.stdout) == [{"id": "e1", "status": "running"}]
    assert listener.seen[0][2]["variables"]["input"]["output"] == {"id": 7}

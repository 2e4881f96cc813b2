"""Downloads against listeners that break off, change their value, refuse: what stands in the file, and how `mc` ends."""

from __future__ import annotations

import base64
import hashlib
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

BODY = bytes(range(256)) * 1_000
REFUSED = b'{"code": "NOT_FOUND", "reason": "NO_OUTPUT", "detail": "It is running."}'


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        server = self.server
        assert isinstance(server, Breaking)
        server.seen.append((self.path, self.headers.get("Range")))
        if server.status is not None:
            self._answer(server.status, REFUSED, REFUSED, {})
            return
        digest = hashlib.sha256(server.body).digest()
        told = {
            "Repr-Digest": f"sha-256=:{base64.b64encode(digest).decode()}:",
            "ETag": f'"sha256:{digest.hex()}"',
        }
        first = 0
        if self.headers.get("If-Range") == told["ETag"]:
            first = int(self.headers["Range"].removeprefix("bytes=").removesuffix("-"))
        rest = server.body[first:]
        self._answer(206 if first else 200, rest, rest[: server.breaks_after], told)
        server.body = server.becomes or server.body

    def _answer(self, status, whole, sent, headers):
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(whole))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(sent)
        self.close_connection = True

    def log_message(self, *arguments):
        pass


class Breaking(ThreadingHTTPServer):
    """Breaks off after so many bytes of each answer."""

    status: int | None = None
    body = BODY
    becomes: bytes | None = None
    breaks_after: int | None = None

    def __init__(self):
        self.seen = []
        super().__init__(("127.0.0.1", 0), Handler)


@pytest.fixture
def server(monkeypatch):
    server = Breaking()
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}).start()
    monkeypatch.setenv("MC_URL", f"http://127.0.0.1:{server.server_port}")
    monkeypatch.setattr("maestro_cli.download._PAUSES", (0.0, 0.0))
    yield server
    server.shutdown()
    server.server_close()


def test_what_breaks_off_is_taken_up_again_where_it_was(cli, server, tmp_path):
    server.breaks_after = 100_000
    file = tmp_path / "out.json"

    done = cli("executions", "output", "ID", "a b", "-f", str(file))

    assert (done.code, file.read_bytes()) == (0, BODY), done
    assert [asked for _, asked in server.seen] == [None, "bytes=100000-", "bytes=200000-"]
    assert server.seen[0][0] == "/api/executions/ID/steps/a%20b/output"
    assert f"{len(BODY)} bytes, sha256:{hashlib.sha256(BODY).hexdigest()}" in done.stderr
    assert [one.name for one in tmp_path.iterdir() if one.is_file()] == ["out.json"]


def test_without_a_step_it_is_that_of_the_execution_on_standard_output(cli, server):
    server.body = b'{"a": 1}'

    done = cli("executions", "output", "ID")

    assert (done.code, done.stdout, done.stderr) == (0, '{"a": 1}', "")
    assert server.seen == [("/api/executions/ID/output", None)]


@pytest.mark.parametrize(
    ("told", "code", "words"),
    [
        ({"status": 404}, 3, "It is running."),
        ({"breaks_after": 0}, 7, "broke after 0 of"),
        ({"breaks_after": 9, "becomes": b"x" * 300_000}, 6, "has changed"),
    ],
)
def test_what_can_t_be_had_leaves_no_file(cli, server, tmp_path, told, code, words):
    for name, value in told.items():
        setattr(server, name, value)
    (tmp_path / "out.json").write_text("older")

    done = cli("executions", "output", "ID", "-f", str(tmp_path / "out.json"))

    assert done.code == code, done
    assert words in done.stderr
    assert [one.name for one in tmp_path.iterdir() if one.is_file()] == ["out.json"]
    assert (tmp_path / "out.json").read_text() == "older"


def test_a_folder_that_is_not_there_is_said_before_anything_is_asked(cli, server, tmp_path):
    done = cli("executions", "output", "ID", "-f", str(tmp_path / "no" / "out.json"))

    assert done.code == 2, done
    assert "can't be written" in done.stderr
    assert server.seen == []

"""A real S3 server for tests: whichever is on PATH or in MC_BIN_DIR, on a free port, stopped by its process."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, Final, cast
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import obstore
import pytest
from obstore.store import S3Store

KEY: Final = "test-key"
SECRET: Final = "test-secret"
BUCKET: Final = "blobs"
_NAMES: Final = ("versitygw", "minio", "moto_server")
_SECONDS: Final = 30.0


@dataclass(frozen=True, slots=True)
class S3:
    """A server with an empty bucket."""

    endpoint: str

    @property
    def url(self) -> str:
        """The address of the bucket, as MC_BLOB_URL."""
        return f"s3://{BUCKET}/tests?endpoint={self.endpoint}&region=us-east-1"

    @property
    def environment(self) -> dict[str, str]:
        """The credentials."""
        return {"AWS_ACCESS_KEY_ID": KEY, "AWS_SECRET_ACCESS_KEY": SECRET}


@contextmanager
def s3_server(folder: Path) -> Iterator[S3]:
    """The first of the known servers that is here; skips by name when none is."""
    found = [path for name in _NAMES if (path := _program(name))]
    if not found:
        pytest.skip(f"no S3 server: none of {', '.join(_NAMES)} is on PATH or in MC_BIN_DIR")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command, environment = _command(found[0], port, folder)
    with (folder / "s3.log").open("wb") as log:
        process = subprocess.Popen(
            command, env={**os.environ, **environment}, stdout=log, stderr=log, cwd=folder
        )
    try:
        server = S3(f"http://127.0.0.1:{port}")
        _ready(server, process)
        _make_bucket(server, folder)
        yield server
    finally:
        process.terminate()
        process.wait(10)


def _program(name: str) -> str | None:
    return shutil.which(name, path=os.environ.get("MC_BIN_DIR")) or shutil.which(name)


def _command(program: str, port: int, folder: Path) -> tuple[list[str], dict[str, str]]:
    data = folder / "data"
    data.mkdir(exist_ok=True)
    match Path(program).name:
        case "versitygw":
            (data / BUCKET).mkdir(exist_ok=True)
            return (
                [program, "--port", f"127.0.0.1:{port}", "posix", str(data)],
                {"ROOT_ACCESS_KEY": KEY, "ROOT_SECRET_KEY": SECRET},
            )
        case "minio":
            return (
                [program, "server", str(data), "--address", f"127.0.0.1:{port}"],
                {"MINIO_ROOT_USER": KEY, "MINIO_ROOT_PASSWORD": SECRET},
            )
        case _:
            return [program, "-H", "127.0.0.1", "-p", str(port)], {}


def _ready(server: S3, process: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + _SECONDS
    while time.monotonic() < end and process.poll() is None:
        try:
            with urlopen(server.endpoint, timeout=1):  # noqa: S310 - our own loopback
                return
        except HTTPError:
            return
        except OSError:
            time.sleep(0.1)
    raise AssertionError(f"the S3 server at {server.endpoint} does not answer")


def _make_bucket(server: S3, folder: Path) -> None:
    """A bucket is made by a PUT of its name; the signing is the library's."""
    if (folder / "data" / BUCKET).exists():
        return
    config = {
        "endpoint": server.endpoint,
        "region": "us-east-1",
        "access_key_id": KEY,
        "secret_access_key": SECRET,
        "virtual_hosted_style_request": False,
    }
    store = S3Store(BUCKET, config=cast("Any", config), client_options={"allow_http": True})
    address = obstore.sign(store, "PUT", "", expires_in=timedelta(minutes=1))
    with urlopen(Request(address, method="PUT"), timeout=10):  # noqa: S310 - our own loopback
        return

"""Downloads: the bytes of an output as they come, with their digest proven; a connection that breaks is taken up again.

The server tells the digest with the first piece. What was written so far is never asked for twice: the next request
asks for the rest (`Range`), and only of the same value (`If-Range`).
"""

from __future__ import annotations

import base64
import hashlib
import http.client
import os
import stat
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO, Final

from maestro_cli.client import Client
from maestro_cli.errors import CliError

_PIECE: Final = 1 << 16
_OK: Final = 200
_PARTIAL: Final = 206
# Before each try that is the next without a single byte more; a server that restarts is back by then.
_PAUSES: Final = (0.1, 0.5, 1.0, 2.0, 4.0)
_LIKE_ANY_FILE: Final = 0o666


class Download:
    """One value on its way to one place."""

    def __init__(self, client: Client, path: str, out: BinaryIO) -> None:
        self._client = client
        self._path = path
        self._out = out
        self._hash = hashlib.sha256()
        self._digest: str | None = None
        self.written = 0
        self._size: int | None = None

    @property
    def digest(self) -> str:
        """`sha256:...` of what was written."""
        return f"sha256:{self._hash.hexdigest()}"

    def run(self) -> None:
        """Write all of it; raises CliError."""
        self._go_on()
        tries = 0
        while self.written != self._size:
            if tries == len(_PAUSES):
                raise CliError(
                    f"The connection broke after {self.written} of {self._size} bytes, and each time it was "
                    "taken up again.",
                    code="UNAVAILABLE",
                )
            time.sleep(_PAUSES[tries])
            before = self.written
            try:
                self._go_on()
            except CliError as error:
                if error.code != "UNAVAILABLE":
                    raise
            tries = 0 if self.written > before else tries + 1
        if self._digest not in {None, self._hash.hexdigest()}:
            raise CliError(
                "What came is not what its digest says.", code="DATA_DAMAGED", hint="try again"
            )

    def _go_on(self) -> None:
        headers = {"Accept": "application/json"}
        if self._digest is not None and self.written:
            headers |= {
                "Range": f"bytes={self.written}-",
                "If-Range": f'"sha256:{self._digest}"',
            }
        with self._client.opened(self._path, headers) as response:
            self._begin(response)
            while piece := _read(response):
                self._out.write(piece)
                self._hash.update(piece)
                self.written += len(piece)

    def _begin(self, response: http.client.HTTPResponse) -> None:
        if response.status not in {_OK, _PARTIAL}:
            raise self._client.refusal(response)
        if response.status == _OK and self.written:
            raise CliError("The value has changed on the way.", code="CONFLICT", hint="try again")
        if self._size is None:
            self._size = int(response.headers.get("Content-Length") or 0)
            self._digest = _sha256_of(response.headers.get("Repr-Digest"))


def _read(response: http.client.HTTPResponse) -> bytes:
    """The next piece; nothing at the end, and where the connection broke."""
    try:
        return response.read(_PIECE)
    except (OSError, http.client.HTTPException):
        return b""


def _sha256_of(header: str | None) -> str | None:
    """The digest in a header of RFC 9530, as hex."""
    for part in (header or "").split(","):
        name, _, value = part.strip().partition("=")
        if name == "sha-256":
            with suppress(ValueError):
                return base64.b64decode(value.strip(":"), validate=True).hex()
    return None


@contextmanager
def written_to(file: str | None) -> Iterator[BinaryIO]:
    """Standard output, or a file that is there when all of it is: written beside its place, then put there."""
    if file is None or file == "-":
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    place = Path(file)
    try:
        if place.exists() and not stat.S_ISREG(place.stat().st_mode):
            with place.open("wb") as special:
                yield special
            return
        handle, name = tempfile.mkstemp(prefix=f".{place.name}.", dir=place.parent)
    except OSError as error:
        raise _unwritable(file, error) from error
    part = Path(name)
    try:
        with os.fdopen(handle, "wb") as out:
            yield out
        mask = os.umask(0)
        os.umask(mask)
        part.chmod(_LIKE_ANY_FILE & ~mask)
        part.replace(place)
    except OSError as error:
        raise _unwritable(file, error) from error
    finally:
        part.unlink(missing_ok=True)


def _unwritable(file: str, error: OSError) -> CliError:
    return CliError(f"{file} can't be written: {error.strerror or error}.", code="USAGE")

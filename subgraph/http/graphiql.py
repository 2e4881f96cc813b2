"""GraphiQL, served from one vendored archive beside this file.

The page is `GET /graphql` for browsers, its assets lie under `/graphiql/`. Nothing is asked of any
other origin: the Content-Security-Policy forbids it, so a mistake in the bundle fails closed. The
archive is checked against its manifest when it is loaded; the ready tabs are a file of their own,
so that changing one needs no Node. `scripts/vendor_graphiql` builds the archive.
"""

from __future__ import annotations

import functools
import hashlib
import io
import json
import struct
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from runtime.model.errors import SetupError

ARCHIVE = "graphiql.zip"
MANIFEST = "graphiql.manifest.json"
TABS = "tabs.json"
_PAGE = "index.html"
_MEDIA_TYPES = {
    "css": "text/css; charset=utf-8",
    "html": "text/html; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "json": "application/json",
    "svg": "image/svg+xml",
    "ttf": "font/ttf",
    "txt": "text/plain; charset=utf-8",
}
# Monaco writes <style> elements and measures with inline styles, hence 'unsafe-inline' for styles
# only; 'self' in connect-src covers the WebSocket of the same host and port.
CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline';"
    " font-src 'self' data:; img-src 'self' data:; connect-src 'self'; worker-src 'self';"
    " base-uri 'none'; frame-ancestors 'none'; form-action 'none'"
)
_SECURITY_HEADERS = {
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
_FOREVER = "public, max-age=31536000, immutable"
_REVALIDATE = "no-cache"


@dataclass(frozen=True, slots=True)
class Asset:
    """One file as it leaves: its bytes, the same bytes gzipped, and what a cache needs to know."""

    body: bytes
    gzipped: bytes
    media_type: str
    etag: str
    cache_control: str


def routes() -> list[Route]:
    """The routes of the assets; loads and checks the archive, so a broken package fails at start."""
    _assets()
    return [Route("/graphiql/{path:path}", _asset, methods=["GET"], name="graphiql")]


async def graphiql_page(request: Request) -> Response:
    """The page itself, for `GET /graphql` with `Accept: text/html`; needs no token to load."""
    response = _answer(request, _assets()[_PAGE])
    # The same address answers GraphQL over HTTP too, so a cache must look at Accept as well.
    response.headers["Vary"] = "Accept, Accept-Encoding"
    return response


def ready_queries() -> list[str]:
    """The documents of the ready tabs, as GraphiQL sends them."""
    return [tab["query"] for tab in json.loads(_assets()[TABS].body)]


def load(archive: bytes, manifest: bytes, tabs: bytes) -> Mapping[str, Asset]:
    """The assets by path, once the archive's digest is the one that its manifest names."""
    expected = json.loads(manifest)["archive"]["sha256"]
    actual = hashlib.sha256(archive).hexdigest()
    if actual != expected:
        raise SetupError(
            f"subgraph/http/graphiql/{ARCHIVE} is not the archive that {MANIFEST} names"
            f" (sha256 {actual}, expected {expected}); install the package again or rebuild it"
            " with scripts/vendor_graphiql."
        )
    with zipfile.ZipFile(io.BytesIO(archive)) as bundle:
        assets = {info.filename: _unpacked(archive, bundle, info) for info in bundle.infolist()}
    return assets | {TABS: _ready_tabs(tabs)}


@functools.cache
def _assets() -> Mapping[str, Asset]:
    # Package data never changes while the process lives, so one copy serves every application.
    folder = files("subgraph.http") / "graphiql"
    archive, manifest, tabs = ((folder / name).read_bytes() for name in (ARCHIVE, MANIFEST, TABS))
    return load(archive, manifest, tabs)


async def _asset(request: Request) -> Response:
    asset = _assets().get(request.path_params["path"])
    if asset is None or asset.media_type == _MEDIA_TYPES["html"]:
        return PlainTextResponse("GraphiQL has no such file; its page is /graphql.", 404)
    return _answer(request, asset)


def _answer(request: Request, asset: Asset) -> Response:
    headers = _SECURITY_HEADERS | {
        "Cache-Control": asset.cache_control,
        "ETag": asset.etag,
        "Vary": "Accept-Encoding",
    }
    known = request.headers.get("if-none-match", "")
    if asset.etag in (tag.strip().removeprefix("W/") for tag in known.split(",")):
        return Response(status_code=304, headers=headers)
    if _takes_gzip(request.headers.get("accept-encoding", "")):
        headers["Content-Encoding"] = "gzip"
        return Response(asset.gzipped, headers=headers, media_type=asset.media_type)
    return Response(asset.body, headers=headers, media_type=asset.media_type)


def _takes_gzip(accept_encoding: str) -> bool:
    for item in accept_encoding.lower().split(","):
        name, _, parameter = item.partition(";")
        if name.strip() == "gzip":
            return parameter.replace(" ", "") not in {"q=0", "q=0.0", "q=0.00", "q=0.000"}
    return False


def _unpacked(archive: bytes, bundle: zipfile.ZipFile, info: zipfile.ZipInfo) -> Asset:
    body = bundle.read(info)
    # A zip member is a raw deflate stream with a CRC-32 and a length: exactly what gzip frames.
    # So the stored bytes go out as they are, and nothing is compressed at run time.
    name_length, extra_length = struct.unpack_from("<HH", archive, info.header_offset + 26)
    start = info.header_offset + 30 + name_length + extra_length
    deflated = archive[start : start + info.compress_size]
    is_hashed = info.filename.startswith("assets/")
    return Asset(
        body=body,
        gzipped=_gzip_framed(deflated, info.CRC, info.file_size),
        media_type=_MEDIA_TYPES[info.filename.rpartition(".")[2]],
        etag=_etag(body),
        cache_control=_FOREVER if is_hashed else _REVALIDATE,
    )


def _ready_tabs(source: bytes) -> Asset:
    """GraphiQL wants text; the file holds lines and objects, which people can read and edit."""
    tabs = [
        {"query": "\n".join(tab["query"]) + "\n"}
        | ({"variables": json.dumps(tab["variables"], indent=2)} if "variables" in tab else {})
        for tab in json.loads(source)
    ]
    body = json.dumps(tabs).encode()
    packer = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    deflated = packer.compress(body) + packer.flush()
    return Asset(
        body=body,
        gzipped=_gzip_framed(deflated, zlib.crc32(body), len(body)),
        media_type=_MEDIA_TYPES["json"],
        etag=_etag(body),
        cache_control=_REVALIDATE,
    )


def _gzip_framed(deflated: bytes, crc: int, size: int) -> bytes:
    head = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x02\xff"
    return head + deflated + struct.pack("<II", crc, size)


def _etag(body: bytes) -> str:
    return f'"{hashlib.sha256(body).hexdigest()[:32]}"'

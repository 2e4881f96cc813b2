"""`/schemas/workflow.json`: the JSON Schema of definition documents, for editors. Open: it holds no tenant's data."""

from __future__ import annotations

import hashlib

import orjson
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from runtime.bootstrap import Runtime
from runtime.definition import json_schema


def routes(rt: Runtime) -> list[Route]:
    """The route of the schema; it is made once, the connectors of a process don't change."""
    body = orjson.dumps(json_schema(rt.catalog()))
    etag = f'"{hashlib.sha256(body).hexdigest()[:32]}"'
    headers = {"Cache-Control": "public, max-age=300", "ETag": etag}

    async def workflow(request: Request) -> Response:
        if request.headers.get("if-none-match") == etag:
            return Response(status_code=304, headers=headers)
        return Response(body, media_type="application/schema+json", headers=headers)

    return [Route("/schemas/workflow.json", workflow)]

"""RFC 9457: how every mount that is not GraphQL says why it refused."""

from __future__ import annotations

from http import HTTPStatus

import orjson
from starlette.responses import Response

from runtime.model.errors import MaestroError
from subgraph.errors import headers_of, said, status_of


def problem(error: MaestroError, trace_id: str) -> Response:
    """A refusal as `application/problem+json`."""
    status = status_of(error)
    body = {
        "type": "about:blank",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": said(error, trace_id),
        "code": error.code,
        "reason": error.reason,
        "trace_id": trace_id,
    }
    return Response(
        orjson.dumps({name: value for name, value in body.items() if value is not None}),
        status,
        {"Cache-Control": "no-store", **headers_of(error)},
        "application/problem+json",
    )

"""MaestroError to GraphQL extensions and HTTP status: the only place where status codes stand.

What a caller may know is said (code, reason, sentence); everything else is a fault: logged here with its traceback
under a trace id, and shown as INTERNAL with that id and nothing more.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from graphql import FieldNode, GraphQLError

from runtime.model.errors import Exhausted, MaestroError
from runtime.telemetry.log import get_logger
from subgraph.variables import without_value

STATUS: Final[dict[str, int]] = {
    "UNAUTHENTICATED": 401,
    "FORBIDDEN": 403,
    "NOT_FOUND": 404,
    "CONFLICT": 409,
    "IDEMPOTENCY_CONFLICT": 409,
    "INVALID_STATE": 409,
    "PAYLOAD_TOO_LARGE": 413,
    "VALIDATION_FAILED": 422,
    "RATE_LIMITED": 429,
    "BAD_USER_INPUT": 400,
    "QUERY_TOO_COMPLEX": 400,
    "GRAPHQL_PARSE_FAILED": 400,
    "GRAPHQL_VALIDATION_FAILED": 400,
    "PERSISTED_QUERY_NOT_FOUND": 200,
    "PERSISTED_QUERY_NOT_SUPPORTED": 400,
    "DATA_DAMAGED": 500,
    "INTERNAL": 500,
    "UNAVAILABLE": 503,
}
# Codes by which we say that it is our fault, not the caller's.
FAULTS: Final = frozenset(code for code, status in STATUS.items() if status >= 500)  # noqa: PLR2004 - RFC 9110
# What says more than its code: the media of a request is not what this server takes (RFC 9110, 15.5.16).
_STATUS_OF_REASON: Final = {"CONTENT_TYPE": 415, "CONTENT_ENCODING": 415}
# Codes that name a condition inside; a caller gets INTERNAL instead.
_INNER: Final = frozenset({"INTERNAL", "SETUP", "STEP_FAILED"})
_FAULT: Final = "Something went wrong on our side; nothing acknowledged is lost. Quote the trace id when you report it."

# Refusals that name a place inside: a folder, a host, a driver's own words. Callers hear these sentences, operators
# find the rest in the log.
_FOR_CALLERS: Final = {
    "BLOB_STORE_UNAVAILABLE": "The store of large values does not do what is asked at the moment; nothing acknowledged "
    "is lost, try again.",
    "DATABASE_UNAVAILABLE": "PostgreSQL does not answer at the moment; nothing acknowledged is lost, try again.",
    "REDIS_UNAVAILABLE": "Redis does not answer at the moment; nothing acknowledged is lost, try again.",
}

_log = get_logger("graphql")


def status_of(error: MaestroError) -> int:
    """The HTTP status of a whole request refused by this error."""
    return _STATUS_OF_REASON.get(error.reason or "", STATUS.get(error.code, 500))


def headers_of(error: MaestroError) -> dict[str, str]:
    """The headers that go with a refusal."""
    if error.code == "UNAUTHENTICATED":
        return {"WWW-Authenticate": 'Bearer realm="maestro"'}
    if isinstance(error, Exhausted) and error.retry_after is not None:
        return {"Retry-After": str(max(1, round(error.retry_after)))}
    return {}


def body_of(error: MaestroError, trace_id: str) -> dict[str, Any]:
    """A GraphQL response that says why the whole request was refused."""
    return {
        "errors": [present(GraphQLError(error.message, original_error=error), trace_id).formatted]
    }


def said(error: MaestroError, trace_id: str) -> str:
    """What a caller hears of a refusal; what was kept from him is logged."""
    outside = _FOR_CALLERS.get(error.reason or "")
    if outside is None:
        return error.message
    _log.warning(
        "graphql.unavailable", reason=error.reason, why=error.message, request_trace_id=trace_id
    )
    return outside


def present_all(errors: Sequence[GraphQLError], trace_id: str) -> list[GraphQLError]:
    """Errors as a caller may see them."""
    return [present(error, trace_id) for error in errors]


def present(error: GraphQLError, trace_id: str) -> GraphQLError:
    """An error as a caller may see it; a fault is logged and masked."""
    origin = error.original_error
    while isinstance(origin, GraphQLError) and origin.original_error is not None:
        origin = origin.original_error
    if isinstance(origin, MaestroError) and origin.code not in _INNER:
        message = said(origin, trace_id)
        return _shown(error, message, _facts(origin), trace_id)
    if (error.extensions or {}).get("code"):
        return _shown(error, error.message, dict(error.extensions or {}), trace_id)
    if (origin is None or isinstance(origin, GraphQLError)) and _is_callers(error):
        return _shown(error, without_value(error), {"code": "BAD_USER_INPUT"}, trace_id)
    _log.error(
        "graphql.fault", path=error.path, request_trace_id=trace_id, exc_info=origin or error
    )
    return _shown(error, _FAULT, {"code": "INTERNAL"}, trace_id)


def _facts(error: MaestroError) -> dict[str, Any]:
    facts: dict[str, Any] = {"code": error.code, "reason": error.reason}
    if isinstance(error, Exhausted) and error.retry_after is not None:
        facts["retryAfter"] = round(error.retry_after, 3)
    return facts


def _is_callers(error: GraphQLError) -> bool:
    # Variables that don't fit fail before any field is reached, arguments at the value that doesn't fit; what fails at
    # a field itself (a null that must not be, a value that can't be written) is ours.
    if not error.path:
        return True
    return bool(error.nodes) and not any(isinstance(node, FieldNode) for node in error.nodes or ())


def _shown(
    error: GraphQLError, message: str, extensions: dict[str, Any], trace_id: str
) -> GraphQLError:
    given = {name: value for name, value in extensions.items() if value is not None}
    return GraphQLError(
        message,
        nodes=error.nodes,
        source=error.source,
        positions=error.positions,
        path=error.path,
        extensions={**given, "trace_id": trace_id},
    )

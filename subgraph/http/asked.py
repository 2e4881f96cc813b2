"""What a request asks: the parameters of GraphQL over HTTP, from a body, a query string or a `subscribe` message."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Final

from starlette.requests import Request

from runtime.model.errors import BadInput, MaestroError
from subgraph.http.body import parse_object

_SHA256: Final = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Asked:
    """One request. `text` is None when only `sha256` names the document (automatic persisted queries).

    `wants_cost`: the answer shall tell what it cost.
    """

    text: str | None
    variables: dict[str, Any] | None = None
    operation_name: str | None = None
    sha256: str | None = None
    wants_cost: bool = False


class PersistedQueryNotSupported(MaestroError):
    """Persisted queries are taken in version 1, by the SHA-256 of the document; send the document."""

    code = "PERSISTED_QUERY_NOT_SUPPORTED"


def read_query(request: Request) -> Asked:
    """What a GET asks."""
    found: dict[str, Any] = dict(request.query_params)
    for name in ("variables", "extensions"):
        if found.get(name):
            found[name] = parse_object(found[name].encode(), f"`{name}`")
        else:
            found.pop(name, None)
    return read_asked(found)


def read_asked(found: dict[str, Any]) -> Asked:
    """What a body asks; raises BadInput when it is not of the form of GraphQL over HTTP."""
    text, variables, name = found.get("query"), found.get("variables"), found.get("operationName")
    extensions, sha256 = found.get("extensions"), None
    if extensions is not None:
        if not isinstance(extensions, dict):
            raise BadInput("`extensions` must be an object.", reason="EXTENSIONS")
        sha256 = _persisted(extensions.get("persistedQuery"))
    if not (isinstance(text, str) and text.strip()) and not (text is None and sha256):
        raise BadInput("`query` must hold a GraphQL document.", reason="QUERY_MISSING")
    if not isinstance(variables, dict | None):
        raise BadInput("`variables` must be an object.", reason="VARIABLES")
    if not isinstance(name, str | None):
        raise BadInput("`operationName` must be a string.", reason="OPERATION_NAME")
    wants_cost = (extensions or {}).get("cost") is True
    return Asked(text, variables, name or None, sha256, wants_cost)


def _persisted(found: object) -> str | None:
    """The digest in `extensions.persistedQuery`."""
    if found is None:
        return None
    version = found.get("version") if isinstance(found, dict) else None
    if not isinstance(found, dict) or isinstance(version, bool) or version != 1:
        raise PersistedQueryNotSupported
    sha256 = found.get("sha256Hash")
    if not isinstance(sha256, str) or not _SHA256.fullmatch(sha256):
        raise BadInput(
            "`persistedQuery.sha256Hash` must be 64 hexadecimal digits in lower case.",
            reason="PERSISTED_QUERY_HASH",
        )
    return sha256

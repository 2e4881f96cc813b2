"""The one table from role to scopes. A token's own `scope` claim adds to what its roles give."""

from __future__ import annotations

from typing import Final

_READ = frozenset({"workflows:read", "executions:read", "tasks:read"})
_OPERATE = _READ | {"executions:write", "executions:debug", "tasks:write"}
_AUTHOR = _OPERATE | {"workflows:write", "workflows:publish"}

ROLE_SCOPES: Final[dict[str, frozenset[str]]] = {
    "viewer": _READ,
    "approver": frozenset({"tasks:read", "tasks:write"}),
    "operator": _OPERATE,
    "author": _AUTHOR,
    "admin": _AUTHOR | {"executions:admin", "metrics:read", "tasks:admin"},
}


def scopes_of(roles: frozenset[str], scopes: frozenset[str]) -> frozenset[str]:
    """Every scope that a token with these roles and scopes holds; unknown roles give nothing."""
    return scopes.union(*(ROLE_SCOPES.get(role, frozenset()) for role in roles))

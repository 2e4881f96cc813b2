"""May they? The one place where a service asks; roles and policies will answer here."""

from __future__ import annotations

from typing import Final, Literal

from runtime.model.errors import Denied
from runtime.model.identity import Principal

Scope = Literal[
    "workflows:read",
    "workflows:write",
    "workflows:publish",
    "executions:read",
    "executions:write",
    "executions:debug",
    "executions:admin",
    "settings:write",
    "tasks:read",
    "tasks:write",
    "tasks:admin",
]

READ_WORKFLOWS: Final = "workflows:read"
READ_EXECUTIONS: Final = "executions:read"
WRITE_EXECUTIONS: Final = "executions:write"
DEBUG_EXECUTIONS: Final = "executions:debug"
ADMIN_EXECUTIONS: Final = "executions:admin"
READ_TASKS: Final = "tasks:read"
WRITE_TASKS: Final = "tasks:write"
ADMIN_TASKS: Final = "tasks:admin"
# No role holds it: what a tenant's own administrators may do does not include its share of what all tenants have.
WRITE_SETTINGS: Final = "settings:write"


def require(who: Principal, scope: Scope) -> None:
    """Return when the caller holds the scope; raise Denied, naming it, when not."""
    if not who.has(scope):
        raise Denied(
            f"This needs the scope `{scope}`, which your token does not give: ask for a role or "
            "a token that has it.",
            reason="MISSING_SCOPE",
        )

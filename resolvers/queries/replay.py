"""The replay of an execution."""

from __future__ import annotations

from resolvers.context import Context
from resolvers.ids import execution_uuid
from runtime.model.errors import NotFound
from runtime.model.execution_replay import ExecutionReplay


async def replay(context: Context, *, id: str, execute: bool) -> ExecutionReplay:
    """Make the decisions of an execution again, and compare them with its record; `execute`: its pure steps too."""
    key = execution_uuid(id)
    if key is None:
        raise NotFound("There is no such execution.", reason="EXECUTION_NOT_FOUND")
    return await context.replays.replay(context.who, key, executes=execute)

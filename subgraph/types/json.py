"""JSON values of records on their way into the graph: what stands in a row at once, what lies elsewhere when read."""

from uuid import UUID

from strawberry.scalars import JSON

from resolvers.context import Info
from resolvers.queries import execution as resolve
from runtime.model.blob import SHOWN_BYTES, BlobRef, Stored
from runtime.model.values import Json
from subgraph.compiled.declare import later
from subgraph.compiled.size import TooLarge


def as_json(value: Json) -> JSON | None:
    """A value as the graph's scalar."""
    return None if value is None else JSON(value)


def shown(info: Info, execution_id: UUID, value: Stored) -> JSON | None:
    """A value of an execution; None when it is too large to be part of an answer.

    Raises TooLarge, before anything is read, when the answer has no room for it beside others.
    """
    if not isinstance(value, BlobRef):
        return as_json(value)
    if value.size > SHOWN_BYTES:
        return None
    if not info.context.answer_room.takes(value.size):
        raise TooLarge
    return later(resolve.shown(info.context, execution_id=execution_id, value=value), as_json)

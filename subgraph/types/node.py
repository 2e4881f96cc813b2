"""Node: whatever `node(id:)` can fetch again."""

from typing import Final

import strawberry

ID_DESCRIPTION: Final = "Identifies this among everything in the graph; opaque."


@strawberry.interface(
    description="Anything that `node(id:)` can fetch again. `id` is the entity's key and unique across types."
)
class Node:
    """What `node(id:)` gives."""

    id: strawberry.ID = strawberry.field(description=ID_DESCRIPTION)

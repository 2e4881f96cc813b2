"""Labels: short pairs by which people find things again."""

import strawberry


@strawberry.type(description="One label of a workflow or an execution.")
class LabelEntry:
    """One label."""

    key: str = strawberry.field(description="The label's name.")
    value: str = strawberry.field(description="The label's value.")


def label_entries(labels: dict[str, str]) -> list[LabelEntry]:
    """Labels in order of their keys."""
    return [LabelEntry(key=key, value=value) for key, value in sorted(labels.items())]

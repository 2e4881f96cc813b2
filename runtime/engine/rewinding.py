"""What a rewind runs again: the step that is named, and all that rests on it; everything else keeps its end.

The event of a rewind names these steps, so that whoever reads it (a rebuild, the past, a replay) means the same ones,
whatever a later release would say.
"""

from __future__ import annotations

from runtime.model.plan import Plan
from runtime.model.values import Json


def rests_on(plan: Plan, step: int) -> tuple[int, ...]:
    """All steps of the document behind a step, in its order: what a rewind to that one runs again with it.

    Every edge counts, whether its way was taken or not: that of a gateway, of a join, and to where `on_error` goes.
    """
    found, todo = set[int](), [step]
    while todo:
        for one in plan.successors[todo.pop()]:
            if one not in found:
                found.add(one)
                todo.append(one)
    return tuple(sorted(found))


def rewound_to(plan: Plan, step: int) -> dict[str, Json]:
    """What EXECUTION_REWOUND says of the steps: the one that is named, and those that run again with it (`again`)."""
    return {"step": step, "key": plan.steps[step].key, "again": [*rests_on(plan, step)]}

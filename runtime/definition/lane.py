"""The lane of an execution: the concurrency key of its workflow, rendered once, when it is accepted."""

from __future__ import annotations

from functools import lru_cache
from typing import Any, Final

import orjson

from runtime.expression import ExpressionError, Template, parse_template
from runtime.model.plan import ConcurrencyPlan, Plan
from runtime.model.values import Json

LONGEST: Final = 200


def lane_of(plan: Plan, params: Json, *, namespace: str, trigger: str) -> dict[str, Json] | None:
    """What the execution's `meta` says of its concurrency; None: its workflow has no limit.

    Raises ExpressionError when the key can't be rendered for these params.
    """
    concurrency = plan.concurrency
    if concurrency is None:
        return None
    scope: dict[str, Any] = {
        "params": params,
        "trigger": {"payload": params, "kind": trigger},
        "execution": {
            "workflow": plan.name,
            "version": None if plan.version is None else str(plan.version),
            "namespace": namespace,
            "generation": 0,
        },
    }
    key = _template(orjson.dumps(concurrency.key)).render(scope)
    text = key if isinstance(key, str) else orjson.dumps(key, option=orjson.OPT_SORT_KEYS).decode()
    if len(text) > LONGEST or "\x00" in text:
        raise ExpressionError(
            f"a concurrency key has at most {LONGEST} characters, none of which is NUL"
        )
    return {"key": text, "limit": concurrency.limit, "on_conflict": concurrency.on_conflict}


def read_concurrency(written: Json) -> ConcurrencyPlan | None:
    """The `concurrency` of a canonical definition. Without a key all executions of the workflow share one."""
    if not isinstance(written, dict):
        return None
    found: Any = written
    rule = found.get("on_conflict", "queue")
    return ConcurrencyPlan(found.get("key", ""), found["limit"], rule)


@lru_cache(maxsize=512)
def _template(key: bytes) -> Template:
    return parse_template(orjson.loads(key))

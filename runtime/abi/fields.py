"""Field types that connectors' models share: values of ours as pydantic reads and describes them."""

from __future__ import annotations

import math
from typing import Annotated, Any

from pydantic import BeforeValidator, PlainSerializer, WithJsonSchema

from runtime.model.values import Duration


def read_duration(value: Any) -> Duration:
    """A Duration from `250ms`, `PT1M30S`, or a number of seconds; raises ValueError otherwise."""
    if isinstance(value, Duration):
        return value
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise ValueError("write 250ms, 30s, 5m, or a number of seconds")  # noqa: TRY004 - pydantic's
    if isinstance(value, str):
        return Duration.parse(value)
    if not math.isfinite(value):
        raise ValueError("a duration is a finite number of seconds")
    return Duration(round(value * 1000))


DurationField = Annotated[
    Duration,
    BeforeValidator(read_duration),
    PlainSerializer(str, return_type=str),
    WithJsonSchema(
        {
            "anyOf": [{"type": "string"}, {"type": "number", "minimum": 0}],
            "description": "A duration: 250ms, 30s, 5m, PT1M30S, or a number of seconds.",
        }
    ),
]

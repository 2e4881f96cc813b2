"""Answers as JSON text, however deep the values in them are.

A value of the engine may be as deep as orjson writes (254 levels), and an answer puts more around it than that allows:
one such value in a row would be the end of every list that shows it. What orjson refuses is written by the standard
library, which goes deeper.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, NamedTuple

import orjson
from graphql import GraphQLError
from strawberry.types.execution import ExecutionResult

from subgraph.compiled.size import Bound
from subgraph.errors import present


class Written(NamedTuple):
    """An answer as JSON, and the refusal that it is when it would have been too large."""

    body: bytes
    refusal: GraphQLError | None = None


def written(answer: Any) -> bytes:
    """An answer as JSON; what JSON has no form for is written as its text."""
    try:
        return orjson.dumps(answer, default=str)
    except orjson.JSONEncodeError:
        return json.dumps(answer, default=str, separators=(",", ":")).encode()


def answer_of(result: ExecutionResult) -> dict[str, Any]:
    """What a result says, its errors first."""
    answer: dict[str, Any] = {"data": result.data}
    if result.errors:
        answer = {"errors": [error.formatted for error in result.errors], **answer}
    if result.extensions:
        answer["extensions"] = result.extensions
    return answer


def written_within(
    answer: dict[str, Any], bound: Bound, trace: Callable[[], str], *, is_done: bool = False
) -> Written:
    """An answer as JSON, or what is told instead of a larger one.

    It was counted while it was made, by its letters; here by its bytes. `is_done`: it is that of a mutation.
    """
    body = written(answer)
    if len(body) <= bound.most:
        return Written(body)
    refusal = present(bound.refusal(is_done=is_done), trace())
    return Written(written({"data": None, "errors": [refusal.formatted]}), refusal)

"""Questions in JMESPath, answered within the budget of the rendering that asks.

A question can double its value with every pipe, so the interpreter pays for each node it visits, for
each element it makes, and for what a function or a comparison will walk over, before that happens.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import jmespath
from jmespath.exceptions import JMESPathError, JMESPathTypeError
from jmespath.parser import ParsedResult
from jmespath.visitor import TreeInterpreter

from runtime.expression.budget import Meter, weigh
from runtime.expression.error import ExpressionError
from runtime.expression.filters.texts import need_text
from runtime.expression.operators import checked

_MAX_QUESTION = 1_000
_NODES_OF_A_VISIT = 2
_BYTES_WRITTEN_OUT = 6  # json.dumps writes a character as \\uXXXX at worst


class _Metered(TreeInterpreter):
    """The interpreter of the library; whatever can grow is paid for first."""

    def __init__(self, meter: Meter) -> None:
        super().__init__()
        self._meter = meter

    def visit(self, node: Any, *args: Any, **kwargs: Any) -> Any:
        self._meter.touch(_NODES_OF_A_VISIT)
        return super().visit(node, *args, **kwargs)

    def visit_flatten(self, node: Any, value: Any) -> Any:
        base = self.visit(node["children"][0], value)
        if not isinstance(base, list):
            return None
        merged: list[Any] = []
        for element in base:
            inner = element if isinstance(element, list) else [element]
            self._meter.touch(len(inner))
            merged.extend(inner)
        return merged

    def visit_slice(self, node: Any, value: Any) -> Any:
        if isinstance(value, list):
            self._meter.touch(len(value))
        return super().visit_slice(node, value)

    def visit_comparator(self, node: Any, value: Any) -> Any:
        sides = [self.visit(child, value) for child in node["children"]]
        for side in sides:
            weigh(side, self._meter)
        literals = [{"type": "literal", "value": side, "children": []} for side in sides]
        known: Any = {**node, "children": literals}
        return super().visit_comparator(known, value)

    def visit_function_expression(self, node: Any, value: Any) -> Any:
        given = [self.visit(child, value) for child in node["children"]]
        for one in given:
            weigh(one, self._meter)
        self._pay_for_text(node["value"], given)
        literals = [{"type": "literal", "value": one, "children": []} for one in given]
        known: Any = {**node, "children": literals}
        return super().visit_function_expression(known, value)

    def _pay_for_text(self, name: str, given: list[Any]) -> None:
        """What becomes longer than its parts: text between elements, and JSON."""
        match name, given:
            case "join", [str(glue), list(parts)]:
                self._meter.produce(len(glue) * len(parts))
            case "to_string", [one] if not isinstance(one, str):
                for _ in range(_BYTES_WRITTEN_OUT - 1):
                    weigh(one, self._meter)
            case _:
                pass


@lru_cache(maxsize=256)
def _parsed(text: str) -> ParsedResult:
    return jmespath.compile(text)


def ask(meter: Meter, value: Any, question: Any) -> Any:
    """`value | jmespath('question')`."""
    text = need_text(question, "jmespath")
    if len(text) > _MAX_QUESTION:
        raise ExpressionError(f"a JMESPath question has at most {_MAX_QUESTION} characters")
    weigh(value, meter)
    try:
        answer = _Metered(meter).visit(_parsed(text).parsed, value)
    except JMESPathTypeError as error:
        # The library quotes the value, whatever its length, and be it a secret.
        needed = " or ".join(error.expected_types)
        words = f"{error.function_name}() needs {needed}, not {error.actual_type}"
        raise ExpressionError(f"jmespath: {words}") from None
    except JMESPathError as error:
        raise ExpressionError(f"jmespath: {str(error).splitlines()[0]}") from None
    weigh(answer, meter)
    _check_numbers(answer)
    return answer


def _check_numbers(answer: Any) -> None:
    """Only numbers that JSON can carry: `to_number` and literals read NaN and infinity too."""
    todo = [answer]
    while todo:
        one = todo.pop()
        if isinstance(one, Mapping):
            todo.extend(one.values())
        elif isinstance(one, list | tuple):
            todo.extend(one)
        else:
            checked(one)

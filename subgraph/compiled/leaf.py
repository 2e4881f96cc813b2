"""Leaves: how a value of a scalar or an enum is written, with a short way for the values that nearly all are.

The short way is a test and an expression that stand in the generated code. Whatever fails the test takes the long
way, which does what the library's executor does, in its order.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from graphql import (
    GraphQLBoolean,
    GraphQLEnumType,
    GraphQLFloat,
    GraphQLID,
    GraphQLInt,
    GraphQLLeafType,
    GraphQLString,
    Undefined,
)
from strawberry.execution import optimized_is_awaitable as is_awaitable

from subgraph.compiled.reasons import Reason, Unplanned

_BUILT_IN: Final = {
    GraphQLString.name: "{v}.__class__ is str",
    GraphQLID.name: "{v}.__class__ is str",
    GraphQLBoolean.name: "{v}.__class__ is bool",
    GraphQLInt.name: "{v}.__class__ is int and -2147483648 <= {v} <= 2147483647",
    GraphQLFloat.name: "{v}.__class__ is float and {v} - {v} == 0.0",
}
# What a scalar that is declared for no class of its own can hold without being anything to wait for.
_PLAIN: Final = frozenset({bool, dict, float, int, list, str})


@dataclass(frozen=True, slots=True)
class Short:
    """The short way: when `test` holds for a value, `written` is how it is written.

    Both are code about `{v}` and the names that it brings, and so is `counted`: how long the value is, where that
    is worth counting.
    """

    test: str
    written: str
    names: Mapping[str, Any]
    counted: str = ""


def short_way(leaf: GraphQLLeafType, python_class: type | None) -> Short | None:
    """The short way of a leaf type, if it has one; `python_class` is the class that a scalar is declared for."""
    if leaf in (GraphQLString, GraphQLID, GraphQLBoolean, GraphQLInt, GraphQLFloat):
        counted = "len({v})" if leaf in (GraphQLString, GraphQLID) else ""
        return Short(_BUILT_IN[leaf.name], "{v}", {}, counted)
    if isinstance(leaf, GraphQLEnumType):
        members = getattr(leaf, "wrapped_cls", None)
        if members is None:
            return None
        written = {member: leaf.coerce_output_value(member) for member in members}
        return Short(
            "{v}.__class__ is {members}", "{written}[{v}]", {"members": members, "written": written}
        )
    write = _written(leaf)
    if python_class is None:
        names = {"plain": _PLAIN, "write": write}
        return Short("{v}.__class__ in {plain}", "{write}({v})", names, "size.of({v})")
    return Short("{v}.__class__ is {kind}", "{write}({v})", {"kind": python_class, "write": write})


def _written(leaf: GraphQLLeafType) -> Callable[[Any], Any]:
    coerce = leaf.coerce_output_value

    def write(value: Any) -> Any:
        found = coerce(value)
        if found is None or found is Undefined:
            raise Unplanned(Reason.ERROR, leaf.name)
        return found

    return write


def long_way(leaf: GraphQLLeafType, *, non_null: bool) -> Callable[[Any], Any]:
    """What the library does with any value; raises where it would note an error."""
    write = _written(leaf)

    def complete(value: Any) -> Any:
        if isinstance(value, Exception):
            raise value
        if value is None or value is Undefined:
            if non_null:
                raise Unplanned(Reason.ERROR, "null")
            return None
        refuse_awaitable(value)
        return write(value)

    return complete


def refuse_awaitable(value: Any) -> None:
    """Raise Unplanned for what would have to be awaited where a plan does not wait."""
    if is_awaitable(value):
        raise Unplanned(Reason.AWAITABLE)


def dispose(value: Any) -> None:
    """Let go of what a resolver gave and nobody will await."""
    close = getattr(value, "close", None) if is_awaitable(value) else None
    if close is not None:
        close()

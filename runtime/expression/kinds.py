"""What kind of value an expression will surely give, read from its text: no scope, no evaluation.

Validation compares it with what a connector takes. Whatever is not sure is None, which fits all.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final, TypeAlias

from jinja2 import nodes

from runtime.expression.compile import parse_expression, plain_path
from runtime.expression.error import ExpressionError
from runtime.expression.paths import constant_key
from runtime.expression.read import Key
from runtime.expression.scan import single, split

Kinds: TypeAlias = frozenset[str] | None
Look: TypeAlias = Callable[[tuple[Key, ...]], Kinds]

TEXT: Final[Kinds] = frozenset(("string",))
_BOOLEAN: Final[Kinds] = frozenset(("boolean",))
_INTEGER: Final[Kinds] = frozenset(("integer",))
_NUMBER: Final[Kinds] = frozenset(("integer", "number"))
_LIST: Final[Kinds] = frozenset(("array",))
_MAPPING: Final[Kinds] = frozenset(("object",))
_FILTERS: Final[Mapping[str, Kinds]] = {
    **dict.fromkeys(
        ("upper", "lower", "title", "capitalize", "trim", "replace", "truncate", "string", "join", "tojson",
         "json", "b64encode", "b64decode", "urlencode", "hash", "parse_date", "format_date", "add_duration",
         "center", "indent", "format", "wordwrap"), TEXT),
    **dict.fromkeys(("length", "count", "int", "wordcount"), _INTEGER),
    **dict.fromkeys(("float", "round", "seconds_until"), _NUMBER),
    **dict.fromkeys(("startswith", "endswith"), _BOOLEAN),
    **dict.fromkeys(
        ("split", "sort", "unique", "map", "select", "reject", "selectattr", "rejectattr", "list", "batch",
         "slice", "flatten", "groupby", "items", "keys", "values", "dictsort"), _LIST),
    "combine": _MAPPING,
}  # fmt: skip
_LITERALS: Final[Mapping[type, Kinds]] = {
    str: TEXT, bool: _BOOLEAN, int: _INTEGER, float: _NUMBER, type(None): frozenset(("null",)),
}  # fmt: skip
_NODES: Final[Mapping[type[nodes.Node], Kinds]] = {
    **dict.fromkeys((nodes.Compare, nodes.Test, nodes.Not), _BOOLEAN),
    **dict.fromkeys((nodes.List, nodes.Tuple), _LIST),
    **dict.fromkeys((nodes.Div, nodes.Pow), _NUMBER),
    nodes.Concat: TEXT,
    nodes.Dict: _MAPPING,
}


def kinds_of_template(text: str, look: Look) -> Kinds:
    """The JSON types that a string with expressions can give; None when nothing is sure."""
    try:
        piece = single(split(text))
        if piece is None:
            return TEXT
        path = plain_path(piece.text)
        if path is not None:
            return look(path)
        return _kinds(parse_expression(piece.text, 0), look)
    except (ExpressionError, RecursionError):
        return None


def _kinds(node: nodes.Node, look: Look) -> Kinds:
    if type(node) in _NODES:
        return _NODES[type(node)]
    match node:
        case nodes.Const():
            return _LITERALS.get(type(node.value))
        case nodes.Filter():
            return _filtered(node, look)
        case nodes.CondExpr(expr1=then, expr2=other):
            return _either(
                _kinds(then, look), _kinds(other, look) if other else frozenset(("null",))
            )
        case nodes.Call(node=nodes.Name(name="range")):
            return _LIST
        case _:
            return _path(node, look)


def _filtered(node: nodes.Filter, look: Look) -> Kinds:
    if node.name in {"default", "d"} and node.node is not None and node.args:
        return _either(_kinds(node.node, look), _kinds(node.args[0], look))
    return _FILTERS.get(node.name)


def _either(one: Kinds, other: Kinds) -> Kinds:
    return None if one is None or other is None else one | other


def _path(node: nodes.Node, look: Look) -> Kinds:
    keys: list[Key] = []
    while (found := constant_key(node)) is not None:
        node, key = found
        keys.append(key)
    return look((node.name, *reversed(keys))) if isinstance(node, nodes.Name) else None

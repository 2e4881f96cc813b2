"""Where null is an error: what each part of an expression makes of it, and from where it comes there.

The output of a step that was skipped is null. Whether that can stand where it is read depends on what is done with it:
`steps.a.output == 1` is false, `steps.a.output | length` fails. The lists here are closed: tests try every filter, test
and operator that there is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import pairwise
from typing import Any, Final, NamedTuple

from jinja2 import nodes

from runtime.expression.paths import path_of, stripped

FAILING_FILTERS: Final = frozenset(
    ("upper", "lower", "capitalize", "title", "trim", "replace", "split", "truncate", "center", "indent", "wordcount",
     "startswith", "endswith", "round", "abs", "length", "count", "first", "last", "join", "sort", "unique", "reverse",
     "sum", "min", "max", "list", "items", "keys", "values", "dictsort", "get", "combine", "flatten", "groupby",
     "batch", "fromjson", "b64decode", "parse_date", "format_date", "add_duration", "seconds_until",
     "map", "select", "reject", "selectattr", "rejectattr")
)  # fmt: skip
FAILING_ALONE: Final = frozenset(("int", "float"))  # With an argument, that is what null becomes.
PASSING_FILTERS: Final = frozenset(("jmespath",))  # Null of null.
FAILING_TESTS: Final = frozenset(
    ("odd", "even", "divisibleby", "contains", "lt", "lessthan", "<", "le", "<=", "gt", "greaterthan", ">", "ge", ">=")
)  # fmt: skip
FALSE_TESTS: Final = frozenset(
    ("true", "false", "boolean", "number", "integer", "float", "string", "mapping", "sequence", "list", "iterable",
     "startingwith", "endingwith")
)  # fmt: skip
ORDERING: Final = frozenset(("lt", "lteq", "gt", "gteq"))
_WITH_ARGUMENT: Final = (FAILING_TESTS - {"contains"}) | {
    "in"
}  # Null as the argument fails as well.
_STRIPPED: Final = {"strip": "trim"}


class Demand(NamedTuple):
    """A part that must not be null. `is_soft`: a `default` around it provides for that too."""

    node: nodes.Node
    is_soft: bool = False


def demands(node: nodes.Node) -> Iterable[Demand]:
    """What this node fails on when it is null; evaluated whenever the node is, save in chains of comparisons."""
    find = _DEMANDS.get(type(node))
    return () if find is None else find(node)


def origins(node: nodes.Node) -> Iterator[nodes.Node]:
    """The paths whose null would come to be the value of this node."""
    todo = [node]
    while todo:
        one = todo.pop()
        if is_default(one):
            todo += _of_default(one)
        elif isinstance(one, nodes.Filter) and one.name in PASSING_FILTERS and one.node is not None:
            todo.append(one.node)
        elif isinstance(one, nodes.CondExpr):
            todo += [one.expr1, *([one.expr2] if one.expr2 is not None else [])]
        elif isinstance(one, nodes.And):
            todo += [one.left, one.right]
        elif isinstance(one, nodes.Or):
            todo.append(one.right)  # Instead of a null on the left.
        elif path_of(one) is not None:
            yield one


def is_failing(name: str, arguments: int) -> bool:
    """Whether a filter fails on null."""
    return name in FAILING_FILTERS or (name in FAILING_ALONE and not arguments)


def is_default(node: nodes.Node) -> bool:
    """Whether this is `x | default(y)`, or `x.default(y)`."""
    if isinstance(node, nodes.Filter):
        return node.name in {"default", "d"}
    return (
        isinstance(node, nodes.Call)
        and isinstance(node.node, nodes.Getattr)
        and node.node.attr == "default"
    )


def default_of(node: Any) -> tuple[nodes.Node, bool | None]:
    """What `default` may replace, and whether that is by something true; None when nobody can say."""
    subject: Any = node.node
    if isinstance(node, nodes.Call):
        subject = subject.node
    value = _given(node).get("value", nodes.Const(""))
    if isinstance(value, nodes.Const):
        return subject, bool(value.value)
    if isinstance(value, nodes.List | nodes.Tuple | nodes.Dict):
        return subject, bool(value.items)
    return subject, None


def _given(node: Any) -> dict[str, Any]:
    given = dict(zip(("value", "boolean"), node.args, strict=False))
    return given | {pair.key: pair.value for pair in node.kwargs}


def _of_default(node: Any) -> Iterator[nodes.Node]:
    given = _given(node)
    replaces = given.get("boolean")
    if not (isinstance(replaces, nodes.Const) and replaces.value):
        yield default_of(node)[0]
    if "value" in given:
        yield given["value"]


def _of_item(node: Any) -> Iterator[Demand]:
    base, keys = stripped(node)
    if keys:
        if not isinstance(base, nodes.Name):
            yield Demand(base, is_soft=True)
    elif isinstance(node.arg, nodes.Slice):
        yield Demand(node.node)
    else:
        yield Demand(node.node, is_soft=True)
        yield Demand(node.arg)


def _of_filter(node: nodes.Filter) -> Iterator[Demand]:
    if node.node is not None and is_failing(node.name, len(node.args) + len(node.kwargs)):
        yield Demand(node.node)


def _of_call(node: nodes.Call) -> Iterator[Demand]:
    if isinstance(node.node, nodes.Getattr):
        if _STRIPPED.get(node.node.attr, node.node.attr) in FAILING_FILTERS:
            yield Demand(node.node.node)
    else:
        yield from map(Demand, node.args[:1])  # Of `range`, the only function.


def _of_test(node: nodes.Test) -> Iterator[Demand]:
    if node.name in FAILING_TESTS:
        yield Demand(node.node)
    if node.name in _WITH_ARGUMENT:
        yield from map(Demand, node.args)


def _of_comparison(node: nodes.Compare) -> Iterator[Demand]:
    operands = [node.expr, *(one.expr for one in node.ops)]
    for (left, right), one in zip(pairwise(operands), node.ops, strict=True):
        if one.op in ORDERING:
            yield Demand(left)
        if one.op in ORDERING or one.op in {"in", "notin"}:
            yield Demand(right)


def _of_both(node: nodes.BinExpr) -> Iterable[Demand]:
    return (Demand(node.left), Demand(node.right))


def _of_one(node: nodes.UnaryExpr) -> Iterable[Demand]:
    return (Demand(node.node),)


_ARITHMETIC: Final = (
    nodes.Add,
    nodes.Sub,
    nodes.Mul,
    nodes.Div,
    nodes.FloorDiv,
    nodes.Mod,
    nodes.Pow,
)
_DEMANDS: Final[dict[type[nodes.Node], Callable[[Any], Iterable[Demand]]]] = {
    nodes.Getattr: _of_item,
    nodes.Getitem: _of_item,
    nodes.Filter: _of_filter,
    nodes.Call: _of_call,
    nodes.Test: _of_test,
    nodes.Compare: _of_comparison,
    nodes.Dict: lambda node: [Demand(pair.key) for pair in node.items],
    nodes.Neg: _of_one,
    nodes.Pos: _of_one,
    **dict.fromkeys(_ARITHMETIC, _of_both),
}

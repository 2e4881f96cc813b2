"""What can be called in an expression: the tables of filters, tests and functions, checked early.

A wrong name or a wrong number of arguments is found when the expression is read, not when it runs.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from typing import Any, TypeAlias

from runtime.expression.budget import Meter
from runtime.expression.error import ExpressionError, nearest
from runtime.expression.filters import collections, encoding, moments, numbers, texts
from runtime.expression.operators import COMPARE, shown
from runtime.expression.predicates import PREDICATES

Callee: TypeAlias = Callable[..., Any]

FILTERS: Mapping[str, Callee] = {
    **texts.FILTERS,
    **numbers.FILTERS,
    **collections.FILTERS,
    **encoding.FILTERS,
    **moments.FILTERS,
}
TESTS: Mapping[str, Callee] = {
    **PREDICATES,
    **{name: COMPARE[op] for name, op in (
        ("eq", "eq"), ("equalto", "eq"), ("==", "eq"), ("ne", "ne"), ("!=", "ne"),
        ("lt", "lt"), ("lessthan", "lt"), ("<", "lt"), ("le", "lteq"), ("<=", "lteq"),
        ("gt", "gt"), ("greaterthan", "gt"), (">", "gt"), ("ge", "gteq"), (">=", "gteq"),
        ("in", "in"),
    )},
}  # fmt: skip
FUNCTIONS: Mapping[str, Callee] = {"range": collections.numbers_from}
METHODS: Mapping[str, str] = {
    name: name
    for name in ("upper", "lower", "title", "capitalize", "replace", "split", "join",
                 "startswith", "endswith", "keys", "values", "items", "get", "length", "trim")
} | {"strip": "trim"}  # fmt: skip
_LAZY_NAMES = ("default", "d", "map", "select", "reject", "selectattr", "rejectattr")


def bind_filter(name: str, positional: int, keywords: frozenset[str]) -> Callee:
    """The function of a filter, which takes this many arguments."""
    if name == "map":
        # Its filter could be given as `name=`, and versions that say so are published for ever.
        taken = keywords & ({"meter", "value", "name"} if positional else {"meter", "value"})
        if taken:
            raise _no_argument("filter", name, min(taken))
        return _map
    if name in _PICKERS:
        if keywords:
            raise _no_argument("filter", name, min(keywords))
        return _PICKERS[name]
    if name not in FILTERS:
        raise _unknown("filter", name, (*FILTERS, *_LAZY_NAMES))
    return _fitting("filter", name, FILTERS[name], positional + 1, keywords)


def bind_test(name: str, positional: int, keywords: frozenset[str]) -> Callee:
    """The function of a test (`is name`)."""
    if name not in TESTS:
        raise _unknown("test", name, (*TESTS, "defined", "undefined"))
    return _fitting("test", name, TESTS[name], positional + 1, keywords)


def bind_function(name: str, positional: int, keywords: frozenset[str]) -> Callee:
    """The function of a call (`range(3)`)."""
    return _fitting("function", name, FUNCTIONS[name], positional, keywords)


def _unknown(what: str, name: str, names: tuple[str, ...]) -> ExpressionError:
    near = nearest(name, names)
    ending = f"; did you mean {near!r}?" if near else ""
    return ExpressionError(f"there is no {what} {shown(name)}{ending}", hint=near)


def _no_argument(what: str, name: str, keyword: str, names: Iterable[str] = ()) -> ExpressionError:
    near = nearest(keyword, names)
    ending = f"; did you mean {near!r}?" if near else ""
    return ExpressionError(f"the {what} {name} has no argument {keyword!r}{ending}")


def _fitting(
    what: str, name: str, function: Callee, positional: int, keywords: frozenset[str]
) -> Callee:
    low, high, names = _shape(function)
    if positional < 1 or not low <= positional + len(keywords) <= high:
        first = 0 if what == "function" else 1  # What a filter or a test works on is no argument.
        counted = f"{low - first}" if low == high else f"{low - first} to {high - first}"
        raise ExpressionError(f"the {what} {name} takes {counted} arguments")
    for keyword in keywords:
        if keyword not in names:
            raise _no_argument(what, name, keyword, names)
        if keyword in names[: positional - 1]:
            raise ExpressionError(f"the {what} {name} is given {keyword!r} twice")
    for needed in names[positional - 1 : low - 1]:
        if needed not in keywords:
            raise ExpressionError(f"the {what} {name} needs {needed!r}")
    return function


@cache
def _shape(function: Callee) -> tuple[int, int, tuple[str, ...]]:
    """How few and how many arguments a function takes beside the meter, and the names of all but the first."""
    parameters = list(inspect.signature(function).parameters.values())[1:]
    required = sum(one.default is one.empty for one in parameters)
    return required, len(parameters), tuple(one.name for one in parameters[1:])


def _map(
    meter: Meter, value: Any, name: str | None = None, *args: Any, **options: Any
) -> list[Any]:
    """`map(attribute='a.b')` or `map('upper')`."""
    rows = collections.rows(meter, value, "map")
    if name is None:
        if "attribute" not in options or options.keys() - {"attribute", "default"} or args:
            raise ExpressionError("map takes attribute=, or the name of a filter")
        return [
            collections.attribute(row, options["attribute"], **_fallback(options)) for row in rows
        ]
    if name in ("default", "d"):
        raise ExpressionError(
            "map can't apply default", hint="map(attribute='a.b', default=0) fills what is absent"
        )
    function = bind_filter(_word(name, "a filter"), len(args), frozenset(options))
    return [function(meter, row, *args, **options) for row in rows]


def _fallback(options: Mapping[str, Any]) -> dict[str, Any]:
    return {"default": options["default"]} if "default" in options else {}


def _picker(*, by_attribute: bool, wanted: bool) -> Callee:
    verb = ("select" if wanted else "reject") + ("attr" if by_attribute else "")

    def pick(meter: Meter, value: Any, *args: Any) -> list[Any]:
        rest = list(args)
        if by_attribute and not rest:
            raise ExpressionError("selectattr and rejectattr take the name of an attribute")
        path = rest.pop(0) if by_attribute else None
        name = _word(rest.pop(0), "a test") if rest else None
        test = _test(name, len(rest))
        kept = []
        for row in collections.rows(meter, value, verb):
            subject = collections.attribute(row, path, default=None) if by_attribute else row
            if bool(test(meter, subject, *rest)) is wanted:
                kept.append(row)
        return kept

    return pick


def _test(name: str | None, count: int) -> Callee:
    if name is None:
        return lambda _meter, value: value
    if name in {"defined", "undefined"}:
        wanted = name == "defined"
        return lambda _meter, value: (value is not None) is wanted
    return bind_test(name, count, frozenset())


def _word(name: Any, what: str) -> str:
    if not isinstance(name, str):
        raise ExpressionError(f"the name of {what} is a text")
    return name


_PICKERS: Mapping[str, Callee] = {
    "select": _picker(by_attribute=False, wanted=True),
    "reject": _picker(by_attribute=False, wanted=False),
    "selectattr": _picker(by_attribute=True, wanted=True),
    "rejectattr": _picker(by_attribute=True, wanted=False),
}

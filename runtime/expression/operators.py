"""Operators of expressions, each safe by construction: it pays before it makes anything large.

Numbers stay what JSON can carry: integers of 64 bits, finite floats. Text and lists can be added
and repeated within the budget; `%` is the remainder and never formats text.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from jinja2 import nodes

from runtime.expression.budget import Meter, weigh
from runtime.expression.error import ExpressionError, Undefined
from runtime.expression.text import to_text

_MAX_INTEGER: Final = 2**63 - 1
_INTEGER_BITS: Final = 63
_MAX_SHOWN: Final = 80


def checked(value: Any) -> Any:
    """A number that JSON can carry, or any other value as it is."""
    if type(value) is int and not -_MAX_INTEGER <= value <= _MAX_INTEGER:
        raise ExpressionError("this number does not fit into 64 bits")
    if type(value) is float and not math.isfinite(value):
        raise ExpressionError("this number is too large")
    return value


def item(value: Any, key: Any) -> Any:
    """`value[key]` with a computed key."""
    if isinstance(value, Mapping):
        if not isinstance(key, str):
            raise ExpressionError(f"keys are text, not {kind_of(key)}")
        if key not in value:
            raise Undefined(f"there is no {shown(key)}", name=key, names=value)
        return value[key]
    if isinstance(value, list | tuple | str):
        if type(key) is not int:
            raise ExpressionError(f"an index is an integer, not {kind_of(key)}")
        if not -len(value) <= key < len(value):
            raise Undefined(f"there are {len(value)} elements, there is no [{key}]")
        return value[key]
    raise Undefined(f"{kind_of(value)} has no elements")


def cut(meter: Meter, value: Any, bounds: list[Any]) -> Any:
    """`value[start:stop:step]`."""
    if not isinstance(value, list | tuple | str):
        raise ExpressionError(f"{kind_of(value)} can't be sliced")
    if not all(one is None or type(one) is int for one in bounds) or bounds[2] == 0:
        raise ExpressionError("the parts of a slice are integers, and its step is not 0")
    pay_for(meter, value)
    return value[slice(*bounds)]


def concat(meter: Meter, parts: Iterable[Any]) -> str:
    """`a ~ b`: the texts of both, joined."""
    texts = [to_text(part, meter) for part in parts]
    meter.produce(sum(map(len, texts)))
    return "".join(texts)


def mapping(pairs: list[tuple[Any, Any]]) -> dict[str, Any]:
    """`{key: value}`; keys are text."""
    for key, _ in pairs:
        if not isinstance(key, str):
            raise ExpressionError(f"keys are text, not {kind_of(key)}")
    return dict(pairs)


def kind_of(value: Any) -> str:
    """What a value is, in words."""
    if value is None:
        return "null"
    names = {bool: "true or false", int: "an integer", float: "a number", str: "a text"}
    if type(value) in names:
        return names[type(value)]
    return "a mapping" if isinstance(value, Mapping) else "a list"


def shown(text: str) -> str:
    """A text inside a message: as it is, or how long it is. Never a part, in which no mask would find a secret."""
    return repr(text) if len(text) <= _MAX_SHOWN else f"a text of {len(text):,} characters"


def is_number(value: Any) -> bool:
    """Whether a value is a number; true and false are not."""
    return type(value) is int or type(value) is float


def pay_for(meter: Meter, value: Any) -> None:
    """Pay for one walk over a text, list or mapping."""
    if isinstance(value, str):
        meter.produce(len(value))
    else:
        meter.touch(len(value))


def _add(meter: Meter, left: Any, right: Any) -> Any:
    if is_number(left) and is_number(right):
        return checked(left + right)
    if isinstance(left, str) and isinstance(right, str):
        meter.produce(len(left) + len(right))
        return left + right
    if isinstance(left, list | tuple) and isinstance(right, list | tuple):
        meter.touch(len(left) + len(right))
        return [*left, *right]
    raise _unfit("+", left, right, hint="join texts with ~")


def _multiply(meter: Meter, left: Any, right: Any) -> Any:
    if is_number(left) and is_number(right):
        return checked(left * right)
    if type(left) is int and isinstance(right, str | list):
        left, right = right, left
    if isinstance(left, str | list) and type(right) is int:
        times = max(right, 0)
        (meter.produce if isinstance(left, str) else meter.touch)(len(left) * times)
        return left * times
    raise _unfit("*", left, right)


def _power(_meter: Meter, left: Any, right: Any) -> Any:
    _need_numbers("**", left, right)
    if type(left) is int and type(right) is int and right > 0:
        # At least 2 ** ((bits - 1) * right): what surely does not fit is not computed, the rest is looked at.
        if (left.bit_length() - 1) * right >= _INTEGER_BITS:
            raise ExpressionError("this power does not fit into 64 bits")
        return checked(left**right)
    result = left**right
    if isinstance(result, complex):
        raise ExpressionError("a negative number has no such power")
    return checked(result)


def _numeric(sign: str, operate: Callable[[Any, Any], Any]) -> Callable[[Meter, Any, Any], Any]:
    def run(_meter: Meter, left: Any, right: Any) -> Any:
        _need_numbers(sign, left, right)
        if sign in {"/", "//", "%"} and right == 0:
            raise ExpressionError("division by zero")
        return checked(operate(left, right))

    return run


def _ordered(sign: str, operate: Callable[[Any, Any], bool]) -> Callable[[Meter, Any, Any], bool]:
    def run(meter: Meter, left: Any, right: Any) -> bool:
        both_texts = isinstance(left, str) and isinstance(right, str)
        both_lists = isinstance(left, list) and isinstance(right, list)
        if not both_texts and not both_lists and not (is_number(left) and is_number(right)):
            raise _unfit(sign, left, right)
        if both_texts:
            meter.produce(len(left))
        elif both_lists:
            # Python walks down both as long as they are alike, and parts that occur often as often.
            weigh(left, meter)
        try:
            return operate(left, right)
        except TypeError:
            raise ExpressionError(f"{sign} can't order what is in these lists") from None

    return run


def equal(meter: Meter, left: Any, right: Any) -> bool:
    """`==` as JSON understands it, at every depth: true is not 1."""
    if isinstance(left, bool) is not isinstance(right, bool):
        return False
    if isinstance(left, str) and isinstance(right, str):
        meter.produce(len(left))
        return left == right
    if isinstance(left, Mapping) and isinstance(right, Mapping):
        meter.touch(len(left))
        return len(left) == len(right) and all(
            key in right and equal(meter, one, right[key]) for key, one in left.items()
        )
    if isinstance(left, list | tuple) and isinstance(right, list | tuple):
        meter.touch(len(left))
        return len(left) == len(right) and all(
            equal(meter, one, other) for one, other in zip(left, right, strict=True)
        )
    return bool(left == right)


def contains(meter: Meter, value: Any, container: Any) -> bool:
    """`value in container`."""
    if isinstance(container, str):
        if not isinstance(value, str):
            raise _unfit("in", value, container)
        meter.produce(len(container))
        return value in container
    if isinstance(container, Mapping):
        return isinstance(value, str) and value in container
    if isinstance(container, list | tuple):
        meter.touch(len(container))
        return any(equal(meter, value, one) for one in container)
    raise _unfit("in", value, container)


def _negative(value: Any) -> Any:
    if not is_number(value):
        raise ExpressionError(f"- needs a number, not {kind_of(value)}")
    return -value


def _positive(value: Any) -> Any:
    if not is_number(value):
        raise ExpressionError(f"+ needs a number, not {kind_of(value)}")
    return value


def _need_numbers(sign: str, left: Any, right: Any) -> None:
    if not (is_number(left) and is_number(right)):
        raise _unfit(sign, left, right)


def _unfit(sign: str, left: Any, right: Any, hint: str | None = None) -> ExpressionError:
    return ExpressionError(
        f"{sign} can't work on {kind_of(left)} and {kind_of(right)}",
        hint=hint if isinstance(left, str) or isinstance(right, str) else None,
    )


BINARY: dict[type[nodes.Node], Callable[[Meter, Any, Any], Any]] = {
    nodes.Add: _add,
    nodes.Sub: _numeric("-", lambda a, b: a - b),
    nodes.Mul: _multiply,
    nodes.Div: _numeric("/", lambda a, b: a / b),
    nodes.FloorDiv: _numeric("//", lambda a, b: a // b),
    nodes.Mod: _numeric("%", lambda a, b: a % b),
    nodes.Pow: _power,
}
UNARY: dict[type[nodes.Node], Callable[[Any], Any]] = {nodes.Neg: _negative, nodes.Pos: _positive}
COMPARE: dict[str, Callable[[Meter, Any, Any], bool]] = {
    "eq": equal,
    "ne": lambda meter, a, b: not equal(meter, a, b),
    "lt": _ordered("<", lambda a, b: a < b),
    "lteq": _ordered("<=", lambda a, b: a <= b),
    "gt": _ordered(">", lambda a, b: a > b),
    "gteq": _ordered(">=", lambda a, b: a >= b),
    "in": contains,
    "notin": lambda meter, a, b: not contains(meter, a, b),
}

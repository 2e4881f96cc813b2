"""Makes expressions of every filter, test, method and operator, with arguments that want too much."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any, Final

from runtime.expression.calls import FILTERS, METHODS, TESTS

_LAZY: Final = ("default", "d", "map", "select", "reject", "selectattr", "rejectattr")
NAMES: Final = (*sorted(FILTERS), *_LAZY)
SCOPE: Final[dict[str, Any]] = {
    "params": {
        "text": "Ünder the \u202e sky\n\tß" * 50,
        "long": "ab ,\n" * 200_000,
        "n": 7,
        "x": -0.5,
        "none": None,
        "yes": True,
        "list": [3, "b", None, {"a": {"b": [1, 2]}, "n": 2}, [1, [2]], 1.5, False, ""],
        "rows": [{"n": i % 7, "name": f"row {i}", "tags": ["a", "b"]} for i in range(2_000)],
        "map": {"a": 1, "b": {"c": [1, {"d": None}]}, "": 0, "é": "x"},
        "date": "2026-01-31T12:00:00+02:00",
        "deep": None,
    }
}  # fmt: skip
for _ in range(60):
    SCOPE["params"]["deep"] = {"d": [SCOPE["params"]["deep"]]}

_TEXTS: Final = (
    "''", "'a'", "' '", "'a.b'", "'n'", "'name'", "'0'", "','", "'ß'", "'\\ud800'", "'\\x00'", "'%d.%m.%Y'", "'%Z %z %f'", "'1h'", "'-9999999d'",
    "'P1Y'", "'2026-02-30'", "'9999-12-31T23:59:59Z'", "'0001-01-01'", "'sha512'", "'upper'", "'value'", "'[?n>`1`].name | [0]'", "'sort_by(@, &n)'",
    "'to_string(@)'", "'join(`,`, [*].name)'", "'[*][*][*]'", "'{\"a\": [1e3, \"\\\\ud800\"]}'", "'[[[[[]]]]]'", "'1e999'", "'ceil'", "'attribute'", "'YQ=='",
    "('a' * 100000)", "('ab ' * 100000)", "('\\n' * 100000)", "('a,' * 1000000)", "('x' * 8000000)", "params.text", "params.long", "params.date",
)  # fmt: skip
_NUMBERS: Final = (
    "0", "1", "-1", "2", "3.5", "1e308", "1e-308", "9223372036854775807", "-9223372036854775807", "99999999999999999999", "1000", "100000", "10000000",
    "params.n", "params.x", "30", "-30",
)  # fmt: skip
_LISTS: Final = (
    "[]", "[1, 2, 3]", "['b', 'a']", "[[1, 2], [3]]", "[none]", "params.list", "params.rows", "range(10)", "range(100000)", "(range(1000) | list)",
    "([params.long] * 100000)", "([params.text] * 1000)", "([[0] * 1000] * 1000)", "([[[1] * 1000] * 1000] * 1000)", "([params.map] * 100000)",
    "(['a' * 100000, 'a' * 100001] * 10000)", "[[1, 'a'], [none, true]]", "[['k', 1], ['l', 2]]",
)  # fmt: skip
_MAPS: Final = (
    "{}", "{'a': 1}", "params.map", "params", "{'a': 'x' * 100000}", "{'k' * 5000: 1, 'l' * 5000: 2}", "{'n': [1] * 100000}", "params.deep",
)  # fmt: skip
_OTHER: Final = ("none", "true", "params.none", "params.gone", "params.list[9]", "params.map.b.c")
_WORDS: Final = ("+", "-", "*", "/", "//", "%", "**", "~", "==", "!=", "<", "<=", ">", ">=", "in", "not in", "and", "or")  # fmt: skip
_KEYWORDS: Final = ("attribute", "default", "reverse", "case_sensitive", "by", "boolean", "value", "length", "indent", "start", "precision", "method")  # fmt: skip


def expression(chance: random.Random, depth: int = 4) -> str:
    """One expression, without braces; most can be read, many have no value."""
    if depth <= 0 or chance.random() < 0.15:
        kind = chance.choice((_TEXTS, _NUMBERS, _LISTS, _LISTS, _MAPS, _OTHER))
        return chance.choice(kind)
    return chance.choice(_FORMS)(chance, depth - 1)


def _filter(chance: random.Random, depth: int) -> str:
    return f"{_operand(chance, depth)} | {chance.choice(NAMES)}{_arguments(chance, depth)}"


def _mapped(chance: random.Random, depth: int) -> str:
    """A filter for each element, or a test of each."""
    verb = chance.choice(("map", "select", "reject", "selectattr", "rejectattr"))
    name = chance.choice(NAMES if verb == "map" else sorted(TESTS))
    given = [f"'{chance.choice(('n', 'name', 'a.b', 'gone'))}'"] if verb.endswith("attr") else []
    given.append(f"'{name}'")
    given += [expression(chance, 0) for _ in range(chance.choice((0, 0, 1, 2)))]
    if verb == "map" and chance.random() < 0.2:
        given = ["attribute='" + chance.choice(("n", "name", "gone", "tags.0")) + "'", "default=0"]
    return f"{chance.choice(_LISTS)} | {verb}({', '.join(given)})"


def _chain(chance: random.Random, depth: int) -> str:
    """Several filters in a row, where the value of one is the next one's."""
    names = [chance.choice(NAMES) + _arguments(chance, 0) for _ in range(chance.randint(2, 6))]
    return " | ".join((_operand(chance, depth), *names))


def _test(chance: random.Random, depth: int) -> str:
    name = chance.choice([*sorted(one for one in TESTS if one.isalpha()), "defined", "undefined"])
    no = chance.choice(("", "", "not "))
    return f"{_operand(chance, depth)} is {no}{name}{_arguments(chance, depth, most=1)}"


def _method(chance: random.Random, depth: int) -> str:
    return f"({expression(chance, depth)}).{chance.choice(sorted(METHODS))}{_arguments(chance, depth) or '()'}"


def _binary(chance: random.Random, depth: int) -> str:
    return f"{_operand(chance, depth)} {chance.choice(_WORDS)} {_operand(chance, depth)}"


def _condition(chance: random.Random, depth: int) -> str:
    then, test = expression(chance, depth), expression(chance, depth)
    return f"({then}) if ({test}) else ({expression(chance, depth)})"


def _key(chance: random.Random, depth: int) -> str:
    return f"{_operand(chance, depth)}[{expression(chance, depth)}]"


def _slice(chance: random.Random, depth: int) -> str:
    parts = [chance.choice(("", *_NUMBERS)) for _ in range(3)]
    return f"{_operand(chance, depth)}[{':'.join(parts)}]"


def _literal(chance: random.Random, depth: int) -> str:
    parts = [expression(chance, depth) for _ in range(chance.randint(0, 4))]
    if chance.random() < 0.5:
        return f"[{', '.join(parts)}]"
    return "{" + ", ".join(f"'k{i % 3}': {one}" for i, one in enumerate(parts)) + "}"


def _same_twice(chance: random.Random, depth: int) -> str:
    """Two values that are alike and not the same, so that a comparison goes to the end."""
    one = expression(chance, depth)
    return f"({one}) {chance.choice(('==', '<', '>=', '!=', 'in'))} ({one})"


def _unary(chance: random.Random, depth: int) -> str:
    return f"{chance.choice(('-', 'not ', '+', '- - '))}{_operand(chance, depth)}"


def _operand(chance: random.Random, depth: int) -> str:
    return f"({expression(chance, depth)})"


def _arguments(chance: random.Random, depth: int, most: int = 3) -> str:
    count = chance.choice((0, 0, 1, 1, 2, 3))
    given = [expression(chance, min(depth, 1)) for _ in range(min(count, most))]
    if chance.random() < 0.15:
        given.append(f"{chance.choice(_KEYWORDS)}={expression(chance, 0)}")
    return f"({', '.join(given)})" if given else ""


_FORMS: Final[tuple[Callable[[random.Random, int], str], ...]] = (
    _filter, _filter, _filter, _mapped, _mapped, _chain, _chain, _test, _method, _binary, _binary, _condition, _key, _slice, _literal, _same_twice,
    _unary,
)  # fmt: skip

"""Recognises the expressions that documents are full of, so that Jinja need not read them.

`a.b | upper`, `a.b == 'x' and c > 3`, `a.b | default('x')`: paths and literals, filters with literals as
arguments, comparisons joined by and/or. What is recognised here means the same to Jinja, which a
property test compares; everything else is None, and read by Jinja. Only validation asks: it looks
at thousands of expressions and runs none.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final

from runtime.expression.calls import bind_filter, bind_test
from runtime.expression.error import ExpressionError
from runtime.expression.nulls import FAILING_TESTS, PASSING_FILTERS, is_failing
from runtime.expression.read import Key

_NAME: Final = r"[A-Za-z_][A-Za-z0-9_]*"
_TEXT: Final = r"'[^'\\\n]*'|\"[^\"\\\n]*\""
_PARTS: Final = re.compile(r"\b(?:steps|tasks)\b")
_JOINED: Final = re.compile(r"\b(?:and|or)\b")
_NUMBER: Final = r"(?:0|[1-9][0-9]{0,8})(?:\.[0-9]{1,6})?"
_TOKEN: Final = re.compile(
    rf"""\s*(?:(?P<path>{_NAME}(?:\.{_NAME}|\[(?:[0-9]{{1,9}}|{_TEXT})\])*)"""
    rf"""|(?P<text>{_TEXT})|(?P<number>{_NUMBER})(?![.\w])|(?P<compare>==|!=|<=|>=|<|>)|(?P<sign>[|(),]))"""
)
_END: Final = re.compile(r"\s*")
_KEY: Final = re.compile(rf"\.({_NAME})|\[(?:([0-9]+)|'([^']*)'|\"([^\"]*)\")\]")
_LITERALS: Final = frozenset(("true", "false", "none", "True", "False", "None"))
_RESERVED: Final = frozenset(("and", "or", "not", "in", "is", "if", "else"))
_NO_NAMES: Final = _LITERALS | _RESERVED
_HEAD: Final = re.compile(rf"({_NAME})(?:\.{_NAME}|\[(?:[0-9]{{1,9}}|{_TEXT})\])*")
_PASSING: Final = PASSING_FILTERS | {"default", "d"}
_MAX_TOKENS: Final = 60
_LONGEST_REST: Final = 500
_AFTER_PATH: Final = frozenset(" |=!<>")

Path = tuple[Key, ...]
Found = tuple[
    tuple[Path, bool, bool], ...
]  # Each path, whether it is guarded, and whether null there is an error.


class _Unknown(Exception):
    """This is for Jinja."""


def usual_references(text: str) -> Found | None:
    """The paths that an expression reads, as Reference says it of each; None if it is not a usual one.

    Which path it begins with changes nothing for what follows, and documents end their expressions
    in the same few ways: so what follows is read once, behind a path that stands for all.
    """
    if _PARTS.search(text) and _JOINED.search(text):
        return None  # What one part asks of an output may be what another relies on.
    head = _HEAD.match(text)
    if head is None or head[1] in _NO_NAMES:
        return _read(text)
    rest = text[head.end() :]
    if rest and rest[0] not in _AFTER_PATH:
        return _read(text)  # It touches the path, and would mean something else behind another.
    found = _read_behind(rest)
    if found is None:
        return None
    return (_keys(head[0]), *found[0][1:]), *found[1:]


@lru_cache(maxsize=4_096)
def _read_behind(rest: str) -> Found | None:
    """As `usual_references`, of some path with this behind it."""
    return _read("x" + rest) if len(rest) <= _LONGEST_REST else None


def _read(text: str) -> Found | None:
    try:
        return _Reader(_tokens(text)).read()
    except (_Unknown, ExpressionError):
        return None


def _tokens(text: str) -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    position, end = 0, len(text)
    while position < end:
        match = _TOKEN.match(text, position)
        if match is None or len(found) > _MAX_TOKENS:
            raise _Unknown
        kind = match.lastgroup or ""
        found.append((kind, match[kind]))
        after = match.end()
        # Words and numbers that touch each other are no two tokens.
        if (
            kind in {"path", "number"}
            and after < end
            and (text[after].isalnum() or text[after] in "_['\"")
        ):
            raise _Unknown
        position = after
    return found


class _Reader:
    """A walk over tokens: terms of operands, joined by words."""

    def __init__(self, tokens: list[tuple[str, str]]) -> None:
        self._tokens = tokens
        self._at = 0
        self._found: list[tuple[Path, bool, bool]] = []

    def read(self) -> Found:
        """The whole expression."""
        self._comparison()
        while self._at < len(self._tokens):
            if self._take()[1] not in {"and", "or"}:
                raise _Unknown
            self._comparison()
        return tuple(self._found)

    def _comparison(self) -> None:
        origins = self._operand()
        if self._peek()[0] == "compare":
            is_ordering = self._take()[1] not in {"==", "!="}
            for place in (*origins, *self._operand()):
                if is_ordering:
                    self._need(place)

    def _operand(self) -> list[int]:
        """Gives the place of the path whose null would be its value, if there is one."""
        kind, text = self._take()
        before = len(self._found)
        origins = [before] if kind == "path" and text not in _LITERALS else []
        if origins:
            self._found.append((_keys(text), False, False))
        elif kind not in {"text", "number", "path"}:
            raise _Unknown
        while self._peek() == ("sign", "|"):
            self._take()
            name, count = self._filter(before)
            if origins and is_failing(name, count):
                self._need(before)
            if name not in _PASSING:
                origins = []
        if self._peek() == ("path", "is"):
            self._take()
            if self._test() in FAILING_TESTS and origins:
                self._need(before)
            origins = []
        return origins

    def _need(self, place: int) -> None:
        path, is_guarded, _ = self._found[place]
        self._found[place] = (path, is_guarded, True)

    def _filter(self, before: int) -> tuple[str, int]:
        kind, name = self._take()
        if kind != "path" or not name.isidentifier():
            raise _Unknown
        count = self._arguments()
        if name in {"default", "d"}:
            if count > 1:
                raise _Unknown  # Whether empty ones are replaced changes where null comes from.
            self._found[before:] = [
                (path, True, needed) for path, _, needed in self._found[before:]
            ]
            return name, count
        bind_filter(name, count, frozenset())
        return name, count

    def _test(self) -> str:
        kind, name = self._take()
        if kind != "path" or name in {"not", "defined", "undefined"} or not name.isidentifier():
            raise _Unknown
        if self._peek()[1] in {"and", "or", ""}:
            bind_test(name, 0, frozenset())
            return name
        raise _Unknown

    def _arguments(self) -> int:
        """How many literals stand in the brackets of a filter."""
        if self._peek() != ("sign", "("):
            return 0
        self._take()
        count = 0
        while self._peek() != ("sign", ")"):
            kind, text = self._take()
            if kind not in {"text", "number"} and text not in _LITERALS:
                raise _Unknown
            count += 1
            if self._peek() == ("sign", ","):
                self._take()
            elif self._peek() != ("sign", ")"):
                raise _Unknown
        self._take()
        return count

    def _peek(self) -> tuple[str, str]:
        return self._tokens[self._at] if self._at < len(self._tokens) else ("", "")

    def _take(self) -> tuple[str, str]:
        if self._at >= len(self._tokens):
            raise _Unknown
        self._at += 1
        return self._tokens[self._at - 1]


def _keys(text: str) -> Path:
    keys: list[Key]
    if "[" not in text:
        keys = [*text.split(".")]
        if keys[0] in _NO_NAMES:
            raise _Unknown
        return tuple(keys)
    match = re.match(_NAME, text)
    start = match.end() if match else 0
    keys = [text[:start]]
    if keys[0] in _NO_NAMES:
        raise _Unknown
    for name, number, single, double in _KEY.findall(text, start):
        keys.append(int(number) if number else name or single or double)
    return tuple(keys)

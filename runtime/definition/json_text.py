"""Reads JSON as a stream and drives a Sink with it; strings are read by Python's own scanner.

A reader of its own, because YAML's refuses some JSON (tabs, surrogate pairs, long keys), and
because Python's forgets places. It keeps a stack of its own and never recurses.
"""

from __future__ import annotations

import json
import re
from bisect import bisect_right
from json.decoder import scanstring  # type: ignore[attr-defined]  # typeshed leaves it out

from runtime.definition.composer import Refused, Sink
from runtime.definition.finding import Span
from runtime.model.values import Json

_SPACE = re.compile(r"[ \t\r\n]*")
_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(\.[0-9]+)?([eE][-+]?[0-9]+)?")
_WORDS: dict[str, Json] = {"true": True, "false": False, "null": None}
_WORD = re.compile(r"true|false|null")
_SURROGATE = re.compile(r"[\ud800-\udfff]")
_MAX_NUMBER = 400


class JsonReader:
    """One walk through a JSON text."""

    def __init__(self, text: str, sink: Sink) -> None:
        self._text = text
        self._sink = sink
        self._closers: list[str] = []

    def drive(self) -> None:
        """Drive the sink with the whole text; raises Refused."""
        position = self._value(self._skip(0))
        while self._closers:
            position = self._inside(self._skip(position))
        position = self._skip(position)
        if position < len(self._text):
            raise self._refused("nothing may follow the document", position)

    def _inside(self, position: int) -> int:
        """After a value in a list or mapping: a comma and the next one, or the end."""
        closer = self._closers[-1]
        sign = self._text[position : position + 1]
        if sign == closer:
            return self._close(position)
        if sign != ",":
            raise self._refused(f"`,` or `{closer}` is expected", position)
        following = self._skip(position + 1)
        if closer == "]":
            return self._value(following)
        return self._pair(following)

    def _pair(self, position: int) -> int:
        if self._text[position : position + 1] != '"':
            raise self._refused("a key in quotes is expected", position)
        key, end = self._string(position)
        self._sink.scalar(key, None, (position, end))
        colon = self._skip(end)
        if self._text[colon : colon + 1] != ":":
            raise self._refused("`:` is expected", colon)
        return self._value(self._skip(colon + 1))

    def _value(self, position: int) -> int:
        sign = self._text[position : position + 1]
        if sign == '"':
            text, end = self._string(position)
            self._sink.scalar(text, None, (position, end))
            return end
        if sign and sign in "{[":
            return self._open(position, is_mapping=sign == "{")
        if word := _WORD.match(self._text, position):
            self._sink.scalar(_WORDS[word[0]], None, word.span())
            return word.end()
        return self._number(position)

    def _open(self, position: int, *, is_mapping: bool) -> int:
        self._sink.open(is_mapping, None, (position, position + 1))
        self._closers.append("}" if is_mapping else "]")
        following = self._skip(position + 1)
        if self._text[following : following + 1] == self._closers[-1]:
            return self._close(following)
        return self._pair(following) if is_mapping else self._value(following)

    def _close(self, position: int) -> int:
        self._closers.pop()
        self._sink.close((position, position + 1))
        return position + 1

    def _number(self, position: int) -> int:
        match = _NUMBER.match(self._text, position)
        if match is None:
            shown = self._text[position : position + 1]
            raise self._refused(
                f"{shown!r} is not expected" if shown else "it ends too early", position
            )
        if len(match[0]) > _MAX_NUMBER:
            raise Refused("number-range", "this number is too long", match.span())
        value: Json = float(match[0]) if match[1] or match[2] else int(match[0])
        if value in {float("inf"), float("-inf")}:
            raise Refused("number-range", "this number is too large", match.span())
        self._sink.scalar(value, None, match.span())
        return match.end()

    def _string(self, position: int) -> tuple[str, int]:
        try:
            value, end = scanstring(self._text, position + 1, True)
        except json.JSONDecodeError as error:
            raise self._refused(error.msg.lower(), error.pos) from None
        if _SURROGATE.search(value):
            raise Refused("character", "half of a surrogate pair is no character", (position, end))
        return value, end

    def _skip(self, position: int) -> int:
        match = _SPACE.match(self._text, position)
        return match.end() if match else position

    def _refused(self, message: str, position: int) -> Refused:
        return Refused("syntax", f"this is not JSON: {message}", (position, position + 1))


def drive_json(text: str, sink: Sink) -> None:
    """Drive the sink with one JSON document; raises Refused."""
    JsonReader(text, sink).drive()


class Lines:
    """Line and column of offsets in a text."""

    def __init__(self, text: str) -> None:
        self._starts = [0, *(match.end() for match in re.finditer("\n", text))]

    def span(self, first: tuple[int, int], last: tuple[int, int]) -> Span:
        """Lines and columns from the start of one mark to the end of another."""
        return Span(*self._place(first[0]), *self._place(last[1]))

    def _place(self, offset: int) -> tuple[int, int]:
        line = bisect_right(self._starts, offset)
        return line, offset - self._starts[line - 1] + 1

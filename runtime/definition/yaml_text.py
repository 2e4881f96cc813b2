"""Reads YAML as a stream of events and drives a Sink with it.

libyaml's scanner makes the events, its composer (which crashes the process on deep documents) is
not used. Scalars are YAML 1.2's: only true and false are booleans, dates stay text, and a number
with leading zeros is text, because it is a code and not a quantity.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Any

import yaml
from yaml import (
    AliasEvent,
    DocumentStartEvent,
    MappingEndEvent,
    MappingStartEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
    StreamEndEvent,
)
from yaml._yaml import CParser

from runtime.definition.composer import Mark, Refused, Sink
from runtime.definition.finding import Span
from runtime.model.values import Json

_CORE = "tag:yaml.org,2002:"
_KNOWN_TAGS = {_CORE + name for name in ("str", "int", "float", "bool", "null", "map", "seq")}
_WORDS: dict[str, Json] = {
    "": None, "~": None, "null": None, "Null": None, "NULL": None,
    "true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False,
}  # fmt: skip
_INTEGER = re.compile(r"[-+]?(?:0|[1-9][0-9]*)")
_BASED = re.compile(r"0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|(?:0|[1-9][0-9]*)(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
_NO_JSON = re.compile(r"[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)")
_MAX_NUMBER = 400
_SPECIAL_STARTS = frozenset("0123456789+-.")
_SPECIAL_ENDS = frozenset(
    "0123456789abcdefABCDEF.nN"
)  # `30s` is no number, whatever it begins with.
_BEHIND_STARTS = ":"  # Follows after all of them, so that most texts are told by one comparison.


def drive_yaml(text: str, sink: Sink) -> None:
    """Drive the sink with one YAML document; raises Refused. Marks are libyaml's events."""
    next_event, scalar = CParser(text).get_event, sink.scalar
    documents = 0
    last: Any = None
    while True:
        try:
            event: Any = next_event()
        except yaml.YAMLError as error:
            raise _in_words(error, text) from None
        kind = type(event)
        if kind is ScalarEvent:
            value = event.value
            if event.tag is not None:
                value = _tagged(event)
            elif (value < _BEHIND_STARTS or value in _WORDS) and event.implicit[0]:
                value = _plain(value, event)
            scalar(value, event.anchor, event)
            last = event
        elif kind is MappingStartEvent or kind is SequenceStartEvent:
            _check_tag(event)
            sink.open(kind is MappingStartEvent, event.anchor, event)
            last = event
        elif kind is MappingEndEvent or kind is SequenceEndEvent:
            is_block = event.start_mark.index == event.end_mark.index
            last = last if is_block else event  # A block ends with the last thing in it.
            sink.close(last)
        elif kind is AliasEvent:
            sink.alias(event.anchor, event)
            last = event
        elif kind is DocumentStartEvent:
            documents += 1
            if documents > 1:
                message = "a file holds one workflow; here a second document begins"
                raise Refused("syntax", message, event)
        elif kind is StreamEndEvent:
            return


def yaml_span(first: Mark, last: Mark) -> Span:
    """Lines and columns from the start of one event to the end of another."""
    start, end = first.start_mark, last.end_mark
    return Span(start.line + 1, start.column + 1, end.line + 1, end.column + 1)


def _tagged(event: Any) -> Json:
    """A scalar with a tag: it must be what the tag says."""
    value: str = event.value
    _check_tag(event)
    if event.tag in {"!", _CORE + "str"}:
        return value
    found = _plain(value, event)
    wanted = event.tag.removeprefix(_CORE)
    actual = {bool: "bool", int: "int", float: "float", type(None): "null"}.get(type(found), "str")
    if actual != wanted and not (wanted == "float" and actual == "int"):
        raise Refused("syntax", f"{value[:40]!r} is no {wanted}", event)
    return found


def _plain(value: str, event: Any) -> Json:
    """What a scalar without quotes means."""
    if value in _WORDS:
        return _WORDS[value]
    if value[0] not in _SPECIAL_STARTS or value[-1] not in _SPECIAL_ENDS:
        return value
    if len(value) > _MAX_NUMBER:
        if _FLOAT.fullmatch(value) or _BASED.fullmatch(value):
            message = "this number is too long"
            raise Refused("number-range", message, event, "put it in quotes if it is text")
        return value
    if _INTEGER.fullmatch(value):
        return int(value)
    if _FLOAT.fullmatch(value):
        number = float(value)
        if math.isfinite(number):
            return number
    if _BASED.fullmatch(value):
        return int(value, 0)
    if _NO_JSON.fullmatch(value) or _FLOAT.fullmatch(value):
        message = f"{value} is no number in JSON"
        raise Refused("number-range", message, event, "put it in quotes if it is text")
    return value


def _check_tag(event: Any) -> None:
    tag = event.tag
    if tag is None or tag == "!" or tag in _KNOWN_TAGS:
        return
    shown = tag.removeprefix(_CORE) if tag.startswith(_CORE) else tag
    raise Refused(
        "yaml-tag",
        f"the tag {shown} means nothing here",
        event,
        "only plain YAML is read: mappings, lists, text, numbers, true, false, null",
    )


def _in_words(error: yaml.YAMLError, text: str) -> Refused:
    """Libyaml's message, with the frequent ones said plainly."""
    mark: Any = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    problem = str(getattr(error, "problem", None) or error).splitlines()[0]
    if mark is None:
        offset = getattr(error, "position", None) or 0
        reason = getattr(error, "reason", None) or problem
        return Refused("character", f"this text can't be YAML: {reason}", _Place.at(text, offset))
    place = _Place(mark, mark)
    if text[mark.index : mark.index + 1] == "\t":
        return Refused("tab", "a tab can't indent YAML", place, "use spaces")
    context = getattr(error, "context", None)
    message = f"{problem} {context}" if context else problem
    return Refused("syntax", f"this is not YAML: {message}", place)


@dataclass(frozen=True, slots=True)
class _Point:
    line: int
    column: int


@dataclass(frozen=True, slots=True)
class _Place:
    """Stands for an event where libyaml could not make one."""

    start_mark: Any
    end_mark: Any

    @classmethod
    def at(cls, text: str, offset: int) -> _Place:
        """The place of one character."""
        before = text[:offset]
        point = _Point(before.count("\n"), offset - (before.rfind("\n") + 1))
        return cls(point, point)

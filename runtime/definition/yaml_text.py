"""Reads YAML as a stream of events and drives a Sink with it.

libyaml's scanner makes the events, its composer (which crashes the process on deep documents) is
not used. Scalars are YAML 1.2's: only true and false are booleans, dates stay text, and a number
with leading zeros is text, because it is a code and not a quantity.
"""

from __future__ import annotations

import math
import re
from typing import Any

import yaml
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


def drive_yaml(text: str, sink: Sink) -> None:
    """Drive the sink with one YAML document; raises Refused."""
    parser = CParser(text)
    documents = 0
    while True:
        try:
            event: Any = parser.get_event()
        except yaml.YAMLError as error:
            raise _in_words(error, text) from None
        kind = type(event)
        if kind is yaml.ScalarEvent:
            sink.scalar(_scalar(event), event.anchor, event.start_mark, event.end_mark)
        elif kind is yaml.MappingStartEvent or kind is yaml.SequenceStartEvent:
            _check_tag(event)
            is_mapping = kind is yaml.MappingStartEvent
            sink.open(is_mapping, event.anchor, event.start_mark, event.end_mark)
        elif kind is yaml.MappingEndEvent or kind is yaml.SequenceEndEvent:
            sink.close(event.end_mark)
        elif kind is yaml.AliasEvent:
            sink.alias(event.anchor, event.start_mark, event.end_mark)
        elif kind is yaml.DocumentStartEvent:
            documents += 1
            if documents > 1:
                raise Refused(
                    "syntax",
                    "a file holds one workflow; here a second document begins",
                    event.start_mark,
                    event.end_mark,
                )
        elif kind is yaml.StreamEndEvent:
            return


def yaml_span(start: Mark, end: Mark) -> Span:
    """Lines and columns of libyaml's marks."""
    return Span(start.line + 1, start.column + 1, end.line + 1, end.column + 1)


def _scalar(event: Any) -> Json:
    value: str = event.value
    tag = event.tag
    if tag is None:
        if event.implicit[0]:
            return _plain(value, event)
        return value
    _check_tag(event)
    if tag in {"!", _CORE + "str"}:
        return value
    found = _plain(value, event)
    wanted = tag.removeprefix(_CORE)
    actual = {bool: "bool", int: "int", float: "float", type(None): "null"}.get(type(found), "str")
    if actual != wanted and not (wanted == "float" and actual == "int"):
        raise Refused("syntax", f"{value!r} is no {wanted}", event.start_mark, event.end_mark)
    return found


def _plain(value: str, event: Any) -> Json:
    """What a scalar without quotes means."""
    if value in _WORDS:
        return _WORDS[value]
    if value[0] not in "0123456789+-." or len(value) > _MAX_NUMBER:
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
        raise Refused(
            "number-range",
            f"{value} is no number in JSON",
            event.start_mark,
            event.end_mark,
            "put it in quotes if it is text",
        )
    return value


def _check_tag(event: Any) -> None:
    tag = event.tag
    if tag is None or tag == "!" or tag in _KNOWN_TAGS:
        return
    shown = tag.removeprefix(_CORE) if tag.startswith(_CORE) else tag
    raise Refused(
        "yaml-tag",
        f"the tag {shown} means nothing here",
        event.start_mark,
        event.end_mark,
        "only plain YAML is read: mappings, lists, text, numbers, true, false, null",
    )


def _in_words(error: yaml.YAMLError, text: str) -> Refused:
    """Libyaml's message, with the frequent ones said plainly."""
    mark: Any = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    problem = str(getattr(error, "problem", None) or error).splitlines()[0]
    if mark is None:
        place = _Place(text, getattr(error, "position", 0) or 0)
        reason = getattr(error, "reason", None) or problem
        return Refused("character", f"this text can't be YAML: {reason}", place, place)
    if text[mark.index : mark.index + 1] == "\t" if mark.index is not None else False:
        return Refused("tab", "a tab can't indent YAML", mark, mark, "use spaces")
    context = getattr(error, "context", None)
    message = f"{problem} {context}" if context else problem
    return Refused("syntax", f"this is not YAML: {message}", mark, mark)


class _Place:
    """A mark made from an offset, where libyaml gives none."""

    def __init__(self, text: str, offset: int) -> None:
        before = text[:offset]
        self.line = before.count("\n")
        self.column = offset - (before.rfind("\n") + 1)

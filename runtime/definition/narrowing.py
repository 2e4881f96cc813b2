"""Whether a new schema of params, or a form, refuses what the old one took: what breaks those who fill it in.

Compares what schemas say in plain words: types, required and known names, choices, bounds. Where either says
more than that (`anyOf`, `$ref`, a pattern that was replaced) and it differs, nothing is claimed.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any, Final

from runtime.definition.canonical import canonical_bytes
from runtime.definition.types import in_words, kinds_of_schema, widened
from runtime.model.values import Json
from runtime.model.workflow_diff import Compatibility, Effect

# Words for readers, and what is filled in; nothing is refused by them.
_NOTES: Final = frozenset(
    ("$schema", "$id", "$comment", "title", "description", "default", "examples", "deprecated",
     "readOnly", "writeOnly", "x-order", "discriminator")
)  # fmt: skip
_ABOVE: Final = ("minimum", "exclusiveMinimum", "minLength", "minItems", "minProperties")
_BELOW: Final = ("maximum", "exclusiveMaximum", "maxLength", "maxItems", "maxProperties")
_TIGHTER: Final[dict[str, Callable[[Any, Any], bool]]] = {
    **dict.fromkeys(_ABOVE, operator.gt),
    **dict.fromkeys(_BELOW, operator.lt),
}
_JUDGED: Final = frozenset(
    ("type", "enum", "const", "properties", "required", "additionalProperties", "items", *_TIGHTER)
)


def narrowings(before: Json, after: Json) -> Iterator[Effect]:
    """What the new schema may refuse that the old one took, for whole params."""
    for one in _narrowings(before, after):
        yield replace(one, message=_sentence(one, "the input", "the param"))


def form_narrowings(step: str, before: Json, after: Json) -> Iterator[Effect]:
    """The same for the form of a step that asks people: what an answer may have to say now, or not say any more."""
    for one in _narrowings(before, after):
        yield replace(
            one,
            rule="form-narrowed" if one.compatibility is Compatibility.BREAKING else "form-unknown",
            message=_sentence(one, f"an answer to {step!r}", f"in the form of {step!r} the field"),
            path=f"steps.{step}.form{one.path.removeprefix('params')}",
        )


def _sentence(one: Effect, whole: str, part: str) -> str:
    subject = whole if one.path == "params" else f"{part} {one.path.removeprefix('params.')!r}"
    colon = ":" if one.compatibility is Compatibility.UNKNOWN else ""
    return f"{subject}{colon} {one.message}"


def _narrowings(before: Json, after: Json) -> Iterator[Effect]:
    """Whatever it is that is narrowed: messages without their subject, paths that begin with `params`."""
    if after is None:
        return
    if before is None:
        # Nothing was declared, so only what is demanded now can surprise anybody.
        yield from _demands({}, after, "params")
        return
    yield from _narrower(before, after, "params")


def _narrower(before: Any, after: Any, path: str) -> Iterator[Effect]:
    if after is True or after == {}:
        return
    if not isinstance(before, dict) or not isinstance(after, dict):
        if after is False:
            yield _breaks("param-narrowed", "takes no value any more", path)
        elif before is not False:
            yield from _narrower({} if before is True else before, after, path)
        return
    yield from _types(before, after, path)
    yield from _choices(before, after, path)
    yield from _bounds(before, after, path)
    yield from _demands(before, after, path)
    yield from _names(before, after, path)
    if isinstance(after.get("items"), dict | bool):
        yield from _narrower(before.get("items", True), after["items"], f"{path}[]")
    yield from _others(before, after, path)


def _types(before: dict[str, Any], after: dict[str, Any], path: str) -> Iterator[Effect]:
    if "type" not in after or before.get("type") == after["type"]:
        return
    were, are = kinds_of_schema(before), kinds_of_schema({"type": after["type"]})
    if are is None:
        return
    if were is None:
        yield _breaks("param-narrowed", f"must be {in_words(are)} now", path)
    elif not were <= widened(are):
        yield _breaks(
            "param-narrowed", f"was {in_words(were)} and must be {in_words(are)} now", path
        )


def _choices(before: dict[str, Any], after: dict[str, Any], path: str) -> Iterator[Effect]:
    now = _values(after)
    if now is None:
        return
    once = _values(before)
    if once is None:
        yield _breaks("param-narrowed", "takes only certain values now", path)
        return
    known = {canonical_bytes(one) for one in now}
    gone = [one for one in once if canonical_bytes(one) not in known]
    if gone:
        shown = ", ".join(repr(one)[:40] for one in gone[:3])
        yield _breaks("param-narrowed", f"does not take {shown} any more", path)


def _values(schema: dict[str, Any]) -> list[Any] | None:
    if "const" in schema:
        return [schema["const"]]
    found = schema.get("enum")
    return found if isinstance(found, list) else None


def _bounds(before: dict[str, Any], after: dict[str, Any], path: str) -> Iterator[Effect]:
    for word, is_tighter in _TIGHTER.items():
        now, once = after.get(word), before.get(word)
        if now is not None and (once is None or is_tighter(now, once)):
            yield _breaks("param-narrowed", f"has {word} {now} now", path)


def _demands(before: Any, after: Any, path: str) -> Iterator[Effect]:
    if not isinstance(after, dict):
        return
    once = _required(before)
    for name in _required(after):
        if name not in once:
            yield _breaks("param-required", "must be given now", f"{path}.{name}")


def _required(schema: dict[str, Any]) -> list[str]:
    """The names that a caller must give: a default fills in what is absent."""
    properties = schema.get("properties")
    known = properties if isinstance(properties, dict) else {}
    found = schema.get("required")
    names = found if isinstance(found, list) else []
    return [
        name
        for name in names
        if not (isinstance(known.get(name), dict) and "default" in known[name])
    ]


def _names(before: dict[str, Any], after: dict[str, Any], path: str) -> Iterator[Effect]:
    """Properties: those that both know are compared, those that are gone must still be let through."""
    once, now = _properties(before), _properties(after)
    rest = after.get("additionalProperties", True)
    was_open = before.get("additionalProperties", True)
    for name, one in once.items():
        below = f"{path}.{name}"
        if name in now:
            yield from _narrower(one, now[name], below)
        elif rest is False:
            yield _breaks("param-removed", "is not taken any more", below)
        else:
            yield from _narrower(one, rest, below)
    if was_open is not False and rest is False:
        yield _breaks("param-narrowed", "takes no other names any more", path)
    elif was_open is not False:
        yield from _narrower(was_open, rest, f"{path}.*")
        for name in now:
            if name not in once:
                yield from _narrower(was_open, now[name], f"{path}.{name}")


def _properties(schema: dict[str, Any]) -> dict[str, Any]:
    found = schema.get("properties")
    return found if isinstance(found, dict) else {}


def _others(before: dict[str, Any], after: dict[str, Any], path: str) -> Iterator[Effect]:
    """Words that are not judged here: an absent one refuses nothing, a changed one nobody knows."""
    for word, value in after.items():
        if word in _NOTES or word in _JUDGED:
            continue
        # For Python, true and 1 are equal; for JSON Schema they are not.
        if word in before and canonical_bytes(before[word]) == canonical_bytes(value):
            continue
        if word == "pattern" and word not in before:
            yield _breaks("param-narrowed", "must match a pattern now", path)
            continue
        message = f"what `{word}` lets through can't be compared"
        yield Effect("param-unknown", message, path, Compatibility.UNKNOWN)


def _breaks(rule: str, what: str, path: str) -> Effect:
    return Effect(rule, what, path, Compatibility.BREAKING)

"""Walks the schemas inside a params schema, along its references, and says what can't be judged.

A reference that leads nowhere, a pattern that RE2 does not take, and schemas that unfold into too
many are refused when a workflow is validated: its executions would find out too late.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final
from urllib.parse import urlsplit

from jsonschema import Draft202012Validator
from jsonschema.exceptions import SchemaError
from referencing import Registry
from referencing.exceptions import Unresolvable
from referencing.jsonschema import DRAFT202012

from runtime.definition.judge import FORMATS
from runtime.definition.pattern import BadPattern, linear_pattern
from runtime.definition.plain import MAX_UNFOLDED
from runtime.model.values import Json

_MAPS: Final = ("properties", "patternProperties", "$defs", "definitions", "dependentSchemas")
_LISTS: Final = ("allOf", "anyOf", "oneOf", "prefixItems")
_SINGLE: Final = (
    "items", "additionalProperties", "not", "if", "then", "else", "contains", "propertyNames",
    "unevaluatedItems", "unevaluatedProperties", "contentSchema",
)  # fmt: skip
_IN_PLACE: Final = frozenset(
    ("allOf", "anyOf", "oneOf", "not", "if", "then", "else", "dependentSchemas")
)
_REFERENCES: Final = ("$ref", "$dynamicRef")

# The library goes some frames deeper for each: of an input of a few levels it can judge a hundred in a row.
MAX_IN_A_ROW: Final = 64

Place = tuple[str | int, ...]


class Refusal(Exception):
    """Why a schema can't be used, and where in it."""

    def __init__(self, message: str, place: Place, hint: str | None = None) -> None:
        super().__init__(message)
        self.message, self.place, self.hint = message, place, hint


def refusals(schema: dict[str, Json], most: int) -> tuple[list[Refusal], bool]:
    """What can't be judged, at most so much of it; and whether the schema as a whole can be looked at any further."""
    found: list[Refusal] = []
    try:
        if not isinstance(schema.get("$id", ""), str):
            raise Refusal("this $id is not an address", ("$id",))
        urlsplit(str(schema.get("$id", "")))
        walk = _Walk(schema, found, most)
        walk.size(schema, (), is_root=True)
        walk.refuse_circles_and_chains()
    except Refusal as last:
        return [*found, last], False
    except RecursionError:
        return [*found, Refusal("this schema is nested too deeply", ())], False
    except ValueError:
        return [*found, Refusal("this $id is not an address", ("$id",))], False
    return found, True


class _Walk:
    """Goes on behind what can't be used in one place; raises Refusal for what stands against the whole."""

    def __init__(self, root: dict[str, Json], found: list[Refusal], most: int) -> None:
        self._found = found
        self._most = most
        self._resolver = Registry().resolver_with_root(DRAFT202012.create_resource(root))
        self._sizes: dict[int, int] = {}
        self._places: dict[int, Place] = {}
        self._in_place: dict[int, list[int]] = {}  # What judges the same value as a schema does.

    def size(self, schema: Any, place: Place, *, is_root: bool = False) -> int:
        """How many schemas this one unfolds into; one that contains itself counts once."""
        if not isinstance(schema, dict):
            return 1
        if id(schema) in self._sizes:
            return self._sizes[id(schema)]
        self._sizes[id(schema)] = 1
        self._places[id(schema)] = place
        self._check_own(schema, place, is_root=is_root)
        total, same = 1, self._in_place.setdefault(id(schema), [])
        for one, inner in _parts(schema):
            total += self.size(one, (*place, *inner))
            if inner[0] in _IN_PLACE:
                same.append(id(one))
        for key in _REFERENCES:
            if isinstance(schema.get(key), str):
                size, found = self._reference(schema[key], (*place, key))
                total += size
                same.append(id(found))
        if total > MAX_UNFOLDED:
            raise Refusal(f"this unfolds into more than {MAX_UNFOLDED:,} schemas", place)
        self._sizes[id(schema)] = total
        return total

    def _check_own(self, schema: dict[str, Any], place: Place, *, is_root: bool) -> None:
        if "$id" in schema and not is_root:
            self._refuse(Refusal("$id stands only at the top of params", (*place, "$id")))
        keyed = schema.get("patternProperties")
        patterns = [
            (one, (*place, "patternProperties", one))
            for one in (keyed if isinstance(keyed, dict) else ())
        ]
        if isinstance(schema.get("pattern"), str):
            patterns.append((schema["pattern"], (*place, "pattern")))
        for text, where in patterns:
            try:
                linear_pattern(text)
            except BadPattern as error:
                hint = "patterns are those of RE2: no lookaround, no backreferences, {n} up to 1000"
                self._refuse(Refusal(f"this pattern can't be used: {error}", where, hint))

    def _refuse(self, one: Refusal) -> None:
        if len(self._found) + 1 >= self._most:
            raise one
        self._found.append(one)

    def refuse_circles_and_chains(self) -> None:
        """Raises Refusal for a schema that judges a value by itself again, and so without end, or by too many."""
        done: dict[int, int] = {}  # With the schemas in a row from there.
        for start in self._in_place:
            trail, standing = [(start, iter(self._in_place[start]))], {start}
            while trail and start not in done:
                here, rest = trail[-1]
                following = next((one for one in rest if one not in done), None)
                if following in standing:
                    place = self._places[start]
                    raise Refusal("this schema contains itself without going any deeper", place)
                if following is None:
                    trail.pop()
                    standing.discard(here)
                    done[here] = 1 + max(
                        map(done.__getitem__, self._in_place.get(here, ())), default=0
                    )
                    if done[here] > MAX_IN_A_ROW:
                        message = f"more than {MAX_IN_A_ROW} schemas in a row judge one value here"
                        raise Refusal(message, self._places[here], "refer to the last of them")
                else:
                    standing.add(following)
                    trail.append((following, iter(self._in_place.get(following, ()))))

    def _reference(self, target: str, place: Place) -> tuple[int, Any]:
        if not target.startswith("#"):
            hint = "put it under $defs and refer to #/$defs/..."
            self._refuse(Refusal(f"{target[:80]} lies outside of this document", place, hint))
            return 1, None
        try:
            found = self._resolver.lookup(target).contents
            if id(found) not in self._sizes:
                Draft202012Validator.check_schema(found, format_checker=FORMATS)
        except (Unresolvable, SchemaError, LookupError, TypeError, ValueError):
            self._refuse(Refusal(f"{target[:80]} leads to no schema", place))
            return 1, None
        before = len(self._found)
        try:
            size = self.size(found, place)
        except Refusal as refused:  # what lies behind a reference is shown at the reference
            raise Refusal(refused.message, place, refused.hint) from None
        for one in self._found[before:]:
            one.place = place
        return size, found


def _parts(schema: dict[str, Any]) -> Iterator[tuple[Any, Place]]:
    for key in _MAPS:
        if isinstance(schema.get(key), dict):
            yield from ((one, (key, name)) for name, one in schema[key].items())
    for key in _LISTS:
        if isinstance(schema.get(key), list):
            yield from ((one, (key, index)) for index, one in enumerate(schema[key]))
    for key in _SINGLE:
        if key in schema:
            yield schema[key], (key,)

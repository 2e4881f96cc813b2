"""The types that expressions will give, as far as params, outputs and filters say.

Asked only when a schema wants to know: most inputs are judged without.
"""

from __future__ import annotations

from typing import Any, Final

from runtime.abi.catalog import Catalog
from runtime.definition.document import Document, Step
from runtime.definition.graph import Graph
from runtime.definition.outputs import (
    asks_people,
    decides_alone,
    gives_in_place,
    output_schema,
    own_schema,
    resolved,
    schema_at,
)
from runtime.expression import TEXT, Kinds, has_expression, kinds_of_template
from runtime.model.values import Json

_NULL: Final = frozenset(("null",))
_INTEGER: Final = frozenset(("integer",))
_NUMBER: Final = frozenset(("integer", "number"))
_BY_VALUE: Final[dict[type, str]] = {
    str: "string", bool: "boolean", int: "integer", float: "number", list: "array", dict: "object",
    type(None): "null",
}  # fmt: skip
_MAX_OPTIONS: Final = 20


def kind_of(value: Json) -> str:
    """The JSON type of a value."""
    return _BY_VALUE[type(value)]


def widened(kinds: frozenset[str]) -> frozenset[str]:
    """The kinds, and what fits wherever they do: an integer is a number."""
    return kinds | _NUMBER if "number" in kinds else kinds


def in_words(kinds: frozenset[str]) -> str:
    """The kinds as a sentence names them."""
    return " or ".join(sorted(kinds))


class Types:
    """The types of one document's expressions."""

    def __init__(self, document: Document, graph: Graph, catalog: Catalog) -> None:
        self._document = document
        self._graph = graph
        self._catalog = catalog

    def of(self, text: str, step: Step | None = None, *, is_mapped: bool = False) -> Kinds:
        """The JSON types that a text with expressions can give; None if nothing is sure."""
        mapped = step if is_mapped else None
        return kinds_of_template(text, lambda path: self._look(path, mapped))

    def list_schema(self, text: str) -> Json:
        """The schema of what a plain path leads to, for what walks over a list."""
        found: list[Json] = []

        def look(path: tuple[Any, ...]) -> Kinds:
            found.append(self._schema(path))
            return None

        kinds_of_template(text, look)
        return found[0] if len(found) == 1 else None

    def _look(self, path: tuple[Any, ...], mapped: Step | None) -> Kinds:
        match path:
            case ("index",):
                return _INTEGER
            case ("item", *rest):
                return self._item(tuple(rest), mapped)
            case ("steps" | "tasks", _, "status"):
                return TEXT
            case ("execution", "generation"):
                return _INTEGER
            case ("execution", _) | ("secrets", _):
                return TEXT
        kinds = kinds_of_schema(self._schema(path)) or self._in_place(path)
        # Of a step that was skipped the output is null.
        if kinds is None or path[2:3] != ("output",):
            return kinds
        return kinds | _NULL if len(path) == 3 or self._is_undecided(path) else kinds  # noqa: PLR2004

    def _schema(self, path: tuple[Any, ...]) -> Json:
        found: Json = None
        match path:
            case ("params", *rest) | ("trigger", "payload", *rest):
                found = schema_at(self._document.value.get("params"), tuple(rest))
            case ("steps" | "tasks", name, "output", *rest):
                position = self._graph.index_of.get(str(name))
                if position is not None:
                    root = output_schema(self._graph.steps[position], self._catalog)
                    found = schema_at(root, tuple(rest))
        return found

    def _is_undecided(self, path: tuple[Any, ...]) -> bool:
        """Whether this is the whole response of a task that may be decided without one."""
        position = self._graph.index_of.get(str(path[1])) if path[3:] == ("response",) else None
        step = None if position is None else self._graph.steps[position]
        return step is not None and asks_people(step) and decides_alone(step)

    def _in_place(self, path: tuple[Any, ...]) -> Kinds:
        """Of a step that may go on with another output: what either can be, if both say."""
        if len(path) < 3 or path[0] not in {"steps", "tasks"} or path[2] != "output":  # noqa: PLR2004
            return None
        position = self._graph.index_of.get(str(path[1]))
        if position is None or not gives_in_place(self._graph.steps[position]):
            return None
        step, rest = self._graph.steps[position], path[3:]
        own = kinds_of_schema(schema_at(own_schema(step, self._catalog), rest))
        value: Any = step.value["on_error"]
        for key in ("output", *rest):
            try:
                value = value[key]
            except (KeyError, IndexError, TypeError):
                return own
            if isinstance(value, str) and has_expression(value):
                return None
        return own | {kind_of(value)} if own is not None else None

    def _item(self, rest: tuple[Any, ...], mapped: Step | None) -> Kinds:
        source = mapped.value.get("for_each") if mapped is not None else None
        if not isinstance(source, str):
            return None
        return kinds_of_schema(schema_at(self.list_schema(source), (0, *rest)))


def kinds_of_schema(schema: Any) -> Kinds:
    """The types that a schema lets through; None if it does not say."""
    if not isinstance(schema, dict):
        return None
    named = schema.get("type")
    if isinstance(named, str):
        return frozenset((named,))
    if isinstance(named, list):
        return frozenset(one for one in named if isinstance(one, str))
    if "const" in schema:
        return frozenset((_BY_VALUE[type(schema["const"])],))
    if isinstance(schema.get("enum"), list):
        return frozenset(_BY_VALUE[type(one)] for one in schema["enum"])
    options = schema.get("anyOf")
    if not isinstance(options, list) or len(options) > _MAX_OPTIONS:
        return None
    found = [kinds_of_schema(resolved(one, schema)) for one in options]
    known = [one for one in found if one is not None]
    return frozenset[str]().union(*known) if len(known) == len(found) else None

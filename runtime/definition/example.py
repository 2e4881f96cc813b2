"""A value that a JSON Schema would let through: its own example where it has one, else the plainest there is.

For simulations, where nobody has answered. A guess, and said to be one: patterns and conditions are not solved.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from runtime.definition.outputs import resolved
from runtime.model.values import Json

_MAX_DEPTH: Final = 8
_MAX_PARTS: Final = 500
_FORMATS: Final[Mapping[str, str]] = {
    "date-time": "2026-01-01T00:00:00Z",
    "date": "2026-01-01",
    "time": "00:00:00Z",
    "email": "somebody@example.org",
    "uri": "https://example.org/",
    "uuid": "00000000-0000-0000-0000-000000000000",
}


def written_example(schema: Any) -> tuple[Json] | None:
    """The example or default that a schema gives itself, if it does."""
    if not isinstance(schema, dict):
        return None
    examples = schema.get("examples")
    if isinstance(examples, list) and examples:
        return (examples[0],)
    return (schema["default"],) if "default" in schema else None


def example_of(schema: Any) -> Json:
    """A value for a schema; null where it says nothing."""
    return _Maker(schema).make(schema, 0)


class _Maker:
    def __init__(self, root: Any) -> None:
        self._root = root
        self._left = _MAX_PARTS

    def make(self, schema: Any, depth: int) -> Json:
        schema = resolved(schema, self._root)
        self._left -= 1
        if not isinstance(schema, dict) or depth > _MAX_DEPTH or self._left < 0:
            return None
        written = written_example(schema)
        if written is not None:
            return written[0]
        if "const" in schema:
            return schema["const"]  # type: ignore[no-any-return]  # JSON, as all schemas are
        for key in ("enum", "anyOf", "oneOf", "allOf"):
            options = schema.get(key)
            if isinstance(options, list) and options:
                return options[0] if key == "enum" else self.make(options[0], depth + 1)
        named = schema.get("type")
        kind = named[0] if isinstance(named, list) and named else named
        return self._of_type(kind if isinstance(kind, str) else None, schema, depth)

    def _of_type(self, kind: str | None, schema: dict[str, Any], depth: int) -> Json:
        match kind:
            case "object":
                return self._object(schema, depth)
            case "array":
                least = schema.get("minItems", 0)
                count = min(least, 3) if isinstance(least, int) else 0
                return [self.make(schema.get("items"), depth + 1) for _ in range(count)]
            case "string":
                return _FORMATS.get(str(schema.get("format")), "text")
            case "integer" | "number":
                least = schema.get("minimum", 0)
                return least if isinstance(least, int | float) else 0
            case "boolean":
                return True
            case _:
                return self._object(schema, depth) if "properties" in schema else None

    def _object(self, schema: dict[str, Any], depth: int) -> Json:
        properties = schema.get("properties")
        if not isinstance(properties, dict):
            return {}
        found: dict[str, Json] = {}
        for name, one in properties.items():
            if self._left < 0:
                break
            found[name] = self.make(one, depth + 1)
        return found

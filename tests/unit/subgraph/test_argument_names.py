"""No argument of a field is called as a parameter of what stands between the executor and its resolver."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from typing import Any

from graphql import GraphQLObjectType

from subgraph.compiled.executor import _Once
from subgraph.schema.build import build_schema


def fields() -> Iterator[tuple[str, Any, Any]]:
    schema = build_schema()._schema
    for type_ in schema.type_map.values():
        if isinstance(type_, GraphQLObjectType) and not type_.name.startswith("__"):
            for name, field in type_.fields.items():
                yield f"{type_.name}.{name}", field, field.extensions.get("strawberry-definition")


def refuses(function: Callable[..., Any], positional: int, names: frozenset[str]) -> str | None:
    """Why a function can't be called with so many values and these names, if it can't."""
    try:
        inspect.signature(function).bind_partial(*[None] * positional, **dict.fromkeys(names))
    except TypeError as error:
        return str(error)
    return None


def test_every_field_can_be_asked_with_all_its_arguments() -> None:
    wrong: list[str] = []
    asked = 0
    for name, field, declared in fields():
        names = frozenset(field.args)
        if not names:
            continue
        asked += 1
        once = _Once({}, {}).get_field_resolver(field.resolve)
        batch = getattr(getattr(declared, "base_resolver", None), "wrapped_func", None)
        batch = getattr(batch, "batch", None)
        python_names = frozenset(each.python_name for each in getattr(declared, "arguments", ()))
        calls = [(once, 2, names), (field.resolve, 2, names)]
        calls += [(batch, 1, python_names)] if batch is not None else []
        wrong += [f"{name}: {why}" for call in calls if (why := refuses(*call)) is not None]

    assert wrong == []
    assert asked > 30

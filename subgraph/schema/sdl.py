"""The SDL that is committed, composed and served by `_service`: one text, written deterministically.

Strawberry prints a `schema` block and the machinery that federation adds at run time; gateways expect neither, so the
text is taken apart once and put together as a subgraph's author would write it.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final

from graphql import (
    DefinitionNode,
    DocumentNode,
    ObjectTypeDefinitionNode,
    SchemaDefinitionNode,
    SchemaExtensionNode,
    parse,
    print_ast,
)
from strawberry.printer import print_schema
from strawberry.schema import BaseSchema

HEAD: Final = "# Written by `make schema` from the code of subgraph/. Do not edit.\n"
_MACHINERY: Final = frozenset({"_Any", "_Entity", "_Service"})


def write_sdl(schema: BaseSchema) -> str:
    """The subgraph's SDL, without the fields that federation adds by itself."""
    document = parse(print_schema(schema), no_location=True)
    kept: list[Any] = [
        _as_authored(node) for node in document.definitions if _name(node) not in _MACHINERY
    ]
    return f"{HEAD}{print_ast(DocumentNode(definitions=tuple(kept)))}\n"


def _name(node: DefinitionNode) -> str | None:
    name = getattr(node, "name", None)
    return name.value if name else None


def _as_authored(node: DefinitionNode) -> DefinitionNode | SchemaExtensionNode:
    if isinstance(node, SchemaDefinitionNode):
        return SchemaExtensionNode(directives=node.directives, operation_types=())
    if isinstance(node, ObjectTypeDefinitionNode) and node.name.value == "Query":
        shown = [field for field in node.fields or () if not field.name.value.startswith("_")]
        return replace(node, fields=tuple(shown))
    return node

"""Documents: from a text to an operation that may run, checked once and remembered.

Both protocols come through here before anything is executed: limits, parsing, validation. The same few documents make
up nearly all traffic, so what was found is kept, up to a bounded amount of text; what is long or rare is checked anew.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from graphql import (
    DocumentNode,
    GraphQLError,
    OperationDefinitionNode,
    OperationType,
    get_operation_ast,
    parse,
    specified_rules,
)
from strawberry.schema import Schema
from strawberry.schema.schema import validate_document

from subgraph.limits import Limits, check_document, check_text, too_complex
from subgraph.rows import MOST_ROWS, rows_of, sizes_of

_REMEMBERED_CHARACTERS: Final = 1_048_576
_LONGEST_REMEMBERED: Final = 16_384
# The parser refuses both in one class; a test holds this against its wording.
_TOO_MANY_TOKENS: Final = "tokens. Parsing aborted."


@dataclass(frozen=True, slots=True)
class Prepared:
    """A document that was looked at: what it says, or why it can't run."""

    document: DocumentNode | None
    errors: tuple[GraphQLError, ...] = ()


@dataclass(frozen=True, slots=True)
class Operation:
    """The one operation of a document that a request means."""

    document: DocumentNode
    node: OperationDefinitionNode

    @property
    def kind(self) -> str:
        """`query`, `mutation` or `subscription`."""
        return self.node.operation.value

    @property
    def name(self) -> str | None:
        """The operation's name, when it has one."""
        return self.node.name.value if self.node.name else None

    @property
    def is_subscription(self) -> bool:
        """Whether it streams."""
        return self.node.operation is OperationType.SUBSCRIPTION

    @property
    def is_query(self) -> bool:
        """Whether it only reads."""
        return self.node.operation is OperationType.QUERY


class Documents:
    """Checks documents against a schema and the limits, and remembers what it found."""

    def __init__(self, schema: Schema, limits: Limits | None = None) -> None:
        self._schema = schema
        self._limits = limits or Limits()
        self._sizes = sizes_of(schema)
        self._known: OrderedDict[str, Prepared] = OrderedDict()
        self._characters = 0

    def operation(
        self, text: str, name: str | None, variables: Mapping[str, Any] | None
    ) -> Operation | tuple[GraphQLError, ...]:
        """The operation that a request means, or the errors that refuse the request."""
        prepared = self.prepare(text)
        if prepared.document is None or prepared.errors:
            return prepared.errors
        node = get_operation_ast(prepared.document, name)
        if node is None:
            wanted = f"no operation {name[:64]!r}" if name else "not exactly one operation"
            return (_refusal(f"The document has {wanted}.", "BAD_USER_INPUT"),)
        if rows_of(prepared.document, node, self._sizes, variables or {}) > MOST_ROWS:
            asked = f"Pages inside pages come to more than {MOST_ROWS} rows; ask for smaller ones."
            return (too_complex(asked),)
        return Operation(prepared.document, node)

    def prepare(self, text: str) -> Prepared:
        """Check a text, or remember having done so."""
        known = self._known.get(text)
        if known is not None:
            self._known.move_to_end(text)
            return known
        prepared = self._check(text)
        if len(text) <= _LONGEST_REMEMBERED:
            self._remember(text, prepared)
        return prepared

    def _remember(self, text: str, prepared: Prepared) -> None:
        self._known[text] = prepared
        self._characters += len(text)
        while self._characters > _REMEMBERED_CHARACTERS:
            forgotten, _ = self._known.popitem(last=False)
            self._characters -= len(forgotten)

    def _check(self, text: str) -> Prepared:
        try:
            check_text(text, self._limits)
            document = parse(text, max_tokens=self._limits.tokens)
            check_document(document, self._limits)
            # The walks below and the library's own recurse along chains of fragments.
            errors = validate_document(self._schema._schema, document, tuple(specified_rules))  # noqa: SLF001
        except RecursionError:
            return Prepared(None, (too_complex("Fragments are nested too deep."),))
        except GraphQLError as error:
            code = (
                "QUERY_TOO_COMPLEX" if _TOO_MANY_TOKENS in error.message else "GRAPHQL_PARSE_FAILED"
            )
            return Prepared(None, (_coded(error, code),))
        return Prepared(
            document, tuple(_coded(error, "GRAPHQL_VALIDATION_FAILED") for error in errors)
        )


def _coded(error: GraphQLError, code: str) -> GraphQLError:
    error.extensions = {"code": code, **(error.extensions or {})}
    return error


def _refusal(message: str, code: str) -> GraphQLError:
    return GraphQLError(message, extensions={"code": code})

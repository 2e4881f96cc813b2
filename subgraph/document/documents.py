"""Documents: from a text to an operation that may run, checked once and remembered.

Both protocols come through here before anything is executed: limits, parsing, validation, cost. The same few documents
make up nearly all traffic, so what was found is kept, up to a bounded amount of text; what is long or rare is checked
anew. Only the cost is worked out per request, because the sizes of pages come in variables.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from graphql import (
    DocumentNode,
    FieldNode,
    GraphQLError,
    OperationDefinitionNode,
    OperationType,
    get_operation_ast,
    parse,
)
from strawberry.schema import Schema

from subgraph.document.actual import Shape, actual_cost, shape_of
from subgraph.document.cost import Amount
from subgraph.document.limits import Limits, check_text
from subgraph.document.measure import Estimate, measure
from subgraph.document.prices import Prices
from subgraph.document.validation import Text, Validator

_REMEMBERED: Final = 1_048_576
# A document of many short words takes as much room as one of eight times as many letters.
_LETTERS_OF_A_TOKEN: Final = 8
# What is remembered of the shortest document, a refused one too.
_LETTERS_OF_A_DOCUMENT: Final = 64
_LONGEST_REMEMBERED: Final = 16_384
_HIDDEN: Final = "The schema is not shown here: introspection is switched off (MC_INTROSPECTION)."
_OFF: Final = "INTROSPECTION_OFF"


@dataclass(frozen=True, slots=True)
class Prepared:
    """A document that was looked at: what it says and costs, or, instead of it, why it can't run."""

    document: DocumentNode | None
    errors: tuple[GraphQLError, ...] = ()
    estimates: Mapping[str | None, Estimate] = field(default_factory=dict)
    shapes: dict[str | None, Shape] = field(default_factory=dict)
    items: Mapping[int, Amount] = field(default_factory=dict)
    tokens: int = 0
    # By name, where no variable moves the cost: nothing of them hangs on a request.
    constant: dict[str | None, Operation] = field(default_factory=dict)

    def weight(self, text: str) -> int:
        """What it takes to remember this of a text, in letters."""
        return _LETTERS_OF_A_DOCUMENT + max(len(text), self.tokens * _LETTERS_OF_A_TOKEN)


@dataclass(frozen=True, slots=True)
class Operation:
    """The one operation of a document that a request means, and what it costs at the most."""

    document: DocumentNode
    node: OperationDefinitionNode
    cost: int = 0
    prepared: Prepared | None = None

    @property
    def is_introspection(self) -> bool:
        """Whether it asks for nothing but the schema."""
        return self.prepared is not None and self.prepared.estimates[self.name].is_introspection

    @property
    def kind(self) -> str:
        """`query`, `mutation` or `subscription`."""
        operation = self.node.operation
        return "query" if operation is OperationType.QUERY else operation.value

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

    def __init__(
        self,
        schema: Schema,
        limits: Limits | None = None,
        *,
        shows_schema: bool = True,
        tells_cost: bool = False,
    ) -> None:
        self._limits = limits or Limits()
        self._shows_schema = shows_schema
        self._tells_cost = tells_cost
        self._prices = Prices(schema)
        self._validator = Validator(
            schema._schema,  # noqa: SLF001 - Strawberry has no door to it.
            self._limits,
            shows_schema=shows_schema,
        )
        self._known: OrderedDict[str, Prepared] = OrderedDict()
        self._weight = 0

    def operation(
        self, text: str, name: str | None, variables: Mapping[str, Any] | None
    ) -> Operation | tuple[GraphQLError, ...]:
        """The operation that a request means, or the errors that refuse the request."""
        prepared = self.prepare(text)
        known = prepared.constant.get(name)
        if known is not None:
            return known
        if prepared.document is None:
            return prepared.errors
        node = get_operation_ast(prepared.document, name)
        if node is None:
            wanted = f"no operation {name[:64]!r}" if name else "not exactly one operation"
            return (_refusal(f"The document has {wanted}.", "BAD_USER_INPUT"),)
        estimate = prepared.estimates[node.name.value if node.name else None]
        try:
            cost = self._cost(estimate, estimate.given(variables))
        except GraphQLError as refusal:
            return (refusal,)
        found = Operation(prepared.document, node, cost, prepared)
        # A name that finds nothing never comes this far, so there are as many as operations and one more.
        if estimate.amount.is_fixed and not estimate.variables:
            prepared.constant[name] = found
        return found

    def teller(
        self, operation: Operation, variables: Mapping[str, Any] | None, *, is_asked: bool
    ) -> Callable[[Any], dict[str, int]] | None:
        """What tells the cost of an answer, for those who ask and where all are told; else None."""
        prepared = operation.prepared
        if prepared is None or not (is_asked or self._tells_cost):
            return None
        if operation.name not in prepared.shapes:
            shape = shape_of(operation.document, operation.node, self._prices)
            prepared.shapes[operation.name] = shape
        given = prepared.estimates[operation.name].given(variables)
        shape = prepared.shapes[operation.name]
        return lambda data: {
            "estimated": operation.cost,
            "actual": actual_cost(shape, data, self._prices, given),
        }

    def item_cost(
        self, operation: Operation, variables: Mapping[str, Any] | None
    ) -> Callable[[Iterable[FieldNode]], int]:
        """What tells how much one item of a list costs more, by the nodes of its field, as the estimate counts it."""
        prepared = operation.prepared

        def tell(nodes: Iterable[FieldNode]) -> int:
            if prepared is None:
                return 1
            given = prepared.estimates[operation.name].given(variables)
            places = (node.loc.start for node in nodes if node.loc is not None)
            amounts = [prepared.items[place] for place in places if place in prepared.items]
            return sum(amount.value(self._prices, given) for amount in amounts)

        return tell

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

    def _cost(self, estimate: Estimate, given: Mapping[str, Any]) -> int:
        """What an operation costs with these variables; raises the refusal of what is too much."""
        items = sum(
            self._prices.score(given.get(name), price)[1] for name, price in estimate.variables
        )
        self._limits.check("values", items)
        cost = estimate.amount.value(self._prices, given)
        self._limits.check("cost", cost)
        return cost

    def _remember(self, text: str, prepared: Prepared) -> None:
        self._known[text] = prepared
        self._weight += prepared.weight(text)
        while self._weight > _REMEMBERED:
            forgotten, what = self._known.popitem(last=False)
            self._weight -= what.weight(forgotten)

    def _check(self, text: str) -> Prepared:
        try:
            tokens = check_text(text, self._limits)
            document = parse(Text(text))
            measured = measure(document, self._prices, self._limits)
        except GraphQLError as error:
            return Prepared(None, (_bare(error, "GRAPHQL_PARSE_FAILED"),))
        if measured.is_introspection and not self._shows_schema:
            return Prepared(None, (_refusal(_HIDDEN, "GRAPHQL_VALIDATION_FAILED", reason=_OFF),))
        errors = self._validator.errors(document)
        if errors:
            invalid = "GRAPHQL_VALIDATION_FAILED"
            return Prepared(None, tuple(_bare(error, invalid) for error in errors))
        return Prepared(document, (), measured.estimates, items=measured.items, tokens=tokens)


def _bare(error: GraphQLError, code: str) -> GraphQLError:
    """The same error by its place alone, as it may be remembered.

    Its nodes would keep a tree that is a hundred times as large as its text, its traceback the whole request that met
    it first, with variables and token.
    """
    return GraphQLError(
        error.message,
        source=error.source,
        positions=error.positions,
        extensions={"code": code, **(error.extensions or {})},
    )


def _refusal(message: str, code: str, **more: str) -> GraphQLError:
    return GraphQLError(message, extensions={"code": code, **more})

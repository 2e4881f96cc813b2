"""What happens around each operation inside Strawberry: our document goes in, our errors come out."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from graphql import ExecutionResult as RawResult
from strawberry.extensions import SchemaExtension
from strawberry.types.execution import ExecutionResult

from subgraph.errors import present_all


class CheckedDocument(SchemaExtension):
    """Hands over the document that was parsed and validated before, so that neither is done twice."""

    def on_parse(self) -> Iterator[None]:
        """Put the document where Strawberry would put its own."""
        self.execution_context.graphql_document = self.execution_context.context.document
        yield

    def on_validate(self) -> Iterator[None]:
        """Say that validation found nothing: what it finds never comes this far."""
        self.execution_context.pre_execution_errors = []
        yield


class ToldCost(SchemaExtension):
    """Adds what it cost to every event of a stream; a single answer gets it from `Schema.execute`, planned or not."""

    def on_stream_result(self, result: object) -> Iterator[None]:
        """Add it to one event."""
        tell_cost(result, self.execution_context.context)
        yield


class PresentedErrors(SchemaExtension):
    """Turns errors into what a caller may see, in single results and in every event of a stream."""

    def on_operation(self) -> Iterator[None]:
        """Look at the result before it leaves."""
        yield
        self._present(self.execution_context.result)

    def on_stream_result(self, result: object) -> Iterator[None]:
        """Look at one event before it leaves."""
        self._present(result)
        yield

    def _present(self, result: object) -> None:
        if isinstance(result, RawResult | ExecutionResult) and result.errors:
            result.errors = present_all(result.errors, self.execution_context.context.trace_id)


def tell_cost(result: object, context: Any) -> None:
    """Add to an answer what it cost, where its context knows how to tell."""
    tell = getattr(context, "tell_cost", None)
    if tell is not None and isinstance(result, ExecutionResult) and result.data is not None:
        result.extensions = {**(result.extensions or {}), "cost": tell(result.data)}

"""What a process of its own is asked about somebody's data, and how it answers."""

from __future__ import annotations

from dataclasses import dataclass

from runtime.abi.catalog import Catalog
from runtime.abi.surroundings import Surroundings
from runtime.definition.params import apply_schema
from runtime.definition.validate import Validation, validate
from runtime.model.values import Json
from runtime.model.workflow import DefinitionFormat


@dataclass(frozen=True, slots=True)
class InputQuestion:
    """Whether an input fits the params: answered by the input with its defaults; raises Invalid."""

    digest: str
    schema: Json
    input: Json

    def answer(self, _catalog: Catalog) -> Json:
        """The input with defaults."""
        return apply_schema(self.digest, self.schema, self.input)


@dataclass(frozen=True, slots=True)
class DocumentQuestion:
    """What is to be said of a document."""

    source: str
    format: DefinitionFormat | None
    publishing: bool
    surroundings: Surroundings

    def answer(self, catalog: Catalog) -> Validation:
        """Its findings, and what became of it."""
        return validate(
            self.source,
            self.format,
            catalog,
            publishing=self.publishing,
            surroundings=self.surroundings,
        )


Question = InputQuestion | DocumentQuestion

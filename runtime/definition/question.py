"""What a process of its own is asked about somebody's data, and how it answers."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace

import orjson

from runtime.abi.catalog import Catalog
from runtime.abi.surroundings import Surroundings
from runtime.definition.params import apply_schema, refuse_schema
from runtime.definition.validate import Validation, validate
from runtime.model.workflow import DefinitionFormat


@dataclass(frozen=True, slots=True)
class InputQuestion:
    """Whether an input fits the params; raises Invalid. All is JSON text, which a server reads in no time."""

    digest: str
    schema: str
    input: bytes

    def answer(self, _catalog: Catalog) -> bytes | None:
        """The input with defaults; None when it has all that it needs."""
        given = orjson.loads(self.input)
        filled = apply_schema(self.digest, json.loads(self.schema), given)
        return None if filled == given else orjson.dumps(filled)


@dataclass(frozen=True, slots=True)
class SchemaQuestion:
    """Whether a JSON Schema can be used; raises Invalid. It is JSON text; `place` is where it stands in an input."""

    schema: str
    place: str

    def answer(self, _catalog: Catalog) -> None:
        """Nothing: it can."""
        refuse_schema(json.loads(self.schema), self.place)


@dataclass(frozen=True, slots=True)
class DocumentQuestion:
    """What is to be said of a document."""

    source: str
    format: DefinitionFormat | None
    publishing: bool
    surroundings: Surroundings

    def answer(self, catalog: Catalog) -> tuple[Validation, bytes | None]:
        """What became of it, and its definition as JSON: both are large where their objects travel."""
        found = validate(
            self.source,
            self.format,
            catalog,
            publishing=self.publishing,
            surroundings=self.surroundings,
        )
        definition = None if found.definition is None else orjson.dumps(found.definition)
        return replace(found, definition=None, plan=None), definition


Question = InputQuestion | SchemaQuestion | DocumentQuestion

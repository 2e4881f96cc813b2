"""What a document may cost before it is run: one linear pass over the text, one memoised pass over the tree.

Called by `subgraph.documents` for each new document. A document of 64 KiB with fragments inside fragments must not
cost more than a plain one of that size, so every fragment is measured once and never expanded; nothing here recurses
deeper than the nesting that the text was allowed.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from graphql import (
    DocumentNode,
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    GraphQLError,
    OperationDefinitionNode,
    SelectionSetNode,
)

# Strings and comments are swallowed whole, so that brackets inside them don't count.
_BRACKETS: Final = re.compile(
    r'"""(?:\\"""|[^"]|"(?!""))*"""|"(?:\\.|[^"\\\n])*"|#[^\n]*|[{}\[\]()]'
)


@dataclass(frozen=True, slots=True)
class Limits:
    """The most that one document may ask for."""

    characters: int = 65_536
    tokens: int = 10_000
    nesting: int = 64
    depth: int = 20
    aliases: int = 100
    root_fields: int = 50
    fields: int = 1_000
    fragments: int = 200


@dataclass(frozen=True, slots=True)
class Size:
    """What a selection comes to: levels of fields, and fields when every fragment is written out."""

    depth: int = 0
    fields: int = 0


def check_text(text: str, limits: Limits) -> None:
    """Refuse what is too long or nested too deep to be parsed at all."""
    if len(text) > limits.characters:
        raise too_complex(f"The document is longer than {limits.characters} characters.")
    nesting = 0
    for match in _BRACKETS.finditer(text):
        if match[0] in "{[(":
            nesting += 1
            if nesting > limits.nesting:
                raise too_complex(f"Brackets are nested deeper than {limits.nesting} levels.")
        elif match[0] in "}])":
            nesting -= 1


def check_document(document: DocumentNode, limits: Limits) -> None:
    """Refuse a parsed document that asks for too much, naming the limit."""
    measure = _Measure(document)
    if measure.fragments > limits.fragments:
        raise too_complex(f"The document has more than {limits.fragments} fragments.")
    for definition in document.definitions:
        if isinstance(definition, FragmentDefinitionNode):
            measure.fragment(definition.name.value)
        if isinstance(definition, OperationDefinitionNode):
            roots = sum(1 for _ in measure.direct_fields(definition.selection_set, set()))
            if roots > limits.root_fields:
                raise too_complex(f"An operation has more than {limits.root_fields} root fields.")
            size = measure.size(definition.selection_set)
            if size.depth > limits.depth:
                raise too_complex(f"Fields are nested deeper than {limits.depth} levels.")
            if size.fields > limits.fields:
                raise too_complex(f"An operation selects more than {limits.fields} fields.")
    if measure.written_fields > limits.fields:
        raise too_complex(f"The document has more than {limits.fields} fields.")
    if measure.aliases > limits.aliases:
        raise too_complex(f"The document has more than {limits.aliases} aliases.")


def too_complex(message: str) -> GraphQLError:
    """The refusal of a document that asks for too much."""
    return GraphQLError(message, extensions={"code": "QUERY_TOO_COMPLEX"})


class _Measure:
    """Sizes of one document's selections; a fragment is looked into once."""

    def __init__(self, document: DocumentNode) -> None:
        self.aliases = 0
        self.written_fields = 0
        self._fragments = {
            definition.name.value: definition
            for definition in document.definitions
            if isinstance(definition, FragmentDefinitionNode)
        }
        self._sizes: dict[str, Size] = {}

    @property
    def fragments(self) -> int:
        """How many fragments the document defines."""
        return len(self._fragments)

    def size(self, selections: SelectionSetNode | None) -> Size:
        """Depth and fields of a selection; counts its aliases and fields as written."""
        depth = fields = 0
        for selection in selections.selections if selections else ():
            if isinstance(selection, FieldNode):
                self.written_fields += 1
                self.aliases += selection.alias is not None
                inner = self.size(selection.selection_set)
                inner = Size(inner.depth + 1, inner.fields + 1)
            elif isinstance(selection, FragmentSpreadNode):
                inner = self.fragment(selection.name.value)
            else:
                inner = self.size(getattr(selection, "selection_set", None))
            depth, fields = max(depth, inner.depth), fields + inner.fields
        return Size(depth, fields)

    def direct_fields(
        self, selections: SelectionSetNode | None, entered: set[str]
    ) -> Iterator[FieldNode]:
        """The fields of one level, looking through fragments, each fragment once."""
        for selection in selections.selections if selections else ():
            if isinstance(selection, FieldNode):
                yield selection
            elif isinstance(selection, FragmentSpreadNode):
                fragment = self._fragments.get(selection.name.value)
                if fragment and selection.name.value not in entered:
                    entered.add(selection.name.value)
                    yield from self.direct_fields(fragment.selection_set, entered)
            else:
                yield from self.direct_fields(getattr(selection, "selection_set", None), entered)

    def fragment(self, name: str) -> Size:
        """The size of a fragment, found once."""
        if name not in self._fragments:
            return Size()
        if name not in self._sizes:
            # A circle ends here with nothing; validation names it afterwards.
            self._sizes[name] = Size()
            self._sizes[name] = self.size(self._fragments[name].selection_set)
        return self._sizes[name]

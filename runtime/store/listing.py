"""Lists with free filters: composed once per shape, then only executed.

A shape is which filters are set, not their values; SQLAlchemy composes and compiles the statement the
first time, afterwards it is a dictionary look-up. asyncpg keeps it prepared.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import ColumnElement, Select, any_, bindparam
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.dialects.postgresql.asyncpg import dialect

_MOST_SHAPES: Final = 512
_DIALECT: Final = dialect()  # type: ignore[no-untyped-call] # as published


@dataclass(frozen=True, slots=True)
class Condition:
    """One filter: its place in the shape, its clause, and the values of the clause's parameters."""

    shape: Hashable
    clause: Callable[[], ColumnElement[bool]]
    values: Mapping[str, Any]


class Composer:
    """Statements by shape."""

    def __init__(self) -> None:
        self._known: OrderedDict[Hashable, tuple[str, tuple[str, ...], dict[str, Any]]] = (
            OrderedDict()
        )

    def statement(
        self, shape: Hashable, build: Callable[[], Select[Any]], values: Mapping[str, Any]
    ) -> tuple[str, list[Any]]:
        """The text of a shape's statement and its arguments, in order."""
        found = self._known.get(shape)
        if found is None:
            compiled = build().compile(dialect=_DIALECT)
            found = (str(compiled), tuple(compiled.positiontup or ()), dict(compiled.params))
            self._known[shape] = found
            if len(self._known) > _MOST_SHAPES:
                self._known.popitem(last=False)
        text, names, defaults = found
        return text, [values[name] if name in values else defaults[name] for name in names]


def any_of(column: Any, name: str) -> ColumnElement[bool]:
    """The column equals one of the values of an array parameter."""
    clause: ColumnElement[bool] = column == any_(bindparam(name, type_=ARRAY(column.type)))
    return clause

"""Lists of executions that no index has in their order: words in their texts, and orders by what changes.

No index of texts is kept: it would be written at every acceptance and every end, and row security lets none be
used whose operator is not leakproof. So the executions of a range of creation times, and of whatever other filter
has an index, are read through; how many those are is counted first, and is bounded.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final
from uuid import UUID

from sqlalchemy import (
    ColumnElement,
    Select,
    Text,
    bindparam,
    cast,
    extract,
    func,
    literal_column,
    tuple_,
)
from sqlalchemy.dialects.postgresql import BIGINT

from runtime.model.errors import BadInput
from runtime.model.execution import (
    ExecutionFilter,
    ExecutionOrder,
    ExecutionOrderField,
    ExecutionState,
)
from runtime.store import cursor
from runtime.store.listing import Condition
from runtime.store.tables import workflow_executions

SEARCHED: Final = 10_000
SORTED: Final = 50_000
SECONDS: Final = 5.0

_E: Final = workflow_executions.c
_KEY: Final = "sort_key"
_NOT_YET: Final = 2**63 - 1
_CONFIG: Final[ColumnElement[str]] = literal_column("'pg_catalog.simple'::regconfig")
_KINDS: Final[ColumnElement[str]] = literal_column('\'["string", "numeric"]\'::jsonb')
# States whose executions an index finds: not those that are told apart by more than their stored status.
_INDEXED: Final = frozenset(ExecutionState) - {
    ExecutionState.COMPLETED,
    ExecutionState.PAUSED,
    ExecutionState.CANCELLING,
}


@dataclass(frozen=True, slots=True)
class Sorting:
    """How one page is read: the list's order, and whether it is read from its other end."""

    order: ExecutionOrder
    backward: bool

    @property
    def is_by_id(self) -> bool:
        """Whether it is the order of the ids, which the indexes have."""
        return self.order.field is ExecutionOrderField.CREATED_AT

    @property
    def falls(self) -> bool:
        """Whether the largest is read first."""
        return self.order.descending != self.backward

    @property
    def listing(self) -> str:
        """The name that cursors of this order carry."""
        direction = "desc" if self.order.descending else "asc"
        return (
            f"executions:{direction}"
            if self.is_by_id
            else f"executions:{self.order.field}:{direction}"
        )

    def columns(self) -> list[ColumnElement[Any]]:
        """What is read besides the execution: the key that cursors and several databases need."""
        return [] if self.is_by_id else [_key(self.order.field).label(_KEY)]

    def marks(self, text: str) -> dict[str, Any]:
        """The values of a cursor; raises BadInput for one of another list."""
        if self.is_by_id:
            (key,) = cursor.decode(self.listing, text, 1)
            return {"cursor": _uuid(key)}
        mark, key = cursor.decode(self.listing, text, 2)
        if type(mark) is not int or not -_NOT_YET <= mark <= _NOT_YET:
            raise cursor.refused()
        return {"cursor": _uuid(key), "mark": mark}

    def cursor_of(self, row: Any) -> str:
        """The cursor of a row."""
        return cursor.encode(self.listing, *([] if self.is_by_id else [row[_KEY]]), str(row["id"]))

    def place(self, row: Any) -> Any:
        """What rows of several databases are merged by."""
        return row["id"] if self.is_by_id else (row[_KEY], row["id"])

    def after(self, query: Select[Any]) -> Select[Any]:
        """Only what follows the cursor."""
        here: Any = _E.id
        there: Any = bindparam("cursor", type_=_E.id.type)
        if not self.is_by_id:
            here = tuple_(_key(self.order.field), here)
            there = tuple_(bindparam("mark", type_=BIGINT()), there)
        return query.where(here < there if self.falls else here > there)

    def sorted(self, query: Select[Any], limit: int | None, columns: Any = None) -> Select[Any]:
        """In this order, and the first `limit`, which then is part of the text, or else the bound number."""
        keys: list[Any] = [_E.id if columns is None else columns.id]
        if not self.is_by_id:
            keys.insert(0, _key(self.order.field) if columns is None else columns[_KEY])
        ordered = query.order_by(*(key.desc() if self.falls else key.asc() for key in keys))
        return ordered.limit(bindparam("limit") if limit is None else literal_column(str(limit)))


# No index has the default namespace: the other conditions alone say which one is followed.
_INDEXLESS: Final = frozenset[tuple[str, ...]]({(), ("default",)})
# Its cost leaves one index to a plan, the one that implies it: see migration 0098.
PINNED: Final = Condition("pinned", lambda: func.mc_is_listed_apart(_E.status), {})
_LIMITS: Final = (1, 2, 6, 11, 21, 51, 101, 201, 501, cursor.MOST + 1)


def written_limit(wanted: ExecutionFilter, order: ExecutionOrder, size: int) -> int | None:
    """How many rows the text of a statement says that it reads, when one index has the list whatever the values are.

    Of a number that is only bound PostgreSQL assumes that it is a tenth of all rows; it then finds a plan that serves
    all values too dear in a large table, and plans over all days anew for each page. Where values decide which index
    is the right one, that is what is wanted, and None comes back: also of one workflow or one namespace, for a plan
    for the usual one reads through all executions to find those of a rare one. States stand in the text themselves,
    and of one workflow some states, but for what completed, are pinned to their index (`PINNED`).
    Few numbers, so that there are few statements.
    """
    if order.field is not ExecutionOrderField.CREATED_AT or wanted.namespace not in _INDEXLESS:
        return None
    rest = replace(wanted, state=(), namespace=(), created_from=None, created_to=None)
    if wanted.state and ExecutionState.COMPLETED not in wanted.state:
        one = len({*wanted.workflow_id, *wanted.workflow_name}) == 1
        rest = replace(rest, workflow_id=(), workflow_name=()) if one else rest
    if rest != ExecutionFilter():
        return None
    return next(limit for limit in _LIMITS if limit > size)


def most_read(wanted: ExecutionFilter, order: ExecutionOrder) -> int | None:
    """How many executions are read through at most for this list; None when an index has it in its order."""
    if wanted.search is not None:
        return SEARCHED
    return None if order.field is ExecutionOrderField.CREATED_AT else SORTED


def read_through(wanted: ExecutionFilter) -> ExecutionFilter:
    """The part of a filter that an index answers: what it lets through is read, the rest is looked at then."""
    return replace(
        ExecutionFilter(),
        workflow_id=wanted.workflow_id,
        workflow_name=wanted.workflow_name,
        state=wanted.state if _INDEXED.issuperset(wanted.state) else (),
        namespace=() if "default" in wanted.namespace else wanted.namespace,
    )


def search(words: str) -> Condition:
    """Words in what is said of an execution in its own row, as a search engine reads them."""

    def clause() -> ColumnElement[bool]:
        said = func.jsonb_build_array(
            _E.input, _E.output, _E.error, _E.meta["labels"], _E.meta["key"]
        )
        asked = func.websearch_to_tsquery(_CONFIG, bindparam("search", type_=Text()))
        is_said: ColumnElement[bool] = func.jsonb_to_tsvector(_CONFIG, said, _KINDS).bool_op("@@")(
            asked
        )
        return is_said

    return Condition("search", clause, {"search": words})


def refuse_many(found: Sequence[int], most: int) -> None:
    """Raise BadInput when the databases hold more than may be read."""
    if sum(found) > most:
        raise BadInput(
            f"More than {most:,} executions would have to be read: make the `created` range shorter, or name a "
            "workflow, a namespace other than `default`, or statuses other than COMPLETED, PAUSED and CANCELLING.",
            reason="RANGE_TOO_LARGE",
        )


def too_slow() -> BadInput:
    """What is said when reading takes too long all the same: texts differ in length."""
    return BadInput(
        f"Reading the executions of this `created` range took longer than {SECONDS:g} seconds: make it shorter.",
        reason="RANGE_TOO_LARGE",
    )


def _key(field: ExecutionOrderField) -> ColumnElement[int]:
    """A whole number that sorts like the column: microseconds, with a last one for what has not happened yet."""
    if field is ExecutionOrderField.PRIORITY:
        return cast(_E.priority, BIGINT())
    at = _E.started_at if field is ExecutionOrderField.STARTED_AT else _E.finished_at
    return func.coalesce(
        cast(extract("epoch", at) * literal_column("1000000"), BIGINT()),
        literal_column(str(_NOT_YET)),
    )


def _uuid(text: object) -> UUID:
    try:
        return UUID(str(text))
    except ValueError:
        raise cursor.refused() from None

"""Lists of workflows: filters, keyset pages by name or time, totals up to a cap."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final
from uuid import UUID

from sqlalchemy import ColumnElement, Select, bindparam, func, or_, select, tuple_

from runtime.model.errors import BadInput
from runtime.model.page import Page, PageRequest
from runtime.model.workflow import Workflow, WorkflowFilter, WorkflowOrder, WorkflowOrderField
from runtime.store import cursor
from runtime.store.listing import Composer, Condition, any_of
from runtime.store.pool import Database
from runtime.store.tables import workflow_records
from runtime.store.workflow import workflow_of

_W: Final = workflow_records.c
_COLUMNS: Final = {
    WorkflowOrderField.NAME: _W.name,
    WorkflowOrderField.CREATED_AT: _W.created_at,
    WorkflowOrderField.UPDATED_AT: _W.updated_at,
}


class WorkflowList:
    """Pages and totals of workflows of one database."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._composer = Composer()

    async def page(
        self, tenant: UUID, wanted: WorkflowFilter, order: WorkflowOrder, request: PageRequest
    ) -> Page[Workflow]:
        """One page in this order; equal values are ordered by id."""
        size = cursor.check_size(request)
        listing = f"workflows:{order.field}:{'desc' if order.descending else 'asc'}"
        conditions = _conditions(wanted)
        values: dict[str, Any] = {"tenant": tenant, "limit": size + 1}
        if request.cursor is not None:
            values |= _marks(order.field, cursor.decode(listing, request.cursor, 2))
        for item in conditions:
            values |= item.values
        falling = order.descending != request.backward
        shape = (
            order.field,
            falling,
            "mark" in values,
            tuple(item.shape for item in conditions),
        )

        def build() -> Select[Any]:
            column = _COLUMNS[order.field]
            query = _restricted(select(*_W), conditions)
            if "mark" in values:
                here = tuple_(column, _W.id)
                there = tuple_(
                    bindparam("mark", type_=column.type), bindparam("mark_id", type_=_W.id.type)
                )
                query = query.where(here < there if falling else here > there)
            keys = (column.desc(), _W.id.desc()) if falling else (column.asc(), _W.id.asc())
            return query.order_by(*keys).limit(bindparam("limit"))

        text, arguments = self._composer.statement(shape, build, values)
        async with self._database.tenant(tenant) as connection:
            rows = await connection.fetch(text, *arguments)
        marks = [cursor.encode(listing, row[order.field.value], str(row["id"])) for row in rows]
        return cursor.page_of(request, [workflow_of(row) for row in rows], marks)

    async def count(self, tenant: UUID, wanted: WorkflowFilter, cap: int) -> tuple[int, bool]:
        """How many there are, counted up to a cap, and whether there are more."""
        conditions = _conditions(wanted)
        values: dict[str, Any] = {"tenant": tenant, "limit": cap + 1}
        for item in conditions:
            values |= item.values

        def build() -> Select[Any]:
            inner = _restricted(select(_W.id), conditions).limit(bindparam("limit"))
            return select(func.count()).select_from(inner.subquery())

        shape = ("count", tuple(item.shape for item in conditions))
        text, arguments = self._composer.statement(shape, build, values)
        async with self._database.tenant(tenant) as connection:
            found: int = await connection.fetchval(text, *arguments)
        return min(found, cap), found > cap


def _restricted(query: Select[Any], conditions: list[Condition]) -> Select[Any]:
    tenant = _W.tenant_id == bindparam("tenant", type_=_W.tenant_id.type)
    return query.where(tenant, *(item.clause() for item in conditions))


def _conditions(wanted: WorkflowFilter) -> list[Condition]:
    found: list[Condition] = []
    if wanted.status:
        statuses = [int(status) for status in wanted.status]
        found.append(Condition("status", lambda: any_of(_W.status, "status"), {"status": statuses}))
    if wanted.namespace:
        found.append(
            Condition(
                "namespace",
                lambda: any_of(_W.namespace, "namespace"),
                {"namespace": list(wanted.namespace)},
            )
        )
    if wanted.name_contains:
        found.append(Condition("name", _is_named, {"part": _pattern(wanted.name_contains)}))
    found += [_label(number, *label) for number, label in enumerate(wanted.labels)]
    for name, value, below in (
        ("updated_from", wanted.updated_from, False),
        ("updated_to", wanted.updated_to, True),
    ):
        if value is not None:
            found.append(_updated(name, value, below=below))
    return found


def _is_named() -> ColumnElement[bool]:
    part = bindparam("part", type_=_W.name.type)
    return or_(_W.name.ilike(part, escape="\\"), _W.display_name.ilike(part, escape="\\"))


def _pattern(part: str) -> str:
    escaped = part.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
    return f"%{escaped}%"


def _label(number: int, key: str, value: str) -> Condition:
    key_name, value_name = f"label_key_{number}", f"label_value_{number}"

    def clause() -> ColumnElement[bool]:
        text_type = _W.name.type
        found: ColumnElement[bool] = _W.labels.op("->>")(
            bindparam(key_name, type_=text_type)
        ) == bindparam(value_name, type_=text_type)
        return found

    return Condition(key_name, clause, {key_name: key, value_name: value})


def _updated(name: str, value: datetime, *, below: bool) -> Condition:
    """From is inclusive, to is exclusive."""

    def clause() -> ColumnElement[bool]:
        mark = bindparam(name, type_=_W.updated_at.type)
        return _W.updated_at < mark if below else _W.updated_at >= mark

    return Condition(name, clause, {name: value})


def _marks(field: WorkflowOrderField, found: list[Any]) -> dict[str, Any]:
    value, key = found
    try:
        # A cursor is a caller's text: what no name can be must not reach the database.
        if not isinstance(value, str) or "\0" in value:
            raise ValueError("no name and no time")
        mark = value if field is WorkflowOrderField.NAME else datetime.fromisoformat(str(value))
        return {"mark": mark, "mark_id": UUID(str(key))}
    except ValueError:
        raise BadInput("This is not a cursor of this list.", reason="BAD_CURSOR") from None

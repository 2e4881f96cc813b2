"""Lists of executions: filters in people's words, keyset pages by id, totals up to a cap.

An id is a UUID v7, so its order is that of creation, and a range of creation times is a range of ids
that prunes the daily partitions.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Hashable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from heapq import merge
from itertools import islice, product
from typing import Any, Final
from uuid import UUID

from sqlalchemy import (
    ColumnElement,
    Select,
    and_,
    bindparam,
    exists,
    false,
    func,
    literal_column,
    or_,
    select,
    true,
    union_all,
)

from runtime.model.execution import (
    NEWEST,
    Execution,
    ExecutionFilter,
    ExecutionOrder,
    ExecutionState,
    ExecutionStatus,
    WaitKind,
)
from runtime.model.ids import make_uuid7
from runtime.model.page import Page, PageRequest
from runtime.store import cursor
from runtime.store.execution_record import ENQUEUE
from runtime.store.execution_row import ExecutionRow
from runtime.store.execution_scan import (
    PINNED,
    SECONDS,
    Sorting,
    most_read,
    read_through,
    refuse_many,
    search,
    too_slow,
    written_limit,
)
from runtime.store.listing import Composer, Condition, any_of
from runtime.store.pool import Database
from runtime.store.shards import Gathered, Shards
from runtime.store.statements import statements
from runtime.store.tables import (
    execution_labels,
    idempotency_keys,
    workflow_executions,
    workflow_versions,
    workflows,
)

_CATALOG: Final = statements("workflow")
_E: Final = workflow_executions.c
_LEFT_OUT: Final = frozenset({"shard", "inbox", "epoch", "takeovers"})
_COLUMNS: Final = tuple(column for column in _E if column.name not in _LEFT_OUT)
# What is enough to say where an execution stands.
_STANDING: Final = (_E.id, _E.status, _E.wait, _E.cancel_requested, _E.compensating)
# Ids carry the clock of the API that made them, created_at that of the database: they may differ.
_SKEW: Final = timedelta(hours=1)
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_DISTANT: Final = datetime(2100, 1, 1, tzinfo=UTC)
# Alternatives of a filter are read one by one, each in the order of its index; more of them are sorted instead.
_MOST_BRANCHES: Final = 16
_DEFAULT: Final[ColumnElement[str]] = literal_column("'default'")


class ExecutionList:
    """Pages and totals of executions, over the databases that may hold some of them."""

    def __init__(self, shards: Shards) -> None:
        self._shards = shards
        self._composer = Composer()

    async def page(
        self,
        tenant: UUID,
        wanted: ExecutionFilter,
        request: PageRequest,
        homes: Sequence[Database],
        *,
        order: ExecutionOrder = NEWEST,
    ) -> Page[Execution]:
        """One page, newest first unless told otherwise, merged; one that is away makes it partial."""
        size = cursor.check_size(request)
        sorting = Sorting(order, request.backward)
        limit = written_limit(wanted, order, size)
        values: dict[str, Any] = {"tenant": tenant}
        if limit is None:
            values["limit"] = size + 1
        if request.cursor is not None:
            values |= sorting.marks(request.cursor)
        seconds = await self._refuse_many(tenant, wanted, order, homes)
        branches = await self._branches(tenant, wanted)
        if limit is not None and (wanted.workflow_id or wanted.workflow_name):
            branches = [[*one, PINNED] for one in branches]
        shape = (limit, order.field, sorting.falls, "cursor" in values, _shape(branches, values))

        is_alone = ExecutionFilter(labels=wanted.labels) == wanted

        def build() -> Select[Any]:
            if len(wanted.labels) == 1 and sorting.is_by_id and is_alone:
                return _labelled(sorting, limit, is_after="cursor" in values)

            def part(conditions: list[Condition]) -> Select[Any]:
                query = _restricted(select(*_COLUMNS, *sorting.columns()), conditions)
                return sorting.sorted(sorting.after(query) if "cursor" in values else query, limit)

            if len(branches) == 1:
                return part(branches[0])
            parts = union_all(*(select(part(one).subquery()) for one in branches)).subquery()
            return sorting.sorted(select(parts), limit, parts.c)

        text, arguments = self._composer.statement(shape, build, values)

        async def ask(database: Database) -> list[Any]:
            async with database.tenant(tenant) as connection, _in_time(seconds):
                rows: list[Any] = await connection.fetch(text, *arguments, timeout=seconds)
                return rows

        found = await self._shards.gather(homes, ask)
        rows = merge(*found.answers, key=sorting.place, reverse=sorting.falls)
        read = list(islice(rows, size + 1))
        items: list[Execution] = [ExecutionRow(row) for row in read]
        page = cursor.page_of(request, items, cursor.Cursors(read, sorting.cursor_of))
        return replace(page, silent=found.silent) if found.silent else page

    async def matching(
        self, tenant: UUID, wanted: ExecutionFilter, ids: Sequence[UUID]
    ) -> list[Execution]:
        """Those of these executions that the list has, read where they are."""
        conditions = await self._conditions(tenant, wanted)
        found: list[Execution] = []
        for database, some in self._shards.grouped(ids).items() if ids else ():
            values: dict[str, Any] = {"tenant": tenant, "ids": some}
            for item in conditions:
                values |= item.values

            def build() -> Select[Any]:
                query = _restricted(select(*_COLUMNS), conditions)
                return query.where(any_of(_E.id, "ids")).order_by(_E.id.asc())

            shape = ("matching", tuple(item.shape for item in conditions))
            text, arguments = self._composer.statement(shape, build, values)
            async with database.tenant(tenant) as connection:
                rows = await connection.fetch(text, *arguments)
            found += map(ExecutionRow, rows)
        return found

    async def count(
        self, tenant: UUID, wanted: ExecutionFilter, cap: int, homes: Sequence[Database]
    ) -> tuple[int, bool]:
        """How many there are, counted up to a cap, and whether there are more, or may be."""
        seconds = await self._refuse_many(tenant, wanted, NEWEST, homes)
        branches = await self._branches(tenant, wanted)
        found = await self._counted(tenant, branches, cap, homes, seconds)
        total = sum(found.answers)
        return min(total, cap), total > cap or bool(found.silent)

    async def selected(
        self, tenant: UUID, wanted: ExecutionFilter, most: int, homes: Sequence[Database]
    ) -> Gathered[list[Execution]]:
        """Ids and states of what the filter lets through, at most `most + 1` of each database."""
        seconds = await self._refuse_many(tenant, wanted, NEWEST, homes)
        branches = await self._branches(tenant, wanted)
        values: dict[str, Any] = {"tenant": tenant, "limit": most + 1}
        shape = ("selected", _shape(branches, values))

        def build() -> Select[Any]:
            parts = [_restricted(select(*_STANDING), one) for one in branches]
            inner = union_all(*(select(part.subquery()) for part in parts)).subquery()
            return select(inner).limit(bindparam("limit"))

        text, arguments = self._composer.statement(shape, build, values)

        async def ask(database: Database) -> list[Execution]:
            async with database.tenant(tenant) as connection, _in_time(seconds):
                rows = await connection.fetch(text, *arguments, timeout=seconds)
                return list(map(ExecutionRow, rows))

        return await self._shards.gather(homes, ask)

    async def _refuse_many(
        self,
        tenant: UUID,
        wanted: ExecutionFilter,
        order: ExecutionOrder,
        homes: Sequence[Database],
    ) -> float | None:
        """Refuse a list that no index has in its order when too many would be read; how long it may take, or None."""
        most = most_read(wanted, order)
        if most is None:
            return None
        times = _by_id(wanted)
        branches = await self._branches(tenant, read_through(wanted))
        bounded = [[*some, *times] for some in branches]
        found = await self._counted(tenant, bounded, most, homes, SECONDS)
        refuse_many(found.answers, most)
        return SECONDS

    async def _counted(
        self,
        tenant: UUID,
        branches: list[list[Condition]],
        cap: int,
        homes: Sequence[Database],
        seconds: float | None,
    ) -> Gathered[int]:
        """How many each database has, counted up to a cap."""
        values: dict[str, Any] = {"tenant": tenant, "limit": cap + 1}
        shape = ("count", _shape(branches, values))

        def build() -> Select[Any]:
            parts = [select(_restricted(select(_E.id), one).subquery()) for one in branches]
            inner = select(union_all(*parts).subquery()).limit(bindparam("limit"))
            return select(func.count()).select_from(inner.subquery())

        text, arguments = self._composer.statement(shape, build, values)

        async def ask(database: Database) -> int:
            async with database.tenant(tenant) as connection, _in_time(seconds):
                found: int = await connection.fetchval(text, *arguments, timeout=seconds)
                return found

        return await self._shards.gather(homes, ask)

    async def _branches(self, tenant: UUID, wanted: ExecutionFilter) -> list[list[Condition]]:
        """The filter's alternatives, none of which share an execution: each follows the order of one index."""
        if wanted.workflow_name:
            async with self._shards.catalog.tenant(tenant) as connection:
                rows = await connection.fetch(
                    _CATALOG["ids_by_name"], tenant, list(wanted.workflow_name)
                )
            named = [row["id"] for row in rows]
            both = [one for one in named if not wanted.workflow_id or one in wanted.workflow_id]
            wanted = replace(wanted, workflow_name=(), workflow_id=tuple(both) or (UUID(int=0),))
        narrowed, alternatives = _alternatives(wanted)
        shared = await self._conditions(tenant, narrowed)
        return [[*some, *shared] for some in alternatives]

    async def _conditions(self, tenant: UUID, wanted: ExecutionFilter) -> list[Condition]:
        """The filter's conditions; the catalog, which lies in one database, is asked for ids by others."""
        if len(self._shards.databases) == 1 or not (wanted.workflow_name or wanted.version):
            return _conditions(wanted)
        conditions = _conditions(replace(wanted, workflow_name=(), version=None))
        async with self._shards.catalog.tenant(tenant) as connection:
            if wanted.workflow_name:
                names = list(wanted.workflow_name)
                rows = await connection.fetch(_CATALOG["ids_by_name"], tenant, names)
                conditions.append(_any("named", _E.workflow_id, [row["id"] for row in rows]))
            if wanted.version is not None:
                rows = await connection.fetch(_CATALOG["ids_by_version"], tenant, wanted.version)
                conditions.append(_any("versioned", _E.version_id, [row["id"] for row in rows]))
        return conditions


def _shape(branches: list[list[Condition]], values: dict[str, Any]) -> Hashable:
    """The shape of a statement; its values are added to those that are known."""
    for item in (item for one in branches for item in one):
        values |= item.values
    return tuple(tuple(item.shape for item in one) for one in branches)


def _alternatives(wanted: ExecutionFilter) -> tuple[ExecutionFilter, list[list[Condition]]]:
    """Single workflows, namespaces and stored statuses, and what is left of the filter.

    When they are too many to be read one by one, all of it is left.
    """
    workflows = [[_workflow(*one)] for one in enumerate(dict.fromkeys(wanted.workflow_id))] or [[]]
    namespaces = [_namespace(*one) for one in enumerate(dict.fromkeys(wanted.namespace))] or [[]]
    states = [[one] for one in _statuses(wanted.state)] or [[]]
    if len(workflows) * len(namespaces) * len(states) > _MOST_BRANCHES:
        return wanted, [[]]
    left = replace(wanted, workflow_id=(), namespace=(), state=())
    return left, [[*a, *b, *c] for a, b, c in product(workflows, namespaces, states)]


def _workflow(number: int, workflow: UUID) -> Condition:
    return _single(f"workflow_{number}", _E.workflow_id, workflow)


def _namespace(number: int, namespace: str) -> list[Condition]:
    """Equality, and that it is not the default one, which the index leaves out."""
    equal = _single(f"namespace_{number}", _E.namespace, namespace)
    if namespace == "default":
        return [equal]
    return [equal, Condition("not_default", lambda: _E.namespace != _DEFAULT, {})]


def _statuses(states: tuple[ExecutionState, ...]) -> list[Condition]:
    """States as people see them by stored status: each is a literal, or a partial index could not be proved to fit."""
    by_status: dict[ExecutionStatus, list[ExecutionState]] = {}
    for state in sorted(set(states)):
        for status in _STORED[state]:
            by_status.setdefault(status, []).append(state)
    found = [_stored_as(status, tuple(some)) for status, some in sorted(by_status.items())]
    return found if found or not states else [Condition("never", false, {})]


def _stored_as(status: ExecutionStatus, states: tuple[ExecutionState, ...]) -> Condition:
    def clause() -> ColumnElement[bool]:
        return and_(_is(status), or_(*map(_in_state, states)))

    return Condition((status, states), clause, {})


def _is(status: ExecutionStatus) -> ColumnElement[bool]:
    equal: ColumnElement[bool] = _E.status == literal_column(str(int(status)))
    return equal


def _restricted(query: Select[Any], conditions: list[Condition]) -> Select[Any]:
    tenant = _E.tenant_id == bindparam("tenant", type_=_E.tenant_id.type)
    return query.where(tenant, *(item.clause() for item in conditions))


def _conditions(wanted: ExecutionFilter) -> list[Condition]:
    found: list[Condition] = []
    if wanted.state:
        states = tuple(sorted(set(wanted.state)))
        found.append(Condition(states, lambda: or_(*map(_in_state, states)), {}))
    for name, column, values in (
        ("workflow_id", _E.workflow_id, wanted.workflow_id),
        ("namespace", _E.namespace, wanted.namespace),
    ):
        if values:
            found.append(_any(name, column, values))
    if wanted.trigger:
        trigger = _E.meta["trigger"].astext
        found.append(_any("trigger", trigger, [str(kind) for kind in wanted.trigger]))
    found += _by_definition(wanted)
    found += _by_label(wanted)
    found += _by_time(wanted)
    if wanted.idempotency_key is not None:
        found.append(Condition("key", _has_key, {"key": wanted.idempotency_key}))
    if wanted.search is not None:
        found.append(search(wanted.search))
    return found


def _single(name: str, column: Any, value: Any) -> Condition:
    """Equality with one value, so that an index gives its rows in their order."""

    def clause() -> ColumnElement[bool]:
        equal: ColumnElement[bool] = column == bindparam(name, type_=column.type)
        return equal

    return Condition(name, clause, {name: value})


def _any(name: str, column: Any, values: Any) -> Condition:
    return Condition(name, lambda: any_of(column, name), {name: list(values)})


_ACTIVE: Final = (ExecutionStatus.QUEUED, ExecutionStatus.RUNNING, ExecutionStatus.WAITING)
_STORED: Final[Mapping[ExecutionState, tuple[ExecutionStatus, ...]]] = {
    **{ExecutionState(status.name.lower()): (status,) for status in ExecutionStatus},
    ExecutionState.PAUSED: (ExecutionStatus.WAITING,),
    ExecutionState.CANCELLING: _ACTIVE,
    ExecutionState.COMPENSATING: _ACTIVE,
}


def _in_state(state: ExecutionState) -> ColumnElement[bool]:
    """What people call a state, in stored columns: the other direction of `Execution.state`."""
    is_paused = and_(
        _is(ExecutionStatus.WAITING), _E.wait.is_not_distinct_from(int(WaitKind.PAUSED))
    )
    is_active = or_(*map(_is, _ACTIVE))
    is_undone = _E.compensating.is_(True)
    is_calm = and_(_E.cancel_requested.is_(False), ~is_undone)
    match state:
        case ExecutionState.PAUSED:
            return and_(is_paused, ~is_undone)
        case ExecutionState.CANCELLING:
            return and_(is_active, _E.cancel_requested.is_(True), ~is_paused, ~is_undone)
        case ExecutionState.WAITING:
            return and_(_is(ExecutionStatus.WAITING), ~is_paused, is_calm)
        case ExecutionState.QUEUED | ExecutionState.RUNNING:
            return and_(_is(ExecutionStatus[state.name]), is_calm)
        case ExecutionState.COMPENSATING:
            return and_(is_active, is_undone)
        case _:
            return _is(ExecutionStatus[state.name])


def _by_definition(wanted: ExecutionFilter) -> list[Condition]:
    found: list[Condition] = []
    if wanted.workflow_name:

        def is_named() -> ColumnElement[bool]:
            named = select(workflows.c.id).where(any_of(workflows.c.name, "workflow_name"))
            return _E.workflow_id.in_(named)

        found.append(
            Condition("workflow_name", is_named, {"workflow_name": list(wanted.workflow_name)})
        )
    if wanted.version is not None:

        def is_version() -> ColumnElement[bool]:
            mark = bindparam("version", type_=workflow_versions.c.version.type)
            versions = select(workflow_versions.c.id).where(workflow_versions.c.version == mark)
            return _E.version_id.in_(versions)

        found.append(Condition("version", is_version, {"version": wanted.version}))
    return found


def _by_label(wanted: ExecutionFilter) -> list[Condition]:
    return [_label(number, key, value) for number, (key, value) in enumerate(wanted.labels)]


def _label(number: int, key: str, value: str) -> Condition:
    """Text equality in a table of its own: operators of jsonb are not leakproof under row security."""
    label = execution_labels.alias(f"label_{number}").c
    key_name, value_name = f"label_key_{number}", f"label_value_{number}"

    def clause() -> ColumnElement[bool]:
        return exists().where(
            label.tenant_id == _E.tenant_id,
            label.execution_id == _E.id,
            label.key == bindparam(key_name, type_=label.key.type),
            label.value == bindparam(value_name, type_=label.value.type),
        )

    return Condition(key_name, clause, {key_name: key, value_name: value})


def _labelled(sorting: Sorting, limit: int | None, *, is_after: bool) -> Select[Any]:
    """What has one label and nothing else to have: read along the index of the label, in its order.

    As a condition of executions a label is merged with all of them, down to the oldest that has it.
    """
    label = execution_labels.alias("label_0")
    one = select(*_COLUMNS).where(
        _E.tenant_id == bindparam("tenant", type_=_E.tenant_id.type),
        _E.id == label.c.execution_id,
    )
    # What has an offset is looked up for each label, and never joined the other way round.
    execution = one.offset(literal_column("0")).lateral("execution")
    query = (
        select(*execution.c)
        .select_from(label.join(execution, true()))
        .where(
            label.c.tenant_id == bindparam("tenant", type_=_E.tenant_id.type),
            label.c.key == bindparam("label_key_0", type_=label.c.key.type),
            label.c.value == bindparam("label_value_0", type_=label.c.value.type),
        )
    )
    here = label.c.execution_id
    if is_after:
        there: Any = bindparam("cursor", type_=here.type)
        query = query.where(here < there if sorting.falls else here > there)
    query = query.order_by(here.desc() if sorting.falls else here.asc())
    return query.limit(bindparam("limit") if limit is None else literal_column(str(limit)))


def _by_time(wanted: ExecutionFilter) -> list[Condition]:
    found = _by_id(wanted)
    if wanted.created_from is not None:
        found.append(_compared("created_from", _E.created_at, wanted.created_from, below=False))
    if wanted.created_to is not None:
        found.append(_compared("created_to", _E.created_at, wanted.created_to, below=True))
    if wanted.finished_from is not None:
        found.append(_compared("finished_from", _E.finished_at, wanted.finished_from, below=False))
    if wanted.finished_to is not None:
        found.append(_compared("finished_to", _E.finished_at, wanted.finished_to, below=True))
    return found


def _by_id(wanted: ExecutionFilter) -> list[Condition]:
    """The range of ids that holds a range of creation times."""
    found: list[Condition] = []
    if wanted.created_from is not None:
        low = _floor(wanted.created_from, -_SKEW)
        found.append(_compared("id_from", _E.id, low, below=False))
    if wanted.created_to is not None:
        high = _floor(wanted.created_to, _SKEW)
        found.append(_compared("id_to", _E.id, high, below=True))
    return found


def _compared(name: str, column: Any, value: Any, *, below: bool) -> Condition:
    """From is inclusive, to is exclusive."""

    def clause() -> ColumnElement[bool]:
        mark = bindparam(name, type_=column.type)
        bounded: ColumnElement[bool] = column < mark if below else column >= mark
        return bounded

    return Condition(name, clause, {name: value})


def _has_key() -> ColumnElement[bool]:
    keys = idempotency_keys.c
    return _E.id.in_(
        select(keys.result_id).where(
            keys.tenant_id == bindparam("tenant", type_=keys.tenant_id.type),
            keys.operation == ENQUEUE,
            keys.key == bindparam("key", type_=keys.key.type),
        )
    )


def _floor(at: datetime, skew: timedelta) -> UUID:
    """The smallest id of an instant, with room for the skew; bounded first, or the sum overflows."""
    bounded = max(min(max(at, _EPOCH), _DISTANT) + skew, _EPOCH)
    return make_uuid7(unix_ms=int(bounded.timestamp() * 1000), slot=0, noise=0)


@asynccontextmanager
async def _in_time(seconds: float | None) -> AsyncIterator[None]:
    """What may take so long and takes longer is the range's fault, not the database's."""
    try:
        yield
    except TimeoutError:
        if seconds is None:
            raise
        raise too_slow() from None

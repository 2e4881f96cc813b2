"""Steps in columns, read by one of a few statements that say what was asked for."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cache
from typing import Any, Final, NamedTuple
from uuid import UUID

from runtime.model.step_table import StepColumn
from runtime.store.shards import Shards
from runtime.store.statements import statements

_SETTLED: Final = statements("execution_record")["settled"]
_PLACE: Final = "/* columns */"
# A connection prepares a statement for each of them, and a caller chooses which fields he asks for.
_SETS: Final = (
    frozenset[StepColumn](),
    frozenset({StepColumn.STATUS}),
    frozenset(
        {
            StepColumn.STATUS,
            StepColumn.ATTEMPT,
            StepColumn.STARTED_AT,
            StepColumn.FINISHED_AT,
            StepColumn.DURATION,
        }
    ),
    frozenset(StepColumn),
)


class SettledRow(NamedTuple):
    """The rows of one execution: how many steps they are of, and their columns."""

    execution_id: UUID
    version_id: UUID
    steps: int
    columns: dict[str, Sequence[Any]]


async def read_settled(
    shards: Shards, tenant: UUID, ids: Iterable[UUID], columns: frozenset[StepColumn]
) -> list[SettledRow]:
    """Of executions that completed in their first generation: those whose steps have one attempt each, ended well."""
    found: list[SettledRow] = []
    sql = statement_of(columns)
    for database, some in shards.grouped(ids).items():
        async with database.tenant(tenant) as connection:
            rows = await connection.fetch(sql, tenant, some, min(some), max(some))
        found += [_row_of(row, columns) for row in rows]
    return found


def _row_of(row: Any, columns: frozenset[StepColumn]) -> SettledRow:
    values: dict[str, Sequence[Any]] = {
        name: row[name].split(",") if name in _JOINED else row[name] for name in columns
    }
    return SettledRow(row["id"], row["version_id"], row["steps"], values)


def statement_of(columns: frozenset[StepColumn]) -> str:
    """The statement that reads these columns, and maybe others: there are few, whatever is asked for."""
    return _statement(next(one for one in _SETS if columns <= one))


@cache
def _statement(columns: frozenset[StepColumn]) -> str:
    text = "".join(f", {_WRITTEN[name]} as {name}" for name in sorted(columns))
    return _SETTLED.replace(_PLACE, text)


def _instant(column: str) -> str:
    return f"to_char(s.{column} at time zone 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"')"


def _text(name: str) -> str:
    value = (
        f"case when jsonb_typeof(s.result -> '{name}') = 'string' then s.result ->> '{name}' end"
    )
    return f"array_agg({value} order by s.step)"


# The same arithmetic as `timedelta.total_seconds()`, and the same rounding to even.
_SECONDS: Final = "(extract(epoch from s.finished_at - s.started_at) * 1000000)::float8 / 1000000"
_MILLISECONDS: Final = f"greatest(0, round({_SECONDS} * 1000)::int8)"
# What has no comma in it: one text that is split costs a fifth of an array of a thousand texts.
_JOINED: Final = {
    StepColumn.STATUS: "s.status",
    StepColumn.STARTED_AT: _instant("started_at"),
    StepColumn.FINISHED_AT: _instant("finished_at"),
    StepColumn.DURATION: _MILLISECONDS,
}
_WRITTEN: Final = {
    **{
        name: f"string_agg(({value})::text, ',' order by s.step)" for name, value in _JOINED.items()
    },
    StepColumn.ATTEMPT: "array_agg(s.attempt order by s.step)",
    StepColumn.WORKER_ID: _text("worker"),
    StepColumn.SKIP_REASON: _text("reason"),
    StepColumn.INPUT_HASH: _text("in"),
    StepColumn.OUTPUT_HASH: _text("out"),
    StepColumn.CODE: _text("code"),
    StepColumn.CODE_HASH: _text("code_digest"),
}

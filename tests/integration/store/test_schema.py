"""schema.sql is what the migrations make, and tables.py sees the same columns."""

from __future__ import annotations

from pathlib import Path

import asyncpg
import pytest
from sqlalchemy.dialects.postgresql import dialect

from runtime.store import schema
from runtime.store.tables import metadata

SCHEMA = Path(schema.__file__).with_name("schema.sql")
SPELLINGS = {
    "TIMESTAMP WITH TIME ZONE": "timestamp with time zone",
    "INTEGER": "integer",
    "SMALLINT": "smallint",
}


async def test_schema_file_is_what_the_migrations_make(databases, pytestconfig):
    if pytestconfig.getoption("oldest_servers"):
        pytest.skip(
            "the file is written with the newest PostgreSQL, whose catalogs spell some things anew"
        )
    connection = await asyncpg.connect(databases.clone())

    made = await schema.dump(connection)
    await connection.close()

    assert made == SCHEMA.read_text(encoding="utf-8"), (
        "run: python -m runtime.store.schema URL > runtime/store/schema.sql"
    )


@pytest.mark.parametrize("table", metadata.tables.values(), ids=str)
async def test_columns_are_those_of_the_database(room, table):
    rows = await room.sql.fetch(
        "select column_name, data_type, is_nullable from information_schema.columns"
        " where table_schema = 'maestro' and table_name = $1 order by ordinal_position",
        table.name,
    )
    is_view = bool(table.info.get("is_view"))

    ours = [
        (column.name, _spelled(column), is_view or bool(column.nullable))
        for column in table.columns
    ]

    assert ours == [(row[0], row[1], row[2] == "YES") for row in rows]


@pytest.mark.parametrize(
    "table", [table for table in metadata.tables.values() if not table.info.get("is_view")], ids=str
)
async def test_primary_keys_are_those_of_the_database(room, table):
    names = await room.sql.fetch(
        "select a.attname from pg_index i join pg_attribute a on a.attrelid = i.indrelid and a.attnum = any (i.indkey)"
        " where i.indisprimary and i.indrelid = $1::regclass",
        table.name,
    )

    assert {row["attname"] for row in names} == {column.name for column in table.primary_key}


def _spelled(column) -> str:
    text = str(column.type.compile(dialect=dialect()))
    return SPELLINGS.get(text, text.lower())

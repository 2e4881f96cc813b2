"""The schema as text, read back from the catalogs of a migrated database: `schema.sql`, under review.

`python -m runtime.store.schema URL` prints it; a test rebuilds it from the migrations and compares.
Daily partitions are left out: they depend on the day.
"""

from __future__ import annotations

import asyncio
import sys
from typing import Any, Final

import asyncpg

_HEAD: Final = "-- Generated from the migrations by `python -m runtime.store.schema`; not applied, only reviewed.\n"

_TABLES: Final = """
select c.oid, c.relname, case when c.relkind = 'p' then pg_get_partkeydef(c.oid) end as partition,
       array_to_string(c.reloptions, ', ') as options, c.relrowsecurity as secured
  from pg_class c join pg_namespace n on n.oid = c.relnamespace
 where n.nspname = 'maestro' and c.relkind in ('r', 'p') and not c.relispartition order by c.relname"""

_COLUMNS: Final = """
select a.attname || ' ' || format_type(a.atttypid, a.atttypmod)
       || coalesce(' collate ' || (select quote_ident(o.collname) from pg_collation o
                                    where o.oid = a.attcollation and o.collname <> 'default'), '')
       || case when a.attnotnull then ' not null' else '' end
       || coalesce(' default ' || pg_get_expr(d.adbin, d.adrelid), '') as line
  from pg_attribute a left join pg_attrdef d on d.adrelid = a.attrelid and d.adnum = a.attnum
 where a.attrelid = $1 and a.attnum > 0 and not a.attisdropped order by a.attnum"""

_CONSTRAINTS: Final = """
select 'constraint ' || conname || ' ' || pg_get_constraintdef(oid) as line
  from pg_constraint where conrelid = $1 and contype <> 'n' order by contype desc, conname"""

_INDEXES: Final = """
select pg_get_indexdef(i.indexrelid) as line from pg_index i
 where i.indrelid = $1 and not exists (select 1 from pg_constraint k where k.conindid = i.indexrelid)
 order by 1"""

_TRIGGERS: Final = """
select pg_get_triggerdef(oid) as line from pg_trigger where tgrelid = $1 and not tgisinternal order by 1"""

_POLICIES: Final = """
select format('create policy %s on %s to %s using (%s)%s', policyname, tablename,
         array_to_string(roles, ', '), qual, coalesce(' with check (' || with_check || ')', '')) as line
  from pg_policies where schemaname = 'maestro' order by tablename, policyname"""

_VIEWS: Final = """
select format('create view %s with (%s) as%s', c.relname, array_to_string(c.reloptions, ', '),
              E'\\n' || rtrim(pg_get_viewdef(c.oid), ';')) as line
  from pg_class c join pg_namespace n on n.oid = c.relnamespace
 where n.nspname = 'maestro' and c.relkind = 'v' order by c.relname"""

_FUNCTIONS: Final = """
select pg_get_functiondef(p.oid) as line from pg_proc p join pg_namespace n on n.oid = p.pronamespace
 where n.nspname = 'maestro' order by p.proname, pg_get_function_identity_arguments(p.oid)"""

_GRANTS: Final = """
select format('grant %s%s on %s to %s', string_agg(lower(x.privilege_type), ', ' order by x.privilege_type), o.columns,
              o.name, coalesce(r.rolname, 'public')) as line
  from (select c.relname::text as name, '' as columns, c.relacl as acl from pg_class c
          join pg_namespace n on n.oid = c.relnamespace
         where n.nspname = 'maestro' and c.relkind in ('r', 'p', 'v') and not c.relispartition
        union all
        select c.relname, format(' (%s)', string_agg(a.attname, ', ' order by a.attnum)), a.attacl::text::aclitem[]
          from pg_class c join pg_namespace n on n.oid = c.relnamespace join pg_attribute a on a.attrelid = c.oid
         where n.nspname = 'maestro' and c.relkind in ('r', 'p', 'v') and not c.relispartition and a.attacl is not null
         group by c.oid, c.relname, a.attacl::text
        union all
        select format('function %s(%s)', p.proname, pg_get_function_identity_arguments(p.oid)), '',
               coalesce(p.proacl, acldefault('f', p.proowner)) from pg_proc p
          join pg_namespace n on n.oid = p.pronamespace where n.nspname = 'maestro') o
 cross join lateral aclexplode(o.acl) x left join pg_roles r on r.oid = x.grantee
 where coalesce(r.rolname, 'public') in ('public', 'mc_api', 'mc_engine')
 group by o.name, o.columns, r.rolname order by o.name collate "C", o.columns, r.rolname"""


async def dump(connection: Any) -> str:
    """Tables with their indexes and triggers, views, functions, policies and grants, in order."""
    await connection.execute("set search_path = maestro")
    parts = [_HEAD]
    parts += [await _table(connection, table) for table in await connection.fetch(_TABLES)]
    for query in (_VIEWS, _FUNCTIONS, _POLICIES, _GRANTS):
        found = [row["line"].rstrip() + ";\n" for row in await connection.fetch(query)]
        joined = "\n" if query in {_VIEWS, _FUNCTIONS} else ""
        parts.append(joined.join(found))
    return "\n".join(parts)


async def _table(connection: Any, table: Any) -> str:
    async def lines(query: str) -> list[str]:
        return [row["line"] for row in await connection.fetch(query, table["oid"])]

    body = ",\n".join(f"  {line}" for line in [*await lines(_COLUMNS), *await lines(_CONSTRAINTS)])
    tail = f" partition by {table['partition']}" if table["partition"] else ""
    tail += f" with ({table['options']})" if table["options"] else ""
    text = f"create table {table['relname']} (\n{body}\n){tail};\n"
    for line in [*await lines(_INDEXES), *await lines(_TRIGGERS)]:
        text += f"{line};\n"
    if table["secured"]:
        text += f"alter table {table['relname']} enable row level security;\n"
    return text


async def _main(url: str) -> None:
    connection = await asyncpg.connect(url)
    try:
        sys.stdout.write(await dump(connection))
    finally:
        await connection.close()


if __name__ == "__main__":
    asyncio.run(_main(sys.argv[1]))

-- Outputs of steps that say `cache`: given again to the next call with the same inputs and the same code, of any execution of the
-- tenant in this database (ADR-086). An entry has a copy of a small output; it counts until it expires by this database's clock, and
-- only while the execution that it came from is kept. Workers of the release before neither read nor write entries.
-- Locks: none; the table is new.

set local search_path = maestro;

create table step_cache (
  tenant_id    uuid not null,
  key          bytea not null,
  expires_at   timestamptz not null,
  execution_id uuid not null,
  step         text not null,
  item         int not null,
  digest       text not null,
  output       jsonb,
  primary key (tenant_id, key)
);
create index step_cache_expires on step_cache (expires_at);
comment on table step_cache is 'outputs that later calls with the same inputs are given: at most a million, swept by the scheduler';
comment on column step_cache.key is 'SHA-256 over connector, version, digest of its code, and digest of the input or the rendered `key`';
comment on column step_cache.execution_id is 'where the output was recorded; without it the entry counts no more';

alter table step_cache enable row level security;
create policy engine on step_cache to mc_engine using (true) with check (true);
grant select, insert, update, delete on step_cache to mc_engine;

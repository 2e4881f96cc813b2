-- Bulk operations (ADR-092): a deed and the executions that it is done to, frozen when it is previewed; what became of each.
-- They lie in the database of the catalog; the executions may lie in others.
-- Locks: none; the tables are new.

set local search_path = maestro;

create table bulk_operations (
  id          uuid primary key,
  tenant_id   uuid not null,
  state       smallint not null default 0,
  deed        jsonb not null,
  filter      jsonb not null,
  digest      bytea not null,
  selected    uuid[] not null,
  total       int not null,
  position    int not null default 0,
  done        int not null default 0,
  refused     int not null default 0,
  actor       jsonb not null,
  reason      text,
  created_at  timestamptz not null default pg_catalog.now(),
  expires_at  timestamptz not null,
  started_at  timestamptz,
  finished_at timestamptz,
  stopped_by  jsonb,
  stop_reason text,
  runner      uuid,
  lease_until timestamptz,
  check ((state >= 2) = (finished_at is not null))
);
create index bulk_operations_list on bulk_operations (tenant_id, id desc);
create index bulk_operations_open on bulk_operations (id) where state = 1;
create index bulk_operations_expired on bulk_operations (expires_at) where state <> 1;
comment on table bulk_operations is 'what is done to many executions at once; state 0 is a preview, gone when it expires';
comment on column bulk_operations.digest is 'of filter and deed: a start must say the same as its preview';
comment on column bulk_operations.selected is 'the executions in the order of their ids; `position` of them have had their turn';
comment on column bulk_operations.runner is 'the process that works on it, until lease_until; then another one goes on';

create table bulk_results (
  operation_id uuid not null references bulk_operations (id) on delete cascade,
  position     int not null,
  tenant_id    uuid not null,
  execution_id uuid not null,
  outcome      smallint not null,
  code         text,
  message      text,
  at           timestamptz not null default pg_catalog.now(),
  primary key (operation_id, position)
);
create index bulk_results_refused on bulk_results (operation_id, position) where outcome = 1;
comment on table bulk_results is 'what became of each execution of a bulk operation; gone with it';

do $$
declare v_table text;
begin
  foreach v_table in array array['bulk_operations', 'bulk_results'] loop
    execute format('alter table %I enable row level security', v_table);
    execute format('create policy tenant on %I to mc_api using (tenant_id = nullif(current_setting(''mc.tenant'', true), '''')::uuid) '
      'with check (tenant_id = nullif(current_setting(''mc.tenant'', true), '''')::uuid)', v_table);
    execute format('create policy engine on %I to mc_engine using (true) with check (true)', v_table);
    execute format('grant select on %I to mc_api', v_table);
    execute format('grant select, insert, update, delete on %I to mc_engine', v_table);
  end loop;
end $$;

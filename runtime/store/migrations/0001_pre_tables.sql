-- The layout, complete: shard, slot, generation, item, partitions, roles and row security can't be added later.
-- Locks: none that matter, everything here is new. Runs inside one transaction, in schema `maestro`.
--
-- A tour. `tenants`, `workflows` and `workflow_versions` are the catalog; it has no shard. An execution and all that
-- belongs to it has the shard that its id names (12 bits after the version of a UUID v7), and `shard` stands last in
-- every key, so that an id finds its row without it. `workflow_executions`, `step_executions`, `execution_events` and
-- `step_logs` are partitioned by ranges of execution id, which are days, because a UUID v7 begins with its time:
-- retention drops a day and gives the disk back. What must outlive its day is copied into the partition that takes
-- the day's place. No foreign key leads from executions to the catalog; no identity column exists anywhere.

set local search_path = maestro;

-- The clock of everything that is not a hot function; tests set `mc.now` to move it.
create function maestro.now() returns timestamptz language sql stable as
$$ select coalesce(nullif(current_setting('mc.now', true), '')::timestamptz, pg_catalog.now()) $$;

-- The tenant of this connection; unset shows no rows.
create function mc_tenant() returns uuid language sql stable as
$$ select nullif(current_setting('mc.tenant', true), '')::uuid $$;

-- The slot in an id: the 12 bits after the version nibble.
create function mc_slot(p_id uuid) returns int language sql immutable parallel safe as
$$ select ('x' || substr(replace(p_id::text, '-', ''), 14, 3))::bit(12)::int $$;

-- The smallest UUID v7 of an instant: the bound of a partition.
create function mc_uuid_floor(p_at timestamptz) returns uuid language sql immutable parallel safe as
$$ select (lpad(to_hex(floor(extract(epoch from p_at) * 1000)::bigint), 12, '0') || repeat('0', 20))::uuid $$;

create table shards (
  shard smallint primary key,
  open  boolean not null default true
);
insert into shards (shard) values (0);

create table workers (
  id          bigint not null,
  shard       smallint not null,
  epoch       bigint not null default 1,
  lease_until timestamptz not null,
  dead        boolean not null default false,
  host        text not null,
  started_at  timestamptz not null default pg_catalog.now(),
  primary key (id, shard)
) with (fillfactor = 50);

create table tenants (
  id         uuid primary key,
  name       text not null unique,
  spread     boolean not null default false,
  settings   jsonb not null default '{}',
  created_at timestamptz not null default pg_catalog.now()
);

create table workflows (
  id               uuid primary key,
  tenant_id        uuid not null,
  namespace        text not null default 'default',
  name             text not null,
  status           smallint not null default 0,
  display_name     text,
  description      text,
  labels           jsonb not null default '{}',
  region           text,
  draft_source     text,
  draft_format     text,
  draft_definition jsonb,
  draft_digest     text,
  created_at       timestamptz not null default pg_catalog.now(),
  created_by       jsonb not null,
  updated_at       timestamptz not null default pg_catalog.now(),
  unique (tenant_id, namespace, name)
);
create index workflows_updated on workflows (tenant_id, updated_at desc, id desc);

create table workflow_versions (
  id            uuid primary key,
  tenant_id     uuid not null,
  workflow_id   uuid not null references workflows (id),
  version       text not null,
  version_order text collate "C" not null,
  state         smallint not null default 1,
  digest        text not null,
  source        text not null,
  source_format text not null,
  definition    jsonb not null,
  changelog     text,
  published_at  timestamptz not null default pg_catalog.now(),
  published_by  jsonb not null,
  unique (workflow_id, version)
);
comment on column workflow_versions.version_order is 'sorts as Semantic Versioning orders';
create index workflow_versions_order on workflow_versions (workflow_id, version_order desc);
create index workflow_versions_digest on workflow_versions (workflow_id, digest);

create function mc_version_is_immutable() returns trigger language plpgsql as $$
begin
  if tg_op = 'DELETE' or (to_jsonb(new) - 'state') is distinct from (to_jsonb(old) - 'state') or new.state < old.state then
    raise exception 'a published version never changes' using errcode = 'MC003';
  end if;
  return new;
end $$;
create trigger immutable before update or delete on workflow_versions
  for each row execute function mc_version_is_immutable();

create table workflow_executions (
  id               uuid not null,
  shard            smallint not null,
  tenant_id        uuid not null,
  workflow_id      uuid not null,
  version_id       uuid not null,
  status           smallint not null,
  wait             smallint,
  generation       smallint not null default 0,
  namespace        text not null default 'default',
  region           text,
  inbox            int not null default 0,
  deadline         timestamptz,
  meta             jsonb not null default '{}',
  priority         int not null default 0,
  owner            bigint,
  epoch            bigint not null default 0,
  takeovers        smallint not null default 0,
  wake_at          timestamptz,
  cancel_requested boolean not null default false,
  created_at       timestamptz not null default pg_catalog.now(),
  started_at       timestamptz,
  finished_at      timestamptz,
  input            jsonb,
  output           jsonb,
  error            jsonb,
  primary key (id, shard),
  check ((owner is not null) = (status = 1))
) partition by range (id);
create index workflow_executions_queue on workflow_executions (shard, tenant_id, priority desc, id) where status = 0;
create index workflow_executions_due on workflow_executions (shard, wake_at) where status = 3;
create index workflow_executions_owner on workflow_executions (shard, owner) where status = 1;
create index workflow_executions_list on workflow_executions (tenant_id, id desc);

create table step_executions (
  shard        smallint not null,
  status       smallint not null,
  step         int not null,
  execution_id uuid not null,
  tenant_id    uuid not null,
  attempt      int not null,
  generation   smallint not null,
  item         int not null,
  started_at   timestamptz not null,
  finished_at  timestamptz not null,
  result       jsonb not null,
  primary key (execution_id, step, item, generation, attempt, shard)
) partition by range (execution_id);

create table execution_events (
  shard        smallint not null,
  kind         smallint not null,
  seq          int not null,
  execution_id uuid not null,
  tenant_id    uuid not null,
  ts           timestamptz not null,
  data         jsonb,
  primary key (execution_id, seq, shard)
) partition by range (execution_id);

create table step_logs (
  shard        smallint not null,
  position     int not null,
  execution_id uuid not null,
  tenant_id    uuid not null,
  step         int not null,
  item         int not null,
  generation   smallint not null,
  attempt      int not null,
  ts           timestamptz not null,
  level        text not null,
  message      text not null,
  fields       jsonb,
  primary key (execution_id, position, shard)
) partition by range (execution_id);

create table execution_inbox (
  shard        smallint not null,
  n            int not null,
  execution_id uuid not null,
  tenant_id    uuid not null,
  kind         smallint not null,
  created_at   timestamptz not null default pg_catalog.now(),
  data         jsonb,
  primary key (execution_id, n, shard)
);

create table execution_labels (
  tenant_id    uuid not null,
  shard        smallint not null,
  key          text not null,
  value        text not null,
  execution_id uuid not null,
  primary key (execution_id, key, shard)
);
create index execution_labels_find on execution_labels (tenant_id, key, value, execution_id desc);

create table idempotency_keys (
  tenant_id   uuid not null,
  operation   text not null,
  key         text not null,
  shard       smallint not null,
  body_digest bytea not null,
  result_id   uuid not null,
  created_at  timestamptz not null default pg_catalog.now(),
  primary key (tenant_id, operation, key, shard)
);
create index idempotency_keys_age on idempotency_keys (created_at);

create table outbox (
  shard        smallint not null,
  id           uuid not null,
  tenant_id    uuid not null,
  topic        text not null,
  key          text not null,
  payload      jsonb not null,
  attempts     int not null default 0,
  available_at timestamptz not null default pg_catalog.now(),
  created_at   timestamptz not null default pg_catalog.now(),
  primary key (id, shard)
);
create index outbox_due on outbox (shard, available_at);

create table domain_events (
  tenant_id uuid not null,
  noun      text not null,
  id        uuid not null,
  seq       int not null,
  kind      text not null,
  ts        timestamptz not null default pg_catalog.now(),
  actor     jsonb not null,
  data      jsonb,
  primary key (tenant_id, noun, id, seq)
);

-- What lists and look-ups read, with what is derived. `security_invoker`: row security is that of who asks.
create view workflow_records with (security_invoker = true) as
  select w.id, w.tenant_id, w.namespace, w.name, w.status, w.created_at, w.created_by, w.updated_at, w.display_name, w.description,
         w.labels, w.region, (select v.id from workflow_versions v where v.workflow_id = w.id and v.state = 1
                               order by v.version_order desc limit 1) as current_version_id, w.draft_digest
    from workflows w;

-- Daily partitions. Made ahead of time by migrate, by every start and by the scheduler; a missing day refuses inserts,
-- so the margin is generous. There is no default partition: with one, a day could not be detached concurrently.
-- Made apart and then attached, which locks the parent against schema changes only: `create ... partition of` would make
-- every reader and writer wait behind one open reader. The tables come in the order in which a flush writes them, and the
-- caller asks for one day per transaction, so that no lock is held for long.
-- Security definer: only the owner of a table can add to it, and the scheduler runs as mc_engine.
create function mc_make_partitions(p_from date, p_to date) returns int
language plpgsql security definer set search_path = maestro, pg_temp set lock_timeout = '1s' as $$
declare
  v_day date; v_table text; v_name text; v_made int := 0;
begin
  perform pg_advisory_xact_lock(7263001);
  for v_day in select d::date from generate_series(p_from, p_to, interval '1 day') d loop
    foreach v_table in array array['step_executions', 'execution_events', 'workflow_executions', 'step_logs'] loop
      v_name := v_table || '_' || to_char(v_day, 'YYYYMMDD');
      if to_regclass('maestro.' || v_name) is null then
        execute format('create table maestro.%I (like maestro.%I including all)', v_name, v_table);
        if v_table = 'workflow_executions' then
          execute format('alter table maestro.%I set (fillfactor = 80)', v_name);
        end if;
        execute format('alter table maestro.%I attach partition maestro.%I for values from (%L) to (%L)', v_table, v_name,
          maestro.mc_uuid_floor(v_day::timestamp at time zone 'UTC'),
          maestro.mc_uuid_floor((v_day + 1)::timestamp at time zone 'UTC'));
        v_made := v_made + 1;
      end if;
    end loop;
  end loop;
  return v_made;
end $$;
-- Step logs older than a day's begin go by whole days: a drop, no delete, no vacuum.
create function mc_drop_logs(p_before date) returns int
language plpgsql security definer set search_path = maestro, pg_temp set lock_timeout = '2s' as $$
declare v_name text; v_dropped int := 0;
begin
  for v_name in select c.relname from pg_inherits i join pg_class c on c.oid = i.inhrelid
      where i.inhparent = 'maestro.step_logs'::regclass and c.relname ~ '^step_logs_[0-9]{8}$'
        and to_date(right(c.relname, 8), 'YYYYMMDD') < p_before order by 1 loop
    execute format('drop table maestro.%I', v_name);
    v_dropped := v_dropped + 1;
  end loop;
  return v_dropped;
end $$;

select mc_make_partitions((pg_catalog.now() at time zone 'UTC')::date - 1, (pg_catalog.now() at time zone 'UTC')::date + 8);

-- Roles: NOLOGIN, taken with SET ROLE by the login user. The face reads and writes the catalog as mc_api, under row
-- security; the hot functions run as mc_engine, which serves every tenant. Roles are global to a server, hence the guard.
do $$ begin
  if not exists (select from pg_roles where rolname = 'mc_api') then
    create role mc_api nologin nosuperuser nobypassrls;
  end if;
  if not exists (select from pg_roles where rolname = 'mc_engine') then
    create role mc_engine nologin nosuperuser nobypassrls;
  end if;
exception when duplicate_object or unique_violation then null;
end $$;
-- Since PostgreSQL 16 whoever makes a role may grant it but not take it; so the login user grants it to itself.
do $$ declare v_role text;
begin
  foreach v_role in array array['mc_api', 'mc_engine'] loop
    if not pg_has_role(current_user, v_role, 'set') then
      execute format('grant %I to %I with set true', v_role, current_user);
    end if;
  end loop;
end $$;

grant usage on schema maestro to mc_api, mc_engine;
grant select, insert, update, delete on all tables in schema maestro to mc_engine;
revoke insert, update, delete on workflow_records from mc_engine;
revoke insert, update, delete on migrations from mc_engine;
grant select on migrations, workflow_executions, step_executions, execution_events, step_logs, execution_labels, tenants, workflows,
  workflow_versions, workflow_records, idempotency_keys, domain_events to mc_api;
grant insert, update on workflows, workflow_versions to mc_api;
grant insert on domain_events, idempotency_keys to mc_api;
revoke execute on all functions in schema maestro from public;
grant execute on function maestro.now(), mc_tenant(), mc_slot(uuid), mc_uuid_floor(timestamptz) to mc_api, mc_engine;
grant execute on function mc_make_partitions(date, date), mc_drop_logs(date) to mc_engine;

do $$
declare v_table text;
begin
  foreach v_table in array array['workflows', 'workflow_versions', 'workflow_executions', 'step_executions',
    'execution_events', 'step_logs', 'execution_inbox', 'execution_labels', 'idempotency_keys', 'outbox', 'domain_events'] loop
    execute format('alter table %I enable row level security', v_table);
    execute format('create policy tenant on %I to mc_api using (tenant_id = nullif(current_setting(''mc.tenant'', true), '''')::uuid) '
      'with check (tenant_id = nullif(current_setting(''mc.tenant'', true), '''')::uuid)', v_table);
    execute format('create policy engine on %I to mc_engine using (true) with check (true)', v_table);
  end loop;
  alter table tenants enable row level security;
  create policy tenant on tenants to mc_api using (id = nullif(current_setting('mc.tenant', true), '')::uuid);
  create policy engine on tenants to mc_engine using (true) with check (true);
end $$;

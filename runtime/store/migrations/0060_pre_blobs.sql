-- Who refers to which blob: written before the blob is put, taken away together with it when no execution refers to it.
-- Locks: a brief one on `retention_days` for a column; the rest is new.
--
-- A blob lies in a store outside, under tenant, slot and digest; no statement here reads it. Its references are rows by
-- execution. The order makes every crash harmless: mc_blob_refer commits before the blob is put, and the put is durable
-- before the checkpoint that names it; mc_blob_release deletes references of executions that are gone and says which
-- blobs nobody refers to any more, its caller deletes those, and only then commits. Both take the same lock on the blob's
-- address, so a put never relies on a blob that is just being deleted.

set local search_path = maestro;

create table blob_refs (
  shard        smallint not null,
  execution_id uuid not null,
  tenant_id    uuid not null,
  digest       text not null,
  size         bigint not null,
  created_at   timestamptz not null default pg_catalog.now(),
  primary key (execution_id, digest, shard)
);
create index blob_refs_digest on blob_refs (tenant_id, digest);
comment on table blob_refs is 'which executions may refer to which blob: a superset of what their rows say';

alter table retention_days add column released timestamptz;
comment on column retention_days.released is 'the `at` with which the blobs of this day were released; another one than `at`: it is due';

-- The lock on a blob's address.
create function mc_blob_lock(p_tenant uuid, p_slot int, p_digest text) returns bigint
language sql immutable as $$ select hashtextextended(p_tenant::text || '/' || p_slot || '/' || p_digest, 7263005) $$;

-- Say that an execution is about to refer to a blob; committed before the blob is put.
create function mc_blob_refer(p_shard smallint, p_exec uuid, p_tenant uuid, p_digest text, p_size bigint) returns void
language plpgsql set search_path = maestro set enable_seqscan = off as $$
begin
  perform pg_advisory_xact_lock_shared(mc_blob_lock(p_tenant, mc_slot(p_exec), p_digest));
  insert into blob_refs as r (shard, execution_id, tenant_id, digest, size)
    select s.shard, p_exec, p_tenant, p_digest, p_size from shards s where s.shard = p_shard
    on conflict do nothing;
end $$;

-- Days whose executions have changed since their blobs were last released. Such a day lies at least one day back, so
-- nobody is still about to make an execution in it: what has no execution there never will. None while a shard is closed:
-- its executions may stand in a second database by then, and whatever goes there is no reason for a blob to go.
create function mc_blob_days() returns table (day date, at timestamptz)
language sql stable security definer set search_path = maestro, pg_temp as $$
  select r.day, r.at from retention_days r where r.state = 3 and r.released is distinct from r.at
    and not exists (select 1 from shards s where not s.open) order by r.day
$$;

-- Release a batch: delete references of executions of a day that are not there, and name the blobs that nobody refers
-- to any more. The caller deletes those and commits; until then nobody else can refer to them. `gone` is how many
-- references were deleted; fewer than asked for: the day is through.
create function mc_blob_release(p_day date, p_limit int)
returns table (gone int, tenant uuid[], slot int[], digest text[])
language plpgsql set search_path = maestro set enable_seqscan = off as $$
declare
  v_lo uuid := mc_uuid_floor(p_day::timestamp at time zone 'UTC'); v_hi uuid := mc_uuid_floor((p_day + 1)::timestamp at time zone 'UTC');
  v_exec uuid[]; v_tenant uuid[]; v_digest text[];
begin
  select array_agg(d.execution_id), array_agg(d.tenant_id), array_agg(d.digest) into v_exec, v_tenant, v_digest from (
    select r.execution_id, r.tenant_id, r.digest from blob_refs r
     where r.execution_id >= v_lo and r.execution_id < v_hi
       and not exists (select 1 from workflow_executions e where e.id = r.execution_id and e.id >= v_lo and e.id < v_hi)
     order by r.execution_id, r.digest limit p_limit) d;
  -- In one order, so that nobody waits in a circle. What follows has a snapshot of its own, taken under these locks.
  perform pg_advisory_xact_lock(k.key) from (select distinct mc_blob_lock(x.t, mc_slot(x.e), x.d) as key
    from unnest(v_exec, v_tenant, v_digest) x (e, t, d) order by 1) k;
  delete from blob_refs r using unnest(v_exec, v_digest) x (e, d)
   where r.execution_id = any (v_exec) and r.execution_id = x.e and r.digest = x.d;
  return query
    select coalesce(cardinality(v_exec), 0), array_agg(y.t), array_agg(y.s), array_agg(y.d) from (
      select distinct x.t, mc_slot(x.e) as s, x.d from unnest(v_exec, v_tenant, v_digest) x (e, t, d)) y
     where not exists (select 1 from blob_refs o where o.tenant_id = y.t and o.digest = y.d and mc_slot(o.execution_id) = y.s);
end $$;

-- The day is through as it was at that moment.
create function mc_blob_released(p_day date, p_at timestamptz) returns void
language sql security definer set search_path = maestro, pg_temp as
$$ update retention_days r set released = p_at where r.day = p_day $$;

-- References are divided with their executions: before them, so that no reference is without an execution that is elsewhere.
create or replace function mc_shard_tables() returns table (name text, shard_of text) language sql stable set search_path = maestro as $$
  select t.name, 'maestro.mc_shard(' || x.key || ', $1)'
    from (values ('workflow_executions', 'id'), ('step_executions', 'execution_id'), ('execution_events', 'execution_id'),
                 ('step_logs', 'execution_id'), ('execution_inbox', 'execution_id'), ('execution_labels', 'execution_id'),
                 ('dead_letters', 'execution_id'), ('idempotency_keys', 'result_id'), ('blob_refs', 'execution_id')) x (parent, key)
    cross join lateral (
      select x.parent as name where not exists (select 1 from pg_inherits i where i.inhparent = ('maestro.' || x.parent)::regclass)
      union all
      select c.relname from pg_inherits i join pg_class c on c.oid = i.inhrelid where i.inhparent = ('maestro.' || x.parent)::regclass) t
   order by t.name <> 'blob_refs', 1
$$;

alter table blob_refs enable row level security;
create policy tenant on blob_refs to mc_api using (tenant_id = nullif(current_setting('mc.tenant', true), '')::uuid)
  with check (tenant_id = nullif(current_setting('mc.tenant', true), '')::uuid);
create policy engine on blob_refs to mc_engine using (true) with check (true);
grant select, insert, update, delete on blob_refs to mc_engine;
revoke execute on function mc_blob_lock(uuid, int, text), mc_blob_refer(smallint, uuid, uuid, text, bigint), mc_blob_days(),
  mc_blob_release(date, int), mc_blob_released(date, timestamptz) from public;
grant execute on function mc_blob_lock(uuid, int, text), mc_blob_refer(smallint, uuid, uuid, text, bigint), mc_blob_days(),
  mc_blob_release(date, int), mc_blob_released(date, timestamptz) to mc_engine;

-- Counters of executions, exact at every moment: a number equals the length of its list.
-- Locks: writers of executions and steps wait until what is there has been counted, about 3 s for each million of executions
-- and 1 s for each million of steps.
--
-- Whatever changes executions changes the counters in the same transaction, because triggers of the tables do it, once per
-- statement: the hot functions of every release, retention, an operator's own statement. They only append, so no two writers
-- wait for each other; mc_fold_counts adds up what was appended. A reader sums what is folded and what is not in one statement.
-- An execution counts under its workflow, version, namespace and the hour in which it was created, in the state that people
-- see, and when it completed, under the slot of its duration. `day` is that of its id, hence of its partition: when retention
-- replaces the day, its counts go with it and what is kept is counted anew. Folded rows are there twice: under their workflow,
-- and with the nil UUID under all workflows of the namespace. Counters belong to a database, not to a shard.

set local search_path = maestro;

-- The state as people see it: the stored status; 8 paused, 9 being cancelled. The same as `Execution.state`.
create function mc_state(p_status smallint, p_wait smallint, p_cancel boolean) returns smallint language sql immutable parallel safe as
$$ select case when p_status = 3 and p_wait = 5 then 8 when p_cancel and p_status in (0, 1, 3) then 9 else p_status end::smallint $$;

-- The slot of a duration: e^((s - 1) / 20) to e^(s / 20) milliseconds, so that its middle is off by at most 2.5 %. -1: none is kept.
create function mc_duration_slot(p_status smallint, p_started timestamptz, p_finished timestamptz) returns smallint language sql immutable parallel safe as
$$ select case when p_status = 2 and p_started is not null
     then ceil(20 * ln(greatest(extract(epoch from p_finished - p_started)::float8 * 1000, 1)))::smallint else -1::smallint end $$;

-- The day of an id, in UTC: that of its partition.
create function mc_id_day(p_id uuid) returns date language sql immutable parallel safe as
$$ select (to_timestamp(('x' || left(replace(p_id::text, '-', ''), 12))::bit(48)::bigint / 1000.0) at time zone 'UTC')::date $$;

create table execution_deltas (
  tenant_id   uuid not null,
  workflow_id uuid not null,
  version_id  uuid not null,
  hour        timestamptz not null,
  day         date not null,
  state       smallint not null,
  slot        smallint not null,
  n           int not null,
  namespace   text not null,
  currency    text,
  amount      numeric
);
create index execution_deltas_tenant on execution_deltas (tenant_id);
comment on table execution_deltas is 'changes of the counters that are not folded yet; append only';
comment on column execution_deltas.currency is 'of what steps cost; then n is 0';

create table execution_counts (
  tenant_id   uuid not null,
  workflow_id uuid not null,
  hour        timestamptz not null,
  state       smallint not null,
  slot        smallint not null,
  namespace   text not null,
  version_id  uuid not null,
  day         date not null,
  currency    text not null,
  n           bigint not null,
  amount      numeric not null,
  primary key (tenant_id, workflow_id, hour, state, slot, namespace, version_id, day, currency)
) with (fillfactor = 70);
create index execution_counts_open on execution_counts (tenant_id, workflow_id) where state in (0, 1, 3, 8, 9);
create index execution_counts_day on execution_counts (day);
comment on table execution_counts is 'counters of executions, folded; the nil workflow stands for all of them';

-- What a statement changed. Rows that stay what they are cancel each other. The day of most ids is today, which is seen by
-- comparing. No settings of its own, they would cost each statement time: every name says its schema.
create function mc_count_executions() returns trigger language plpgsql as $$
declare
  v_today constant date := (pg_catalog.now() at time zone 'UTC')::date;
  v_lo constant uuid := maestro.mc_uuid_floor(v_today::timestamp at time zone 'UTC');
  v_hi constant uuid := maestro.mc_uuid_floor((v_today + 1)::timestamp at time zone 'UTC');
begin
  if tg_op = 'INSERT' then
    insert into maestro.execution_deltas (tenant_id, workflow_id, version_id, hour, day, state, slot, n, namespace)
      select e.tenant_id, e.workflow_id, e.version_id, date_bin('1 hour', e.created_at, '2000-01-01 00:00:00+00'),
             case when e.id >= v_lo and e.id < v_hi then v_today else maestro.mc_id_day(e.id) end,
             maestro.mc_state(e.status, e.wait, e.cancel_requested), maestro.mc_duration_slot(e.status, e.started_at, e.finished_at),
             count(*), e.namespace
        from new_rows e group by 1, 2, 3, 4, 5, 6, 7, 9;
  elsif tg_op = 'UPDATE' then
    insert into maestro.execution_deltas (tenant_id, workflow_id, version_id, hour, day, state, slot, n, namespace)
      select e.tenant_id, e.workflow_id, e.version_id, date_bin('1 hour', e.created_at, '2000-01-01 00:00:00+00'),
             case when e.id >= v_lo and e.id < v_hi then v_today else maestro.mc_id_day(e.id) end,
             maestro.mc_state(e.status, e.wait, e.cancel_requested), maestro.mc_duration_slot(e.status, e.started_at, e.finished_at),
             sum(e.sign), e.namespace
        from (select o.tenant_id, o.workflow_id, o.version_id, o.created_at, o.id, o.status, o.wait, o.cancel_requested, o.started_at, o.finished_at, o.namespace, -1 as sign from old_rows o
              union all
              select w.tenant_id, w.workflow_id, w.version_id, w.created_at, w.id, w.status, w.wait, w.cancel_requested, w.started_at, w.finished_at, w.namespace, 1 from new_rows w) e
       group by 1, 2, 3, 4, 5, 6, 7, 9 having sum(e.sign) <> 0;
  else
    insert into maestro.execution_deltas (tenant_id, workflow_id, version_id, hour, day, state, slot, n, namespace)
      select e.tenant_id, e.workflow_id, e.version_id, date_bin('1 hour', e.created_at, '2000-01-01 00:00:00+00'),
             maestro.mc_id_day(e.id),
             maestro.mc_state(e.status, e.wait, e.cancel_requested), maestro.mc_duration_slot(e.status, e.started_at, e.finished_at),
             -count(*), e.namespace
        from old_rows e group by 1, 2, 3, 4, 5, 6, 7, 9;
  end if;
  return null;
end $$;

-- What one step cost, or what it costs more since. Most steps cost nothing: the triggers' conditions pass them by.
create function mc_count_cost() returns trigger language plpgsql as $$
begin
  insert into maestro.execution_deltas (tenant_id, workflow_id, version_id, hour, day, state, slot, n, namespace, currency, amount)
    select e.tenant_id, e.workflow_id, e.version_id, date_bin('1 hour', e.created_at, '2000-01-01 00:00:00+00'), maestro.mc_id_day(e.id),
           -1, -1, 0, e.namespace, split_part(x.cost, ' ', 2), x.sign * split_part(x.cost, ' ', 1)::numeric
      from maestro.workflow_executions e,
           (select new.result ->> 'cost' as cost, 1 as sign union all select old.result ->> 'cost', -1 where tg_op = 'UPDATE') x
     where e.id = new.execution_id and e.shard = new.shard and x.cost is not null;
  return null;
end $$;

-- The counters of what lies in two tables: of all of it, or of some executions; `p_sign` is -1 to take them away.
create function mc_counts_of(p_executions text, p_steps text, p_ids uuid[], p_sign int) returns setof execution_deltas
language plpgsql stable set search_path = maestro, pg_temp as $$
begin
  return query execute format('select e.tenant_id, e.workflow_id, e.version_id, date_bin(''1 hour'', e.created_at, ''2000-01-01 00:00:00+00''), '
    'maestro.mc_id_day(e.id), maestro.mc_state(e.status, e.wait, e.cancel_requested), '
    'maestro.mc_duration_slot(e.status, e.started_at, e.finished_at), ($2 * count(*))::int, e.namespace, null::text, null::numeric '
    'from %s e where $1 is null or e.id = any ($1) group by 1, 2, 3, 4, 5, 6, 7, 9', p_executions) using p_ids, p_sign;
  return query execute format('select e.tenant_id, e.workflow_id, e.version_id, date_bin(''1 hour'', e.created_at, ''2000-01-01 00:00:00+00''), '
    'maestro.mc_id_day(e.id), -1::smallint, -1::smallint, 0, e.namespace, split_part(s.result ->> ''cost'', '' '', 2), '
    '$2 * sum(split_part(s.result ->> ''cost'', '' '', 1)::numeric) from %s s join %s e on e.id = s.execution_id '
    'where s.result ? ''cost'' and ($1 is null or s.execution_id = any ($1)) group by 1, 2, 3, 4, 5, 9, 10', p_steps, p_executions) using p_ids, p_sign;
end $$;

-- All counters from the rows that are there. The caller holds off every writer of them.
create function mc_count_anew() returns void
language plpgsql set search_path = maestro, pg_temp as $$
begin
  perform pg_advisory_xact_lock(7263005);
  delete from execution_deltas;
  delete from execution_counts;
  insert into execution_deltas select * from mc_counts_of('maestro.workflow_executions', 'maestro.step_executions', null, 1);
end $$;

-- Add up a bounded batch of what was appended; how many rows that were. One at a time, and never beside a recount. No index
-- names the numbers, so a row is changed in place; counters of open states that have become nothing go, others with their day.
create function mc_fold_counts(p_limit int) returns int
language plpgsql set search_path = maestro as $$
declare v_gone int;
begin
  perform pg_advisory_xact_lock(7263005);
  with gone as (
    delete from execution_deltas d where d.ctid = any (array(select x.ctid from execution_deltas x limit p_limit)) returning d.*),
  added as (
    insert into execution_counts as c (tenant_id, workflow_id, hour, state, slot, namespace, version_id, day, currency, n, amount)
      select g.tenant_id, x.workflow, g.hour, g.state, g.slot, g.namespace, x.version, g.day, coalesce(g.currency, ''), sum(g.n), coalesce(sum(g.amount), 0)
        from gone g cross join lateral (values (g.workflow_id, g.version_id),
             ('00000000-0000-0000-0000-000000000000'::uuid, '00000000-0000-0000-0000-000000000000'::uuid)) x (workflow, version)
       group by 1, 2, 3, 4, 5, 6, 7, 8, 9 having sum(g.n) <> 0 or sum(g.amount) <> 0
    on conflict (tenant_id, workflow_id, hour, state, slot, namespace, version_id, day, currency) do update
      set n = c.n + excluded.n, amount = c.amount + excluded.amount)
  select count(*) into v_gone from gone;
  if v_gone > 0 then
    delete from execution_counts c where c.state in (0, 1, 3, 8, 9) and c.n = 0;
  end if;
  return v_gone;
end $$;

-- In the order in which a checkpoint takes the tables, so that nobody waits in a circle.
create trigger cost_inserted after insert on step_executions for each row
  when (new.result ? 'cost') execute function mc_count_cost();
create trigger cost_updated after update on step_executions for each row
  when ((new.result ? 'cost' or old.result ? 'cost') and new.result is distinct from old.result) execute function mc_count_cost();
create trigger count_inserted after insert on workflow_executions
  referencing new table as new_rows for each statement execute function mc_count_executions();
create trigger count_updated after update on workflow_executions
  referencing old table as old_rows new table as new_rows for each statement execute function mc_count_executions();
create trigger count_deleted after delete on workflow_executions
  referencing old table as old_rows for each statement execute function mc_count_executions();

-- As before, and only one at a time: who exchanges the day has counted what was copied.
create or replace function mc_day_catch_up(p_day date, p_as_of date, p_default int) returns int
language plpgsql security definer set search_path = maestro, pg_temp set enable_seqscan = off as $$
declare v_suffix text := '_' || to_char(p_day, 'YYYYMMDD'); v_table text; v_key text; v_ids uuid[];
begin
  perform pg_advisory_xact_lock(7263004);
  with gone as (delete from retention_changes c where c.day = p_day returning c.execution_id)
  select array_agg(distinct g.execution_id) into v_ids from gone g;
  if v_ids is null then
    return 0;
  end if;
  foreach v_table in array array['workflow_executions', 'step_executions', 'execution_events', 'step_logs'] loop
    v_key := mc_day_key(v_table);
    execute format('delete from maestro_days.%I x where x.%I = any ($1)', v_table || v_suffix, v_key) using v_ids;
    if v_table = 'workflow_executions' then
      execute format('insert into maestro_days.%I select e.* from %s and e.id = any ($3)', v_table || v_suffix,
        mc_day_part(v_table || v_suffix, true)) using p_as_of, p_default, v_ids;
    elsif to_regclass('maestro.' || v_table || v_suffix) is not null then
      execute format('insert into maestro_days.%1$I select x.* from maestro.%1$I x where x.execution_id = any ($1) and exists '
        '(select 1 from maestro_days.%2$I e where e.id = x.execution_id)', v_table || v_suffix, 'workflow_executions' || v_suffix) using v_ids;
    end if;
  end loop;
  return cardinality(v_ids);
end $$;

-- As before, and the counters follow, in the same transaction. What is kept is counted before anybody has to wait, and what
-- changed since is taken away and counted again.
create or replace function mc_day_exchange(p_day date, p_default int) returns boolean
language plpgsql security definer set search_path = maestro, pg_temp set lock_timeout = '200ms' as $$
declare
  v_day retention_days; v_suffix text := '_' || to_char(p_day, 'YYYYMMDD'); v_table text; v_name text;
  v_before bigint := 0; v_after bigint := 0; v_kept bigint; v_counts execution_deltas[]; v_changed uuid[];
  v_executions text := format('maestro_days.%I', 'workflow_executions' || v_suffix); v_steps text := format('maestro_days.%I', 'step_executions' || v_suffix);
begin
  perform pg_advisory_xact_lock(7263003);
  perform pg_advisory_xact_lock(7263004);
  select * into v_day from retention_days r where r.day = p_day for update;
  if v_day.state is distinct from 1 or v_day.policy <> mc_retention_policy(p_default) then
    return false;
  end if;
  v_counts := array(select c from mc_counts_of(v_executions, v_steps, null, 1) c);
  foreach v_table in array mc_day_tables() loop
    execute format('lock table only maestro.%I in access exclusive mode', v_table);
    if to_regclass('maestro.' || v_table || v_suffix) is not null then
      execute format('lock table maestro.%I in access exclusive mode', v_table || v_suffix);
    end if;
  end loop;
  select array_agg(distinct c.execution_id) into v_changed from retention_changes c where c.day = p_day;
  if v_changed is not null then
    v_counts := v_counts || array(select c from mc_counts_of(v_executions, v_steps, v_changed, -1) c);
    perform mc_day_catch_up(p_day, v_day.as_of, p_default);
    v_counts := v_counts || array(select c from mc_counts_of(v_executions, v_steps, v_changed, 1) c);
  end if;
  execute format('select count(*) from maestro_days.%I', 'workflow_executions' || v_suffix) into v_kept;
  foreach v_table in array mc_day_tables() loop
    v_name := v_table || v_suffix;
    v_before := v_before + coalesce(pg_total_relation_size(to_regclass('maestro.' || v_name)), 0);
    v_after := v_after + case when v_kept > 0 then pg_total_relation_size(to_regclass('maestro_days.' || v_name)) else 0 end;
    execute format('drop table if exists maestro.%I', v_name);
    if v_kept > 0 then
      execute format('alter table maestro_days.%I set schema maestro', v_name);
      execute format('alter table maestro.%I attach partition maestro.%I for values from (%L) to (%L)', v_table, v_name,
        mc_uuid_floor(p_day::timestamp at time zone 'UTC'), mc_uuid_floor((p_day + 1)::timestamp at time zone 'UTC'));
      execute format('alter table maestro.%I drop constraint day_bounds', v_name);
    else
      execute format('drop table maestro_days.%I', v_name);
    end if;
  end loop;
  perform pg_advisory_xact_lock(7263005);
  delete from execution_deltas d where d.day = p_day;
  delete from execution_counts c where c.day = p_day;
  insert into execution_deltas select * from unnest(v_counts);
  update retention_days r set state = 2, dropped = r.dropped + r.kept - v_kept, kept = v_kept, bytes = greatest(v_before - v_after, 0), at = pg_catalog.now()
   where r.day = p_day;
  return true;
end $$;

-- As before, and what is left is counted anew.
create or replace procedure mc_keep_shards(p_shards int[]) language plpgsql as $$
declare v_table record;
begin
  if exists (select 1 from maestro.shards s where s.open) then
    raise exception 'close every shard first: what is deleted here must be whole elsewhere';
  end if;
  if exists (select 1 from unnest(p_shards) x where x not in (select s.shard from maestro.shards s)) or cardinality(p_shards) = 0 then
    raise exception 'some of these shards are not here: call mc_reshard first';
  end if;
  for v_table in select t.name from maestro.mc_shard_tables() t loop
    execute format('delete from maestro.%I where shard <> all ($1)', v_table.name) using p_shards;
    commit;
  end loop;
  delete from maestro.workers w where w.shard <> all (p_shards);
  delete from maestro.event_feed f where f.shard <> all (p_shards);
  delete from maestro.event_cursors c where c.stream = 'execution' and c.shard <> all (p_shards);
  delete from maestro.shards s where s.shard <> all (p_shards);
  perform maestro.mc_count_anew();
end $$;

alter table execution_deltas enable row level security;
alter table execution_counts enable row level security;
create policy tenant on execution_deltas to mc_api using (tenant_id = nullif(current_setting('mc.tenant', true), '')::uuid)
  with check (tenant_id = nullif(current_setting('mc.tenant', true), '')::uuid);
create policy tenant on execution_counts to mc_api using (tenant_id = nullif(current_setting('mc.tenant', true), '')::uuid)
  with check (tenant_id = nullif(current_setting('mc.tenant', true), '')::uuid);
create policy engine on execution_deltas to mc_engine using (true) with check (true);
create policy engine on execution_counts to mc_engine using (true) with check (true);
grant select on execution_deltas, execution_counts to mc_api;
grant select, insert, update, delete on execution_deltas, execution_counts to mc_engine;

revoke execute on function mc_state(smallint, smallint, boolean), mc_duration_slot(smallint, timestamptz, timestamptz), mc_id_day(uuid),
  mc_count_executions(), mc_count_cost(), mc_counts_of(text, text, uuid[], int), mc_count_anew(), mc_fold_counts(int) from public;
grant execute on function mc_state(smallint, smallint, boolean), mc_duration_slot(smallint, timestamptz, timestamptz), mc_id_day(uuid) to mc_api, mc_engine;
grant execute on function mc_fold_counts(int) to mc_engine;

select mc_count_anew();
select mc_fold_counts(2147483647);

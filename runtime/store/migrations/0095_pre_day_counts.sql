-- Counters of ended executions, added up by the day (UTC) in which they were created: a long range reads days, and hours only at its edges.
-- Locks: whoever folds or recounts waits while the sums are made, about a second for each million of folded counters.
--
-- The fold makes them, from the same rows and in the same transaction as those of the hours, so both say the same at every moment, and no
-- writer of executions does more than before. Days need not be closed: what happens later to an execution of an old day is folded into it
-- like anything else. What is open has no row here, because it is read whole, whenever it was created. A table of its own, because readers of
-- the release before sum all rows of execution_counts. `day` is that of the partition, as there: retention takes the sums with it.

set local search_path = maestro;

create table execution_day_counts (
  tenant_id   uuid not null,
  workflow_id uuid not null,
  created_on  date not null,
  state       smallint not null,
  slot        smallint not null,
  namespace   text not null,
  version_id  uuid not null,
  day         date not null,
  currency    text not null,
  n           bigint not null,
  amount      numeric not null,
  primary key (tenant_id, workflow_id, namespace, created_on, state, slot, version_id, day, currency)
) with (fillfactor = 70);
create index execution_day_counts_day on execution_day_counts (day);
comment on table execution_day_counts is 'sums of the counters of what has ended, by the day of creation (UTC)';

-- Nobody folds beside this: he would add up what is added up here.
select pg_advisory_xact_lock(7263005);
insert into execution_day_counts (tenant_id, workflow_id, created_on, state, slot, namespace, version_id, day, currency, n, amount)
  select c.tenant_id, c.workflow_id, (c.hour at time zone 'UTC')::date, c.state, c.slot, c.namespace, c.version_id, c.day, c.currency, sum(c.n), sum(c.amount)
    from execution_counts c where c.state not in (0, 1, 3, 8, 9) group by 1, 2, 3, 4, 5, 6, 7, 8, 9;

-- As before, and the sums of days with it.
create or replace function mc_count_anew() returns void
language plpgsql set search_path = maestro, pg_temp as $$
begin
  perform pg_advisory_xact_lock(7263005);
  delete from execution_deltas;
  delete from execution_counts;
  delete from execution_day_counts;
  insert into execution_deltas select * from mc_counts_of('maestro.workflow_executions', 'maestro.step_executions', null, 1);
end $$;

-- As before; what it adds to the hours of ended executions it adds to their days.
create or replace function mc_fold_counts(p_limit int) returns int
language plpgsql set search_path = maestro as $$
declare v_gone int;
begin
  perform pg_advisory_xact_lock(7263005);
  with gone as (
    delete from execution_deltas d where d.ctid = any (array(select x.ctid from execution_deltas x limit p_limit)) returning d.*),
  summed as (
    select g.tenant_id, x.workflow, g.hour, g.state, g.slot, x.namespace, x.version, g.day, coalesce(g.currency, '') as currency,
           sum(g.n) as n, coalesce(sum(g.amount), 0) as amount
      from gone g cross join lateral (values (g.workflow_id, g.version_id, g.namespace),
           ('00000000-0000-0000-0000-000000000000'::uuid, '00000000-0000-0000-0000-000000000000'::uuid, g.namespace),
           ('00000000-0000-0000-0000-000000000000'::uuid, '00000000-0000-0000-0000-000000000000'::uuid, '')) x (workflow, version, namespace)
     group by 1, 2, 3, 4, 5, 6, 7, 8, 9 having sum(g.n) <> 0 or sum(g.amount) <> 0),
  hours as (
    insert into execution_counts as c (tenant_id, workflow_id, hour, state, slot, namespace, version_id, day, currency, n, amount)
      select s.tenant_id, s.workflow, s.hour, s.state, s.slot, s.namespace, s.version, s.day, s.currency, s.n, s.amount from summed s
    on conflict (tenant_id, workflow_id, namespace, hour, state, slot, version_id, day, currency) do update
      set n = c.n + excluded.n, amount = c.amount + excluded.amount),
  days as (
    insert into execution_day_counts as c (tenant_id, workflow_id, created_on, state, slot, namespace, version_id, day, currency, n, amount)
      select s.tenant_id, s.workflow, (s.hour at time zone 'UTC')::date, s.state, s.slot, s.namespace, s.version, s.day, s.currency, sum(s.n), sum(s.amount)
        from summed s where s.state not in (0, 1, 3, 8, 9) group by 1, 2, 3, 4, 5, 6, 7, 8, 9
    on conflict (tenant_id, workflow_id, namespace, created_on, state, slot, version_id, day, currency) do update
      set n = c.n + excluded.n, amount = c.amount + excluded.amount)
  select count(*) into v_gone from gone;
  if v_gone > 0 then
    delete from execution_counts c where c.state in (0, 1, 3, 8, 9) and c.n = 0;
  end if;
  return v_gone;
end $$;

-- As before, and the sums of days follow.
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
  delete from execution_day_counts c where c.day = p_day;
  insert into execution_deltas select * from unnest(v_counts);
  update retention_days r set state = 2, dropped = r.dropped + r.kept - v_kept, kept = v_kept, bytes = greatest(v_before - v_after, 0), at = pg_catalog.now()
   where r.day = p_day;
  return true;
end $$;

alter table execution_day_counts enable row level security;
create policy tenant on execution_day_counts to mc_api using (tenant_id = nullif(current_setting('mc.tenant', true), '')::uuid)
  with check (tenant_id = nullif(current_setting('mc.tenant', true), '')::uuid);
create policy engine on execution_day_counts to mc_engine using (true) with check (true);
grant select on execution_day_counts to mc_api;
grant select, insert, update, delete on execution_day_counts to mc_engine;

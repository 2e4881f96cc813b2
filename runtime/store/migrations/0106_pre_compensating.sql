-- An execution whose steps are being undone: people see that as a state of its own, in lists and in numbers.
-- Locks: exclusive on workflow_executions and execution_events for an instant; who counts executions waits for that long.
--
-- The event that begins it sets the column, and the one that begins the next generation takes it back: both are written by functions of
-- every release, whose texts stay as they are. While the execution is parked between two attempts, or waits for another worker, it is
-- still being undone. After its end nobody looks at the column.

set local search_path = maestro;

alter table workflow_executions add column compensating boolean not null default false;
comment on column workflow_executions.compensating is 'its steps are being undone, or were, in this generation';

-- Days that are being prepared take the place of partitions: they have the same columns.
do $$
declare v_table text;
begin
  for v_table in select t.tablename from pg_tables t where t.schemaname = 'maestro_days' and t.tablename like 'workflow\_executions\_%' loop
    execute format('alter table maestro_days.%I add column if not exists compensating boolean not null default false', v_table);
  end loop;
end $$;

-- Which executions are marked is in the events of the flush; their rows are locked by it before, where it locks several.
create function mc_note_compensating() returns trigger language plpgsql set enable_seqscan = off as $$
begin
  update maestro.workflow_executions e set compensating = (new.kind = 17)
   where e.shard = new.shard and e.id = new.execution_id and e.compensating is distinct from (new.kind = 17);
  return null;
end $$;
create trigger compensating after insert on execution_events for each row when (new.kind in (11, 17)) execute function mc_note_compensating();

-- As before; 10 is being undone, which is seen before all else of what goes on.
create function mc_state(p_status smallint, p_wait smallint, p_cancel boolean, p_compensating boolean) returns smallint language sql immutable parallel safe as
$$ select case when p_compensating and p_status in (0, 1, 3) then 10 when p_status = 3 and p_wait = 5 then 8 when p_cancel and p_status in (0, 1, 3) then 9 else p_status end::smallint $$;
revoke execute on function mc_note_compensating(), mc_state(smallint, smallint, boolean, boolean) from public;
grant execute on function mc_state(smallint, smallint, boolean, boolean) to mc_api, mc_engine;

-- Counters of what is open: as execution_counts_open, which goes when nothing asks for it any more.
create index execution_counts_unended on execution_counts (tenant_id, workflow_id) where state in (0, 1, 3, 8, 9, 10);

-- As before, with the state that is new.
create or replace function mc_count_executions() returns trigger
language plpgsql as $$
declare
  v_today constant date := (pg_catalog.now() at time zone 'UTC')::date;
  v_lo constant uuid := maestro.mc_uuid_floor(v_today::timestamp at time zone 'UTC');
  v_hi constant uuid := maestro.mc_uuid_floor((v_today + 1)::timestamp at time zone 'UTC');
begin
  if tg_op = 'INSERT' then
    insert into maestro.execution_deltas (tenant_id, workflow_id, version_id, hour, day, state, slot, n, namespace)
      select e.tenant_id, e.workflow_id, e.version_id, date_bin('1 hour', e.created_at, '2000-01-01 00:00:00+00'),
             case when e.id >= v_lo and e.id < v_hi then v_today else maestro.mc_id_day(e.id) end,
             maestro.mc_state(e.status, e.wait, e.cancel_requested, e.compensating), maestro.mc_duration_slot(e.status, e.started_at, e.finished_at),
             count(*), e.namespace
        from new_rows e group by 1, 2, 3, 4, 5, 6, 7, 9;
  elsif tg_op = 'UPDATE' then
    insert into maestro.execution_deltas (tenant_id, workflow_id, version_id, hour, day, state, slot, n, namespace)
      select e.tenant_id, e.workflow_id, e.version_id, date_bin('1 hour', e.created_at, '2000-01-01 00:00:00+00'),
             case when e.id >= v_lo and e.id < v_hi then v_today else maestro.mc_id_day(e.id) end,
             maestro.mc_state(e.status, e.wait, e.cancel_requested, e.compensating), maestro.mc_duration_slot(e.status, e.started_at, e.finished_at),
             sum(e.sign), e.namespace
        from (select o.tenant_id, o.workflow_id, o.version_id, o.created_at, o.id, o.status, o.wait, o.cancel_requested, o.compensating, o.started_at, o.finished_at, o.namespace, -1 as sign from old_rows o
              union all
              select w.tenant_id, w.workflow_id, w.version_id, w.created_at, w.id, w.status, w.wait, w.cancel_requested, w.compensating, w.started_at, w.finished_at, w.namespace, 1 from new_rows w) e
       group by 1, 2, 3, 4, 5, 6, 7, 9 having sum(e.sign) <> 0;
  else
    insert into maestro.execution_deltas (tenant_id, workflow_id, version_id, hour, day, state, slot, n, namespace)
      select e.tenant_id, e.workflow_id, e.version_id, date_bin('1 hour', e.created_at, '2000-01-01 00:00:00+00'),
             maestro.mc_id_day(e.id),
             maestro.mc_state(e.status, e.wait, e.cancel_requested, e.compensating), maestro.mc_duration_slot(e.status, e.started_at, e.finished_at),
             -count(*), e.namespace
        from old_rows e group by 1, 2, 3, 4, 5, 6, 7, 9;
  end if;
  return null;
end $$;

create or replace function mc_counts_of(p_executions text, p_steps text, p_ids uuid[], p_sign integer) returns setof execution_deltas
language plpgsql stable set search_path = maestro, pg_temp as $$
begin
  return query execute format('select e.tenant_id, e.workflow_id, e.version_id, date_bin(''1 hour'', e.created_at, ''2000-01-01 00:00:00+00''), '
    'maestro.mc_id_day(e.id), maestro.mc_state(e.status, e.wait, e.cancel_requested, e.compensating), '
    'maestro.mc_duration_slot(e.status, e.started_at, e.finished_at), ($2 * count(*))::int, e.namespace, null::text, null::numeric '
    'from %s e where $1 is null or e.id = any ($1) group by 1, 2, 3, 4, 5, 6, 7, 9', p_executions) using p_ids, p_sign;
  return query execute format('select e.tenant_id, e.workflow_id, e.version_id, date_bin(''1 hour'', e.created_at, ''2000-01-01 00:00:00+00''), '
    'maestro.mc_id_day(e.id), -1::smallint, -1::smallint, 0, e.namespace, split_part(s.result ->> ''cost'', '' '', 2), '
    '$2 * sum(split_part(s.result ->> ''cost'', '' '', 1)::numeric) from %s s join %s e on e.id = s.execution_id '
    'where s.result ? ''cost'' and ($1 is null or s.execution_id = any ($1)) group by 1, 2, 3, 4, 5, 9, 10', p_steps, p_executions) using p_ids, p_sign;
end $$;

create or replace function mc_fold_counts(p_limit integer) returns integer
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
        from summed s where s.state not in (0, 1, 3, 8, 9, 10) group by 1, 2, 3, 4, 5, 6, 7, 8, 9
    on conflict (tenant_id, workflow_id, namespace, created_on, state, slot, version_id, day, currency) do update
      set n = c.n + excluded.n, amount = c.amount + excluded.amount)
  select count(*) into v_gone from gone;
  if v_gone > 0 then
    delete from execution_counts c where c.state in (0, 1, 3, 8, 9, 10) and c.n = 0;
  end if;
  return v_gone;
end $$;

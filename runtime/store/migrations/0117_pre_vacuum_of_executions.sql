-- A day's partition of executions is vacuumed when a twentieth of it is dead, not a fifth: every execution passes through the indexes of what
-- has not completed and leaves an entry in each, and whoever lists such executions walks past what nobody has cleared yet (ADR-010).
-- Steps, events and logs are only added to, and keep the server's settings.
-- Locks: `share update exclusive` on each day's partition of executions, which waits for nobody but vacuum, analyze and other changes of the
-- schema, and makes no reader or writer wait. Functions are replaced in place: arguments and answers stay.

set local search_path = maestro;

-- As before, with the setting.
create or replace function mc_make_partitions(p_from date, p_to date) returns int
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
          execute format('alter table maestro.%I set (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.05)', v_name);
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

-- As before, with the setting: what outlives its day stays in such a partition.
create or replace function mc_day_copy(p_day date, p_as_of date, p_default int) returns bigint
language plpgsql security definer set search_path = maestro, pg_temp as $$
declare
  v_suffix text := '_' || to_char(p_day, 'YYYYMMDD'); v_table text; v_kept bigint; v_all bigint;
  v_executions text := 'workflow_executions' || v_suffix;
begin
  perform pg_advisory_xact_lock(7263004);
  foreach v_table in array mc_day_tables() loop
    execute format('create table maestro_days.%I (like maestro.%I including all)', v_table || v_suffix, v_table);
    execute format('alter table maestro_days.%1$I add constraint day_bounds check (%2$I >= %3$L and %2$I < %4$L)', v_table || v_suffix,
      mc_day_key(v_table), mc_uuid_floor(p_day::timestamp at time zone 'UTC'), mc_uuid_floor((p_day + 1)::timestamp at time zone 'UTC'));
  end loop;
  execute format('alter table maestro_days.%I set (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.05)', v_executions);
  execute format('select count(*) from maestro.%I', v_executions) into v_all;
  execute format('insert into maestro_days.%I select e.* from %s', v_executions, mc_day_part(v_executions, true)) using p_as_of, p_default;
  get diagnostics v_kept = row_count;
  execute format('analyze maestro_days.%I', v_executions);
  foreach v_table in array array['step_executions', 'execution_events', 'step_logs'] loop
    if v_kept > 0 and to_regclass('maestro.' || v_table || v_suffix) is not null then
      execute format('insert into maestro_days.%1$I select x.* from maestro.%1$I x where exists '
        '(select 1 from maestro_days.%2$I e where e.id = x.execution_id)', v_table || v_suffix, v_executions);
    end if;
  end loop;
  update retention_days r set kept = v_kept, dropped = v_all - v_kept where r.day = p_day;
  return v_kept;
end $$;

do $$
declare v_day text;
begin
  for v_day in select c.relname from pg_inherits i join pg_class c on c.oid = i.inhrelid
      where i.inhparent = 'maestro.workflow_executions'::regclass order by 1 loop
    execute format('alter table maestro.%I set (autovacuum_vacuum_scale_factor = 0.05)', v_day);
  end loop;
end $$;

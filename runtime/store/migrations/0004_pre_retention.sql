-- Retention of executions: a day is replaced by a small table that holds what must be kept, in one short transaction.
-- Locks: brief ones on `tenants` and `workflows` for a check, a column and a trigger each; the rest is new.
--
-- The order of a day: mc_day_watch (triggers note every execution whose rows change from now on), mc_day_copy (the kept
-- rows, into tables of the same names in schema `maestro_days`), mc_day_catch_up (copies again what changed since),
-- mc_day_exchange (the same once more under the lock; then the small tables take the place of the day's), mc_day_sweep
-- (labels, messages and keys of what is gone). Each is a transaction of its own. Until the exchange nothing that
-- readers see has changed, so whoever finds a day half prepared begins it again; after it, `retention_days` says that
-- sweeping is left. The old tables are dropped in the exchange itself: PostgreSQL removes their files after it has
-- released the locks, so the exchange is no longer for it, and no crash can leave a detached table behind.

set local search_path = maestro;

create schema maestro_days;
comment on schema maestro_days is 'days that are being prepared to take the place of those in maestro; nothing in it is read';

alter table workflows add column retention_days int
  constraint workflows_retention_days check (retention_days between 1 and 36500);
comment on column workflows.retention_days is 'days after their end for which executions are kept; null: as the tenant says';
alter table tenants add constraint tenants_retention_days check (case
  when not settings ? 'retention_days' then true
  when jsonb_typeof(settings -> 'retention_days') <> 'number' then false
  else (settings ->> 'retention_days')::numeric between 1 and 36500
       and (settings ->> 'retention_days')::numeric = trunc((settings ->> 'retention_days')::numeric) end);

create table legal_holds (
  tenant_id uuid not null,
  scope     text not null check (scope in ('execution', 'workflow')),
  id        uuid not null,
  reason    text not null,
  actor     text not null,
  at        timestamptz not null default pg_catalog.now(),
  primary key (tenant_id, scope, id)
);
comment on table legal_holds is 'what retention leaves alone for as long as the row is here';

-- One row per day that was looked at. state: 1 being prepared, 2 exchanged (sweeping is left), 3 done.
create table retention_days (
  day     date primary key,
  as_of   date not null,
  policy  text not null,
  state   smallint not null,
  kept    bigint not null default 0,
  dropped bigint not null default 0,
  bytes   bigint not null default 0,
  at      timestamptz not null default pg_catalog.now()
);
comment on column retention_days.policy is 'digest of all retention settings and holds that it was looked at with';

-- Executions of a day being prepared whose rows changed after the watch began. No key: two writers must never wait here.
create table retention_changes (
  day          date not null,
  execution_id uuid not null
);
create index retention_changes_day on retention_changes (day);

create function mc_note_change() returns trigger
language plpgsql security definer set search_path = maestro, pg_temp as $$
begin
  -- The trigger's argument is the day. A field is looked up when its line runs, so each table meets its own alone.
  if tg_table_name ~ '^workflow_executions' then
    insert into retention_changes (day, execution_id) values (tg_argv[0]::date, case when tg_op = 'DELETE' then old.id else new.id end);
  else
    insert into retention_changes (day, execution_id)
      values (tg_argv[0]::date, case when tg_op = 'DELETE' then old.execution_id else new.execution_id end);
  end if;
  return null;
end $$;

-- Settings and holds wait for an exchange under way, and an exchange for them: what is committed before it counts, and
-- a hold that comes after it and names something that is gone is refused instead of giving false comfort.
create function mc_retention_settings() returns trigger
language plpgsql security definer set search_path = maestro, pg_temp as $$
begin
  perform pg_advisory_xact_lock_shared(7263003);
  -- Lines of their own: a field is looked up when its line runs, and only holds have these.
  if tg_table_name = 'legal_holds' and tg_op <> 'DELETE' then
    if not exists (select 1 from workflow_executions e where new.scope = 'execution' and e.id = new.id and e.tenant_id = new.tenant_id)
       and not exists (select 1 from workflows w where new.scope = 'workflow' and w.id = new.id and w.tenant_id = new.tenant_id) then
      raise exception 'there is no % % in this tenant to hold', new.scope, new.id using errcode = 'MC005';
    end if;
  end if;
  return case when tg_op = 'DELETE' then old else new end;
end $$;
create trigger retention before insert or update or delete on legal_holds
  for each row execute function mc_retention_settings();
create trigger retention before update on workflows
  for each row when (new.retention_days is distinct from old.retention_days) execute function mc_retention_settings();
create trigger retention before update on tenants
  for each row when (new.settings -> 'retention_days' is distinct from old.settings -> 'retention_days')
  execute function mc_retention_settings();

create function mc_retention_policy(p_default int) returns text
language sql stable security definer set search_path = maestro, pg_temp as $$
  select md5(concat_ws(';', p_default,
    (select string_agg(t.id::text || ':' || (t.settings ->> 'retention_days'), ',' order by t.id) from tenants t where t.settings ? 'retention_days'),
    (select string_agg(w.id::text || ':' || w.retention_days, ',' order by w.id) from workflows w where w.retention_days is not null),
    (select string_agg(concat(h.scope, h.id, h.tenant_id), ',' order by h.tenant_id, h.scope, h.id) from legal_holds h)))
$$;

-- FROM and WHERE that find the executions of a day that stay, or those that go. One stays that has not ended, was not yet
-- kept for the days that its workflow, else its tenant, else the default says, or is held. Whole days in UTC, counted
-- from its end. $1 is the day it is judged on, $2 the default. Text, because a function could not be joined.
create function mc_day_part(p_table text, p_stays boolean) returns text language sql immutable as $$
  select format('maestro.%I e left join maestro.workflows w on w.id = e.workflow_id left join maestro.tenants t on t.id = e.tenant_id where '
    || case when p_stays then '' else 'not ' end || '(e.status in (0, 1, 3) or coalesce(e.finished_at, e.created_at) >= '
    '($1 - coalesce(w.retention_days, (t.settings ->> ''retention_days'')::int, $2))::timestamp at time zone ''UTC'' '
    'or (e.tenant_id, e.id) in (select h.tenant_id, h.id from maestro.legal_holds h where h.scope = ''execution'') '
    'or (e.tenant_id, e.workflow_id) in (select h.tenant_id, h.id from maestro.legal_holds h where h.scope = ''workflow''))', p_table)
$$;

-- The four tables in the order in which a checkpoint takes them, so that nobody waits in a circle.
create function mc_day_tables() returns text[] language sql immutable as
$$ select array['step_executions', 'execution_events', 'step_logs', 'workflow_executions'] $$;
create function mc_day_key(p_table text) returns text language sql immutable as
$$ select case p_table when 'workflow_executions' then 'id' else 'execution_id' end $$;

-- Days that something may have to leave: older than the shortest retention, and not yet looked at today with these settings;
-- before them, days whose sweeping is left.
create function mc_days_due(p_default int) returns table (day date, as_of date, policy text, state smallint)
language plpgsql security definer set search_path = maestro, pg_temp as $$
declare
  v_today date := (maestro.now() at time zone 'UTC')::date;
  v_policy text := mc_retention_policy(p_default);
  v_least int;
begin
  select least(p_default, (select min((t.settings ->> 'retention_days')::int) from tenants t where t.settings ? 'retention_days'),
               (select min(w.retention_days) from workflows w)) into v_least;
  return query
    select r.day, r.as_of, r.policy, r.state from retention_days r where r.state = 2
    union all
    (select d.day, v_today, v_policy, 0::smallint
       from (select to_date(right(c.relname, 8), 'YYYYMMDD') as day from pg_inherits i join pg_class c on c.oid = i.inhrelid
              where i.inhparent = 'maestro.workflow_executions'::regclass and c.relname ~ '^workflow_executions_[0-9]{8}$') d
      where d.day < v_today - v_least and not exists (select 1 from retention_days r where r.day = d.day
              and (r.state = 2 or (r.state = 3 and r.as_of >= v_today and r.policy = v_policy)))
      order by 1);
end $$;

-- Begin: whatever an earlier attempt prepared goes, and from the commit on every change is noted. False, and nothing is
-- begun, when all executions of the day stay.
create function mc_day_watch(p_day date, p_as_of date, p_policy text, p_default int) returns boolean
language plpgsql security definer set search_path = maestro, pg_temp set lock_timeout = '200ms' as $$
declare v_suffix text := '_' || to_char(p_day, 'YYYYMMDD'); v_table text; v_due boolean;
begin
  -- Not while a leader that is none any more still copies: the changes that it needs would be forgotten.
  perform pg_advisory_xact_lock(7263004);
  execute format('select not exists (select 1 from maestro.%I) or exists (select 1 from %s)', 'workflow_executions' || v_suffix,
                 mc_day_part('workflow_executions' || v_suffix, false)) into v_due using p_as_of, p_default;
  insert into retention_days as r (day, as_of, policy, state) values (p_day, p_as_of, p_policy, case when v_due then 1 else 3 end)
    on conflict (day) do update set as_of = excluded.as_of, policy = excluded.policy, state = excluded.state, at = pg_catalog.now();
  delete from retention_changes c where c.day = p_day;
  foreach v_table in array mc_day_tables() loop
    execute format('drop table if exists maestro_days.%I', v_table || v_suffix);
    if v_due and to_regclass('maestro.' || v_table || v_suffix) is not null then
      execute format('create or replace trigger retention after insert or update or delete on maestro.%I for each row '
        'execute function maestro.mc_note_change(%L)', v_table || v_suffix, p_day);
    elsif exists (select 1 from pg_trigger g where g.tgrelid = to_regclass('maestro.' || v_table || v_suffix) and g.tgname = 'retention') then
      execute format('drop trigger retention on maestro.%I', v_table || v_suffix);
    end if;
  end loop;
  return v_due;
end $$;

-- The kept rows, into tables that are ready to be attached.
create function mc_day_copy(p_day date, p_as_of date, p_default int) returns bigint
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
  execute format('alter table maestro_days.%I set (fillfactor = 80)', v_executions);
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

-- Copy again what changed since; how many executions. What is still uncommitted is noted when it commits.
create function mc_day_catch_up(p_day date, p_as_of date, p_default int) returns int
language plpgsql security definer set search_path = maestro, pg_temp set enable_seqscan = off as $$
declare v_suffix text := '_' || to_char(p_day, 'YYYYMMDD'); v_table text; v_key text; v_ids uuid[];
begin
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

-- The exchange. False: a setting or a hold changed since the copy, so the day must be prepared anew. With a lock that is
-- not given at once it fails, having held up others for no longer than lock_timeout, and is tried again.
create function mc_day_exchange(p_day date, p_default int) returns boolean
language plpgsql security definer set search_path = maestro, pg_temp set lock_timeout = '200ms' as $$
declare
  v_day retention_days; v_suffix text := '_' || to_char(p_day, 'YYYYMMDD'); v_table text; v_name text;
  v_before bigint := 0; v_after bigint := 0; v_kept bigint;
begin
  perform pg_advisory_xact_lock(7263003);
  select * into v_day from retention_days r where r.day = p_day for update;
  if v_day.state is distinct from 1 or v_day.policy <> mc_retention_policy(p_default) then
    return false;
  end if;
  foreach v_table in array mc_day_tables() loop
    execute format('lock table only maestro.%I in access exclusive mode', v_table);
    if to_regclass('maestro.' || v_table || v_suffix) is not null then
      execute format('lock table maestro.%I in access exclusive mode', v_table || v_suffix);
    end if;
  end loop;
  perform mc_day_catch_up(p_day, v_day.as_of, p_default);
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
  update retention_days r set state = 2, dropped = r.dropped + r.kept - v_kept, kept = v_kept, bytes = greatest(v_before - v_after, 0), at = pg_catalog.now()
   where r.day = p_day;
  return true;
end $$;

-- What else belongs to executions that are gone, a bounded batch of it. Keys are found by the time of their execution: both
-- were written together, the id by the clock of an API process, hence the day before and after.
create function mc_day_sweep(p_day date, p_after uuid, p_limit int) returns table (upto uuid, gone int)
language plpgsql security definer set search_path = maestro, pg_temp set enable_seqscan = off as $$
declare
  v_lo uuid := mc_uuid_floor(p_day::timestamp at time zone 'UTC'); v_hi uuid := mc_uuid_floor((p_day + 1)::timestamp at time zone 'UTC');
  v_upto uuid; v_gone int := 0; v_count int;
begin
  select mc_hi(array_agg(x.execution_id)) into v_upto from (select l.execution_id from execution_labels l
    where l.execution_id > coalesce(p_after, v_lo) and l.execution_id < v_hi order by l.execution_id limit p_limit) x;
  if v_upto is not null then
    delete from execution_labels l where l.execution_id > coalesce(p_after, v_lo) and l.execution_id <= v_upto
      and not exists (select 1 from workflow_executions e where e.id = l.execution_id and e.id between v_lo and v_upto);
    get diagnostics v_gone = row_count;
    return query select v_upto, v_gone;
    return;
  end if;
  delete from execution_inbox b where b.execution_id >= v_lo and b.execution_id < v_hi
    and not exists (select 1 from workflow_executions e where e.id = b.execution_id);
  get diagnostics v_count = row_count;
  v_gone := v_count;
  delete from idempotency_keys k where k.created_at >= (p_day - 1)::timestamp at time zone 'UTC' and k.created_at < (p_day + 2)::timestamp at time zone 'UTC'
    and k.operation = 'enqueue_execution' and k.result_id >= v_lo and k.result_id < v_hi
    and not exists (select 1 from workflow_executions e where e.id = k.result_id);
  get diagnostics v_count = row_count;
  update retention_days r set state = 3 where r.day = p_day and r.state = 2;
  return query select null::uuid, v_gone + v_count;
end $$;

alter table legal_holds enable row level security;
create policy tenant on legal_holds to mc_api using (tenant_id = nullif(current_setting('mc.tenant', true), '')::uuid)
  with check (tenant_id = nullif(current_setting('mc.tenant', true), '')::uuid);
create policy engine on legal_holds to mc_engine using (true) with check (true);
grant select on legal_holds to mc_api;
grant select on legal_holds, retention_days to mc_engine;

revoke execute on function mc_note_change(), mc_retention_settings(), mc_retention_policy(int), mc_day_part(text, boolean),
  mc_day_tables(), mc_day_key(text), mc_days_due(int), mc_day_watch(date, date, text, int), mc_day_copy(date, date, int),
  mc_day_catch_up(date, date, int), mc_day_exchange(date, int), mc_day_sweep(date, uuid, int) from public;
grant execute on function mc_days_due(int), mc_day_watch(date, date, text, int), mc_day_copy(date, date, int),
  mc_day_catch_up(date, date, int), mc_day_exchange(date, int), mc_day_sweep(date, uuid, int) to mc_engine;

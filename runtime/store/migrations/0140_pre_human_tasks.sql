-- Human tasks (ADR-100): work that waits for a person. A task of a step lies in the shard of its execution, which its id names, too; one
-- that stands on its own lies in the slot of its tenant. `state` is what its events come to; the other columns are what lists and timers
-- look for. Each change is one transaction: the row locked (behind that of its execution, where it wakes or ends that one), the row
-- written, one event added, its places in the lists of people replaced.
-- Locks: none that matter; the tables are new, and of the functions that are replaced none is called while executions run.

set local search_path = maestro;

create table human_tasks (
  shard        smallint not null,
  status       smallint not null,
  id           uuid not null,
  tenant_id    uuid not null,
  version      int not null,
  priority     int not null,
  execution_id uuid,
  step         int,
  generation   smallint,
  step_key     text,
  workflow_id  uuid,
  assignee     text,
  closed_to    text[] not null,
  due_at       timestamptz,
  next_at      timestamptz,
  ended_at     timestamptz,
  state        jsonb not null,
  primary key (id, shard),
  check ((status >= 4) = (ended_at is not null)),
  check ((execution_id is null) = (step is null) and (execution_id is null) = (generation is null))
);
create unique index human_tasks_of_step on human_tasks (execution_id, step, generation, shard) where execution_id is not null;
create index human_tasks_list on human_tasks (tenant_id, id desc);
create index human_tasks_open on human_tasks (tenant_id, id desc) where status < 4;
create index human_tasks_assignee on human_tasks (tenant_id, assignee, id desc) where status < 4 and assignee is not null;
create index human_tasks_due on human_tasks (tenant_id, due_at, id) where status < 4 and due_at is not null;
create index human_tasks_of_workflow on human_tasks (tenant_id, workflow_id, id desc) where workflow_id is not null;
create index human_tasks_ended on human_tasks (tenant_id, ended_at) where ended_at is not null and execution_id is null;
create index human_tasks_timers on human_tasks (shard, next_at) where next_at is not null;
comment on table human_tasks is 'work that waits for a person; at most one for each step and generation of an execution';
comment on column human_tasks.state is 'the task as its events make it, field by field';
comment on column human_tasks.version is 'the number of its last event';
comment on column human_tasks.closed_to is 'who may not answer (any more), whatever groups they are in';
comment on column human_tasks.next_at is 'when time alone will next change it: a warning, a breach, an escalation, its expiry';

create table human_task_events (
  shard     smallint not null,
  task_id   uuid not null,
  seq       int not null,
  tenant_id uuid not null,
  kind      text not null,
  at        timestamptz not null,
  actor     jsonb not null,
  before    jsonb not null,
  after     jsonb not null,
  reason    text,
  primary key (task_id, seq, shard)
);
comment on table human_task_events is 'what happened to a task, complete: its fields are those of `after`, in the order of `seq`';

create table human_task_people (
  shard     smallint not null,
  task_id   uuid not null,
  tenant_id uuid not null,
  who       text not null,
  is_held   boolean not null,
  primary key (task_id, who, shard)
);
create index human_task_people_list on human_task_people (tenant_id, who, is_held, task_id desc);
comment on table human_task_people is 'in whose lists an open task stands: `user:ann`, `group:clerks`, `anyone`; `is_held`: somebody else has it';

do $$
declare v_table text;
begin
  foreach v_table in array array['human_tasks', 'human_task_events', 'human_task_people'] loop
    execute format('alter table %I enable row level security', v_table);
    execute format('create policy tenant on %I to mc_api using (tenant_id = nullif(current_setting(''mc.tenant'', true), '''')::uuid) '
      'with check (tenant_id = nullif(current_setting(''mc.tenant'', true), '''')::uuid)', v_table);
    execute format('create policy engine on %I to mc_engine using (true) with check (true)', v_table);
    execute format('grant select on %I to mc_api', v_table);
    execute format('grant select, insert, update, delete on %I to mc_engine', v_table);
  end loop;
end $$;
-- What has happened stays as it was told; whoever deletes a task deletes its history with it.
revoke update on human_task_events from mc_engine;

-- Tasks begin: a JSON array of `{id, tenant_id, status, priority, execution_id, step, generation, step_key, workflow_id, assignee,
-- closed_to, due_at, next_at, state, people: [[who, is_held], ...]}`. Idempotent: of what is there already, by its id or by execution,
-- step and generation, nothing is written, so a flush may say it again.
create function mc_task_open(p_shard smallint, p_tasks text) returns void
language plpgsql set search_path = maestro set enable_seqscan = off as $$
declare v_tasks jsonb := p_tasks::jsonb;
begin
  insert into human_tasks as t (shard, status, id, tenant_id, version, priority, execution_id, step, generation, step_key, workflow_id,
                                assignee, closed_to, due_at, next_at, ended_at, state)
    select s.shard, x.status, x.id, x.tenant_id, 1, x.priority, x.execution_id, x.step, x.generation, x.step_key, x.workflow_id,
           x.assignee, x.closed_to, x.due_at, x.next_at, null, x.state
      from shards s, jsonb_to_recordset(v_tasks) x (status smallint, id uuid, tenant_id uuid, priority int, execution_id uuid, step int,
           generation smallint, step_key text, workflow_id uuid, assignee text, closed_to text[], due_at timestamptz, next_at timestamptz,
           state jsonb)
     where s.shard = p_shard
    on conflict do nothing;
  insert into human_task_events as v (shard, task_id, seq, tenant_id, kind, at, actor, before, after, reason)
    select s.shard, t.id, 1, t.tenant_id, 'created', (t.state ->> 'created_at')::timestamptz, t.state -> 'created_by', '{}', t.state, null
      from shards s, human_tasks t, jsonb_to_recordset(v_tasks) x (id uuid)
     where s.shard = p_shard and t.shard = p_shard and t.id = x.id and t.version = 1
    on conflict do nothing;
  insert into human_task_people as p (shard, task_id, tenant_id, who, is_held)
    select s.shard, t.id, t.tenant_id, o.value ->> 0, (o.value ->> 1)::boolean
      from shards s, human_tasks t, jsonb_to_recordset(v_tasks) x (id uuid, people jsonb), jsonb_array_elements(x.people) o
     where s.shard = p_shard and t.shard = p_shard and t.id = x.id and t.version = 1
    on conflict do nothing;
end $$;

-- The execution of a task that is over is told how, as message 6 of its inbox, in the transaction that ended the task. Whoever calls
-- it has locked the execution before the task, as the end of an execution does. Not known: there is no such execution; otherwise its
-- status, and a number above 0 when it was told.
create function mc_task_tell(p_shard smallint, p_tenant uuid, p_task uuid) returns table (known boolean, status smallint, n int)
language plpgsql set search_path = maestro set enable_seqscan = off as $$
declare v_task record;
begin
  select t.id, t.execution_id, t.step, t.generation, t.state into v_task from human_tasks t
   where t.shard = p_shard and t.id = p_task and t.tenant_id = p_tenant and t.execution_id is not null and t.status >= 4;
  if not found then
    return query select false, null::smallint, 0;
    return;
  end if;
  return query select m.known, m.status, m.n from mc_send_3(p_shard, p_tenant, v_task.execution_id, 6::smallint, jsonb_build_object(
    'actor', v_task.state -> 'ended_by', 'task', v_task.id, 'step', v_task.step, 'generation', v_task.generation,
    'status', v_task.state -> 'status', 'outcome', v_task.state -> 'outcome', 'response', v_task.state -> 'response',
    'at', v_task.state -> 'ended_at')::text, false, false) m;
end $$;

-- The open tasks of executions are cancelled, by whoever ends these or begins them anew and has locked their rows; how many.
create function mc_task_cancel(p_shard smallint, p_exec uuid[], p_reason text) returns int
language plpgsql set search_path = maestro set enable_seqscan = off as $$
declare v_ids uuid[]; v_ended jsonb;
begin
  select array_agg(x.id) into v_ids from (select t.id from human_tasks t
    where t.shard = p_shard and t.execution_id = any (p_exec) and t.status < 4 order by t.id for update) x;
  if v_ids is null then
    return 0;
  end if;
  v_ended := jsonb_build_object('status', 'CANCELLED', 'ended_at', to_jsonb(pg_catalog.now()),
    'ended_by', jsonb_build_object('subject', 'system', 'kind', 'system'));
  insert into human_task_events as v (shard, task_id, seq, tenant_id, kind, at, actor, before, after, reason)
    select s.shard, t.id, t.version + 1, t.tenant_id, 'cancelled', pg_catalog.now(), v_ended -> 'ended_by',
           jsonb_build_object('status', t.state -> 'status', 'ended_at', null, 'ended_by', null), v_ended, p_reason
      from shards s, human_tasks t where s.shard = p_shard and t.shard = p_shard and t.id = any (v_ids);
  update human_tasks t set status = 6, version = t.version + 1, next_at = null, ended_at = pg_catalog.now(), state = t.state || v_ended
   where t.shard = p_shard and t.id = any (v_ids);
  delete from human_task_people p where p.shard = p_shard and p.task_id = any (v_ids);
  return cardinality(v_ids);
end $$;

revoke execute on function mc_task_open(smallint, text), mc_task_tell(smallint, uuid, uuid), mc_task_cancel(smallint, uuid[], text) from public;
grant execute on function mc_task_open(smallint, text), mc_task_tell(smallint, uuid, uuid), mc_task_cancel(smallint, uuid[], text) to mc_engine;

-- Tasks go to the shard that their ids name, with their history and the keys of what was asked of them.
create or replace function mc_shard_tables() returns table (name text, shard_of text) language sql stable set search_path = maestro as $$
  select t.name, 'maestro.mc_shard(' || x.key || ', $1)'
    from (values ('workflow_executions', 'id'), ('step_executions', 'execution_id'), ('execution_events', 'execution_id'),
                 ('step_logs', 'execution_id'), ('execution_inbox', 'execution_id'), ('execution_labels', 'execution_id'),
                 ('dead_letters', 'execution_id'), ('idempotency_keys', 'result_id'), ('blob_refs', 'execution_id'),
                 ('human_tasks', 'id'), ('human_task_events', 'task_id'), ('human_task_people', 'task_id')) x (parent, key)
    cross join lateral (
      select x.parent as name where not exists (select 1 from pg_inherits i where i.inhparent = ('maestro.' || x.parent)::regclass)
      union all
      select c.relname from pg_inherits i join pg_class c on c.oid = i.inhrelid where i.inhparent = ('maestro.' || x.parent)::regclass) t
   order by t.name <> 'blob_refs', 1
$$;

create or replace function mc_shard_rows(p_name text) returns text language sql immutable as
$$ select case when p_name = 'idempotency_keys' then 'operation similar to ''%(\_execution|\_human\_task)''' else 'true' end $$;

-- As before, and the tasks of executions that are gone, a batch a call.
create or replace function mc_day_sweep(p_day date, p_after uuid, p_limit int) returns table (upto uuid, gone int)
language plpgsql security definer set search_path = maestro, pg_temp set enable_seqscan = off as $$
declare
  v_lo uuid := mc_uuid_floor(p_day::timestamp at time zone 'UTC'); v_hi uuid := mc_uuid_floor((p_day + 1)::timestamp at time zone 'UTC');
  v_upto uuid; v_gone int := 0; v_count int; v_tasks uuid[];
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
  v_tasks := array(select t.id from human_tasks t where t.execution_id >= v_lo and t.execution_id < v_hi
    and not exists (select 1 from workflow_executions e where e.id = t.execution_id and e.id between v_lo and v_hi) limit p_limit);
  if cardinality(v_tasks) > 0 then
    delete from human_task_people p where p.task_id = any (v_tasks);
    delete from human_task_events v where v.task_id = any (v_tasks);
    delete from human_tasks t where t.id = any (v_tasks);
    return query select coalesce(p_after, v_lo), cardinality(v_tasks);
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

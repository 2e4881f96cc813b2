-- Human tasks (ADR-100): read as mc_api's tenant or as mc_engine, each statement naming the tenant; written as mc_engine under a lock.
-- Pages have one list of parameters: tenant, after, limit, statuses, assignee, workflow, execution, group, overdue, mine, and who asks.

-- part: row
t.id, t.tenant_id, t.version, t.execution_id, t.step, t.generation, t.step_key, t.workflow_id, t.state

-- part: wanted
-- What the lists of all pages are restricted by, beside what each of them looks for in its index.
and ($4::smallint[] is null or t.status = any ($4)) and ($5::text is null or t.assignee = $5)
   and ($6::uuid is null or t.workflow_id = $6) and ($7::uuid is null or t.execution_id = $7)
   and ($8::text is null or exists (select 1 from human_task_people g where g.shard = t.shard and g.task_id = t.id and g.who = $8))
   and (not $9::boolean or t.status < 4 and t.due_at < pg_catalog.now())
   and ($10::text[] is null or exists (select 1 from human_task_people m
         where m.shard = t.shard and m.task_id = t.id and m.who = any ($10) and not m.is_held))
   and ($11::text is null or $11 <> all (t.closed_to))

-- name: open
-- Safe: idempotent by id, and by execution, step and generation; the function says how.
select mc_task_open($1, $2);

-- name: get_many
-- Safe: probes of the primary key; callers bound the number of ids.
select <<row>> from human_tasks t where t.tenant_id = $1 and t.id = any ($2::uuid[]);

-- name: find
-- Safe: one probe of the primary key; what it says of the execution never changes.
select t.execution_id from human_tasks t where t.shard = $1 and t.tenant_id = $2 and t.id = $3;

-- name: lock_execution
-- Safe: locks one row by its key until the end of the transaction, before its task: in this order whoever ends an execution locks, too.
select e.status, e.priority from workflow_executions e where e.shard = $1 and e.tenant_id = $2 and e.id = $3 for no key update;

-- name: lock
-- Safe: locks one row by its key until the end of the transaction.
select <<row>> from human_tasks t where t.shard = $1 and t.tenant_id = $2 and t.id = $3 for no key update;

-- name: now
-- Safe: reads the clock, behind the lock: what is decided is not older than what was decided before.
select clock_timestamp();

-- name: write
-- Safe: one row by its key, locked before, and only from the version that was read.
update human_tasks t set status = $4, version = $5, priority = $6, assignee = $7, closed_to = $8, due_at = $9, next_at = $10,
       ended_at = $11, state = $12
 where t.shard = $1 and t.tenant_id = $2 and t.id = $3 and t.version = $5 - 1 returning true;

-- name: event
-- Safe: its number is that of the version, which the primary key has once.
insert into human_task_events (shard, task_id, seq, tenant_id, kind, at, actor, before, after, reason)
values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10);

-- name: leave_people
-- Safe: the places of one task, under its lock.
delete from human_task_people p where p.shard = $1 and p.task_id = $2;

-- name: enter_people
-- Safe: the places of one task, under its lock.
insert into human_task_people (shard, task_id, tenant_id, who, is_held)
select $1, $2, $3, x.who, x.is_held from unnest($4::text[], $5::boolean[]) x (who, is_held);

-- name: tell
-- Safe: one message to one execution, which is locked before.
select known, status, n from mc_task_tell($1, $2, $3);

-- name: upcoming
-- Safe: some rows from the beginning of a partial index; whoever acts on one locks it, and finds what was done meanwhile.
select t.tenant_id, t.id, extract(epoch from t.next_at - pg_catalog.now())::float8 as seconds from human_tasks t
 where t.shard = $1 and t.next_at is not null order by t.next_at limit $2;

-- name: sweep
-- Safe: a bounded batch of tasks that stand alone and ended longer ago than their tenant keeps things; what has ended never changes.
with x as materialized (
  select d.id from tenants o cross join lateral (
    select t.id from human_tasks t
     where t.shard = $1 and t.tenant_id = o.id and t.execution_id is null and t.ended_at < pg_catalog.now() - make_interval(days =>
           coalesce((o.settings ->> 'retention_days')::numeric::int, $3))
     order by t.ended_at limit $2) d limit $2),
v as (delete from human_task_events v using x where v.shard = $1 and v.task_id = x.id)
delete from human_tasks t using x where t.shard = $1 and t.id = x.id returning t.id;

-- name: history
-- Safe: a keyset page over the primary key.
select v.seq, v.kind, v.at, v.actor, v.before, v.after, v.reason from human_task_events v
 where v.tenant_id = $1 and v.task_id = $2 and v.seq > $3 order by v.seq limit $4;

-- name: page
-- Safe: a keyset page over the index of the list.
select <<row>>, t.due_at from human_tasks t
 where t.tenant_id = $1 and t.id < $2::uuid
   <<wanted>>
 order by t.id desc limit $3;

-- name: page_open
-- Safe: a keyset page over the index of what is open.
select <<row>>, t.due_at from human_tasks t
 where t.tenant_id = $1 and t.id < $2::uuid and t.status < 4
   <<wanted>>
 order by t.id desc limit $3;

-- name: page_assignee
-- Safe: a keyset page over the index of what somebody has.
select <<row>>, t.due_at from human_tasks t
 where t.tenant_id = $1 and t.id < $2::uuid and t.status < 4 and t.assignee = $5
   <<wanted>>
 order by t.id desc limit $3;

-- name: page_workflow
-- Safe: a keyset page over the index of workflows.
select <<row>>, t.due_at from human_tasks t
 where t.tenant_id = $1 and t.id < $2::uuid and t.workflow_id = $6
   <<wanted>>
 order by t.id desc limit $3;

-- name: page_execution
-- Safe: few rows of one execution.
select <<row>>, t.due_at from human_tasks t
 where t.tenant_id = $1 and t.id < $2::uuid and t.execution_id = $7
   <<wanted>>
 order by t.id desc limit $3;

-- name: page_overdue
-- Safe: a keyset page over the index of due times, from the oldest on.
select <<row>>, t.due_at from human_tasks t
 where t.tenant_id = $1 and (t.due_at, t.id) > ($12::timestamptz, $2::uuid) and t.status < 4 and t.due_at is not null and t.due_at < pg_catalog.now()
   <<wanted>>
 order by t.due_at, t.id limit $3;

-- name: page_people
-- Safe: a keyset page over the index of people, one for each mark and each of held and not held, merged; at most as many rows of each as the page has.
select distinct on (x.id) x.* from unnest($12::text[], $13::boolean[]) k (who, is_held) cross join lateral (
  select <<row>>, t.due_at from human_task_people p join human_tasks t on t.shard = p.shard and t.id = p.task_id
   where p.tenant_id = $1 and p.who = k.who and p.is_held = k.is_held and p.task_id < $2::uuid and t.tenant_id = $1
     <<wanted>>
   order by p.task_id desc limit $3) x
 order by x.id desc limit $3;

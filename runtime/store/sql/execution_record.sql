-- Executions as people read them: as mc_api, under row security; each statement also names the tenant.

-- name: get_many
-- Safe: probes of the primary key; the id range prunes the days; callers bound the number of ids.
select id, tenant_id, workflow_id, version_id, status, wait, generation, namespace, region, deadline, meta, priority, owner,
       wake_at, cancel_requested, compensating, created_at, started_at, finished_at, input, output, error
  from workflow_executions where tenant_id = $1 and id between $3 and $4 and id = any ($2);

-- name: status
-- Safe: one probe of the primary key.
select status from workflow_executions where tenant_id = $1 and id = $2;

-- name: queued
-- Safe: the fronts of ranges of two partial indexes, no further than $2: what is queued, and what waits in lanes.
select count(*)::int from (
  (select 1 from workflow_executions where tenant_id = $1 and status = 0 limit $2)
  union all
  (select 1 from workflow_executions where tenant_id = $1 and status = 3 and wait = 6 limit $2) limit $2) x;

-- name: last_sequence
-- Safe: the end of a range of the primary key.
select coalesce(max(seq), 0) from execution_events where tenant_id = $1 and execution_id = $2;

-- name: steps
-- Safe: a range of the primary key per execution; callers bound the number of ids. Items of maps are not among them.
select execution_id, step, item, generation, attempt, status, started_at, finished_at, finished_at = 'infinity' as is_open, result
  from step_executions where tenant_id = $1 and execution_id between $3 and $4 and execution_id = any ($2) and item < 0
 order by execution_id, step, item, generation, attempt;

-- name: settled
-- Safe: a range of the primary key of steps for each execution; callers bound the number of ids. Of executions that
-- completed in their first generation and whose steps have one attempt each that ended well; one snapshot tells both.
select e.id, e.version_id, x.*
  from workflow_executions e
 cross join lateral (
   select count(*) as steps, count(distinct s.step) as distinct_steps,
          bool_and(s.status in (6, 8) and s.generation = 0 and s.finished_at < 'infinity') as is_settled/* columns */
     from step_executions s
    where s.tenant_id = $1 and s.execution_id = e.id and s.execution_id between $3 and $4 and s.item < 0) x
 where e.tenant_id = $1 and e.id between $3 and $4 and e.id = any ($2) and e.status = 2 and e.generation = 0
   and x.is_settled and x.steps = x.distinct_steps;

-- name: all_events
-- Safe: a range of the primary key per execution; callers bound the number of ids. What was sent with a signal (33, 34) can be
-- large, and says nothing of where the execution is. Events of items of maps are not among them.
select execution_id, tenant_id, seq, kind, ts, case when kind in (33, 34) then data - 'payload' else data end as data
  from execution_events where tenant_id = $1 and execution_id between $3 and $4 and execution_id = any ($2)
   and coalesce((data -> 'item')::int, -1) < 0
 order by execution_id, seq;

-- name: standings
-- Safe: probes of the primary keys of executions, workers and messages. What stands before a queued one is counted in two
-- ranges of the partial index of the queue, each no further than $5; row security shows of it the caller's tenant only.
select e.id, pg_catalog.now() as now, e.takeovers, w.host as worker, w.left_at,
       e.status = 1 and (w.id is null or w.dead or w.lease_until < pg_catalog.now()) as is_lost,
       case when not w.dead and w.lease_until < pg_catalog.now() then w.lease_until end as lease_until,
       (select count(*)::int from workers l where l.shard = e.shard and not l.dead and l.lease_until >= pg_catalog.now()
           and l.host not like '%:alone') as workers, w.tags,
       case when e.status = 3 and e.wait = 10 then (select array_agg(distinct array_to_string(l.tags, ',')) from workers l
           where l.shard = e.shard and not l.dead and l.lease_until >= pg_catalog.now() and l.host not like '%:alone') end as fleet,
       case when e.status = 3 and not e.in_lane and not e.compensating then e.lane end as lane, (e.meta #>> '{concurrency,limit}')::int as lane_limit,
       case when e.status = 3 and not e.in_lane then (select array_agg(h.id) from (select h.id from workflow_executions h
           where h.shard = e.shard and h.workflow_id = e.workflow_id and h.lane = e.lane and h.in_lane and h.status in (0, 1, 3)
           order by h.id limit 20) h) end as lane_holders,
       case when e.status = 3 and not e.in_lane then
         (select count(*)::int from (select 1 from workflow_executions q where q.shard = e.shard and q.workflow_id = e.workflow_id
             and q.lane = e.lane and q.status = 3 and not q.in_lane and q.priority > e.priority limit $5) x)
         + (select count(*)::int from (select 1 from workflow_executions q where q.shard = e.shard and q.workflow_id = e.workflow_id
             and q.lane = e.lane and q.status = 3 and not q.in_lane and q.priority = e.priority and q.id < e.id limit $5) x) end as lane_before,
       case when e.status = 0 then (select array[l.most, l.running, l.of_workflow::int]
           from mc_limit_reached(e.shard, e.tenant_id, e.workflow_id) l) end as running_limit,
       case when e.status = 0 then
         (select count(*)::int from (select 1 from workflow_executions q where q.shard = e.shard and q.tenant_id = e.tenant_id
             and q.status = 0 and q.priority > e.priority limit $5) x)
         + (select count(*)::int from (select 1 from workflow_executions q where q.shard = e.shard and q.tenant_id = e.tenant_id
             and q.status = 0 and q.priority = e.priority and q.id < e.id limit $5) x) end as before,
       e.status in (0, 3) and exists (select 1 from execution_events v
           where v.tenant_id = e.tenant_id and v.execution_id = e.id and v.kind = 36) as has_map,
       (select min(b.created_at) from execution_inbox b where b.shard = e.shard and b.execution_id = e.id) as told_at
  from workflow_executions e left join workers w on w.shard = e.shard and w.id = e.owner
 where e.tenant_id = $1 and e.id between $3 and $4 and e.id = any ($2);

-- name: events
-- Safe: by primary key from a sequence on, bounded by the limit; what is committed never changes, and sequences are
-- gapless in commit order, so a reader with a cursor misses none.
select execution_id, tenant_id, seq, kind, ts, data from execution_events
 where tenant_id = $1 and execution_id = $2 and seq > $3 and ($4::smallint[] is null or kind = any ($4))
 order by seq limit $5;

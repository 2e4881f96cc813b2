-- Executions as people read them: as mc_api, under row security; each statement also names the tenant.

-- name: get_many
-- Safe: probes of the primary key; the id range prunes the days; callers bound the number of ids.
select id, tenant_id, workflow_id, version_id, status, wait, generation, namespace, region, deadline, meta, priority, owner,
       wake_at, cancel_requested, created_at, started_at, finished_at, input, output, error
  from workflow_executions where tenant_id = $1 and id between $3 and $4 and id = any ($2);

-- name: status
-- Safe: one probe of the primary key.
select status from workflow_executions where tenant_id = $1 and id = $2;

-- name: last_sequence
-- Safe: the end of a range of the primary key.
select coalesce(max(seq), 0) from execution_events where tenant_id = $1 and execution_id = $2;

-- name: steps
-- Safe: a range of the primary key per execution; callers bound the number of ids.
select execution_id, step, item, generation, attempt, status, started_at, finished_at, finished_at = 'infinity' as is_open, result
  from step_executions where tenant_id = $1 and execution_id between $3 and $4 and execution_id = any ($2)
 order by execution_id, step, item, generation, attempt;

-- name: step_events
-- Safe: a range of the primary key per execution; what tells started, waiting and retried steps apart.
select execution_id, tenant_id, seq, kind, ts, data from execution_events
 where tenant_id = $1 and execution_id between $3 and $4 and execution_id = any ($2) and (kind in (5, 11, 13, 35) or kind between 20 and 29)
 order by execution_id, seq;

-- name: events
-- Safe: by primary key from a sequence on, bounded by the limit; what is committed never changes, and sequences are
-- gapless in commit order, so a reader with a cursor misses none.
select execution_id, tenant_id, seq, kind, ts, data from execution_events
 where tenant_id = $1 and execution_id = $2 and seq > $3 and ($4::smallint[] is null or kind = any ($4))
 order by seq limit $5;

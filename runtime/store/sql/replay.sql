-- All that is stored of one execution, for its replay: as mc_api, under row security; each statement also names the tenant.

-- name: execution
-- Safe: one probe of the primary key.
select id, tenant_id, workflow_id, version_id, generation, namespace, region, priority, epoch, takeovers, inbox, cancel_requested,
       created_at, 0.0 as age_seconds, null::float as deadline_in_seconds, meta, input, status, output, error
  from workflow_executions where tenant_id = $1 and id = $2;

-- name: size
-- Safe: ranges of the primary keys of one execution, no further than $3 rows each. What is compressed is measured as it is read,
-- which is a hundred times as much where somebody means it.
select (select count(*) from (select 1 from execution_events where tenant_id = $1 and execution_id = $2 limit $3) x) as events,
       (select count(*) from (select 1 from step_executions where tenant_id = $1 and execution_id = $2 limit $3) x) as rows,
       (select coalesce(sum(case when pg_column_compression(x.data) is null then pg_column_size(x.data) else octet_length(x.data::text) end), 0) from (
          select data from execution_events where tenant_id = $1 and execution_id = $2 limit $3) x)
       + (select coalesce(sum(case when pg_column_compression(x.result) is null then pg_column_size(x.result) else octet_length(x.result::text) end), 0) from (
          select result from step_executions where tenant_id = $1 and execution_id = $2 limit $3) x) as bytes;

-- name: events
-- Safe: a range of the primary key of one execution; callers have looked at its size.
select execution_id, tenant_id, seq, kind, ts, data from execution_events where tenant_id = $1 and execution_id = $2 order by seq;

-- name: rows
-- Safe: a range of the primary key of one execution; callers have looked at its size.
select step, item, generation, attempt, status, finished_at = 'infinity' as is_open, 0.0 as ended_ago, result
  from step_executions where tenant_id = $1 and execution_id = $2 order by step, item, generation, attempt;

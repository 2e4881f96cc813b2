-- What a migration and its preview read of one execution: as mc_api, under row security; each statement also names the
-- tenant. Rows and marks are read as for the preview of a next generation.

-- name: execution
-- Safe: one probe of the primary key, and one of the end of its events.
select generation, version_id, status, epoch, cancel_requested, input, meta ? 'parent' as is_child,
       (select max(v.seq) from execution_events v where v.tenant_id = $1 and v.execution_id = $2) as last_sequence
  from workflow_executions where tenant_id = $1 and id = $2;

-- name: begun
-- Safe: a range of the primary key of one execution: the numbers of the steps that its events name.
select distinct (v.data ->> 'step')::int as step from execution_events v
 where v.tenant_id = $1 and v.execution_id = $2 and v.data ? 'step';

-- name: migrate
-- Safe: locks the row first; moves only what nobody owns, and what is as it was when it was judged. Runs as mc_engine.
select known, status, moved from mc_migrate($1, $2, $3, $4, $5, $6, $7, $8, $9);

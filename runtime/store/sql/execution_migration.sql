-- What the preview of a migration reads of one execution: as mc_api, under row security; each statement also names the
-- tenant. Rows and marks are read as for the preview of a next generation.

-- name: execution
-- Safe: one probe of the primary key.
select generation, version_id, input, meta ? 'parent' as is_child from workflow_executions where tenant_id = $1 and id = $2;

-- name: begun
-- Safe: a range of the primary key of one execution: the numbers of the steps that its events name.
select distinct (v.data ->> 'step')::int as step from execution_events v
 where v.tenant_id = $1 and v.execution_id = $2 and v.data ? 'step';

-- Each filter of a list of executions has an index in the order of the list, so that a page costs the same among a million.
-- Locks: writers of executions wait until the indexes stand, about 4 s for each million of executions.
--
-- What completed is most of what there is, and is found by walking the list; so these indexes leave it out, and an execution that
-- completes writes into one of them instead of three. Most tenants have one namespace: the default one is found by walking too.

set local search_path = maestro;

create index workflow_executions_state on workflow_executions (tenant_id, status, id desc) where status <> 2;
create index workflow_executions_workflow on workflow_executions (tenant_id, workflow_id, id desc);
create index workflow_executions_workflow_state on workflow_executions (tenant_id, workflow_id, status, id desc) where status <> 2;
create index workflow_executions_namespace on workflow_executions (tenant_id, namespace, id desc) where namespace <> 'default';

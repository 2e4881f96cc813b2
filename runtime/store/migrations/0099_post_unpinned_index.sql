-- What 0098 replaced: nothing asks for it any more.
-- Locks: exclusive on workflow_executions for an instant.

set local search_path = maestro;

drop index workflow_executions_workflow_state;

-- One state of one workflow is read along one index, whatever the plan's numbers say.
-- Locks: writers of executions wait until the index stands, about 2 s for each million of executions. The one that it replaces goes
-- with 0099, when nothing asks for it any more.
--
-- A statement is planned once for all workflows, and such a plan does not know whether a workflow is a rare one; where the numbers say that
-- there is one workflow only, reading along the list of all is as cheap as along the right index, and walks a million rows for the next one.
-- What an index's own condition implies is not looked at again. So a condition that costs much, and that this index alone implies,
-- leaves no choice. It is plpgsql, because a function in SQL would be put into the statement and be gone.

set local search_path = maestro;

create function mc_is_listed_apart(p_status smallint) returns boolean language plpgsql immutable parallel safe cost 1000000 as
$$ begin return p_status <> 2; end $$;
comment on function mc_is_listed_apart(smallint) is
  'Whether executions of a status are few enough to have an index of their own by workflow: all but completed ones. In a statement it '
  'pins the plan to that index; its cost is what does so, and not what it takes.';
revoke execute on function mc_is_listed_apart(smallint) from public;
grant execute on function mc_is_listed_apart(smallint) to mc_api, mc_engine;

create index workflow_executions_workflow_apart on workflow_executions (tenant_id, workflow_id, status, id desc)
  where mc_is_listed_apart(status);

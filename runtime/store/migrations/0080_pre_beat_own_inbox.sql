-- The heartbeat does not look at the messages of all executions once there are many: what lies in the inboxes of paused and
-- queued ones is not its business. Arguments and answer stay, so it is replaced in place.
-- Locks: none, one function is replaced.

set local search_path = maestro;

create or replace function mc_beat(p_shard smallint, p_me bigint, p_epoch bigint, p_lease interval)
returns table (live int, dead int, due int, queued int, inbox uuid[])
language plpgsql set search_path = maestro set enable_seqscan = off as $$
declare v_inbox uuid[];
begin
  update workers w set lease_until = pg_catalog.now() + p_lease
   where w.shard = p_shard and w.id = p_me and w.epoch = p_epoch and not w.dead;
  if not found then
    return query select 0, 0, 0, 0, '{}'::uuid[];
    return;
  end if;
  -- From the side that is short: the messages while there are few, else the executions that this worker owns, of which there
  -- are never more than it has room for. The `limit` keeps the planner from beginning at the other side.
  if (select count(*) from (select 1 from execution_inbox i where i.shard = p_shard limit 500) x) < 500 then
    select array_agg(distinct i.execution_id) into v_inbox from execution_inbox i join workflow_executions e
       on e.id = i.execution_id and e.shard = i.shard where i.shard = p_shard and e.owner = p_me;
  else
    select array_agg(e.id) into v_inbox from workflow_executions e cross join lateral
       (select 1 from execution_inbox i where i.shard = p_shard and i.execution_id = e.id limit 1) m
     where e.shard = p_shard and e.status = 1 and e.owner = p_me;
  end if;
  return query select 1,
    (select count(*)::int from workers w where w.shard = p_shard and (w.dead or w.lease_until < pg_catalog.now()) and w.id <> p_me),
    (select count(*)::int from (select 1 from workflow_executions e where e.shard = p_shard and e.status = 3 and e.wake_at <= pg_catalog.now() limit 1) x),
    (select count(*)::int from (select 1 from workflow_executions e where e.shard = p_shard and e.status = 0 limit 1) x),
    coalesce(v_inbox, '{}');
end $$;

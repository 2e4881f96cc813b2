-- An execution that nobody owns goes on with another version of its workflow.
-- Locks: none but those of a new function.

set local search_path = maestro;

-- What an execution has cost is counted for the version that it goes on with, as its states are by the trigger on its row.
create function mc_count_moved(p_exec uuid, p_from uuid, p_to uuid) returns void
language plpgsql set search_path = maestro as $$
begin
  insert into execution_deltas (tenant_id, workflow_id, version_id, hour, day, state, slot, n, namespace, currency, amount)
    select e.tenant_id, e.workflow_id, x.version, date_bin('1 hour', e.created_at, '2000-01-01 00:00:00+00'), mc_id_day(e.id), -1, -1, 0,
           e.namespace, split_part(s.result ->> 'cost', ' ', 2), x.sign * sum(split_part(s.result ->> 'cost', ' ', 1)::numeric)
      from workflow_executions e join step_executions s on s.execution_id = e.id and s.shard = e.shard, (values (p_from, -1), (p_to, 1)) x (version, sign)
     where e.id = p_exec and s.result ? 'cost' group by 1, 2, 3, 4, 5, 9, 10, x.sign;
end $$;
revoke execute on function mc_count_moved(uuid, uuid, uuid) from public;
grant execute on function mc_count_moved(uuid, uuid, uuid) to mc_engine;

-- Move one execution from a version to another: only while nobody owns it and nothing has happened since whoever judged it has looked
-- (the same version, owner's epoch and newest event). What waits parked
-- for steps is queued, so that it begins what the other version has ready; what is paused, or has not begun, stays where it is.
create function mc_migrate(p_shard smallint, p_tenant uuid, p_exec uuid, p_from uuid, p_to uuid, p_version text, p_epoch bigint, p_seq integer, p_event text)
returns table (known boolean, status smallint, moved boolean)
language plpgsql set search_path = maestro set enable_seqscan = off as $$
declare v_row workflow_executions; v_seq int; v_wakes boolean;
begin
  select e.* into v_row from workflow_executions e
   where e.shard = p_shard and e.id = p_exec and e.tenant_id = p_tenant for update;
  if not found then
    return query select false, null::smallint, false;
    return;
  end if;
  select max(p.seq) into v_seq from execution_events p where p.shard = p_shard and p.execution_id = p_exec;
  if v_row.status not in (0, 3) or v_row.version_id <> p_from or v_row.epoch <> p_epoch or v_seq <> p_seq
     or v_row.cancel_requested or v_row.compensating then
    return query select true, v_row.status, false;
    return;
  end if;
  v_wakes := v_row.status = 3 and v_row.epoch > 0 and v_row.in_lane is not false and v_row.wait is distinct from 5;
  perform mc_count_moved(p_exec, p_from, p_to);
  update workflow_executions e set version_id = p_to, meta = jsonb_set(e.meta, '{version}', to_jsonb(p_version)),
         status = case when v_wakes then 0 else e.status end, wait = case when v_wakes then null else e.wait end,
         wake_at = case when v_wakes then null else e.wake_at end
   where e.shard = p_shard and e.id = p_exec;
  insert into execution_events as ev (shard, kind, seq, execution_id, tenant_id, ts, data)
    select s.shard, 18, p_seq + 1, p_exec, p_tenant, pg_catalog.now(), p_event::jsonb || jsonb_build_object('queued', v_wakes or v_row.status = 0)
      from shards s where s.shard = p_shard;
  perform mc_feed(p_shard, array[p_exec], array[p_seq + 1], array[18]::smallint[], true);
  return query select true, case when v_wakes then 0::smallint else v_row.status end, true;
end $$;
revoke execute on function mc_migrate(smallint, uuid, uuid, uuid, uuid, text, bigint, integer, text) from public;
grant execute on function mc_migrate(smallint, uuid, uuid, uuid, uuid, text, bigint, integer, text) to mc_engine;

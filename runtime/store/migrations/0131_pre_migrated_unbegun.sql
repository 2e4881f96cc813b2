-- What was migrated before it began has a second event: its first owner must know, and number his own behind it.
-- Locks: none that matter; a function is replaced in place, since its arguments and its answer are the same.

set local search_path = maestro;

-- As before; the row of what nobody has owned yet says that it was migrated.
create or replace function mc_migrate(p_shard smallint, p_tenant uuid, p_exec uuid, p_from uuid, p_to uuid, p_version text, p_epoch bigint, p_seq integer, p_event text)
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
  update workflow_executions e set version_id = p_to, meta = e.meta || jsonb_build_object('version', p_version) || case when v_row.epoch = 0 then '{"migrated": true}'::jsonb else '{}' end,
         status = case when v_wakes then 0 else e.status end, wait = case when v_wakes then null else e.wait end,
         wake_at = case when v_wakes then null else e.wake_at end
   where e.shard = p_shard and e.id = p_exec;
  insert into execution_events as ev (shard, kind, seq, execution_id, tenant_id, ts, data)
    select s.shard, 18, p_seq + 1, p_exec, p_tenant, pg_catalog.now(), p_event::jsonb || jsonb_build_object('queued', v_wakes or v_row.status = 0)
      from shards s where s.shard = p_shard;
  perform mc_feed(p_shard, array[p_exec], array[p_seq + 1], array[18]::smallint[], true);
  return query select true, case when v_wakes then 0::smallint else v_row.status end, true;
end $$;

-- A message does not begin what is to begin later: mc_send_2 made a scheduled execution start long before its time.
-- Locks: none, one function is new. The old one stays for one release.

set local search_path = maestro;

-- As mc_send_2, and what nobody has owned yet (epoch 0) keeps its messages until its time comes; a cancel ends it at once.
create function mc_send_3(p_shard smallint, p_tenant uuid, p_exec uuid, p_kind smallint, p_data text, p_cancel boolean, p_resumes boolean)
returns table (known boolean, status smallint, n int)
language plpgsql set search_path = maestro set enable_seqscan = off as $$
declare v_status smallint; v_n int;
begin
  update workflow_executions e set inbox = e.inbox + 1, cancel_requested = e.cancel_requested or p_cancel,
         status = case when e.status = 3 and (p_cancel or e.epoch > 0 and (e.wait is distinct from 5 or p_resumes)) then 0 else e.status end,
         wait = case when e.status = 3 and (p_cancel or e.epoch > 0 and (e.wait is distinct from 5 or p_resumes)) then null else e.wait end,
         wake_at = case when e.status = 3 and (p_cancel or e.epoch > 0 and (e.wait is distinct from 5 or p_resumes)) then null else e.wake_at end
   where e.shard = p_shard and e.id = p_exec and e.tenant_id = p_tenant and e.status in (0, 1, 3)
   returning e.status, e.inbox into v_status, v_n;
  if not found then
    return query select exists (select 1 from workflow_executions e where e.shard = p_shard and e.id = p_exec and e.tenant_id = p_tenant),
      (select e.status from workflow_executions e where e.shard = p_shard and e.id = p_exec and e.tenant_id = p_tenant), 0;
    return;
  end if;
  insert into execution_inbox as b (shard, n, execution_id, tenant_id, kind, data)
    select s.shard, v_n, p_exec, p_tenant, p_kind, p_data::jsonb from shards s where s.shard = p_shard;
  return query select true, v_status, v_n;
end $$;

revoke execute on function mc_send_3(smallint, uuid, uuid, smallint, text, boolean, boolean) from public;
grant execute on function mc_send_3(smallint, uuid, uuid, smallint, text, boolean, boolean) to mc_engine;

-- A message that is delivered again does to its execution what it did when it was sent: a cancel marks it and wakes it, a resume
-- ends its pause. Before, it only lay in the inbox, which would have stopped nothing that is parked. No such message is in the
-- dead letters of a release so far; a later one may refuse some.
-- Locks: none; a function is replaced, with the same arguments and answers.

set local search_path = maestro;

-- As before; 1 is CANCEL and 4 RESUME, as in `InboxKind`.
create or replace function mc_redrive_2(p_shard smallint, p_tenant uuid, p_exec uuid, p_generation smallint, p_message int, p_actor text, p_reason text, p_event text)
returns table (known boolean, status smallint, changed boolean)
language plpgsql set search_path = maestro set enable_seqscan = off as $$
declare v_status smallint; v_said jsonb; v_next int;
begin
  select l.status, l.evidence -> 'message' into v_status, v_said from dead_letters l where l.shard = p_shard and l.execution_id = p_exec
     and l.generation = p_generation and l.message = p_message and l.tenant_id = p_tenant for update;
  if not found or v_status <> 0 then
    return query select v_status is not null, v_status, false;
    return;
  end if;
  if p_message = 0 then
    select r.generation into v_next from mc_retry(p_shard, p_tenant, p_exec, array[6]::smallint[], p_event) r;
  else
    select nullif(s.n, 0) into v_next
      from mc_send_3(p_shard, p_tenant, p_exec, (v_said ->> 'kind')::smallint, (v_said -> 'data')::text,
                     v_said ->> 'kind' = '1', v_said ->> 'kind' = '4') s;
  end if;
  if v_next is null then
    return query select true, v_status, false;
    return;
  end if;
  update dead_letters l set status = 1, decided_at = pg_catalog.now(), decided_by = p_actor::jsonb, decision_reason = p_reason
   where l.shard = p_shard and l.execution_id = p_exec and l.generation = p_generation and l.message = p_message;
  return query select true, 1::smallint, true;
end $$;

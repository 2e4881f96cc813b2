-- A generation that begins with a step that is named: what completed can be run again, too.
-- Locks: none but those of new functions and of one that is replaced.

set local search_path = maestro;

-- Queue an ended execution as its next generation, with the event (p_kind) that says of which steps; not while a child of it has not
-- ended: the next generation would start a second one of the same step beside it.
-- What it is undoing is over with its generation; the trigger that sees to this knows the events of retries alone.
create function mc_begin_again(p_shard smallint, p_tenant uuid, p_exec uuid, p_statuses smallint[], p_kind smallint, p_event text)
returns table (known boolean, status smallint, generation smallint)
language plpgsql set search_path = maestro set enable_seqscan = off as $$
declare v_status smallint; v_generation smallint; v_seq int;
begin
  select e.status into v_status from workflow_executions e
   where e.shard = p_shard and e.id = p_exec and e.tenant_id = p_tenant for update;
  if not found then
    return query select false, null::smallint, null::smallint;
    return;
  end if;
  if v_status <> all (p_statuses) or exists (select 1 from mc_children_open(p_shard, array[p_exec])) then
    return query select true, v_status, null::smallint;
    return;
  end if;
  update workflow_executions e set status = 0, generation = e.generation + 1, cancel_requested = false, output = null, error = null,
         finished_at = null, wake_at = null, wait = null, takeovers = 0, compensating = false,
         deadline = case when e.meta ->> 'timeout_ms' is not null then
           least(pg_catalog.now() + make_interval(secs => (e.meta ->> 'timeout_ms')::float8 / 1000), '9999-01-01') end
   where e.shard = p_shard and e.id = p_exec returning e.generation into v_generation;
  delete from execution_inbox b where b.shard = p_shard and b.execution_id = p_exec;
  insert into execution_events as ev (shard, kind, seq, execution_id, tenant_id, ts, data)
    select s.shard, p_kind, (select max(p.seq) + 1 from execution_events p where p.shard = p_shard and p.execution_id = p_exec),
           p_exec, p_tenant, pg_catalog.now(), p_event::jsonb from shards s where s.shard = p_shard returning ev.seq into v_seq;
  perform mc_feed(p_shard, array[p_exec], array[v_seq], array[p_kind], true);
  return query select true, 0::smallint, v_generation;
end $$;
revoke execute on function mc_begin_again(smallint, uuid, uuid, smallint[], smallint, text) from public;
grant execute on function mc_begin_again(smallint, uuid, uuid, smallint[], smallint, text) to mc_engine;

create or replace function mc_retry(p_shard smallint, p_tenant uuid, p_exec uuid, p_statuses smallint[], p_event text)
returns table (known boolean, status smallint, generation smallint)
language plpgsql set search_path = maestro set enable_seqscan = off as $$
begin
  return query select * from mc_begin_again(p_shard, p_tenant, p_exec, p_statuses, 11::smallint, p_event);
end $$;

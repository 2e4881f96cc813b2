-- A rewind names steps by the plan of the version that its asker has looked at, so it is done to that version and that generation
-- alone; and it may give the execution another input, as a whole: the event keeps what it had until then.
-- Locks: none but those of a new function and of one that is replaced.

set local search_path = maestro;

-- As mc_begin_again before. p_version, p_generation: only while it runs that version and has had no other generation since (null: whatever
-- it runs); p_input: what its input is from now on (null: it stays).
create function mc_begin_again_2(p_shard smallint, p_tenant uuid, p_exec uuid, p_statuses smallint[], p_kind smallint, p_event text,
  p_version uuid, p_generation smallint, p_input text)
returns table (known boolean, status smallint, generation smallint, is_seen boolean)
language plpgsql set search_path = maestro set enable_seqscan = off as $$
declare v_row workflow_executions; v_generation smallint; v_seq int;
begin
  select e.* into v_row from workflow_executions e
   where e.shard = p_shard and e.id = p_exec and e.tenant_id = p_tenant for update;
  if not found then
    return query select false, null::smallint, null::smallint, true;
    return;
  end if;
  if v_row.status <> all (p_statuses) or exists (select 1 from mc_children_open(p_shard, array[p_exec])) then
    return query select true, v_row.status, null::smallint, true;
    return;
  end if;
  if v_row.version_id <> p_version or v_row.generation <> p_generation then
    return query select true, v_row.status, null::smallint, false;
    return;
  end if;
  update workflow_executions e set status = 0, generation = e.generation + 1, cancel_requested = false, output = null, error = null,
         finished_at = null, wake_at = null, wait = null, takeovers = 0, compensating = false, input = coalesce(p_input::jsonb, e.input),
         deadline = case when e.meta ->> 'timeout_ms' is not null then
           least(pg_catalog.now() + make_interval(secs => (e.meta ->> 'timeout_ms')::float8 / 1000), '9999-01-01') end
   where e.shard = p_shard and e.id = p_exec returning e.generation into v_generation;
  delete from execution_inbox b where b.shard = p_shard and b.execution_id = p_exec;
  insert into execution_events as ev (shard, kind, seq, execution_id, tenant_id, ts, data)
    select s.shard, p_kind, (select max(p.seq) + 1 from execution_events p where p.shard = p_shard and p.execution_id = p_exec),
           p_exec, p_tenant, pg_catalog.now(),
           p_event::jsonb || case when p_input is null then '{}' else jsonb_build_object('input_before', v_row.input) end
      from shards s where s.shard = p_shard returning ev.seq into v_seq;
  perform mc_feed(p_shard, array[p_exec], array[v_seq], array[p_kind], true);
  return query select true, 0::smallint, v_generation, true;
end $$;
revoke execute on function mc_begin_again_2(smallint, uuid, uuid, smallint[], smallint, text, uuid, smallint, text) from public;
grant execute on function mc_begin_again_2(smallint, uuid, uuid, smallint[], smallint, text, uuid, smallint, text) to mc_engine;

-- What processes of the release before call, and every retry: of whatever version it runs by then.
create or replace function mc_begin_again(p_shard smallint, p_tenant uuid, p_exec uuid, p_statuses smallint[], p_kind smallint, p_event text)
returns table (known boolean, status smallint, generation smallint)
language plpgsql set search_path = maestro set enable_seqscan = off as $$
begin
  return query select b.known, b.status, b.generation
    from mc_begin_again_2(p_shard, p_tenant, p_exec, p_statuses, p_kind, p_event, null, null, null) b;
end $$;

-- The tasks of steps (ADR-102): one begins in the commit of the event that tells of it, and is cancelled in that of the event for which
-- its execution stops; what ends without a word of its worker (a dead letter, a defect) has its open tasks cancelled by a trigger, in
-- the transaction that ends it. The way back is message 6 of the inbox (mc_task_tell). Executions are locked before their tasks.
-- Locks: a brief one on `workflow_executions` for the trigger; functions are new but for `mc_unread`, whose arguments and answer stay.

set local search_path = maestro;

-- Where duties are separated, whoever has answered a task of the same execution before may not answer this one either.
create function mc_task_separated(p_shard smallint, p_tasks text) returns text
language sql stable set search_path = maestro set enable_seqscan = off as $$
  select coalesce(jsonb_agg(case when (x.value -> 'state' ->> 'separation_of_duties')::boolean and c.closed is not null then
      x.value || jsonb_build_object('closed_to', to_jsonb(c.closed), 'state', x.value -> 'state' || jsonb_build_object('excluded', to_jsonb(c.closed)),
        'people', coalesce((select jsonb_agg(p.value) from jsonb_array_elements(x.value -> 'people') p
                             where substr(p.value ->> 0, 6) <> all (c.closed) or p.value ->> 0 not like 'user:%'), '[]'))
      else x.value end order by x.ordinality), '[]')::text
    from jsonb_array_elements(p_tasks::jsonb) with ordinality x cross join lateral (
      select array_agg(distinct o.who #>> '{}') as closed from (
        select y.who from jsonb_path_query(x.value, '$.state.excluded[*]') y (who)
        union all
        select y.who from human_tasks t cross join lateral jsonb_path_query(t.state, '$.answers[*].by.subject') y (who)
         where t.shard = p_shard and t.execution_id = (x.value ->> 'execution_id')::uuid and t.status = 4) o) c
$$;

-- As mc_flush_3; before it tasks (`t_open`, as mc_task_open reads them, of the executions `t_exec`) begin, then all that are open of the
-- executions x_exec are cancelled. A batch that opens and stops tasks of one execution leaves them cancelled.
create function mc_flush_4(p_shard smallint, p_me bigint, p_epoch bigint, s_tenant uuid[], s_exec uuid[], s_step int[], s_item int[], s_gen smallint[],
  s_attempt int[], s_status smallint[], s_age float8[], s_open boolean[], s_result text[], v_tenant uuid[], v_exec uuid[], v_seq
  int[], v_kind smallint[], v_data text[], f_id uuid[], f_status smallint[], f_wait smallint[], f_wake float8[], f_seen int[],
  f_output text[], f_error text[], r_id uuid[], i_exec uuid[], i_n int[],
  c_parent uuid[], c_id uuid[], c_tenant uuid[],
  c_workflow uuid[], c_version uuid[], c_namespace text[], c_region text[], c_priority int[], c_timeout float8[], c_input text[],
  c_meta text[], c_event text[], c_labels text[],
  m_tenant uuid[], m_exec uuid[], m_kind smallint[], m_data text[],
  t_exec uuid[], t_open text, x_exec uuid[], x_reason text[])
returns table (live int, closed int)
language plpgsql set search_path = maestro set enable_seqscan = off as $$
declare v_stop record; v_ended uuid[];
begin
  perform 1 from workers w where w.shard = p_shard and w.id = p_me and w.epoch = p_epoch for key share;
  if not found then
    return query select 0, 0;
    return;
  end if;
  select array_agg(x.i) into v_ended from unnest(f_id, f_status) x (i, t) where x.t not in (0, 3);
  perform mc_family_lock(p_shard, v_ended, f_id || r_id || c_parent || m_exec || t_exec || x_exec);
  if cardinality(t_exec) > 0 then
    -- What has tasks is known by its row: whatever ends it looks for them.
    update workflow_executions e set meta = e.meta || '{"tasks": true}'
     where e.shard = p_shard and e.id between mc_lo(t_exec) and mc_hi(t_exec) and e.id = any (t_exec) and e.owner = p_me
       and not e.meta ? 'tasks';
    perform mc_task_open(p_shard, mc_task_separated(p_shard, t_open));
  end if;
  for v_stop in select x.e, x.r from unnest(x_exec, x_reason) with ordinality x (e, r, o) order by x.e, x.o loop
    perform mc_task_cancel(p_shard, array[v_stop.e], v_stop.r);
  end loop;
  return query select f.live, f.closed from mc_flush_3(p_shard, p_me, p_epoch, s_tenant, s_exec, s_step, s_item, s_gen, s_attempt, s_status, s_age, s_open, s_result, v_tenant, v_exec,
    v_seq, v_kind, v_data, f_id, f_status, f_wait, f_wake, f_seen, f_output, f_error, r_id, i_exec, i_n, c_parent, c_id, c_tenant,
    c_workflow, c_version, c_namespace, c_region, c_priority, c_timeout, c_input, c_meta, c_event, c_labels, m_tenant, m_exec, m_kind,
    m_data) f;
end $$;

-- The end of an execution that had tasks, whoever ends it: what is still open is cancelled, and can't be answered any more.
create function mc_tasks_ended() returns trigger
language plpgsql set search_path = maestro set enable_seqscan = off as $$
begin
  perform mc_task_cancel(new.shard, array[new.id], 'the execution has ended');
  return null;
end $$;
create trigger tasks_ended after update on workflow_executions for each row
  when (old.status not in (2, 4, 5, 6, 7) and new.status in (2, 4, 5, 6, 7) and new.meta ? 'tasks')
  execute function mc_tasks_ended();

-- As before; what is to be cancelled takes no answer any more: it is said to be what it is about to become.
create or replace function mc_task_tell(p_shard smallint, p_tenant uuid, p_task uuid) returns table (known boolean, status smallint, n int)
language plpgsql set search_path = maestro set enable_seqscan = off as $$
declare v_task record;
begin
  select t.id, t.execution_id, t.step, t.generation, t.state into v_task from human_tasks t
   where t.shard = p_shard and t.id = p_task and t.tenant_id = p_tenant and t.execution_id is not null and t.status >= 4;
  if not found then
    return query select false, null::smallint, 0;
    return;
  end if;
  if exists (select 1 from workflow_executions e where e.shard = p_shard and e.id = v_task.execution_id and e.tenant_id = p_tenant
                and e.status in (0, 1, 3) and e.cancel_requested) then
    return query select true, 5::smallint, 0;
    return;
  end if;
  return query select m.known, m.status, m.n from mc_send_3(p_shard, p_tenant, v_task.execution_id, 6::smallint, jsonb_build_object(
    'actor', v_task.state -> 'ended_by', 'task', v_task.id, 'step', v_task.step, 'generation', v_task.generation,
    'status', v_task.state -> 'status', 'outcome', v_task.state -> 'outcome', 'response', v_task.state -> 'response',
    'at', v_task.state -> 'ended_at')::text, false, false) m;
end $$;

-- As before, and an answer that was never read is told by its word.
create or replace function mc_unread(p_shard smallint, p_exec uuid[]) returns void
language plpgsql set search_path = maestro set enable_seqscan = off as $$
declare v_exec uuid[]; v_tenant uuid[]; v_seq int[]; v_data text[];
begin
  select array_agg(x.e), array_agg(x.t), array_agg(x.q), array_agg(x.d) into v_exec, v_tenant, v_seq, v_data from (
    select b.execution_id as e, b.tenant_id as t,
           (select max(p.seq) from execution_events p where p.shard = p_shard and p.execution_id = b.execution_id)
             + row_number() over (partition by b.execution_id order by b.n) as q,
           (b.data || jsonb_build_object('n', b.n, 'message', case b.kind when 1 then 'cancel' when 2 then 'signal' when 3 then 'pause'
              when 4 then 'resume' when 5 then 'child_ended' when 6 then 'human_task_ended' when 9 then 'resolve_in_doubt' end))::text as d
      from execution_inbox b where b.shard = p_shard and b.execution_id = any (p_exec)) x;
  if v_exec is null then
    return;
  end if;
  insert into execution_events as ev (shard, kind, seq, execution_id, tenant_id, ts, data)
    select s.shard, 34, x.q, x.e, x.t, pg_catalog.now(), x.d::jsonb
      from shards s, unnest(v_exec, v_tenant, v_seq, v_data) x (e, t, q, d) where s.shard = p_shard;
  delete from execution_inbox b where b.shard = p_shard and b.execution_id = any (v_exec);
  perform mc_feed(p_shard, v_exec, v_seq, array_fill(34::smallint, array[cardinality(v_exec)]), false);
end $$;

revoke execute on function mc_task_separated(smallint, text), mc_tasks_ended(), mc_flush_4(smallint, bigint, bigint, uuid[], uuid[], int[], int[], smallint[], int[], smallint[], float8[], boolean[], text[], uuid[],
  uuid[], int[], smallint[], text[], uuid[], smallint[], smallint[], float8[], int[], text[], text[], uuid[], uuid[], int[], uuid[],
  uuid[], uuid[], uuid[], uuid[], text[], text[], int[], float8[], text[], text[], text[], text[], uuid[], uuid[], smallint[],
  text[], uuid[], text, uuid[], text[]) from public;
grant execute on function mc_task_separated(smallint, text), mc_tasks_ended(), mc_flush_4(smallint, bigint, bigint, uuid[], uuid[], int[], int[], smallint[], int[], smallint[], float8[], boolean[], text[], uuid[],
  uuid[], int[], smallint[], text[], uuid[], smallint[], smallint[], float8[], int[], text[], text[], uuid[], uuid[], int[], uuid[],
  uuid[], uuid[], uuid[], uuid[], text[], text[], int[], float8[], text[], text[], text[], text[], uuid[], uuid[], smallint[],
  text[], uuid[], text, uuid[], text[]) to mc_engine;

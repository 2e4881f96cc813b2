-- A message that was accepted and is read by nobody any more is told: an event behind the one that ends the execution.
-- Locks: none, all functions are new. mc_flush and mc_takeover_2 stay for one release.
--
-- Messages are accepted under the lock of the execution's row (mc_send_2), and it ends under the same lock: so a
-- message is either refused, or in the inbox when mc_unread looks. Before, it was deleted there unread.

set local search_path = maestro;

-- Executions that have ended: what lies in their inboxes becomes events, in its order, and is taken away. The caller holds their rows.
create function mc_unread(p_shard smallint, p_exec uuid[]) returns void
language plpgsql set search_path = maestro set enable_seqscan = off as $$
declare v_exec uuid[]; v_tenant uuid[]; v_seq int[]; v_data text[];
begin
  select array_agg(x.e), array_agg(x.t), array_agg(x.q), array_agg(x.d) into v_exec, v_tenant, v_seq, v_data from (
    select b.execution_id as e, b.tenant_id as t,
           (select max(p.seq) from execution_events p where p.shard = p_shard and p.execution_id = b.execution_id)
             + row_number() over (partition by b.execution_id order by b.n) as q,
           (b.data || jsonb_build_object('n', b.n, 'message', case b.kind when 1 then 'cancel' when 2 then 'signal' when 3 then 'pause'
              when 4 then 'resume' when 9 then 'resolve_in_doubt' end))::text as d
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

-- As mc_flush; what an execution that ends has not read is told.
create function mc_flush_2(p_shard smallint, p_me bigint, p_epoch bigint, s_tenant uuid[], s_exec uuid[], s_step int[], s_item int[], s_gen smallint[], s_attempt int[], s_status smallint[], s_age float8[], s_open boolean[], s_result text[], v_tenant uuid[], v_exec uuid[], v_seq int[], v_kind smallint[], v_data text[], f_id uuid[], f_status smallint[], f_wait smallint[], f_wake float8[], f_seen int[], f_output text[], f_error text[], r_id uuid[], i_exec uuid[], i_n int[])
returns table(live int, closed int)
language plpgsql set search_path = maestro set enable_seqscan = off as $$
declare v_closed int := 0; v_lo uuid := mc_lo(f_id); v_hi uuid := mc_hi(f_id); v_ended uuid[];
begin
  perform 1 from workers w where w.shard = p_shard and w.id = p_me and w.epoch = p_epoch for key share;
  if not found then
    return query select 0, 0;
    return;
  end if;
  if cardinality(s_exec) > 0 then
    insert into step_executions as s (shard, status, step, execution_id, tenant_id, attempt, generation, item, started_at, finished_at, result)
      select w.shard, x.st, x.s, x.e, x.t, x.a, x.g, x.i, pg_catalog.now() - make_interval(secs => x.age),
             case when x.o then 'infinity' else pg_catalog.now() end, x.r::jsonb
        from workers w, unnest(s_tenant, s_exec, s_step, s_item, s_gen, s_attempt, s_status, s_age, s_open, s_result)
             x (t, e, s, i, g, a, st, age, o, r)
       where w.shard = p_shard and w.id = p_me
      on conflict (execution_id, step, item, generation, attempt, shard) do update
        set status = excluded.status, finished_at = excluded.finished_at, result = excluded.result
        where s.finished_at = 'infinity';
  end if;
  if cardinality(v_exec) > 0 then
    insert into execution_events as ev (shard, kind, seq, execution_id, tenant_id, ts, data)
      select w.shard, x.k, x.n, x.e, x.t, pg_catalog.now(), x.d::jsonb
        from workers w, unnest(v_tenant, v_exec, v_seq, v_kind, v_data) x (t, e, n, k, d)
       where w.shard = p_shard and w.id = p_me;
    perform mc_feed(p_shard, v_exec, v_seq, v_kind, false);
  end if;
  if cardinality(i_exec) > 0 then
    delete from execution_inbox b using unnest(i_exec, i_n) x (e, n)
     where b.shard = p_shard and b.execution_id = any (i_exec) and b.execution_id = x.e and b.n = x.n;
  end if;
  if cardinality(r_id) > 0 then
    update workflow_executions e set takeovers = 0
     where e.shard = p_shard and e.id between mc_lo(r_id) and mc_hi(r_id) and e.id = any (r_id) and e.owner = p_me;
  end if;
  if cardinality(f_id) > 0 then
    update workflow_executions e
       set status = case when x.t = 3 and e.inbox > x.seen then 0 else x.t end,
           wait = case when x.t = 3 and e.inbox <= x.seen then x.w end,
           wake_at = case when x.t = 3 and e.inbox <= x.seen and x.wk is not null then pg_catalog.now() + make_interval(secs => x.wk) end,
           output = x.o::jsonb, error = x.er::jsonb, owner = null, takeovers = 0,
           finished_at = case when x.t in (0, 3) then null else pg_catalog.now() end
      from unnest(f_id, f_status, f_wait, f_wake, f_seen, f_output, f_error) x (i, t, w, wk, seen, o, er)
     where e.shard = p_shard and e.id between v_lo and v_hi and e.id = any (f_id) and e.id = x.i and e.owner = p_me;
    get diagnostics v_closed = row_count;
    -- With a live fence every closed row is owned; fewer are a defect, and nothing of this call may stay.
    if v_closed <> cardinality(f_id) then
      raise exception 'only % of % executions to close are owned', v_closed, cardinality(f_id) using errcode = 'MC004';
    end if;
    -- What came too late for what has ended is no word to a later generation: it is told as unread. The rows are locked by now.
    select array_agg(x.i) into v_ended from unnest(f_id, f_status) x (i, t) where x.t not in (0, 3);
    perform mc_unread(p_shard, v_ended);
  end if;
  return query select 1, v_closed;
end $$;

-- As mc_takeover_2; what a dead letter has not read is told.
create function mc_takeover_3(p_shard smallint, p_me bigint, p_epoch bigint, p_limit int)
returns setof workflow_executions
language plpgsql set search_path = maestro set enable_seqscan = off as $$
declare v_ids uuid[]; v_left boolean[]; v_lost jsonb[]; v_lo uuid; v_hi uuid; v_dead uuid[];
  v_error jsonb := jsonb_build_object('type', 'poison', 'retryable', false, 'message',
    'Three workers were lost while they ran this execution, the last one while it ran nothing else.');
begin
  perform 1 from workers w where w.shard = p_shard and w.id = p_me and w.epoch = p_epoch for key share;
  if not found then
    raise exception 'this worker was fenced off' using errcode = 'MC002';
  end if;
  select array_agg(d.id), array_agg(d.has_left), array_agg(d.lost) into v_ids, v_left, v_lost from
    (select e.id, w.left_at is not null as has_left,
            jsonb_build_object('worker', w.host, 'id', w.id::text, 'started_at', w.started_at) as lost
       from workflow_executions e, workers w where w.shard = p_shard and w.dead
        and e.shard = p_shard and e.status = 1 and e.owner = w.id limit p_limit for update of e skip locked) d;
  if v_ids is null then
    return;
  end if;
  v_lo := mc_lo(v_ids);
  v_hi := mc_hi(v_ids);
  update workflow_executions e set epoch = e.epoch + 1, takeovers = x.t, status = x.st,
         owner = case when x.st = 1 then p_me end,
         finished_at = case when x.st = 6 then pg_catalog.now() end,
         error = case when x.st = 6 then v_error end
    from (select c.id, c.t, case when c.t >= 3 then 6 when c.t = 2 then 0 else 1 end as st
            from (select o.id, o.takeovers + case when y.has_left then 0 else 1 end as t
                    from workflow_executions o, unnest(v_ids, v_left) y (id, has_left)
                   where o.shard = p_shard and o.id between v_lo and v_hi and o.id = any (v_ids) and o.id = y.id) c) x
   where e.shard = p_shard and e.id between v_lo and v_hi and e.id = any (v_ids) and e.id = x.id;
  insert into execution_events as ev (shard, kind, seq, execution_id, tenant_id, ts, data)
    select w.shard, 13, (select max(p.seq) + 1 from execution_events p where p.shard = p_shard and p.execution_id = e.id),
           e.id, e.tenant_id, pg_catalog.now(), jsonb_build_object('lost', x.lost, 'handed_over', x.has_left,
             'takeovers', e.takeovers, 'worker', case when e.status = 1 then w.host end)
      from workers w, workflow_executions e, unnest(v_ids, v_left, v_lost) x (id, has_left, lost)
     where w.shard = p_shard and w.id = p_me
       and e.shard = p_shard and e.id between v_lo and v_hi and e.id = any (v_ids) and e.id = x.id;
  select array_agg(e.id) into v_dead from workflow_executions e
   where e.shard = p_shard and e.id between v_lo and v_hi and e.id = any (v_ids) and e.status = 6;
  if v_dead is not null then
    insert into execution_events as ev (shard, kind, seq, execution_id, tenant_id, ts, data)
      select w.shard, 14, (select max(p.seq) + 1 from execution_events p where p.shard = p_shard and p.execution_id = e.id),
             e.id, e.tenant_id, pg_catalog.now(), jsonb_build_object('error', v_error)
        from workers w, workflow_executions e
       where w.shard = p_shard and w.id = p_me
         and e.shard = p_shard and e.id between v_lo and v_hi and e.id = any (v_dead);
    insert into dead_letters as l (execution_id, generation, shard, tenant_id, reason, error, losses, evidence)
      select e.id, e.generation, w.shard, e.tenant_id, 'owner_lost', v_error, e.takeovers, jsonb_build_object(
               'lost', (select jsonb_agg(t.data -> 'lost' || jsonb_build_object('lost_at', t.ts) order by t.seq)
                          from (select p.seq, p.ts, p.data from execution_events p where p.shard = p_shard
                                   and p.execution_id = e.id and p.kind = 13 and not (p.data ->> 'handed_over')::boolean
                                 order by p.seq desc limit e.takeovers) t),
               'events', (select jsonb_agg(jsonb_build_object('sequence', t.seq, 'kind', t.kind, 'at', t.ts, 'data', t.data)
                                           order by t.seq)
                            from (select p.* from execution_events p where p.shard = p_shard and p.execution_id = e.id
                                   order by p.seq desc limit 20) t))
        from workers w, workflow_executions e
       where w.shard = p_shard and w.id = p_me
         and e.shard = p_shard and e.id between v_lo and v_hi and e.id = any (v_dead);
    perform mc_unread(p_shard, v_dead);
  end if;
  perform mc_feed(p_shard, array_agg(v.execution_id), array_agg(v.seq), array_agg(v.kind), true) from execution_events v
   where v.shard = p_shard and v.execution_id between v_lo and v_hi and v.execution_id = any (v_ids) and v.kind in (13, 14)
     and v.ts = pg_catalog.now();
  return query select e.* from workflow_executions e
   where e.shard = p_shard and e.id between v_lo and v_hi and e.id = any (v_ids);
end $$;

revoke execute on function mc_unread(smallint, uuid[]), mc_takeover_3(smallint, bigint, bigint, int),
  mc_flush_2(smallint, bigint, bigint, uuid[], uuid[], int[], int[], smallint[], int[], smallint[], float8[], boolean[], text[], uuid[], uuid[], int[], smallint[], text[], uuid[], smallint[], smallint[], float8[], int[], text[], text[], uuid[], uuid[], int[]) from public;
grant execute on function mc_unread(smallint, uuid[]), mc_takeover_3(smallint, bigint, bigint, int),
  mc_flush_2(smallint, bigint, bigint, uuid[], uuid[], int[], int[], smallint[], int[], smallint[], float8[], boolean[], text[], uuid[], uuid[], int[], smallint[], text[], uuid[], smallint[], smallint[], float8[], int[], text[], text[], uuid[], uuid[], int[]) to mc_engine;

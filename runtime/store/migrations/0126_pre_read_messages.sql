-- Messages that a flush has acted on are deleted by a probe for each: two thousand at once took two and a half seconds, in the square of their number.
-- Locks: none that matter; a function is replaced in place, since its arguments, its answer and what it does are the same.

set local search_path = maestro;

-- As before, but for the deletion of messages.
create or replace function mc_flush_2(p_shard smallint, p_me bigint, p_epoch bigint, s_tenant uuid[], s_exec uuid[], s_step integer[], s_item integer[], s_gen smallint[], s_attempt integer[], s_status smallint[], s_age double precision[], s_open boolean[], s_result text[], v_tenant uuid[], v_exec uuid[], v_seq integer[], v_kind smallint[], v_data text[], f_id uuid[], f_status smallint[], f_wait smallint[], f_wake double precision[], f_seen integer[], f_output text[], f_error text[], r_id uuid[], i_exec uuid[], i_n integer[])
returns table (live integer, closed integer)
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
    -- By a probe for each: joined to the arrays, one row would be expected of an inbox that was empty when it was looked at, and the
    -- arrays read from their beginning for each message that there is.
    delete from execution_inbox b where b.shard = p_shard and b.ctid = any (array(
      select m.ctid from unnest(i_exec, i_n) x (e, n) cross join lateral (
        select i.ctid from execution_inbox i where i.shard = p_shard and i.execution_id = x.e and i.n = x.n limit 1) m));
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
     -- Not `e.owner = p_me`: by the statistics of a quiet moment nobody owns anything, so one row would be expected, and the arrays
     -- read from their beginning for each of the two thousand that there are.
     where e.shard = p_shard and e.id between v_lo and v_hi and e.id = any (f_id) and e.id = x.i and coalesce(e.owner = p_me, false);
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

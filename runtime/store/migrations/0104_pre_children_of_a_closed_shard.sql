-- A closed shard accepts nothing, and brings what runs there to an end: the children that it starts too. They are no acceptance, so
-- their rows do not ask whether the shard is open (`mc_enqueue_2` does, and its refusal ended the worker that had asked).
-- Locks: none. The function is replaced in place: arguments and answer stay.

set local search_path = maestro;

-- As mc_flush_2; before it, children (c_*) begin, queued, and words (m_*) are left for children, by their numbers: rows are
-- locked from the leaves up, as a child's end locks its parent. `c_parent` starts them and is owned by the caller.
create or replace function mc_flush_3(p_shard smallint, p_me bigint, p_epoch bigint, s_tenant uuid[], s_exec uuid[], s_step int[], s_item int[], s_gen smallint[], s_attempt int[], s_status smallint[], s_age float8[], s_open boolean[], s_result text[], v_tenant uuid[], v_exec uuid[], v_seq int[], v_kind smallint[], v_data text[], f_id uuid[], f_status smallint[], f_wait smallint[], f_wake float8[], f_seen int[], f_output text[], f_error text[], r_id uuid[], i_exec uuid[], i_n int[],
  c_parent uuid[], c_id uuid[], c_tenant uuid[], c_workflow uuid[], c_version uuid[], c_namespace text[], c_region text[], c_priority int[], c_timeout float8[], c_input text[], c_meta text[], c_event text[], c_labels text[],
  m_tenant uuid[], m_exec uuid[], m_kind smallint[], m_data text[])
returns table (live int, closed int)
language plpgsql set search_path = maestro set enable_seqscan = off as $$
declare v_word record;
begin
  perform 1 from workers w where w.shard = p_shard and w.id = p_me and w.epoch = p_epoch for key share;
  if not found then
    return query select 0, 0;
    return;
  end if;
  if cardinality(c_id) > 0 then
    insert into workflow_executions as e (id, shard, tenant_id, workflow_id, version_id, status, epoch, namespace, region, priority, deadline,
        input, meta)
      select x.i, w.shard, x.t, x.w, x.v, 0, 0, x.n, x.r, x.p,
             case when x.ti is not null then least(pg_catalog.now() + make_interval(secs => x.ti), '9999-01-01') end, x.inp::jsonb, x.m::jsonb
        from workers w, unnest(c_id, c_tenant, c_workflow, c_version, c_namespace, c_region, c_priority, c_timeout, c_input, c_meta)
             x (i, t, w, v, n, r, p, ti, inp, m)
       where w.shard = p_shard and w.id = p_me;
    insert into execution_events as ev (shard, kind, seq, execution_id, tenant_id, ts, data)
      select w.shard, 1, 1, x.i, x.t, pg_catalog.now(), x.e::jsonb
        from workers w, unnest(c_id, c_tenant, c_event) x (i, t, e) where w.shard = p_shard and w.id = p_me;
    insert into execution_labels as l (tenant_id, shard, key, value, execution_id)
      select x.t, w.shard, j.key, j.value, x.i
        from workers w, unnest(c_id, c_tenant, c_labels) x (i, t, l) cross join lateral jsonb_each_text(x.l::jsonb) j
       where w.shard = p_shard and w.id = p_me and x.l is not null;
    perform mc_feed(p_shard, c_id, array_fill(1, array[cardinality(c_id)]), array_fill(1::smallint, array[cardinality(c_id)]), false);
  end if;
  for v_word in select x.t, x.e, x.k, x.d from unnest(m_tenant, m_exec, m_kind, m_data) with ordinality x (t, e, k, d, o) order by x.e, x.o loop
    perform mc_send_3(p_shard, v_word.t, v_word.e, v_word.k, v_word.d, v_word.k = 1, v_word.k = 4);
  end loop;
  if cardinality(c_id) > 0 then
    -- What has children is known by its row: whatever ends it looks for them.
    update workflow_executions e set meta = e.meta || '{"children": true}'
     where e.shard = p_shard and e.id between mc_lo(c_parent) and mc_hi(c_parent) and e.id = any (c_parent) and e.owner = p_me
       and not e.meta ? 'children';
  end if;
  return query select f.live, f.closed from mc_flush_2(p_shard, p_me, p_epoch, s_tenant, s_exec, s_step, s_item, s_gen, s_attempt,
    s_status, s_age, s_open, s_result, v_tenant, v_exec, v_seq, v_kind, v_data, f_id, f_status, f_wait, f_wake, f_seen, f_output,
    f_error, r_id, i_exec, i_n) f;
end $$;

-- What a key means is read once: four statements asked for it, each for every execution of a batch, and most executions have no key.
-- Without keys or labels nothing looks for any.
-- Locks: none; the function is replaced, with the same arguments and results.

set local search_path = maestro;

create or replace function mc_enqueue_2(p_shard smallint, p_me bigint, p_epoch bigint, p_born boolean[], p_id uuid[], p_tenant uuid[], p_workflow uuid[], p_version uuid[], p_namespace text[], p_region text[], p_priority integer[], p_timeout double precision[], p_wake timestamp with time zone[], p_input text[], p_meta text[], p_key text[], p_digest bytea[], p_event text[], p_labels text[])
  returns table (ordinal int, id uuid, fresh boolean, same boolean, at timestamptz, born boolean)
language plpgsql set search_path = maestro set enable_seqscan = off as $$
declare v_born boolean := false; v_tenants uuid[]; v_workflows uuid[];
  v_result uuid[] := p_id; v_same boolean[]; v_gone boolean;
begin
  -- Whoever closes a shard takes its row `for update` before he sets `open`: a plain update of that column would pass
  -- beside this `for key share`, and an enqueue under way would commit after the shard was thought to be still.
  perform 1 from shards s where s.shard = p_shard and s.open for key share;
  if not found then
    raise exception 'shard % is closed while it is being moved', p_shard using errcode = 'MC001';
  end if;
  if p_me is not null then
    -- The fence, as of every function that makes a worker an owner: a takeover waits for this, or this finds it done.
    perform 1 from workers w where w.shard = p_shard and w.id = p_me and w.epoch = p_epoch for key share;
    v_born := found and not exists
      (select 1 from workflow_executions e where e.shard = p_shard and e.status = 0 and e.takeovers < 2);
    if v_born and mc_has_limits() then
      select array_agg(l.tenant) filter (where l.workflow is null), array_agg(l.workflow) into v_tenants, v_workflows
        from mc_limits_of(p_shard, p_tenant, p_workflow) l;
      p_born := array(select x.b and not (coalesce(x.t = any (v_tenants), false) or coalesce(x.w = any (v_workflows), false))
        from unnest(p_born, p_tenant, p_workflow) with ordinality x (b, t, w, o) order by x.o);
    end if;
  end if;
  if num_nonnulls(variadic p_key) > 0 then
    insert into idempotency_keys as k (tenant_id, operation, key, shard, body_digest, result_id)
      select x.t, 'enqueue_execution', x.k, s.shard, x.d, x.i
        from shards s, unnest(p_tenant, p_key, p_digest, p_id) x (t, k, d, i)
       where s.shard = p_shard and x.k is not null order by x.t, x.k
      on conflict do nothing;
    -- By a probe for each: a table that was empty when it was looked at would be joined row by row.
    select array_agg(coalesce(k.result_id, x.i) order by x.o), array_agg(k.body_digest is null or k.body_digest = x.d order by x.o),
           bool_or(x.k is not null and k.result_id is null)
      into v_result, v_same, v_gone
      from unnest(p_id, p_tenant, p_key, p_digest) with ordinality x (i, t, k, d, o)
      left join lateral (select i.result_id, i.body_digest from idempotency_keys i where i.shard = p_shard and i.tenant_id = x.t
        and i.operation = 'enqueue_execution' and i.key = x.k limit 1) k on true;
    -- A key that was there at the insert and is gone now was deleted by retention in between; the caller sends again.
    if v_gone then
      raise exception 'an idempotency key expired meanwhile' using errcode = '40001';
    end if;
  end if;
  insert into workflow_executions as e (id, shard, tenant_id, workflow_id, version_id, status, wait, wake_at, owner, epoch,
      started_at, namespace, region, priority, deadline, input, meta)
    select x.i, s.shard, x.t, x.w, x.v, case when x.wk is not null then 3 when v_born and x.b then 1 else 0 end,
           case when x.wk is not null then 0 end, x.wk, case when v_born and x.b and x.wk is null then p_me end,
           case when v_born and x.b and x.wk is null then 1 else 0 end, case when v_born and x.b and x.wk is null then pg_catalog.now() end,
           x.n, x.r, x.p, case when x.ti is not null then least(greatest(x.wk, pg_catalog.now()) + make_interval(secs => x.ti), '9999-01-01') end,
           x.inp::jsonb, x.m::jsonb
      from shards s, unnest(p_born, p_id, p_tenant, p_workflow, p_version, p_namespace, p_region, p_priority, p_timeout, p_wake,
                            p_input, p_meta, v_result) x (b, i, t, w, v, n, r, p, ti, wk, inp, m, res)
     where s.shard = p_shard and x.res = x.i;
  insert into execution_events as ev (shard, kind, seq, execution_id, tenant_id, ts, data)
    select s.shard, 1, 1, x.i, x.t, pg_catalog.now(), x.e::jsonb
      from shards s, unnest(p_id, p_tenant, p_event, v_result) x (i, t, e, res) where s.shard = p_shard and x.res = x.i;
  if num_nonnulls(variadic p_labels) > 0 then
    insert into execution_labels as l (tenant_id, shard, key, value, execution_id)
      select x.t, s.shard, j.key, j.value, x.i
        from shards s, unnest(p_id, p_tenant, p_labels, v_result) x (i, t, l, res) cross join lateral jsonb_each_text(x.l::jsonb) j
       where s.shard = p_shard and x.l is not null and x.res = x.i;
  end if;
  -- With a known key nothing was written and the feed's row finds nothing: cheaper than asking again.
  perform mc_feed(p_shard, p_id, array_fill(1, array[cardinality(p_id)]), array_fill(1::smallint, array[cardinality(p_id)]), false);
  return query
    select x.o::int, x.res, x.res = x.i, coalesce(x.m, true), pg_catalog.now(), v_born and x.b and x.wk is null and x.res = x.i
      from unnest(p_id, v_result, v_same, p_born, p_wake) with ordinality x (i, res, m, b, wk, o) order by x.o;
end $$;

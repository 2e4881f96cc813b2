-- Born owned: an execution that its acceptance starts. When the process that accepts has a worker with free places and nothing
-- waits in the shard, the row is inserted running and owned by that worker: no hint, no claim.
-- Locks: none that matter, the function is new. `mc_enqueue` stays for workers of the release before.

set local search_path = maestro;

-- As mc_enqueue, with the worker that offers places (p_me, p_epoch; null when none does) and, per item, whether it is to be
-- born there. Decided here, in the same transaction: a worker that was fenced off in the meantime owns nothing, and what
-- waits already is not overtaken; then the items are queued like any. Suspects wait for a process of their own, not for a
-- place, so they count as nobody's backlog. `born` says which items the worker owns now.
create function mc_enqueue_2(p_shard smallint, p_me bigint, p_epoch bigint, p_born boolean[], p_id uuid[], p_tenant uuid[],
  p_workflow uuid[], p_version uuid[], p_namespace text[], p_region text[], p_priority int[], p_timeout float8[],
  p_wake timestamptz[], p_input text[], p_meta text[], p_key text[], p_digest bytea[], p_event text[], p_labels text[])
returns table (ordinal int, id uuid, fresh boolean, same boolean, at timestamptz, born boolean)
language plpgsql set search_path = maestro set enable_seqscan = off as $$
declare v_born boolean := false;
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
  end if;
  insert into idempotency_keys as k (tenant_id, operation, key, shard, body_digest, result_id)
    select x.t, 'enqueue_execution', x.k, s.shard, x.d, x.i
      from shards s, unnest(p_tenant, p_key, p_digest, p_id) x (t, k, d, i)
     where s.shard = p_shard and x.k is not null order by x.t, x.k
    on conflict do nothing;
  insert into workflow_executions as e (id, shard, tenant_id, workflow_id, version_id, status, wait, wake_at, owner, epoch,
      started_at, namespace, region, priority, deadline, input, meta)
    select x.i, s.shard, x.t, x.w, x.v, case when x.wk is not null then 3 when v_born and x.b then 1 else 0 end,
           case when x.wk is not null then 0 end, x.wk, case when v_born and x.b and x.wk is null then p_me end,
           case when v_born and x.b and x.wk is null then 1 else 0 end, case when v_born and x.b and x.wk is null then pg_catalog.now() end,
           x.n, x.r, x.p, case when x.ti is not null then least(greatest(x.wk, pg_catalog.now()) + make_interval(secs => x.ti), '9999-01-01') end,
           x.inp::jsonb, x.m::jsonb
      from shards s, unnest(p_born, p_id, p_tenant, p_workflow, p_version, p_namespace, p_region, p_priority, p_timeout, p_wake,
                            p_input, p_meta, p_key) x (b, i, t, w, v, n, r, p, ti, wk, inp, m, k)
     where s.shard = p_shard and (x.k is null or exists (select 1 from idempotency_keys k where k.shard = p_shard
       and k.tenant_id = x.t and k.operation = 'enqueue_execution' and k.key = x.k and k.result_id = x.i));
  insert into execution_events as ev (shard, kind, seq, execution_id, tenant_id, ts, data)
    select s.shard, 1, 1, x.i, x.t, pg_catalog.now(), x.e::jsonb
      from shards s, unnest(p_id, p_tenant, p_key, p_event) x (i, t, k, e)
     where s.shard = p_shard and (x.k is null or exists (select 1 from idempotency_keys k where k.shard = p_shard
       and k.tenant_id = x.t and k.operation = 'enqueue_execution' and k.key = x.k and k.result_id = x.i));
  insert into execution_labels as l (tenant_id, shard, key, value, execution_id)
    select x.t, s.shard, j.key, j.value, x.i
      from shards s, unnest(p_id, p_tenant, p_key, p_labels) x (i, t, k, l) cross join lateral jsonb_each_text(x.l::jsonb) j
     where s.shard = p_shard and x.l is not null and (x.k is null or exists (select 1 from idempotency_keys k
       where k.shard = p_shard and k.tenant_id = x.t and k.operation = 'enqueue_execution' and k.key = x.k and k.result_id = x.i));
  -- With a known key nothing was written and the feed's row finds nothing: cheaper than asking again.
  perform mc_feed(p_shard, p_id, array_fill(1, array[cardinality(p_id)]), array_fill(1::smallint, array[cardinality(p_id)]), false);
  -- A key that was there at the insert and is gone now was deleted by retention in between; the caller sends again.
  if exists (select 1 from unnest(p_tenant, p_key) x (t, k) where x.k is not null and not exists (select 1 from idempotency_keys k
      where k.shard = p_shard and k.tenant_id = x.t and k.operation = 'enqueue_execution' and k.key = x.k)) then
    raise exception 'an idempotency key expired meanwhile' using errcode = '40001';
  end if;
  return query
    select x.o::int, coalesce(k.result_id, x.i), k.result_id is null or k.result_id = x.i, k.body_digest is null or k.body_digest = x.d,
           pg_catalog.now(), v_born and x.b and x.wk is null and (k.result_id is null or k.result_id = x.i)
      from unnest(p_id, p_tenant, p_key, p_digest, p_born, p_wake) with ordinality x (i, t, k, d, b, wk, o)
      left join idempotency_keys k on k.shard = p_shard and k.tenant_id = x.t and k.operation = 'enqueue_execution' and k.key = x.k
     order by x.o;
end $$;
revoke execute on function mc_enqueue_2(smallint, bigint, bigint, boolean[], uuid[], uuid[], uuid[], uuid[], text[], text[], int[],
  float8[], timestamptz[], text[], text[], text[], bytea[], text[], text[]) from public;
grant execute on function mc_enqueue_2(smallint, bigint, bigint, boolean[], uuid[], uuid[], uuid[], uuid[], text[], text[], int[],
  float8[], timestamptz[], text[], text[], text[], bytea[], text[], text[]) to mc_engine;

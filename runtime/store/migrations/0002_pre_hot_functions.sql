-- The hot path: each function is one round trip and one implicit transaction, serves one shard, and keeps the rules that
-- let one text run on PostgreSQL and on Citus: every table has shard = p_shard; no insert inside a CTE; an insert takes
-- its shard from a row of that shard; pg_catalog.now(), never clock_timestamp(). enable_seqscan = off, because a fresh
-- database without statistics would cache a sequential scan inside a nested loop. A changed function gets a new name and
-- the old one stays for one release. Id ranges (`between v_lo and v_hi`) are what prunes the daily partitions:
-- PostgreSQL does not prune by `= any(parameter)`.
-- Locks: none, everything here is new.

set local search_path = maestro;

create function mc_lo(p_ids uuid[]) returns uuid language sql immutable as $$ select x from unnest(p_ids) x order by x limit 1 $$;
create function mc_hi(p_ids uuid[]) returns uuid language sql immutable as $$ select x from unnest(p_ids) x order by x desc limit 1 $$;

-- A new incarnation of a worker. Not fenced: it makes the row that fences.
create function mc_register(p_shard smallint, p_me bigint, p_host text, p_lease interval) returns bigint
language plpgsql set search_path = maestro as $$
declare v_epoch bigint;
begin
  insert into workers as w (id, shard, epoch, lease_until, host)
    select p_me, s.shard, 1, pg_catalog.now() + p_lease, p_host from shards s where s.shard = p_shard
    returning w.epoch into v_epoch;
  return v_epoch;
end $$;

-- The heartbeat. The plain update passes beside the fences' `for key share`. Not found: this incarnation is dead.
-- Also answers what there is to do: dead workers, due timers, and which own executions have unread messages.
create function mc_beat(p_shard smallint, p_me bigint, p_epoch bigint, p_lease interval)
returns table (live int, dead int, due int, queued int, inbox uuid[])
language plpgsql set search_path = maestro set enable_seqscan = off as $$
begin
  update workers w set lease_until = pg_catalog.now() + p_lease
   where w.shard = p_shard and w.id = p_me and w.epoch = p_epoch and not w.dead;
  if not found then
    return query select 0, 0, 0, 0, '{}'::uuid[];
    return;
  end if;
  return query select 1,
    (select count(*)::int from workers w where w.shard = p_shard and (w.dead or w.lease_until < pg_catalog.now()) and w.id <> p_me),
    (select count(*)::int from (select 1 from workflow_executions e where e.shard = p_shard and e.status = 3 and e.wake_at <= pg_catalog.now() limit 1) x),
    (select count(*)::int from (select 1 from workflow_executions e where e.shard = p_shard and e.status = 0 limit 1) x),
    (select coalesce(array_agg(distinct i.execution_id), '{}') from execution_inbox i join workflow_executions e
       on e.id = i.execution_id and e.shard = i.shard where i.shard = p_shard and e.owner = p_me);
end $$;

-- Leave in good order: the row stays until no execution refers to it, marked so that nobody waits for its lease.
create function mc_leave(p_shard smallint, p_me bigint, p_epoch bigint) returns int
language plpgsql set search_path = maestro as $$
begin
  -- As in the takeover: only `for update` waits for a flush or claim of this worker that the server still runs.
  perform 1 from workers w where w.shard = p_shard and w.id = p_me and w.epoch = p_epoch for update;
  update workers w set dead = true, lease_until = 'infinity', epoch = w.epoch + 1
   where w.shard = p_shard and w.id = p_me and w.epoch = p_epoch;
  return (select count(*)::int from workflow_executions e where e.shard = p_shard and e.owner = p_me and e.status = 1);
end $$;

-- Durable acceptance of many executions. Keys first, in key order (two API processes can't deadlock), then executions
-- for the items without a key or whose key row carries their id. Event 1 (queued) and labels go with them. p_timeout is in
-- seconds from the moment at which the execution may start; `at` is when it was accepted.
create function mc_enqueue(p_shard smallint, p_id uuid[], p_tenant uuid[], p_workflow uuid[], p_version uuid[],
  p_namespace text[], p_region text[], p_priority int[], p_timeout float8[], p_wake timestamptz[], p_input text[],
  p_meta text[], p_key text[], p_digest bytea[], p_event text[], p_labels text[])
returns table (ordinal int, id uuid, fresh boolean, same boolean, at timestamptz)
language plpgsql set search_path = maestro set enable_seqscan = off as $$
begin
  -- Whoever closes a shard takes its row `for update` before he sets `open`: a plain update of that column would pass
  -- beside this `for key share`, and an enqueue under way would commit after the shard was thought to be still.
  perform 1 from shards s where s.shard = p_shard and s.open for key share;
  if not found then
    raise exception 'shard % is closed while it is being moved', p_shard using errcode = 'MC001';
  end if;
  insert into idempotency_keys as k (tenant_id, operation, key, shard, body_digest, result_id)
    select x.t, 'enqueue_execution', x.k, s.shard, x.d, x.i
      from shards s, unnest(p_tenant, p_key, p_digest, p_id) x (t, k, d, i)
     where s.shard = p_shard and x.k is not null order by x.t, x.k
    on conflict do nothing;
  insert into workflow_executions as e (id, shard, tenant_id, workflow_id, version_id, status, wait, wake_at, namespace, region,
      priority, deadline, input, meta)
    select x.i, s.shard, x.t, x.w, x.v, case when x.wk is null then 0 else 3 end, case when x.wk is null then null else 0 end,
           x.wk, x.n, x.r, x.p, case when x.ti is not null then least(greatest(x.wk, pg_catalog.now()) + make_interval(secs => x.ti), '9999-01-01') end,
           x.inp::jsonb, x.m::jsonb
      from shards s, unnest(p_id, p_tenant, p_workflow, p_version, p_namespace, p_region, p_priority, p_timeout, p_wake,
                            p_input, p_meta, p_key) x (i, t, w, v, n, r, p, ti, wk, inp, m, k)
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
  -- A key that was there at the insert and is gone now was deleted by retention in between; the caller sends again.
  if exists (select 1 from unnest(p_tenant, p_key) x (t, k) where x.k is not null and not exists (select 1 from idempotency_keys k
      where k.shard = p_shard and k.tenant_id = x.t and k.operation = 'enqueue_execution' and k.key = x.k)) then
    raise exception 'an idempotency key expired meanwhile' using errcode = '40001';
  end if;
  return query
    select x.o::int, coalesce(k.result_id, x.i), k.result_id is null or k.result_id = x.i, k.body_digest is null or k.body_digest = x.d, pg_catalog.now()
      from unnest(p_id, p_tenant, p_key, p_digest) with ordinality x (i, t, k, d, o)
      left join idempotency_keys k on k.shard = p_shard and k.tenant_id = x.t and k.operation = 'enqueue_execution' and k.key = x.k
     order by x.o;
end $$;

-- Take queued executions. The fence makes sure that nobody becomes owner after his takeover; `status = 0` lets one of
-- many deliveries through. What comes back is all that a worker needs to build the state of a fresh or waking execution.
create function mc_claim(p_shard smallint, p_me bigint, p_epoch bigint, p_ids uuid[])
returns setof workflow_executions
language plpgsql set search_path = maestro set enable_seqscan = off as $$
declare v_lo uuid := mc_lo(p_ids); v_hi uuid := mc_hi(p_ids); v_ids uuid[];
begin
  perform 1 from workers w where w.shard = p_shard and w.id = p_me and w.epoch = p_epoch for key share;
  if not found then
    raise exception 'this worker was fenced off' using errcode = 'MC002';
  end if;
  -- A row that another one holds (who claims, cancels or retries it) is passed by, not waited for: it is hinted at again.
  select array_agg(d.id) into v_ids from (select e.id from workflow_executions e
    where e.shard = p_shard and e.id between v_lo and v_hi and e.id = any (p_ids) and e.status = 0 for update skip locked) d;
  return query update workflow_executions e
     set status = 1, owner = p_me, epoch = e.epoch + 1, started_at = least(e.started_at, pg_catalog.now()), wait = null, wake_at = null
   where e.shard = p_shard and e.id between v_lo and v_hi and e.id = any (v_ids) and e.status = 0
   returning e.*;
end $$;

-- Checkpoints of many executions, one commit. Steps and events are inserted, finished and parked executions released.
-- live = 0: fenced off, nothing was written. closed lower than sent: a defect, the caller stops.
-- Steps: s_*; events: v_*; closing rows: f_*. s_age is how long ago the attempt started, in seconds: no host's clock.
-- f_wake is in seconds from now. An at-most-once row that was written before the call is completed by the conflict rule.
create function mc_flush(p_shard smallint, p_me bigint, p_epoch bigint,
  s_tenant uuid[], s_exec uuid[], s_step int[], s_item int[], s_gen smallint[], s_attempt int[], s_status smallint[], s_age float8[],
  s_open boolean[], s_result text[],
  v_tenant uuid[], v_exec uuid[], v_seq int[], v_kind smallint[], v_data text[],
  f_id uuid[], f_status smallint[], f_wait smallint[], f_wake float8[], f_seen int[], f_output text[], f_error text[],
  r_id uuid[], i_exec uuid[], i_n int[])
returns table (live int, closed int)
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
    -- A message that came too late for what has ended is no word to a later generation. The rows are locked by now.
    select array_agg(x.i) into v_ended from unnest(f_id, f_status) x (i, t) where x.t not in (0, 3);
    delete from execution_inbox b where b.shard = p_shard and b.execution_id = any (v_ended);
  end if;
  return query select 1, v_closed;
end $$;

-- Wake what is due: straight into the hands of the worker that asks.
create function mc_due(p_shard smallint, p_me bigint, p_epoch bigint, p_limit int)
returns setof workflow_executions
language plpgsql set search_path = maestro set enable_seqscan = off as $$
declare v_ids uuid[]; v_lo uuid; v_hi uuid;
begin
  perform 1 from workers w where w.shard = p_shard and w.id = p_me and w.epoch = p_epoch for key share;
  if not found then
    raise exception 'this worker was fenced off' using errcode = 'MC002';
  end if;
  select array_agg(d.id) into v_ids from (select e.id from workflow_executions e
    where e.shard = p_shard and e.status = 3 and e.wake_at <= pg_catalog.now() order by e.wake_at limit p_limit for update skip locked) d;
  v_lo := mc_lo(v_ids);
  v_hi := mc_hi(v_ids);
  return query update workflow_executions e
     set status = 1, owner = p_me, epoch = e.epoch + 1, started_at = least(e.started_at, pg_catalog.now()), wait = null, wake_at = null
   where e.shard = p_shard and e.id between v_lo and v_hi and e.id = any (v_ids) and e.status = 3
   returning e.*;
end $$;

-- Takeover, first statement: mark the dead. `for update` is what conflicts with the fences' key share: nothing weaker does.
create function mc_bury(p_shard smallint, p_me bigint) returns int
language plpgsql set search_path = maestro as $$
declare v_count int;
begin
  with d as (select w.id from workers w where w.shard = p_shard and w.lease_until < pg_catalog.now() and not w.dead and w.id <> p_me
             for update skip locked)
  update workers w set epoch = w.epoch + 1, lease_until = 'infinity', dead = true from d where w.shard = p_shard and w.id = d.id;
  get diagnostics v_count = row_count;
  return v_count;
end $$;

-- Takeover, second statement, with a snapshot of its own (in one statement, a claim that commits between the snapshot and
-- the lock is invisible to the update, and its execution stranded). Repeat until it returns nothing.
create function mc_takeover(p_shard smallint, p_me bigint, p_epoch bigint, p_limit int)
returns setof workflow_executions
language plpgsql set search_path = maestro set enable_seqscan = off as $$
begin
  perform 1 from workers w where w.shard = p_shard and w.id = p_me and w.epoch = p_epoch for key share;
  if not found then
    raise exception 'this worker was fenced off' using errcode = 'MC002';
  end if;
  return query with d as (select e.id from workflow_executions e, workers w where w.shard = p_shard and w.dead
      and e.shard = p_shard and e.status = 1 and e.owner = w.id limit p_limit for update of e skip locked)
    update workflow_executions e set owner = p_me, epoch = e.epoch + 1, takeovers = e.takeovers + 1
      from d where e.shard = p_shard and e.id = d.id returning e.*;
end $$;

-- Dead workers to whom nothing refers any more.
create function mc_sweep_workers(p_shard smallint) returns int
language plpgsql set search_path = maestro set enable_seqscan = off as $$
declare v_count int;
begin
  delete from workers w where w.shard = p_shard and w.dead and not exists
    (select 1 from workflow_executions e where e.shard = p_shard and e.status = 1 and e.owner = w.id);
  get diagnostics v_count = row_count;
  return v_count;
end $$;

-- Leave a message for an execution: the only way by which others reach the state of one that runs. What waits (and is not
-- paused) becomes queued; what runs is told by the counter, which the parking flush compares.
create function mc_send(p_shard smallint, p_tenant uuid, p_exec uuid, p_kind smallint, p_data text, p_cancel boolean)
returns table (known boolean, status smallint, n int)
language plpgsql set search_path = maestro set enable_seqscan = off as $$
declare v_status smallint; v_n int;
begin
  update workflow_executions e set inbox = e.inbox + 1, cancel_requested = e.cancel_requested or p_cancel,
         status = case when e.status = 3 and (e.wait is distinct from 5 or p_cancel) then 0 else e.status end,
         wait = case when e.status = 3 and (e.wait is distinct from 5 or p_cancel) then null else e.wait end,
         wake_at = case when e.status = 3 and (e.wait is distinct from 5 or p_cancel) then null else e.wake_at end
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

-- Retry of a finished execution: the same execution, the next generation, queued again; one event with actor and reason.
create function mc_retry(p_shard smallint, p_tenant uuid, p_exec uuid, p_statuses smallint[], p_event text)
returns table (known boolean, status smallint, generation smallint)
language plpgsql set search_path = maestro set enable_seqscan = off as $$
declare v_status smallint; v_generation smallint;
begin
  select e.status into v_status from workflow_executions e
   where e.shard = p_shard and e.id = p_exec and e.tenant_id = p_tenant for update;
  if not found then
    return query select false, null::smallint, null::smallint;
    return;
  end if;
  if v_status <> all (p_statuses) then
    return query select true, v_status, null::smallint;
    return;
  end if;
  update workflow_executions e set status = 0, generation = e.generation + 1, cancel_requested = false, output = null, error = null,
         finished_at = null, wake_at = null, wait = null, takeovers = 0,
         deadline = case when e.meta ->> 'timeout_ms' is not null then
           least(pg_catalog.now() + make_interval(secs => (e.meta ->> 'timeout_ms')::float8 / 1000), '9999-01-01') end
   where e.shard = p_shard and e.id = p_exec returning e.generation into v_generation;
  delete from execution_inbox b where b.shard = p_shard and b.execution_id = p_exec;
  insert into execution_events as ev (shard, kind, seq, execution_id, tenant_id, ts, data)
    select s.shard, 11, (select max(p.seq) + 1 from execution_events p where p.shard = p_shard and p.execution_id = p_exec),
           p_exec, p_tenant, pg_catalog.now(), p_event::jsonb from shards s where s.shard = p_shard;
  return query select true, 0::smallint, v_generation;
end $$;

-- Lines that steps logged, numbered within their execution. Not fenced: what a fenced worker's step said is worth knowing.
-- Two owners who write at the same moment collide on the key, and the later one sends again.
create function mc_log(p_shard smallint, l_tenant uuid[], l_exec uuid[], l_step int[], l_item int[], l_gen smallint[], l_attempt int[],
  l_age float8[], l_level text[], l_message text[], l_fields text[])
returns void language plpgsql set search_path = maestro set enable_seqscan = off as $$
begin
  insert into step_logs as l (shard, position, execution_id, tenant_id, step, item, generation, attempt, ts, level, message, fields)
    select s.shard, coalesce((select max(p.position) from step_logs p where p.shard = p_shard and p.execution_id = x.e), 0)
             + row_number() over (partition by x.e order by x.o), x.e, x.t, x.s, x.i, x.g, x.a,
           pg_catalog.now() - make_interval(secs => x.age), x.lv, x.m, x.f::jsonb
      from shards s, unnest(l_tenant, l_exec, l_step, l_item, l_gen, l_attempt, l_age, l_level, l_message, l_fields)
           with ordinality x (t, e, s, i, g, a, age, lv, m, f, o)
     where s.shard = p_shard;
end $$;

-- A batch of idempotency keys that are old enough to be forgotten.
create function mc_forget_keys(p_shard smallint, p_age interval, p_limit int) returns int
language plpgsql set search_path = maestro set enable_seqscan = off as $$
declare v_count int;
begin
  with d as (select k.tenant_id, k.operation, k.key from idempotency_keys k
              where k.shard = p_shard and k.created_at < pg_catalog.now() - p_age limit p_limit for update skip locked)
  delete from idempotency_keys k using d
   where k.shard = p_shard and k.tenant_id = d.tenant_id and k.operation = d.operation and k.key = d.key;
  get diagnostics v_count = row_count;
  return v_count;
end $$;

-- Functions are open to everybody unless closed: the face must not reach these.
revoke execute on all functions in schema maestro from public;
grant execute on all functions in schema maestro to mc_engine;

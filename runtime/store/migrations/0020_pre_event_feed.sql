-- The event bus: what happened is told to handlers after the commit, at least once, in order, to each by a cursor of its own.
-- Locks: short ones on domain_events for its columns and index; the rest is new, and functions are replaced at once.
--
-- A tour. Every function that writes execution_events ends with `mc_feed`, which writes one row of `event_feed` per call:
-- which executions got which sequences, and which kinds are among them. It writes nothing when no handler of this shard
-- wants any of the kinds. Readers take the rows of finished transactions only (xact < the oldest one that is still open),
-- in the order of xact; so what commits late is never behind a cursor. `domain_events` are few and carry xact themselves.
-- A handler's row in `event_cursors` says how far it is, and who runs it for how long: one process at a time.
--
-- The functions keep their names: arguments and answers are the same, and a worker of the release before, which calls
-- them too, must not write events that no handler hears of.

set local search_path = maestro;

create table event_cursors (
  handler     text not null,
  stream      text not null check (stream in ('execution', 'domain')),
  shard       smallint not null,
  kinds       bigint not null,
  xact        xid8 not null,
  since       xid8,
  backfill    uuid,
  backfill_seq int not null default 0,
  owner       bigint,
  lease_until timestamptz not null default pg_catalog.now(),
  attempts    int not null default 0,
  error       text,
  failed_at   timestamptz,
  created_at  timestamptz not null default pg_catalog.now(),
  moved_at    timestamptz not null default pg_catalog.now(),
  primary key (handler, stream, shard)
) with (fillfactor = 50);
comment on table event_cursors is 'how far each event handler is: everything before xact is handled; it has no tenant, a handler serves all';
comment on column event_cursors.kinds is 'bit k: execution events of kind k are wanted';
comment on column event_cursors.since is 'null until it was read once after its commit; before it, nobody knew of the handler';
comment on column event_cursors.backfill is 'the execution up to which the past is handled, while it is';

create table event_feed (
  shard      smallint not null,
  xact       xid8 not null,
  n          int not null,
  after      xid8,
  at         timestamptz not null default pg_catalog.now(),
  executions uuid[] not null,
  firsts     int[] not null,
  lasts      int[] not null,
  kinds      bigint[] not null,
  primary key (shard, xact, n)
) with (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 2000, autovacuum_vacuum_insert_scale_factor = 0.5);
comment on table event_feed is 'one row per transaction that wrote execution events which a handler wants; trimmed behind the slowest cursor';
comment on column event_feed.after is 'set where the transaction may be older than what it followed: read with everything before this one';

create table event_failures (
  handler   text not null,
  stream    text not null,
  shard     smallint not null,
  tenant_id uuid not null,
  noun      text not null,
  id        uuid not null,
  seq       int not null,
  kind      text not null,
  reason    text not null,
  attempts  int not null,
  error     text not null,
  at        timestamptz not null default pg_catalog.now(),
  primary key (handler, stream, id, seq, noun, shard)
);
comment on table event_failures is 'events that a handler could not take and that were passed by';
create index event_failures_age on event_failures (at);

alter table domain_events add column xact xid8 not null default pg_current_xact_id();
alter table domain_events add column after xid8 not null default pg_snapshot_xmax(pg_current_snapshot());
create index domain_events_feed on domain_events (xact);

alter table event_failures enable row level security;
create policy tenant on event_failures to mc_api using (tenant_id = nullif(current_setting('mc.tenant', true), '')::uuid)
  with check (tenant_id = nullif(current_setting('mc.tenant', true), '')::uuid);
create policy engine on event_failures to mc_engine using (true) with check (true);
grant select on event_failures to mc_api;
grant select, insert, update, delete on event_cursors, event_feed, event_failures to mc_engine;

-- Tell the bus of events just written. p_late: this transaction got its number before it had the executions to itself, so
-- what its events follow may have come with a higher number; the readers are told up to which. Without settings of its
-- own, because its callers have them and each costs time; hence the qualified names.
create function mc_feed(p_shard smallint, p_exec uuid[], p_seq int[], p_kind smallint[], p_late boolean) returns void
language plpgsql as $$
declare v_wanted bigint;
begin
  select bit_or(c.kinds) into v_wanted from maestro.event_cursors c where c.shard = p_shard and c.stream = 'execution';
  if v_wanted is null then
    return;
  end if;
  insert into maestro.event_feed as f (shard, xact, n, after, executions, firsts, lasts, kinds)
    select s.shard, pg_current_xact_id(),
           coalesce((select max(p.n) + 1 from maestro.event_feed p where p.shard = p_shard and p.xact = pg_current_xact_id()), 1),
           case when p_late then pg_snapshot_xmax(pg_current_snapshot()) end, y.e, y.a, y.z, y.k
      from maestro.shards s, (select array_agg(x.e), array_agg(x.a), array_agg(x.z), array_agg(x.k) from
             (select u.e, min(u.n), max(u.n), bit_or(1::bigint << u.k) from unnest(p_exec, p_seq, p_kind) u (e, n, k)
               where (1::bigint << u.k) & v_wanted <> 0 group by u.e) x (e, a, z, k)) y (e, a, z, k)
     where s.shard = p_shard and y.e is not null;
end $$;
revoke execute on function mc_feed(smallint, uuid[], int[], smallint[], boolean) from public;
grant execute on function mc_feed(smallint, uuid[], int[], smallint[], boolean) to mc_engine;

-- From here on, as before with the line that feeds.

create or replace function mc_enqueue(p_shard smallint, p_id uuid[], p_tenant uuid[], p_workflow uuid[], p_version uuid[],
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
  -- With a known key nothing was written and the feed's row finds nothing: cheaper than asking again.
  perform mc_feed(p_shard, p_id, array_fill(1, array[cardinality(p_id)]), array_fill(1::smallint, array[cardinality(p_id)]), false);
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

create or replace function mc_flush(p_shard smallint, p_me bigint, p_epoch bigint,
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
    -- A message that came too late for what has ended is no word to a later generation. The rows are locked by now.
    select array_agg(x.i) into v_ended from unnest(f_id, f_status) x (i, t) where x.t not in (0, 3);
    delete from execution_inbox b where b.shard = p_shard and b.execution_id = any (v_ended);
  end if;
  return query select 1, v_closed;
end $$;

create or replace function mc_retry(p_shard smallint, p_tenant uuid, p_exec uuid, p_statuses smallint[], p_event text)
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
  perform mc_feed(p_shard, array[p_exec], array[(select max(p.seq) from execution_events p where p.shard = p_shard and p.execution_id = p_exec)],
    array[11]::smallint[], true);
  return query select true, 0::smallint, v_generation;
end $$;

create or replace function mc_takeover_2(p_shard smallint, p_me bigint, p_epoch bigint, p_limit int)
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
  end if;
  perform mc_feed(p_shard, array_agg(v.execution_id), array_agg(v.seq), array_agg(v.kind), true) from execution_events v
   where v.shard = p_shard and v.execution_id between v_lo and v_hi and v.execution_id = any (v_ids) and v.kind in (13, 14)
     and v.ts = pg_catalog.now();
  return query select e.* from workflow_executions e
   where e.shard = p_shard and e.id between v_lo and v_hi and e.id = any (v_ids);
end $$;

create or replace function mc_discard(p_shard smallint, p_tenant uuid, p_exec uuid, p_generation smallint, p_actor text, p_reason text, p_event text)
returns table (known boolean, status smallint, changed boolean)
language plpgsql set search_path = maestro set enable_seqscan = off as $$
declare v_status smallint;
begin
  select l.status into v_status from dead_letters l where l.shard = p_shard and l.execution_id = p_exec
     and l.generation = p_generation and l.tenant_id = p_tenant for update;
  if not found or v_status <> 0 then
    return query select v_status is not null, v_status, false;
    return;
  end if;
  update dead_letters l set status = 2, decided_at = pg_catalog.now(), decided_by = p_actor::jsonb, decision_reason = p_reason
   where l.shard = p_shard and l.execution_id = p_exec and l.generation = p_generation;
  -- The execution's row is locked as by everybody else who numbers its events; it may be gone, the letter outlives it.
  perform 1 from workflow_executions e where e.shard = p_shard and e.id = p_exec and e.tenant_id = p_tenant for update;
  if found then
    insert into execution_events as ev (shard, kind, seq, execution_id, tenant_id, ts, data)
      select s.shard, 15, (select max(p.seq) + 1 from execution_events p where p.shard = p_shard and p.execution_id = p_exec),
             p_exec, p_tenant, pg_catalog.now(), p_event::jsonb from shards s where s.shard = p_shard;
    perform mc_feed(p_shard, array[p_exec], array[(select max(p.seq) from execution_events p where p.shard = p_shard and p.execution_id = p_exec)],
      array[15]::smallint[], true);
  end if;
  return query select true, 2::smallint, true;
end $$;

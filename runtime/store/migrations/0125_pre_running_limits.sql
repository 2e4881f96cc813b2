-- Limits on how many executions run at once, of a tenant (`max_running` in its settings) and of a workflow (its column). Running is what a worker
-- owns: what is parked gives its place back, and what wakes waits for one in the queue. Whoever would make an execution run counts, under a lock
-- for each tenant and workflow with a limit, in a statement of its own; nothing else does, so never more than the limit run. Where nobody has a limit the
-- price is a look into two empty indexes for each batch.
-- Locks: a brief one on `workflows` for a column without a value. Functions are replaced in place: arguments and answers stay.

set local search_path = maestro;

alter table workflows add column max_running int check (max_running > 0);
comment on column workflows.max_running is 'how many of its executions may run at once; null: as many as there is room for';
create index workflows_limited on workflows (tenant_id, id) where max_running is not null;
create index tenants_limited on tenants (id) where settings ? 'max_running';

create function mc_has_limits() returns boolean
language plpgsql set search_path = maestro set enable_seqscan = off as $$
begin
  return exists (select 1 from tenants t where t.settings ? 'max_running')
      or exists (select 1 from workflows w where w.max_running is not null);
end $$;

-- The limits of some tenants and workflows in one shard. Those of a spread tenant are dealt out to its shards, one at least to each.
create function mc_limits_of(p_shard smallint, p_tenants uuid[], p_workflows uuid[]) returns table (tenant uuid, workflow uuid, most int)
language plpgsql set search_path = maestro set enable_seqscan = off as $$
declare v_total int;
begin
  select s.total into v_total from shards s where s.shard = p_shard;
  return query select x.t, x.w, greatest(1, least(x.most, 1000000000) / case when x.spread then v_total else 1 end)::int from (
      select t.id as t, null::uuid as w, floor((t.settings ->> 'max_running')::numeric) as most, t.spread from tenants t
       where t.settings ? 'max_running' and t.id = any (p_tenants) and jsonb_typeof(t.settings -> 'max_running') = 'number'
         and (t.settings ->> 'max_running')::numeric >= 1
      union all
      select w.tenant_id, w.id, w.max_running, coalesce((select t.spread from tenants t where t.id = w.tenant_id), false) from workflows w
       where w.max_running is not null and w.tenant_id = any (p_tenants) and w.id = any (p_workflows)) x;
end $$;

create function mc_running(p_shard smallint, p_tenant uuid, p_workflow uuid, p_most int) returns int
language plpgsql set search_path = maestro set enable_seqscan = off as $$
begin
  if p_workflow is null then
    return (select count(*) from (select 1 from workflow_executions e where e.shard = p_shard and e.tenant_id = p_tenant and e.status = 1 limit p_most) x);
  end if;
  return (select count(*) from (select 1 from workflow_executions e where e.shard = p_shard and e.tenant_id = p_tenant
     and e.workflow_id = p_workflow and e.status = 1 and mc_is_listed_apart(e.status) limit p_most) x);
end $$;

-- Of executions that the caller has locked and that do not run, those that may begin now: by priority and age, while there are places. What is to end
-- (a cancel, a time that is over) needs none.
create function mc_within_limits(p_shard smallint, p_ids uuid[]) returns uuid[]
language plpgsql set search_path = maestro set enable_seqscan = off as $$
declare v_limit record; v_one record; v_room jsonb := '{}'; v_fit uuid[] := '{}'; v_tenants uuid[]; v_workflows uuid[]; v_lo uuid; v_hi uuid;
begin
  if p_ids is null or not mc_has_limits() then
    return p_ids;
  end if;
  v_lo := mc_lo(p_ids);
  v_hi := mc_hi(p_ids);
  select array_agg(distinct e.tenant_id), array_agg(distinct e.workflow_id) into v_tenants, v_workflows from workflow_executions e
   where e.shard = p_shard and e.id between v_lo and v_hi and e.id = any (p_ids);
  -- Everybody locks in this order. What was counted before a lock was had would be out of date.
  for v_limit in select l.tenant, l.workflow, l.most from mc_limits_of(p_shard, v_tenants, v_workflows) l order by coalesce(l.workflow, l.tenant) loop
    perform pg_advisory_xact_lock(hashtextextended(p_shard || '/' || coalesce(v_limit.workflow, v_limit.tenant), 7263010));
    v_room := v_room || jsonb_build_object(coalesce(v_limit.workflow, v_limit.tenant),
      v_limit.most - mc_running(p_shard, v_limit.tenant, v_limit.workflow, v_limit.most));
  end loop;
  if v_room = '{}' then
    return p_ids;
  end if;
  for v_one in
    select e.id, e.tenant_id::text as t, e.workflow_id::text as w, e.cancel_requested or coalesce(e.deadline <= pg_catalog.now(), false) as ends
      from workflow_executions e where e.shard = p_shard and e.id between v_lo and v_hi and e.id = any (p_ids) order by e.priority desc, e.id
  loop
    if not v_one.ends then
      continue when (v_room ->> v_one.t)::int <= 0 or (v_room ->> v_one.w)::int <= 0;
      if v_room ? v_one.t then
        v_room := v_room || jsonb_build_object(v_one.t, (v_room ->> v_one.t)::int - 1);
      end if;
      if v_room ? v_one.w then
        v_room := v_room || jsonb_build_object(v_one.w, (v_room ->> v_one.w)::int - 1);
      end if;
    end if;
    v_fit := v_fit || v_one.id;
  end loop;
  return v_fit;
end $$;

-- What a tenant is told of its own limits: the one that is reached, the workflow's before its own.
create function mc_limit_reached(p_in smallint, p_tenant uuid, p_workflow uuid) returns table (most int, running int, of_workflow boolean)
language plpgsql security definer set search_path = maestro, pg_temp set enable_seqscan = off as $$
begin
  if p_tenant is distinct from mc_tenant() or not mc_has_limits() then
    return;
  end if;
  return query select l.most, r.n, l.workflow is not null from mc_limits_of(p_in, array[p_tenant], array[p_workflow]) l
    cross join lateral (select mc_running(p_in, l.tenant, l.workflow, l.most) as n) r where r.n >= l.most order by l.workflow is null limit 1;
end $$;

-- As before; of a tenant or a workflow with a limit no more than may run.
create or replace function mc_claim_2(p_shard smallint, p_me bigint, p_epoch bigint, p_ids uuid[])
returns setof workflow_executions
language plpgsql set search_path = maestro set enable_seqscan = off as $$
declare v_lo uuid := mc_lo(p_ids); v_hi uuid := mc_hi(p_ids); v_ids uuid[];
begin
  perform 1 from workers w where w.shard = p_shard and w.id = p_me and w.epoch = p_epoch for key share;
  if not found then
    raise exception 'this worker was fenced off' using errcode = 'MC002';
  end if;
  select array_agg(d.id) into v_ids from (select e.id from workflow_executions e where e.shard = p_shard
    and e.id between v_lo and v_hi and e.id = any (p_ids) and e.status = 0 and e.takeovers < 2 for update skip locked) d;
  v_ids := mc_within_limits(p_shard, v_ids);
  return query update workflow_executions e
     set status = 1, owner = p_me, epoch = e.epoch + 1, started_at = least(e.started_at, pg_catalog.now()), wait = null, wake_at = null
   where e.shard = p_shard and e.id between v_lo and v_hi and e.id = any (v_ids) and e.status = 0 and e.takeovers < 2
   returning e.*;
end $$;

create or replace function mc_claim_alone(p_shard smallint, p_me bigint, p_epoch bigint)
returns setof workflow_executions
language plpgsql set search_path = maestro set enable_seqscan = off as $$
declare v_id uuid;
begin
  perform 1 from workers w where w.shard = p_shard and w.id = p_me and w.epoch = p_epoch for key share;
  if not found then
    raise exception 'this worker was fenced off' using errcode = 'MC002';
  end if;
  for v_id in select e.id from workflow_executions e
    where e.shard = p_shard and e.status = 0 and e.takeovers >= 2 order by e.id limit 20 for update skip locked
  loop
    exit when cardinality(mc_within_limits(p_shard, array[v_id])) = 1;
    v_id := null;
  end loop;
  return query update workflow_executions e
     set status = 1, owner = p_me, epoch = e.epoch + 1, started_at = least(e.started_at, pg_catalog.now())
   where e.shard = p_shard and e.id = v_id
   returning e.*;
end $$;

-- As before; what has a limit is not born running: the claim counts.
create or replace function mc_enqueue_2(p_shard smallint, p_me bigint, p_epoch bigint, p_born boolean[], p_id uuid[], p_tenant uuid[], p_workflow uuid[], p_version uuid[], p_namespace text[], p_region text[], p_priority integer[], p_timeout double precision[], p_wake timestamp with time zone[], p_input text[], p_meta text[], p_key text[], p_digest bytea[], p_event text[], p_labels text[])
returns table (ordinal integer, id uuid, fresh boolean, same boolean, at timestamp with time zone, born boolean)
language plpgsql set search_path = maestro set enable_seqscan = off as $$
declare v_born boolean := false; v_tenants uuid[]; v_workflows uuid[];
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

-- As before, within the limits.
create or replace function mc_due(p_shard smallint, p_me bigint, p_epoch bigint, p_limit integer)
returns setof workflow_executions
language plpgsql set search_path = maestro set enable_seqscan = off as $$
declare v_ids uuid[]; v_late uuid[]; v_timed uuid[]; v_fit uuid[]; v_lo uuid; v_hi uuid; v_tags text[]; v_sets text[]; v_set text;
begin
  perform 1 from workers w where w.shard = p_shard and w.id = p_me and w.epoch = p_epoch for key share;
  if not found then
    raise exception 'this worker was fenced off' using errcode = 'MC002';
  end if;
  select w.tags into v_tags from workers w where w.shard = p_shard and w.id = p_me;
  select array_agg(d.id) into v_ids from (select e.id from workflow_executions e
    where e.shard = p_shard and e.status = 3 and e.wake_at <= pg_catalog.now() and (e.in_lane is not false or e.compensating)
    order by e.wake_at limit p_limit for update skip locked) d;
  v_timed := v_ids;
  if v_tags <> '{}' and coalesce(cardinality(v_ids), 0) < p_limit then
    select array_agg(x.t order by random()) into v_sets from (
      with recursive sets as (
        (select e.wanted_tags as t from workflow_executions e where e.shard = p_shard and e.wanted_tags is not null order by e.wanted_tags limit 1)
        union all
        select n.t from sets s cross join lateral (
          select e.wanted_tags as t from workflow_executions e where e.shard = p_shard and e.wanted_tags > s.t order by e.wanted_tags limit 1) n)
      select s.t from sets s) x
     where exists (select 1 from jsonb_array_elements(x.t::jsonb) a where a.value <@ to_jsonb(v_tags));
    foreach v_set in array coalesce(v_sets, '{}') loop
      exit when coalesce(cardinality(v_ids), 0) >= p_limit;
      v_ids := v_ids || array(select d.id from (select e.id from workflow_executions e
        where e.shard = p_shard and e.wanted_tags = v_set and (v_ids is null or e.id <> all (v_ids))
        order by e.priority desc, e.id limit p_limit - coalesce(cardinality(v_ids), 0) for update skip locked) d);
    end loop;
  end if;
  if coalesce(cardinality(v_ids), 0) < p_limit and exists (select 1 from workflow_executions e where e.shard = p_shard and e.status = 3 and not e.in_lane) then
    select array_agg(d.id) into v_late from (select e.id from workflow_executions e
      where e.shard = p_shard and e.status = 3 and not e.in_lane and not e.compensating and e.deadline <= pg_catalog.now()
      order by e.deadline limit p_limit - coalesce(cardinality(v_ids), 0) for update skip locked) d;
    v_ids := v_ids || v_late;
    if coalesce(cardinality(v_ids), 0) < p_limit then
      v_ids := v_ids || mc_lanes_ready(p_shard, p_limit - coalesce(cardinality(v_ids), 0));
    end if;
  end if;
  v_fit := mc_within_limits(p_shard, v_ids);
  if cardinality(v_fit) < cardinality(v_ids) then
    -- A time that has come is no place: it waits for one in the queue. Who waits for tags or in a lane goes on waiting.
    update workflow_executions e set status = 0, wait = null, wake_at = null
     where e.shard = p_shard and e.id between mc_lo(v_timed) and mc_hi(v_timed) and e.id = any (v_timed) and e.id <> all (v_fit) and e.status = 3;
    v_ids := v_fit;
  end if;
  v_lo := mc_lo(v_ids);
  v_hi := mc_hi(v_ids);
  return query update workflow_executions e
     set status = 1, owner = p_me, epoch = e.epoch + 1, started_at = least(e.started_at, pg_catalog.now()), wait = null, wake_at = null,
         in_lane = case when e.lane is not null then e.in_lane or not (e.compensating or coalesce(e.id = any (v_late), false)) end
   -- By their ids: an index of what is parked would be read as a whole, whenever the statistics are of a moment when nothing was.
   where e.shard = p_shard and e.id between v_lo and v_hi and e.id = any (v_ids) and coalesce(e.status = 3, false)
   returning e.*;
end $$;

revoke execute on function mc_has_limits(), mc_limits_of(smallint, uuid[], uuid[]), mc_running(smallint, uuid, uuid, int),
  mc_within_limits(smallint, uuid[]), mc_limit_reached(smallint, uuid, uuid) from public;
grant execute on function mc_limit_reached(smallint, uuid, uuid) to mc_api;
grant execute on function mc_has_limits(), mc_limits_of(smallint, uuid[], uuid[]), mc_running(smallint, uuid, uuid, int),
  mc_within_limits(smallint, uuid[]) to mc_engine;

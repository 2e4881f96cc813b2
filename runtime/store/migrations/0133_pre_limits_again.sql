-- What a second reading of the limits found: the parts of a spread tenant add up to its limit, not to more; whoever looks for suspects takes the locks of
-- limits in the order of everybody else, and those of one workflow hide no others; who waits for tags behind executions that a limit holds up is found; what is to
-- end (a cancel, a time that is over) is found in a queue that is held up; what waits in a lane is counted where a backlog has a bound.
-- Locks: writers of `workflow_executions` wait until four indexes stand, which hold only what waits: about 2 s for each million of executions.
-- Functions are replaced in place: arguments and answers stay.

set local search_path = maestro;

create index workflow_executions_queue_over on workflow_executions (shard, tenant_id, deadline) where status = 0 and deadline is not null;
create index workflow_executions_queue_cancelled on workflow_executions (shard, tenant_id, id) where status = 0 and cancel_requested;
create index workflow_executions_lane_backlog on workflow_executions (tenant_id) where status = 3 and wait = 6;
create index workflow_executions_tags_of on workflow_executions (shard, wanted_tags, workflow_id, priority desc, id) where wanted_tags is not null;

-- As before; what does not divide goes to the first shards, one to each.
create or replace function mc_limits_of(p_shard smallint, p_tenants uuid[], p_workflows uuid[]) returns table (tenant uuid, workflow uuid, most int)
language plpgsql set search_path = maestro set enable_seqscan = off as $$
declare v_total int;
begin
  select s.total into v_total from shards s where s.shard = p_shard;
  return query select x.t, x.w, case when x.spread then greatest(1, x.most / v_total + (p_shard < x.most % v_total)::int) else x.most end from (
      select t.id as t, null::uuid as w, floor(least((t.settings ->> 'max_running')::numeric, 1000000000))::int as most, t.spread from tenants t
       where t.settings ? 'max_running' and t.id = any (p_tenants)
         and case when jsonb_typeof(t.settings -> 'max_running') = 'number' then (t.settings ->> 'max_running')::numeric >= 1 else false end
      union all
      select w.tenant_id, w.id, w.max_running, coalesce((select t.spread from tenants t where t.id = w.tenant_id), false) from workflows w
       where w.max_running is not null and w.tenant_id = any (p_tenants) and w.id = any (p_workflows)) x;
end $$;

-- As before; where somebody has a limit the oldest suspect of each workflow is looked at, all of them in one look: its locks come in the one order.
create or replace function mc_claim_alone(p_shard smallint, p_me bigint, p_epoch bigint)
returns setof workflow_executions
language plpgsql set search_path = maestro set enable_seqscan = off as $$
declare v_ids uuid[];
begin
  perform 1 from workers w where w.shard = p_shard and w.id = p_me and w.epoch = p_epoch for key share;
  if not found then
    raise exception 'this worker was fenced off' using errcode = 'MC002';
  end if;
  if mc_has_limits() then
    select array_agg(d.id) into v_ids from (select e.id from workflow_executions e where e.shard = p_shard and e.status = 0 and e.takeovers >= 2
       and e.id in (select x.id from (select distinct on (s.workflow_id) s.id from workflow_executions s
         where s.shard = p_shard and s.status = 0 and s.takeovers >= 2 order by s.workflow_id, s.id) x order by x.id limit 100)
      order by e.id for update skip locked) d;
    v_ids := mc_within_limits(p_shard, v_ids);
    v_ids := array(select x.id from unnest(v_ids) x (id) order by x.id limit 1);
  else
    v_ids := array(select d.id from (select e.id from workflow_executions e
      where e.shard = p_shard and e.status = 0 and e.takeovers >= 2 order by e.id limit 1 for update skip locked) d);
  end if;
  return query update workflow_executions e
     set status = 1, owner = p_me, epoch = e.epoch + 1, started_at = least(e.started_at, pg_catalog.now())
   where e.shard = p_shard and e.id = v_ids[1]
   returning e.*;
end $$;

-- Of what waits for a set of tags, those that may begin: by priority and age, of each tenant and workflow as many as there are places for. Without
-- a lock; whoever takes them counts exactly.
create function mc_tagged(p_shard smallint, p_tags text, p_limit int, p_not uuid[]) returns uuid[]
language plpgsql set search_path = maestro set enable_seqscan = off as $$
begin
  return array(
    with recursive flows as (
      (select e.workflow_id, e.tenant_id from workflow_executions e where e.shard = p_shard and e.wanted_tags = p_tags order by e.workflow_id limit 1)
      union all
      select n.workflow_id, n.tenant_id from flows f cross join lateral (
        select e.workflow_id, e.tenant_id from workflow_executions e where e.shard = p_shard and e.wanted_tags = p_tags
           and e.workflow_id > f.workflow_id order by e.workflow_id limit 1) n),
    rooms as (
      select f.workflow_id, f.tenant_id, b.of_tenant, b.of_workflow from flows f cross join lateral (
        select min(r.room) filter (where r.workflow is null) as of_tenant, min(r.room) filter (where r.workflow is not null) as of_workflow
          from (select l.workflow, l.most - mc_running(p_shard, l.tenant, l.workflow, l.most) as room
                  from mc_limits_of(p_shard, array[f.tenant_id], array[f.workflow_id]) l) r) b),
    found as (
      select x.id, x.priority, r.of_tenant, row_number() over (partition by r.tenant_id order by x.priority desc, x.id) as place
        from rooms r cross join lateral (
          select e.id, e.priority from workflow_executions e where e.shard = p_shard and e.wanted_tags = p_tags
             and e.workflow_id = r.workflow_id and (p_not is null or e.id <> all (p_not))
           order by e.priority desc, e.id limit greatest(0, least(p_limit, r.of_tenant, r.of_workflow))) x)
    select f.id from found f where f.of_tenant is null or f.place <= f.of_tenant order by f.priority desc, f.id limit p_limit);
end $$;

-- As before; who waits for tags behind what a limit holds up is found.
create or replace function mc_due(p_shard smallint, p_me bigint, p_epoch bigint, p_limit integer)
returns setof workflow_executions
language plpgsql set search_path = maestro set enable_seqscan = off as $$
declare v_ids uuid[]; v_late uuid[]; v_timed uuid[]; v_fit uuid[]; v_lo uuid; v_hi uuid; v_tags text[]; v_sets text[]; v_set text;
  v_limits boolean := mc_has_limits(); v_room int; v_some uuid[];
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
      v_room := p_limit - coalesce(cardinality(v_ids), 0);
      if v_limits then
        v_some := mc_tagged(p_shard, v_set, v_room, v_ids);
        v_ids := v_ids || array(select d.id from (select e.id from workflow_executions e where e.shard = p_shard and e.id between mc_lo(v_some)
          and mc_hi(v_some) and e.id = any (v_some) and e.wanted_tags = v_set for update skip locked) d);
      else
        v_ids := v_ids || array(select d.id from (select e.id from workflow_executions e
          where e.shard = p_shard and e.wanted_tags = v_set and (v_ids is null or e.id <> all (v_ids))
          order by e.priority desc, e.id limit v_room for update skip locked) d);
      end if;
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

revoke execute on function mc_tagged(smallint, text, int, uuid[]) from public;
grant execute on function mc_tagged(smallint, text, int, uuid[]) to mc_engine;

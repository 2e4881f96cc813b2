-- Concurrency keys. An execution whose workflow says `concurrency` has a lane: its workflow and the key that was rendered when it was
-- accepted. It is accepted as waiting (wait 6), and begins when fewer than the limit of its lane run. Whoever looks for what is due gives places, under
-- a lock for each lane; nothing else does, so never more than the limit hold one. A place is held from then on, whoever owns the execution and while it is parked, until it ends.
-- Locks: brief ones on `workflow_executions` for two columns without a value and two triggers; writers wait until the indexes stand, which are
-- empty: about 2 s for each million of executions. Functions are replaced in place: arguments and answers stay.

set local search_path = maestro;

alter table workflow_executions add column lane text, add column in_lane boolean;
comment on column workflow_executions.lane is 'the concurrency key, rendered; null: its workflow has no limit';
comment on column workflow_executions.in_lane is 'whether it has a place in its lane; it holds that until it ends';
create index workflow_executions_lane on workflow_executions (shard, workflow_id, lane) where in_lane and status in (0, 1, 3);
create index workflow_executions_lane_queue on workflow_executions (shard, workflow_id, lane, priority desc, id) where status = 3 and not in_lane;
create index workflow_executions_lane_oldest on workflow_executions (shard, workflow_id, lane, id)
  where status = 3 and not in_lane and meta #>> '{concurrency,on_conflict}' = 'cancel_oldest';

create function mc_lane_key(p_workflow uuid, p_lane text) returns bigint language sql immutable as
$$ select hashtextextended(p_workflow::text || '/' || p_lane, 7263009) $$;

-- Into its lane: at its acceptance, and again when an ended one is retried or redriven. With `reject` an acceptance is refused when as many
-- as its limit run or wait to; one that has a time or a parent, and a retry, wait for their turn whatever the rule.
create function mc_lane_enter() returns trigger
language plpgsql set search_path = maestro set enable_seqscan = off as $$
declare v_open uuid[];
begin
  if tg_op = 'INSERT' then
    new.lane := new.meta #>> '{concurrency,key}';
    if new.meta #>> '{concurrency,on_conflict}' = 'reject' and new.wake_at is null and not new.meta ? 'parent' then
      perform pg_advisory_xact_lock(mc_lane_key(new.workflow_id, new.lane));
      select array_agg(x.id order by x.id) into v_open from (
        select e.id from workflow_executions e where e.shard = new.shard and e.workflow_id = new.workflow_id and e.lane = new.lane
           and e.in_lane and e.status in (0, 1, 3)
        union all
        select e.id from workflow_executions e where e.shard = new.shard and e.workflow_id = new.workflow_id and e.lane = new.lane
           and e.status = 3 and not e.in_lane and (e.wake_at is null or e.wake_at <= pg_catalog.now())) x;
      if cardinality(v_open) >= (new.meta #>> '{concurrency,limit}')::int then
        raise exception 'the lane is full' using errcode = 'MC006', detail = jsonb_build_object('key', new.lane,
          'limit', new.meta #> '{concurrency,limit}', 'holders', to_jsonb(v_open[1:20]))::text;
      end if;
    end if;
  end if;
  new.in_lane := false;
  new.wait := case when new.wake_at is null then 6 else new.wait end;
  new.status := 3;
  new.owner := null;
  return new;
end $$;
create trigger lane_entered before insert on workflow_executions for each row
  when (new.lane is null and new.meta ? 'concurrency') execute function mc_lane_enter();
create trigger lane_entered_again before update on workflow_executions for each row
  when (new.lane is not null and new.status = 0 and old.status in (2, 4, 5, 6, 7)) execute function mc_lane_enter();

-- Of what waits in lanes those who get a place now, in the order of priority and age within a lane. A lane that somebody else looks at is passed
-- by; the count has a snapshot of its own, taken under the lock. Each goes by the limit of its own version.
create function mc_lanes_ready(p_shard smallint, p_limit int) returns uuid[]
language plpgsql set search_path = maestro set enable_seqscan = off as $$
declare v_lane record; v_one record; v_held int; v_found uuid[] := '{}';
begin
  for v_lane in
    with recursive lanes as (
      (select e.workflow_id, e.lane from workflow_executions e where e.shard = p_shard and e.status = 3 and not e.in_lane
        order by e.workflow_id, e.lane limit 1)
      union all
      select n.workflow_id, n.lane from lanes l cross join lateral (
        select e.workflow_id, e.lane from workflow_executions e where e.shard = p_shard and e.status = 3 and not e.in_lane
           and (e.workflow_id, e.lane) > (l.workflow_id, l.lane) order by e.workflow_id, e.lane limit 1) n)
    select l.workflow_id, l.lane from lanes l
  loop
    exit when cardinality(v_found) >= p_limit;
    continue when not pg_try_advisory_xact_lock(mc_lane_key(v_lane.workflow_id, v_lane.lane));
    select count(*) into v_held from workflow_executions e where e.shard = p_shard and e.workflow_id = v_lane.workflow_id
       and e.lane = v_lane.lane and e.in_lane and e.status in (0, 1, 3);
    -- A lane that is full is left without a lock on any of its rows.
    continue when v_held >= (select (e.meta #>> '{concurrency,limit}')::int from workflow_executions e where e.shard = p_shard
       and e.workflow_id = v_lane.workflow_id and e.lane = v_lane.lane and e.status = 3 and not e.in_lane
       and (e.wake_at is null or e.wake_at <= pg_catalog.now()) order by e.priority desc, e.id limit 1);
    for v_one in
      select e.id, (e.meta #>> '{concurrency,limit}')::int as most from workflow_executions e where e.shard = p_shard
         and e.workflow_id = v_lane.workflow_id and e.lane = v_lane.lane and e.status = 3 and not e.in_lane
         and (e.wake_at is null or e.wake_at <= pg_catalog.now())
       order by e.priority desc, e.id limit p_limit - cardinality(v_found) for update skip locked
    loop
      exit when v_held >= v_one.most;
      v_found := v_found || v_one.id;
      v_held := v_held + 1;
    end loop;
  end loop;
  return v_found;
end $$;

-- `cancel_oldest`: where more are open than the newest one's limit, the oldest are asked to end, whether they run or wait. Which ones: their owners
-- have a message.
create function mc_lanes_trim(p_shard smallint) returns uuid[]
language plpgsql set search_path = maestro set enable_seqscan = off as $$
declare v_lane record; v_one record; v_most int; v_open uuid[]; v_told uuid[] := '{}';
begin
  for v_lane in
    with recursive lanes as (
      (select e.workflow_id, e.lane from workflow_executions e where e.shard = p_shard and e.status = 3 and not e.in_lane and e.meta #>> '{concurrency,on_conflict}' = 'cancel_oldest'
        order by e.workflow_id, e.lane limit 1)
      union all
      select n.workflow_id, n.lane from lanes l cross join lateral (
        select e.workflow_id, e.lane from workflow_executions e where e.shard = p_shard and e.status = 3 and not e.in_lane and e.meta #>> '{concurrency,on_conflict}' = 'cancel_oldest'
           and (e.workflow_id, e.lane) > (l.workflow_id, l.lane) order by e.workflow_id, e.lane limit 1) n)
    select l.workflow_id, l.lane from lanes l
  loop
    v_most := null;
    select (e.meta #>> '{concurrency,limit}')::int into v_most from workflow_executions e where e.shard = p_shard
       and e.workflow_id = v_lane.workflow_id and e.lane = v_lane.lane and e.status = 3 and not e.in_lane
       and e.meta #>> '{concurrency,on_conflict}' = 'cancel_oldest' and (e.wake_at is null or e.wake_at <= pg_catalog.now())
     order by e.id desc limit 1;
    continue when v_most is null or not pg_try_advisory_xact_lock(mc_lane_key(v_lane.workflow_id, v_lane.lane));
    select array_agg(x.id order by x.id) into v_open from (
      select e.id from workflow_executions e where e.shard = p_shard and e.workflow_id = v_lane.workflow_id and e.lane = v_lane.lane
         and e.in_lane and e.status in (0, 1, 3) and not e.cancel_requested
      union all
      select e.id from workflow_executions e where e.shard = p_shard and e.workflow_id = v_lane.workflow_id and e.lane = v_lane.lane
         and e.status = 3 and not e.in_lane and (e.wake_at is null or e.wake_at <= pg_catalog.now())) x;
    for v_one in
      select e.id, e.tenant_id from workflow_executions e where e.shard = p_shard
         and e.id = any (v_open[1:cardinality(v_open) - v_most]) order by e.id
    loop
      perform mc_send_3(p_shard, v_one.tenant_id, v_one.id, 1::smallint, jsonb_build_object('actor',
        jsonb_build_object('subject', 'concurrency', 'kind', 'system'), 'reason', 'a newer execution has the same concurrency key')::text, true, false);
      v_told := v_told || v_one.id;
    end loop;
  end loop;
  return v_told;
end $$;

-- As before; what waits in a lane is woken by a cancel only, also when it is a later generation.
create or replace function mc_send_3(p_shard smallint, p_tenant uuid, p_exec uuid, p_kind smallint, p_data text, p_cancel boolean, p_resumes boolean)
returns table (known boolean, status smallint, n int)
language plpgsql set search_path = maestro set enable_seqscan = off as $$
declare v_status smallint; v_n int;
begin
  update workflow_executions e set inbox = e.inbox + 1, cancel_requested = e.cancel_requested or p_cancel,
         status = case when e.status = 3 and (p_cancel or e.epoch > 0 and e.in_lane is not false and (e.wait is distinct from 5 or p_resumes)) then 0 else e.status end,
         wait = case when e.status = 3 and (p_cancel or e.epoch > 0 and e.in_lane is not false and (e.wait is distinct from 5 or p_resumes)) then null else e.wait end,
         wake_at = case when e.status = 3 and (p_cancel or e.epoch > 0 and e.in_lane is not false and (e.wait is distinct from 5 or p_resumes)) then null else e.wake_at end
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

-- As before; also what waits in lanes is something to look at.
create or replace function mc_beat_3(p_shard smallint, p_me bigint, p_epoch bigint, p_lease interval, p_late interval)
returns table (live int, dead int, due int, queued int, inbox uuid[], lent int)
language plpgsql set search_path = maestro set enable_seqscan = off as $$
declare v_inbox uuid[]; v_tags text[];
begin
  update workers w set lease_until = pg_catalog.now() + p_lease, late_at = pg_catalog.now() + p_late
   where w.shard = p_shard and w.id = p_me and w.epoch = p_epoch and not w.dead returning w.tags into v_tags;
  if not found then
    return query select 0, 0, 0, 0, '{}'::uuid[], 0;
    return;
  end if;
  -- From the side that is short: the messages while there are few, else the executions that this worker owns, of which there
  -- are never more than it has room for. The `limit` keeps the planner from beginning at the other side.
  if (select count(*) from (select 1 from execution_inbox i where i.shard = p_shard limit 500) x) < 500 then
    select array_agg(distinct i.execution_id) into v_inbox from execution_inbox i join workflow_executions e
       on e.id = i.execution_id and e.shard = i.shard where i.shard = p_shard and e.owner = p_me;
  else
    select array_agg(e.id) into v_inbox from workflow_executions e cross join lateral
       (select 1 from execution_inbox i where i.shard = p_shard and i.execution_id = e.id limit 1) m
     where e.shard = p_shard and e.status = 1 and e.owner = p_me;
  end if;
  return query select 1,
    (select count(*)::int from workers w where w.shard = p_shard and w.id <> p_me
        and (w.dead or w.lease_until < pg_catalog.now() or w.late_at < pg_catalog.now())),
    (select count(*)::int from (select 1 from workflow_executions e where e.shard = p_shard and e.status = 3 and e.wake_at <= pg_catalog.now() limit 1) x)
      + case when v_tags = '{}' then 0 else (select count(*)::int from (select 1 from workflow_executions e
          where e.shard = p_shard and e.status = 3 and e.wait = 10 limit 1) x) end
      + (select count(*)::int from (select 1 from workflow_executions e where e.shard = p_shard and e.status = 3 and not e.in_lane limit 1) x),
    (select count(*)::int from (select 1 from workflow_executions e where e.shard = p_shard and e.status = 0 limit 1) x),
    coalesce(v_inbox, '{}'),
    (select count(*)::int from (select 1 from map_chunks c where c.shard = p_shard and c.helper is null limit 1) x);
end $$;

-- As before; what waits in a lane begins when that has a place, and not by its time alone.
create or replace function mc_due(p_shard smallint, p_me bigint, p_epoch bigint, p_limit int)
returns setof workflow_executions
language plpgsql set search_path = maestro set enable_seqscan = off as $$
declare v_ids uuid[]; v_lo uuid; v_hi uuid; v_tags text[];
begin
  perform 1 from workers w where w.shard = p_shard and w.id = p_me and w.epoch = p_epoch for key share;
  if not found then
    raise exception 'this worker was fenced off' using errcode = 'MC002';
  end if;
  select w.tags into v_tags from workers w where w.shard = p_shard and w.id = p_me;
  select array_agg(d.id) into v_ids from (select e.id from workflow_executions e
    where e.shard = p_shard and e.status = 3 and e.wake_at <= pg_catalog.now() and e.in_lane is not false
    order by e.wake_at limit p_limit for update skip locked) d;
  if v_tags <> '{}' and coalesce(cardinality(v_ids), 0) < p_limit then
    select v_ids || array_agg(d.id) into v_ids from (select e.id from workflow_executions e
      where e.shard = p_shard and e.status = 3 and e.wait = 10 and (v_ids is null or e.id <> all (v_ids))
        and mc_has_tags(e.shard, e.id, v_tags)
      order by e.priority desc, e.id limit p_limit - coalesce(cardinality(v_ids), 0) for update skip locked) d;
  end if;
  if coalesce(cardinality(v_ids), 0) < p_limit and exists (select 1 from workflow_executions e where e.shard = p_shard and e.status = 3 and not e.in_lane) then
    v_ids := v_ids || mc_lanes_ready(p_shard, p_limit - coalesce(cardinality(v_ids), 0));
  end if;
  v_lo := mc_lo(v_ids);
  v_hi := mc_hi(v_ids);
  return query update workflow_executions e
     set status = 1, owner = p_me, epoch = e.epoch + 1, started_at = least(e.started_at, pg_catalog.now()), wait = null, wake_at = null,
         in_lane = case when e.lane is not null then true end
   where e.shard = p_shard and e.id between v_lo and v_hi and e.id = any (v_ids) and e.status = 3
   returning e.*;
end $$;

revoke execute on function mc_lane_key(uuid, text), mc_lane_enter(), mc_lanes_ready(smallint, int), mc_lanes_trim(smallint) from public;
grant execute on function mc_lane_key(uuid, text), mc_lane_enter(), mc_lanes_ready(smallint, int), mc_lanes_trim(smallint) to mc_engine;

-- What a second reading of lanes and tags found: what waits in a lane ends when its time is over; many lanes share what a worker has room for; who
-- asks for the cancel of the oldest waits for nobody, asks for five hundred at a time, and what is to be cancelled does not begin; what waits
-- for tags is found by them, however much waits for others.
-- Locks: brief ones on `workflow_executions` for a column without a value and a trigger; writers wait until the indexes stand, which hold only
-- what is parked for these reasons: about 2 s for each million of executions. Functions are replaced in place: arguments and answers stay.

set local search_path = maestro;

create index workflow_executions_late on workflow_executions (shard, deadline) where status = 3 and not in_lane and deadline is not null;

alter table workflow_executions add column wanted_tags text;
comment on column workflow_executions.wanted_tags is 'of what is parked for tags (wait 10): the sets of tags that would do, as the event of the parking says';
create index workflow_executions_tags on workflow_executions (shard, wanted_tags, priority desc, id) where wanted_tags is not null;
drop index workflow_executions_elsewhere;
update workflow_executions e set wanted_tags = (select (v.data -> 'tags')::text from execution_events v
    where v.shard = e.shard and v.execution_id = e.id and v.kind = 5 order by v.seq desc limit 1)
 where e.status = 3 and e.wait = 10;

-- The event is written by the same flush, before the row. Null as soon as it is parked for tags no longer: the index, which is found by this column alone
-- whatever the statistics say of states, holds nobody else.
create function mc_note_tags() returns trigger
language plpgsql set search_path = maestro set enable_seqscan = off as $$
begin
  if new.status <> 3 or new.wait is distinct from 10 then
    new.wanted_tags := null;
  elsif old.wanted_tags is null then
    select (v.data -> 'tags')::text into new.wanted_tags from execution_events v
     where v.shard = new.shard and v.execution_id = new.id and v.kind = 5 order by v.seq desc limit 1;
  end if;
  return new;
end $$;
create trigger tags_noted before update on workflow_executions for each row
  when (new.wait = 10 or old.wanted_tags is not null) execute function mc_note_tags();

-- The oldest that stays in a lane whose newest asks for the cancel of the oldest; null: all of them do.
create function mc_lane_keeps(p_shard smallint, p_workflow uuid, p_lane text) returns uuid
language plpgsql set search_path = maestro set enable_seqscan = off as $$
declare v_most int;
begin
  select (e.meta #>> '{concurrency,limit}')::int into v_most from workflow_executions e where e.shard = p_shard and e.workflow_id = p_workflow
     and e.lane = p_lane and e.status = 3 and not e.in_lane and e.meta #>> '{concurrency,on_conflict}' = 'cancel_oldest'
     and (e.wake_at is null or e.wake_at <= pg_catalog.now()) order by e.id desc limit 1;
  if v_most is null then
    return null;
  end if;
  return (select x.id from (
    select e.id from workflow_executions e where e.shard = p_shard and e.workflow_id = p_workflow and e.lane = p_lane
       and e.in_lane and e.status in (0, 1, 3) and not e.cancel_requested
    union all
    select e.id from workflow_executions e where e.shard = p_shard and e.workflow_id = p_workflow and e.lane = p_lane
       and e.status = 3 and not e.in_lane and not e.compensating and (e.wake_at is null or e.wake_at <= pg_catalog.now())) x
   order by x.id desc offset v_most - 1 limit 1);
end $$;

-- As before; lanes are looked at in any order, of each workflow one before the next of any, and each gives one place before any gives another: what a
-- worker has room for is shared by all. What is to be cancelled for a newer one does not begin, nor what has run out of time or undoes steps.
create or replace function mc_lanes_ready(p_shard smallint, p_limit int) returns uuid[]
language plpgsql set search_path = maestro set enable_seqscan = off as $$
declare v_lane record; v_one record; v_held int; v_turn int; v_keeps uuid; v_found uuid[] := '{}'; v_turns int[] := '{}';
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
     order by row_number() over (partition by l.workflow_id order by random()), random()
  loop
    exit when cardinality(v_found) >= 4 * p_limit;
    continue when not pg_try_advisory_xact_lock(mc_lane_key(v_lane.workflow_id, v_lane.lane));
    select count(*) into v_held from workflow_executions e where e.shard = p_shard and e.workflow_id = v_lane.workflow_id
       and e.lane = v_lane.lane and e.in_lane and e.status in (0, 1, 3);
    -- A lane that is full is left without a lock on any of its rows.
    continue when v_held >= (select (e.meta #>> '{concurrency,limit}')::int from workflow_executions e where e.shard = p_shard
       and e.workflow_id = v_lane.workflow_id and e.lane = v_lane.lane and e.status = 3 and not e.in_lane and not e.compensating
       and (e.wake_at is null or e.wake_at <= pg_catalog.now()) order by e.priority desc, e.id limit 1);
    v_keeps := mc_lane_keeps(p_shard, v_lane.workflow_id, v_lane.lane);
    v_turn := 0;
    for v_one in
      select e.id, (e.meta #>> '{concurrency,limit}')::int as most from workflow_executions e where e.shard = p_shard
         and e.workflow_id = v_lane.workflow_id and e.lane = v_lane.lane and e.status = 3 and not e.in_lane and not e.compensating
         and (e.wake_at is null or e.wake_at <= pg_catalog.now()) and (e.deadline is null or e.deadline > pg_catalog.now())
         and (v_keeps is null or e.id >= v_keeps)
       order by e.priority desc, e.id limit p_limit for update skip locked
    loop
      exit when v_held >= v_one.most;
      v_held := v_held + 1;
      v_turn := v_turn + 1;
      v_found := v_found || v_one.id;
      v_turns := v_turns || v_turn;
    end loop;
  end loop;
  return array(select x.id from unnest(v_found, v_turns) with ordinality x (id, turn, place) order by x.turn, x.place limit p_limit);
end $$;

-- As before; at most five hundred at a time, in the order of their ids, and past those that somebody else changes just now: the next look has them.
create or replace function mc_lanes_trim(p_shard smallint) returns uuid[]
language plpgsql set search_path = maestro set enable_seqscan = off as $$
declare v_lane record; v_one record; v_keeps uuid; v_old uuid[] := '{}'; v_told uuid[] := '{}';
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
    exit when cardinality(v_old) >= 500;
    continue when not pg_try_advisory_xact_lock(mc_lane_key(v_lane.workflow_id, v_lane.lane));
    v_keeps := mc_lane_keeps(p_shard, v_lane.workflow_id, v_lane.lane);
    continue when v_keeps is null;
    v_old := v_old || array(select x.id from (
      select e.id from workflow_executions e where e.shard = p_shard and e.workflow_id = v_lane.workflow_id and e.lane = v_lane.lane
         and e.in_lane and e.status in (0, 1, 3) and not e.cancel_requested and e.id < v_keeps
      union all
      select e.id from workflow_executions e where e.shard = p_shard and e.workflow_id = v_lane.workflow_id and e.lane = v_lane.lane
         and e.status = 3 and not e.in_lane and not e.compensating and (e.wake_at is null or e.wake_at <= pg_catalog.now()) and e.id < v_keeps) x
     order by x.id limit 500 - cardinality(v_old));
  end loop;
  for v_one in
    select e.id, e.tenant_id from workflow_executions e where e.shard = p_shard and e.id between mc_lo(v_old) and mc_hi(v_old)
       and e.id = any (v_old) and e.status in (0, 1, 3) and not e.cancel_requested order by e.id for update skip locked
  loop
    perform mc_send_3(p_shard, v_one.tenant_id, v_one.id, 1::smallint, jsonb_build_object('actor',
      jsonb_build_object('subject', 'concurrency', 'kind', 'system'), 'reason', 'a newer execution has the same concurrency key')::text, true, false);
    v_told := v_told || v_one.id;
  end loop;
  return v_told;
end $$;

-- As before; what undoes steps without a place in its lane is no waiter of that.
create or replace function mc_send_3(p_shard smallint, p_tenant uuid, p_exec uuid, p_kind smallint, p_data text, p_cancel boolean, p_resumes boolean)
returns table (known boolean, status smallint, n int)
language plpgsql set search_path = maestro set enable_seqscan = off as $$
declare v_status smallint; v_n int;
begin
  update workflow_executions e set inbox = e.inbox + 1, cancel_requested = e.cancel_requested or p_cancel,
         status = case when e.status = 3 and (p_cancel or e.epoch > 0 and (e.in_lane is not false or e.compensating) and (e.wait is distinct from 5 or p_resumes)) then 0 else e.status end,
         wait = case when e.status = 3 and (p_cancel or e.epoch > 0 and (e.in_lane is not false or e.compensating) and (e.wait is distinct from 5 or p_resumes)) then null else e.wait end,
         wake_at = case when e.status = 3 and (p_cancel or e.epoch > 0 and (e.in_lane is not false or e.compensating) and (e.wait is distinct from 5 or p_resumes)) then null else e.wake_at end
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

-- As before; also what ran out of time while it waits in a lane, which ends without a place in it. What waits for tags is found by the sets of tags
-- that somebody waits for: there are few, however many wait.
create or replace function mc_due(p_shard smallint, p_me bigint, p_epoch bigint, p_limit int)
returns setof workflow_executions
language plpgsql set search_path = maestro set enable_seqscan = off as $$
declare v_ids uuid[]; v_late uuid[]; v_lo uuid; v_hi uuid; v_tags text[]; v_sets text[]; v_set text;
begin
  perform 1 from workers w where w.shard = p_shard and w.id = p_me and w.epoch = p_epoch for key share;
  if not found then
    raise exception 'this worker was fenced off' using errcode = 'MC002';
  end if;
  select w.tags into v_tags from workers w where w.shard = p_shard and w.id = p_me;
  select array_agg(d.id) into v_ids from (select e.id from workflow_executions e
    where e.shard = p_shard and e.status = 3 and e.wake_at <= pg_catalog.now() and (e.in_lane is not false or e.compensating)
    order by e.wake_at limit p_limit for update skip locked) d;
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
  v_lo := mc_lo(v_ids);
  v_hi := mc_hi(v_ids);
  return query update workflow_executions e
     set status = 1, owner = p_me, epoch = e.epoch + 1, started_at = least(e.started_at, pg_catalog.now()), wait = null, wake_at = null,
         in_lane = case when e.lane is not null then e.in_lane or not (e.compensating or coalesce(e.id = any (v_late), false)) end
   -- By their ids: an index of what is parked would be read as a whole, whenever the statistics are of a moment when nothing was.
   where e.shard = p_shard and e.id between v_lo and v_hi and e.id = any (v_ids) and coalesce(e.status = 3, false)
   returning e.*;
end $$;

-- As before; what waits for tags is found by its column.
create or replace function mc_beat_3(p_shard smallint, p_me bigint, p_epoch bigint, p_lease interval, p_late interval)
returns table (live integer, dead integer, due integer, queued integer, inbox uuid[], lent integer)
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
          where e.shard = p_shard and e.wanted_tags is not null limit 1) x) end
      + (select count(*)::int from (select 1 from workflow_executions e where e.shard = p_shard and e.status = 3 and not e.in_lane limit 1) x),
    (select count(*)::int from (select 1 from workflow_executions e where e.shard = p_shard and e.status = 0 limit 1) x),
    coalesce(v_inbox, '{}'),
    (select count(*)::int from (select 1 from map_chunks c where c.shard = p_shard and c.helper is null limit 1) x);
end $$;

drop function mc_has_tags(smallint, uuid, text[]);
revoke execute on function mc_note_tags(), mc_lane_keeps(smallint, uuid, text) from public;
grant execute on function mc_note_tags(), mc_lane_keeps(smallint, uuid, text) to mc_engine;

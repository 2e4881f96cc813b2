-- Worker tags. A step with `runs_on` runs only on a worker that has all of its tags. An owner that lacks them parks the execution
-- (wait 10) once it has nothing else to do for it, and says in the event of the parking which sets of tags would do, one of each step
-- that stands ready; a worker that has one of these sets takes it with what is due. A time or a message wakes it for any worker, as before.
-- Locks: a brief one on `workers`, whose new column is a constant; writers of executions wait until the index stands, which is
-- empty: about 1 s for each million of executions. Functions are replaced in place: arguments and answers stay.

set local search_path = maestro;

alter table workers add column tags text[] not null default '{}';
comment on column workers.tags is 'what it was started with (`mc worker --tags`); steps with `runs_on` ask for these';
grant select (tags) on workers to mc_api;

create index workflow_executions_elsewhere on workflow_executions (shard, priority desc, id) where status = 3 and wait = 10;

-- As mc_register, with the worker's tags.
create function mc_register_2(p_shard smallint, p_me bigint, p_host text, p_lease interval, p_tags text[]) returns bigint
language plpgsql set search_path = maestro set enable_seqscan = off as $$
declare v_epoch bigint;
begin
  insert into workers as w (id, shard, epoch, lease_until, host, tags)
    select p_me, s.shard, 1, pg_catalog.now() + p_lease, p_host, p_tags from shards s where s.shard = p_shard
    returning w.epoch into v_epoch;
  return v_epoch;
end $$;

-- Whether a worker with these tags may go on with an execution that is parked for tags: its last event names the sets that would do.
create function mc_has_tags(p_shard smallint, p_exec uuid, p_tags text[]) returns boolean
language plpgsql stable set search_path = maestro set enable_seqscan = off as $$
declare v_wanted jsonb;
begin
  select v.data -> 'tags' into v_wanted from execution_events v
   where v.shard = p_shard and v.execution_id = p_exec and v.kind = 5 order by v.seq desc limit 1;
  return exists (select 1 from jsonb_array_elements(v_wanted) a where a.value <@ to_jsonb(p_tags));
end $$;

-- As before; `due` counts what waits for this worker's tags as well.
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
          where e.shard = p_shard and e.status = 3 and e.wait = 10 limit 1) x) end,
    (select count(*)::int from (select 1 from workflow_executions e where e.shard = p_shard and e.status = 0 limit 1) x),
    coalesce(v_inbox, '{}'),
    (select count(*)::int from (select 1 from map_chunks c where c.shard = p_shard and c.helper is null limit 1) x);
end $$;

-- As before; where there is place for more than is due, also what waits for the tags of this worker, by priority and age.
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
    where e.shard = p_shard and e.status = 3 and e.wake_at <= pg_catalog.now() order by e.wake_at limit p_limit for update skip locked) d;
  if v_tags <> '{}' and coalesce(cardinality(v_ids), 0) < p_limit then
    select v_ids || array_agg(d.id) into v_ids from (select e.id from workflow_executions e
      where e.shard = p_shard and e.status = 3 and e.wait = 10 and (v_ids is null or e.id <> all (v_ids))
        and mc_has_tags(e.shard, e.id, v_tags)
      order by e.priority desc, e.id limit p_limit - coalesce(cardinality(v_ids), 0) for update skip locked) d;
  end if;
  v_lo := mc_lo(v_ids);
  v_hi := mc_hi(v_ids);
  return query update workflow_executions e
     set status = 1, owner = p_me, epoch = e.epoch + 1, started_at = least(e.started_at, pg_catalog.now()), wait = null, wake_at = null
   where e.shard = p_shard and e.id between v_lo and v_hi and e.id = any (v_ids) and e.status = 3
   returning e.*;
end $$;

revoke execute on function mc_register_2(smallint, bigint, text, interval, text[]), mc_has_tags(smallint, uuid, text[]) from public;
grant execute on function mc_register_2(smallint, bigint, text, interval, text[]), mc_has_tags(smallint, uuid, text[]) to mc_engine;

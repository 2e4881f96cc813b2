-- A worker whose process has died is known before its lease ends: the server has ended its session. Each heartbeat says from
-- when on the next one is late, and its connection holds an advisory lock with the worker's id; who is late and holds none
-- is buried. Who is late with a session (stopped, partitioned, a slow server) keeps its lease. Workers of the release before
-- never say when they are late, so they are waited for as before.
-- Locks: `workers` for an instant, for a column without a default.

set local search_path = maestro;

alter table workers add column late_at timestamptz;
comment on column workers.late_at is 'from then on a heartbeat is missing; null: this worker holds no lock while it lives';

create function mc_beat_2(p_shard smallint, p_me bigint, p_epoch bigint, p_lease interval, p_late interval)
returns table (live int, dead int, due int, queued int, inbox uuid[])
language plpgsql set search_path = maestro set enable_seqscan = off as $$
declare v_inbox uuid[];
begin
  update workers w set lease_until = pg_catalog.now() + p_lease, late_at = pg_catalog.now() + p_late
   where w.shard = p_shard and w.id = p_me and w.epoch = p_epoch and not w.dead;
  if not found then
    return query select 0, 0, 0, 0, '{}'::uuid[];
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
    (select count(*)::int from (select 1 from workflow_executions e where e.shard = p_shard and e.status = 3 and e.wake_at <= pg_catalog.now() limit 1) x),
    (select count(*)::int from (select 1 from workflow_executions e where e.shard = p_shard and e.status = 0 limit 1) x),
    coalesce(v_inbox, '{}');
end $$;

-- Workers that are late and have no session any more. The locks of all sessions are looked at only when one is late. After a
-- start of the server nobody has a session yet, and all come back.
create function mc_gone(p_shard smallint, p_me bigint) returns bigint[]
language plpgsql set search_path = maestro set enable_seqscan = off as $$
declare v_late bigint[];
begin
  select array_agg(w.id) into v_late from workers w
   where w.shard = p_shard and w.id <> p_me and not w.dead and w.late_at < pg_catalog.now();
  if v_late is null or pg_postmaster_start_time() > pg_catalog.now() - interval '10 seconds' then
    return '{}';
  end if;
  return array(select x.id from unnest(v_late) x (id) where not exists
    (select 1 from pg_locks l where l.locktype = 'advisory' and l.granted and l.objsubid = 1
        and l.database = (select d.oid from pg_database d where d.datname = current_database())
        and ((l.classid::bigint << 32) | l.objid::bigint) = x.id));
end $$;

-- As mc_bury, and those of p_gone that are late still: one that came back in between has said so in the row that is locked here.
create function mc_bury_2(p_shard smallint, p_me bigint, p_gone bigint[]) returns int
language plpgsql set search_path = maestro set enable_seqscan = off as $$
declare v_count int;
begin
  with d as (select w.id from workers w where w.shard = p_shard and not w.dead and w.id <> p_me
                and (w.lease_until < pg_catalog.now() or w.id = any (p_gone) and w.late_at < pg_catalog.now())
             for update skip locked)
  update workers w set epoch = w.epoch + 1, lease_until = 'infinity', dead = true from d where w.shard = p_shard and w.id = d.id;
  get diagnostics v_count = row_count;
  return v_count;
end $$;

revoke execute on function mc_beat_2(smallint, bigint, bigint, interval, interval), mc_gone(smallint, bigint),
  mc_bury_2(smallint, bigint, bigint[]) from public;
grant execute on function mc_beat_2(smallint, bigint, bigint, interval, interval), mc_gone(smallint, bigint),
  mc_bury_2(smallint, bigint, bigint[]) to mc_engine;

-- The feed as subscriptions to lists read it: every process that has such subscribers keeps a row among the cursors of event
-- handlers, under a name that no handler can have, so that the feed is written and kept for it. All run as mc_engine.

-- name: join
-- Safe: one row by its key. `since` stays null until all have ended who may not have seen the row.
insert into event_cursors as c (handler, stream, shard, kinds, xact, lease_until)
values ($1, 'execution', $2, $3::bigint, pg_snapshot_xmin(pg_current_snapshot()), pg_catalog.now() + make_interval(secs => $4::float8))
on conflict (handler, stream, shard) do update set kinds = excluded.kinds, xact = excluded.xact, since = null, lease_until = excluded.lease_until;

-- name: bounds
-- Safe: asks for two numbers: what is older than the first has ended, what is not older than the second has not begun.
select pg_snapshot_xmin(s) as oldest, pg_snapshot_xmax(s) as newest from pg_current_snapshot() s;

-- name: ready
-- Safe: one row by its key.
update event_cursors set since = pg_current_xact_id(), xact = $3::xid8 where handler = $1 and stream = 'execution' and shard = $2 returning xact;

-- name: read
-- Safe: reads the primary key from a place on, no further than the oldest open transaction; what is open may come before it.
select f.xact, f.n, f.executions, pg_snapshot_xmin(one.s) as oldest, pg_snapshot_xmax(one.s) as newest
  from (select pg_current_snapshot() as s) one left join lateral (
    select f.xact, f.n, f.executions from event_feed f
     where f.shard = $1 and (f.xact, f.n) > ($2::xid8, $3) and f.xact < pg_snapshot_xmin(one.s)
     order by f.xact, f.n limit $4) f on true;

-- name: keep
-- Safe: one row by its key, never back; nothing when it was taken away meanwhile.
update event_cursors set xact = greatest(xact, $3::xid8), lease_until = pg_catalog.now() + make_interval(secs => $4::float8), moved_at = pg_catalog.now()
 where handler = $1 and stream = 'execution' and shard = $2 returning xact;

-- name: is_kept
-- Safe: a few rows: one that was there before the place and still is has kept everything since.
select exists (select 1 from event_cursors where handler like ':changes:%' and stream = 'execution' and shard = $1
                and since is not null and xact <= $2::xid8);

-- name: leave
-- Safe: only one's own rows.
delete from event_cursors where handler = $1 and stream = 'execution';

-- name: owners
-- Safe: a batch by its key in one shard; whose the executions are.
select e.id, e.tenant_id from workflow_executions e where e.shard = $1 and e.id = any ($2::uuid[]) and e.id between $3 and $4;

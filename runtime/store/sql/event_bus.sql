-- The event bus: cursors of handlers, pages of what they have not had. All run as mc_engine.

-- name: register
-- Safe: one row by its key; who is known keeps its place. A new one begins behind the oldest open transaction, so that nothing
-- committed from now on is missed; with `beginning` it reads the past first (executions: by id; the rest: from the first row).
insert into event_cursors as c (handler, stream, shard, kinds, xact, backfill)
values ($1, $2, $3, $4::bigint, case when $5 and $2 = 'domain' then '0'::xid8 else pg_snapshot_xmin(pg_current_snapshot()) end,
        case when $5 and $2 = 'execution' then '00000000-0000-0000-0000-000000000000'::uuid end)
on conflict (handler, stream, shard) do nothing;

-- name: hold
-- Safe: each row by its key; of two who want one, the second waits for the first and then finds its lease. The lease is renewed
-- when half of it is over. A row found here is committed, so whoever has a later number knew of it: that is `since`. An
-- owner that is replaced, and did not leave, may have been killed by the handler: that counts as an attempt.
with wanted as (select * from unnest($2::text[], $3::text[], $4::smallint[], $5::bigint[]) x (handler, stream, shard, kinds)),
held as (
  update event_cursors c set owner = $1, lease_until = pg_catalog.now() + make_interval(secs => $6::float8), kinds = w.kinds,
         attempts = c.attempts + case when c.owner is distinct from $1 and c.owner is not null then 1 else 0 end,
         since = coalesce(c.since, pg_current_xact_id())
    from wanted w where c.handler = w.handler and c.stream = w.stream and c.shard = w.shard
     and (c.lease_until < pg_catalog.now() or (c.owner = $1 and c.lease_until < pg_catalog.now() + make_interval(secs => $6::float8 / 2)))
  returning c.handler, c.stream, c.shard, c.xact, c.since, c.backfill, c.backfill_seq, c.attempts, c.missed_until)
select h.* from held h
union all
select c.handler, c.stream, c.shard, c.xact, c.since, c.backfill, c.backfill_seq, c.attempts, c.missed_until
  from event_cursors c join wanted w using (handler, stream, shard)
 where c.owner = $1 and c.lease_until >= pg_catalog.now() and not exists
   (select 1 from held h where h.handler = c.handler and h.stream = c.stream and h.shard = c.shard);

-- name: feed
-- Safe: reads the primary key from a place on, no further than the oldest open transaction; what is open may come before it.
select f.xact, f.after, cardinality(f.executions) as size, f.at, pg_snapshot_xmin(pg_current_snapshot()) as horizon
  from (select 1) one left join lateral (
    select f.xact, f.after, f.executions, f.at from event_feed f
     where f.shard = $1 and f.xact >= $2::xid8 and f.xact < pg_snapshot_xmin(pg_current_snapshot())
     order by f.xact, f.n limit $3) f on true;

-- name: events
-- Safe: a range of the feed, then probes of the events' primary key; `offset 0` keeps them probes, which prune the days.
select ev.execution_id, ev.tenant_id, ev.seq, ev.kind, ev.ts, ev.data
  from event_feed f cross join lateral unnest(f.executions, f.firsts, f.lasts, f.kinds) x (e, a, z, k) cross join lateral (
    select v.* from execution_events v where v.shard = $1 and v.execution_id = x.e and v.seq between x.a and x.z
       and (1::bigint << v.kind) & $4::bigint <> 0 order by v.seq offset 0) ev
 where f.shard = $1 and f.xact >= $2::xid8 and f.xact < $3::xid8 and x.k & $4::bigint <> 0
 order by f.xact, f.n;

-- name: past
-- Safe: a keyset page over the events' primary key; it looks at $5 rows and no more, however few of them are wanted.
select p.execution_id, p.tenant_id, p.seq, p.kind, p.ts, case when (1::bigint << p.kind) & $4::bigint <> 0 then p.data end as data,
       (1::bigint << p.kind) & $4::bigint <> 0 as wanted
  from (select v.* from execution_events v where v.shard = $1 and v.execution_id >= $2 and (v.execution_id, v.seq) > ($2, $3)
         order by v.execution_id, v.seq limit $5) p
 order by p.execution_id, p.seq;

-- name: domain
-- Safe: reads the index on xact from a place on, no further than the oldest open transaction.
select d.xact, d.after, d.tenant_id, d.noun, d.id, d.seq, d.kind, d.ts, d.actor, d.data, pg_snapshot_xmin(pg_current_snapshot()) as horizon
  from (select 1) one left join lateral (
    select d.* from domain_events d where d.xact >= $1::xid8 and d.xact < pg_snapshot_xmin(pg_current_snapshot())
     order by d.xact, d.noun, d.id, d.seq limit $2) d on true;

-- name: horizon
-- Safe: asks for a number.
select pg_snapshot_xmin(pg_current_snapshot());

-- name: move
-- Safe: one row by its key, and only by who runs the handler; never back.
update event_cursors set xact = greatest(xact, $5::xid8), backfill = $6, backfill_seq = $7, attempts = 0, error = null, failed_at = null, failed_tenant = null,
       moved_at = pg_catalog.now()
 where handler = $1 and stream = $2 and shard = $3 and owner = $4 returning xact;

-- name: note
-- Safe: one row by its key, and only by who runs the handler.
update event_cursors set attempts = $5, error = $6, failed_at = case when $6::text is not null then pg_catalog.now() end, failed_tenant = $7
 where handler = $1 and stream = $2 and shard = $3 and owner = $4 returning attempts;

-- name: skip
-- Safe: a record of what is passed by; written again after a crash, it stays one row.
insert into event_failures as f (handler, stream, shard, tenant_id, noun, id, seq, kind, reason, attempts, error)
values ($1, $2, $3, $4, $5, $6, $7, $8, 'poison', $9, $10)
on conflict (handler, stream, id, seq, noun, shard) do update set attempts = excluded.attempts, error = excluded.error, at = pg_catalog.now();

-- name: told
-- Safe: one row by its key: the handler knows what it missed.
update event_cursors set missed_until = null
 where handler = $1 and stream = $2 and shard = $3 and owner = $4 and missed_until = $5;

-- name: release
-- Safe: only one's own rows; another process may take them at once.
update event_cursors set owner = null, lease_until = pg_catalog.now() where owner = $1;

-- name: lags
-- Safe: a row per handler, and for each one probe of where it stands. Readers of changes are no handlers.
select c.handler, c.stream, c.shard, c.attempts, c.error, c.lease_until >= pg_catalog.now() as is_run, c.backfill is not null as is_past,
       greatest(0, extract(epoch from pg_catalog.now() - case when c.stream = 'execution'
         then (select f.at from event_feed f where f.shard = c.shard and f.xact >= c.xact order by f.xact, f.n limit 1)
         else (select d.ts from domain_events d where d.xact >= c.xact order by d.xact limit 1) end))::float8 as lag_seconds,
       c.failed_at, c.failed_tenant, c.missed_until
  from event_cursors c where c.handler not like ':changes:%' order by c.handler, c.stream, c.shard;

-- name: trim
-- Safe: a bounded batch of what every handler has had; the time that it is kept for a slow one is bounded.
select mc_trim_feed($1, make_interval(secs => $2::float8), $3);

-- name: forget_failures
-- Safe: old records, by the index on their age.
delete from event_failures f where f.at < pg_catalog.now() - make_interval(days => $1::int);

-- name: forget_readers
-- Safe: readers of changes whose process has not been heard of for as long as its lease.
delete from event_cursors c where c.handler like ':changes:%' and c.lease_until < pg_catalog.now();

-- name: forget_handlers
-- Safe: only handlers that nobody has run for so long; one that comes back after it begins anew.
delete from event_cursors c where c.lease_until < pg_catalog.now() - make_interval(days => $1::int) returning c.handler;

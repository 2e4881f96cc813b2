-- What an engine does to executions. All run as mc_engine; what changes a row is a function of the migrations.

-- name: register
-- Safe: makes the row that fences; the id is random and new per start, so nobody else has it.
select mc_register_2($1, $2, $3, make_interval(secs => $4::float8), $5);

-- name: beat
-- Safe: a plain update of one row by its key, which does not wait for the fences' `for key share`.
select live, dead, due, queued, inbox, lent, next_due from mc_beat_4($1, $2, $3, make_interval(secs => $4::float8), make_interval(secs => $5::float8));

-- name: next_due
-- Safe: one probe of a partial index; reads only.
select mc_next_due($1);

-- name: appear
-- Safe: shared, so it never waits; the server gives it free when this connection ends, however it ends.
select pg_advisory_lock_shared($1::bigint);

-- name: leave
-- Safe: marks its own row; executions that are left behind are taken over like those of a dead worker.
select mc_leave_2($1, $2, $3);

-- name: bury
-- Safe: `for update` conflicts with every fence, and rows that a flush holds are skipped until the next round. Who has no
-- session any more is found first; that he is late is looked at again under the lock.
select mc_bury_2($1, $2, mc_gone($1, $2));

-- name: serving
-- Safe: reads a small table; several shards of one database at once, for assignment only, on which nothing rests.
select distinct w.host from workers w
 where w.shard = any ($1::smallint[]) and not w.dead and w.lease_until > pg_catalog.now() and w.host not like '%:alone';

-- name: sweep_workers
-- Safe: only dead workers to whom no running execution refers.
select mc_sweep_workers($1);

-- name: claim
-- Safe: fenced; `status = 0` lets one of many deliveries through; ages are the database's, so no host's clock counts.
select e.id, e.tenant_id, e.workflow_id, e.version_id, e.generation, e.namespace, e.region, e.priority, e.epoch,
       e.takeovers, e.inbox, e.cancel_requested, e.created_at,
       extract(epoch from pg_catalog.now() - e.created_at)::float8 as age_seconds,
       extract(epoch from e.deadline - pg_catalog.now())::float8 as deadline_in_seconds, e.meta, e.input
  from mc_claim_2($1, $2, $3, $4) e;

-- name: claim_alone
-- Safe: as claim; `skip locked`, and one row only, so that nothing else is lost with it.
select e.id, e.tenant_id, e.workflow_id, e.version_id, e.generation, e.namespace, e.region, e.priority, e.epoch,
       e.takeovers, e.inbox, e.cancel_requested, e.created_at,
       extract(epoch from pg_catalog.now() - e.created_at)::float8 as age_seconds,
       extract(epoch from e.deadline - pg_catalog.now())::float8 as deadline_in_seconds, e.meta, e.input
  from mc_claim_alone($1, $2, $3) e;

-- name: suspects
-- Safe: reads a partial index that is nearly always empty, and no further than it must.
select count(*)::int from (select 1 from workflow_executions e where e.shard = $1 and e.status = 0 and e.takeovers >= 2 limit $2) x;

-- name: due
-- Safe: as claim; `skip locked`, so that several workers share what is due without waiting for each other.
select e.id, e.tenant_id, e.workflow_id, e.version_id, e.generation, e.namespace, e.region, e.priority, e.epoch,
       e.takeovers, e.inbox, e.cancel_requested, e.created_at,
       extract(epoch from pg_catalog.now() - e.created_at)::float8 as age_seconds,
       extract(epoch from e.deadline - pg_catalog.now())::float8 as deadline_in_seconds, e.meta, e.input
  from mc_due($1, $2, $3, $4) e;

-- name: takeover
-- Safe: as claim; takes only from workers that are marked dead, in a statement (and snapshot) after the marking. What
-- comes back with status 1 is the caller's, with 0 a suspect, with 6 dead.
select e.id, e.tenant_id, e.workflow_id, e.version_id, e.generation, e.namespace, e.region, e.priority, e.epoch,
       e.takeovers, e.inbox, e.cancel_requested, e.created_at,
       extract(epoch from pg_catalog.now() - e.created_at)::float8 as age_seconds,
       extract(epoch from e.deadline - pg_catalog.now())::float8 as deadline_in_seconds, e.meta, e.input, e.status
  from mc_takeover_3($1, $2, $3, $4) e;

-- name: history_steps
-- Safe: reads by primary key; the id range prunes the days. Only the owner asks, so nobody writes meanwhile. Items of maps
-- that completed come as ranges, in one row for all of a generation.
select s.execution_id, s.step, s.item, s.generation, s.attempt, s.status, s.finished_at = 'infinity' as is_open,
       case when s.finished_at = 'infinity' then 0 else extract(epoch from pg_catalog.now() - s.finished_at) end::float8
         as ended_ago, s.result
  from step_executions s
 where s.shard = $1 and s.execution_id between $3 and $4 and s.execution_id = any ($2) and (s.item < 0 or s.status <> 6)
 union all
select x.execution_id, x.step, -2, x.generation, 0, 6, false, 0.0, (select jsonb_agg(array[lower(r), upper(r)]) from unnest(x.items) r)
  from (select s.execution_id, s.step, s.generation, range_agg(int4range(s.item, s.item + 1)) as items
          from step_executions s
         where s.shard = $1 and s.execution_id between $3 and $4 and s.execution_id = any ($2) and s.item >= 0 and s.status = 6
         group by s.execution_id, s.step, s.generation) x
 order by 1, 4, 2, 3, 5;

-- name: item_results
-- Safe: a range of the primary key; of each item the newest row, which is the one with which it ended.
select distinct on (s.item) s.item, s.status, case when s.status = 6 then s.result -> 'output' else s.result -> 'error' end as value
  from step_executions s
 where s.shard = $1 and s.execution_id = $2 and s.step = $3 and s.item >= $4 and s.item < $5
 order by s.item, s.generation desc, s.attempt desc;

-- name: history_sequence
-- Safe: the last event of each, one probe at the end of the primary key per execution; and how large its rows may be: what
-- is compressed counts as the most that a row holds, so nothing is unpacked to find out.
select x.id, (select max(v.seq) from execution_events v where v.shard = $1 and v.execution_id = x.id) as last,
       (select coalesce(sum(case when pg_column_compression(s.result) is null then pg_column_size(s.result)
                                 else greatest(pg_column_size(s.result), 33000) end), 0)
          from step_executions s where s.shard = $1 and s.execution_id = x.id and (s.item < 0 or s.status <> 6))::bigint as bytes
  from unnest($2::uuid[]) x (id);

-- name: history_marks
-- Safe: reads the events of the executions by primary key: where each generation began and why, what began to end
-- it, what it waits for and since when, what it was told.
select v.execution_id, v.kind, v.data, extract(epoch from pg_catalog.now() - v.ts)::float8 as ago from execution_events v
 where v.shard = $1 and v.execution_id between $3 and $4 and v.execution_id = any ($2) and v.kind = any ($5::smallint[])
 order by v.execution_id, v.seq;

-- name: messages
-- Safe: reads by primary key; a message stays until the checkpoint that acts on it deletes it.
select b.execution_id, b.n, b.kind, b.data from execution_inbox b
 where b.shard = $1 and b.execution_id = any ($2) order by b.execution_id, b.n;

-- name: set_aside
-- Safe: fenced; the letter holds the whole message, and is there once however often this is said.
select mc_set_aside($1, $2, $3, $4, $5, $6);

-- name: give_up
-- Safe: fenced; ends one execution of the caller, its number of events from a probe of the index.
select mc_give_up($1, $2, $3, $4, $5);

-- name: queued
-- Safe: reads only. A loose index scan finds the ring of tenants with backlog, and one index probe each gives the first rows
-- of every one: at most $3 times its weight, and its share of $4; so the cost does not grow with the backlog, and no tenant
-- hides behind another. Turn by turn of the ring, beginning after tenant $5: whoever waits gets its next picks within one
-- turn, the sum of the weights. A weight is `dispatch_weight` in the tenant's settings, 1 unless told otherwise. Of a tenant or
-- workflow with a limit (`max_running`) as many as may run beside those that do, and what is to end, which needs no place; the claim counts exactly.
with recursive has as (select mc_has_limits() as limits), ring as (
  (select e.tenant_id from workflow_executions e where e.shard = $1 and e.status = 0 order by e.tenant_id limit 1)
  union all
  select (select e.tenant_id from workflow_executions e
           where e.shard = $1 and e.status = 0 and e.tenant_id > ring.tenant_id order by e.tenant_id limit 1)
    from ring where ring.tenant_id is not null
), weighed as (
  select x.tenant_id, x.weight, least($3::bigint * x.weight, greatest(x.weight, floor($4::bigint * x.weight / x.total)::bigint)) as most from (
  select ring.tenant_id, w.weight, sum(w.weight) over () as total
    from ring left join tenants t on t.id = ring.tenant_id cross join lateral
      (select case when jsonb_typeof(t.settings -> 'dispatch_weight') = 'number'
                   then least(100, greatest(1, (t.settings ->> 'dispatch_weight')::numeric))::bigint else 1 end as weight) w
   where ring.tenant_id is not null) x
), bounded as (
  select x.tenant_id, x.weight, x.most as share, least(x.most, b.room) as most, b.full_ones, b.bounds > 0 as is_limited from weighed x cross join lateral (
    select count(*) as bounds, min(case when l.workflow is null then greatest(0, l.most - mc_running($1, l.tenant, null, l.most)) end) as room,
           array_agg(l.workflow) filter (where l.workflow is not null and mc_running($1, l.tenant, l.workflow, l.most) >= l.most) as full_ones
      from mc_limits_of($1, array[x.tenant_id], array(select w.id from workflows w where w.tenant_id = x.tenant_id and w.max_running is not null)) l
     where (select has.limits from has) and (exists (select 1 from tenants o where o.id = x.tenant_id and o.settings ? 'max_running')
        or exists (select 1 from workflows o where o.tenant_id = x.tenant_id and o.max_running is not null))) b
)
select p.id, p.priority, g.tenant_id, p.age, p.place >= g.most as fills_share, g.is_limited from bounded g cross join lateral (
  select q.id, q.priority, extract(epoch from pg_catalog.now() - q.created_at)::float8 as age,
         row_number() over (order by q.priority desc, q.id) as place from (
    (select e.id, e.priority, e.created_at from workflow_executions e
      where e.shard = $1 and e.status = 0 and e.takeovers < 2 and e.tenant_id = g.tenant_id
        and e.created_at < pg_catalog.now() - make_interval(secs => $2::float8)
        and (g.full_ones is null or e.workflow_id <> all (g.full_ones))
      order by e.priority desc, e.id limit g.most)
    union
    (select e.id, e.priority, e.created_at from workflow_executions e
      where g.is_limited and e.shard = $1 and e.status = 0 and e.takeovers < 2 and e.tenant_id = g.tenant_id and e.deadline <= pg_catalog.now()
      order by e.deadline limit g.share)
    union
    (select e.id, e.priority, e.created_at from workflow_executions e
      where g.is_limited and e.shard = $1 and e.status = 0 and e.takeovers < 2 and e.tenant_id = g.tenant_id and e.cancel_requested
      order by e.id limit g.share)) q
   order by q.priority desc, q.id limit g.share
) p order by (p.place - 1) / g.weight, g.tenant_id <= $5::uuid, g.tenant_id, p.place limit $4;

-- name: held_back
-- Safe: reads only, by the ring as above; asked only while somebody has a limit and a backlog.
with recursive ring as (
  (select e.tenant_id from workflow_executions e where e.shard = $1 and e.status = 0 order by e.tenant_id limit 1)
  union all
  select (select e.tenant_id from workflow_executions e
           where e.shard = $1 and e.status = 0 and e.tenant_id > ring.tenant_id order by e.tenant_id limit 1)
    from ring where ring.tenant_id is not null
)
select count(*)::int from ring where ring.tenant_id is not null and (exists (select 1 from tenants o where o.id = ring.tenant_id and o.settings ? 'max_running')
        or exists (select 1 from workflows o where o.tenant_id = ring.tenant_id and o.max_running is not null)) and exists (
  select 1 from mc_limits_of($1, array[ring.tenant_id], array(select w.id from workflows w where w.tenant_id = ring.tenant_id and w.max_running is not null)) l
   where mc_running($1, l.tenant, l.workflow, l.most) >= l.most);

-- name: send
-- Safe: one row by its key, and a message beside it; the owner alone changes the state of what runs.
select known, status, n from mc_send_3($1, $2, $3, $4, $5, $6, $7);

-- name: retry
-- Safe: locks the row first; only the given final statuses become queued again, in the next generation, and not while a child runs.
select known, status, generation from mc_retry($1, $2, $3, $4, $5);

-- name: rewind
-- Safe: as `retry`; what completed becomes queued again, too. Of an execution that goes on with another version, or in another
-- generation, than whoever asks has looked at, nothing changes.
select known, status, generation, is_seen from mc_begin_again_2($1, $2, $3, $4, 10::smallint, $5, $6, $7, $8);

-- name: open_child
-- Safe: reads; who calls it has found the execution to be the caller's.
select c.id from mc_children_open($1, array[$2::uuid]) c limit 1;

-- name: trim_lanes
-- Safe: a lock for each lane, not waited for; messages are left as by `send`, and once: who is asked to end counts no more.
select mc_lanes_trim($1);

-- name: make_partitions
-- Safe: an advisory lock makes it run once at a time; a day that exists is left alone; with a short lock_timeout.
select mc_make_partitions(x.day, x.day) from (select (pg_catalog.now() at time zone 'UTC')::date + $1::int as day) x;

-- name: drop_logs
-- Safe: whole days, with a short lock_timeout: a reader in the way makes it fail and come again, not queue up.
select mc_drop_logs((pg_catalog.now() at time zone 'UTC')::date - $1::int);

-- name: forget_keys
-- Safe: a bounded batch, `skip locked`; an enqueue whose key goes meanwhile is sent again by its caller.
select mc_forget_keys($1, make_interval(days => $2::int), $3);

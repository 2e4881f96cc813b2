-- Durable acceptance.

-- name: enqueue
-- Safe: one transaction for keys, executions, first events and labels; keys are inserted in key order, so that two API
-- processes can't deadlock; the shard's row is held `for key share`: whoever closes the shard locks it `for update` first, and
-- so waits for this (a plain update of `open` would not). With $2 and $3 fenced like a claim: what is born there is owned.
select ordinal, id, fresh, same, at, born from mc_enqueue_2($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16,
  $17, $18, $19);

-- name: refused_by_lanes
-- Safe: reads only; probes of the lanes of a batch that was refused for one of them. Of the rows whose rule is `reject`, as the trigger that refuses
-- them knows them, those that come after as many as may be open in their lane, counting what stands before them in the batch. What was
-- accepted before under its idempotency key is none of them.
select x.o::int - 1 as ordinal, x.lane as key, x.most as limit, (x.open || x.before)[1:20] as holders from (
  select b.o, b.lane, b.most, l.open, array_agg(b.id) over w as before, row_number() over w as place from (
    select u.o, u.id, u.workflow, u.wake, u.meta #>> '{concurrency,key}' as lane, (u.meta #>> '{concurrency,limit}')::int as most
      from (select n.o, n.id, n.tenant, n.workflow, n.wake, n.meta::jsonb as meta, n.key,
                   row_number() over (partition by n.tenant, n.key order by n.o) as copy
              from unnest($2::uuid[], $3::uuid[], $4::uuid[], $5::timestamptz[], $6::text[], $7::text[]) with ordinality
                   n (id, tenant, workflow, wake, meta, key, o)) u
     where u.meta #>> '{concurrency,on_conflict}' = 'reject' and u.wake is null and not u.meta ? 'parent'
       and (u.key is null or u.copy = 1 and not exists (select 1 from idempotency_keys k
         where k.shard = $1 and k.tenant_id = u.tenant and k.operation = 'enqueue_execution' and k.key = u.key))) b
    cross join lateral (select coalesce(array_agg(h.id order by h.id), '{}') as open from (
      (select e.id from workflow_executions e where e.shard = $1 and e.workflow_id = b.workflow and e.lane = b.lane
          and e.in_lane and e.status in (0, 1, 3) limit b.most)
      union all
      (select e.id from workflow_executions e where e.shard = $1 and e.workflow_id = b.workflow and e.lane = b.lane
          and e.status = 3 and not e.in_lane and (e.wake_at is null or e.wake_at <= pg_catalog.now()) limit b.most)) h) l
  window w as (partition by b.workflow, b.lane order by b.o rows between unbounded preceding and 1 preceding)) x
 where cardinality(x.open) + x.place > x.most;

-- Statistics of executions, read from counters. All but `fold` run as mc_api, under row security.

-- name: counts
-- Safe: one snapshot of what is folded and what is not, so nothing is counted twice or missed; ranges of the primary keys and of
-- the index of what is open. Full days, and the hours that they lack or have too many ($8 and $11 are 1 or -1) at both ends of
-- the range $12 to $13. Only money has amounts. $3 are the namespaces, or the empty one for all of them; $2 the same namespaces, or null.
select x.state, x.slot, x.currency, sum(x.n)::bigint as n, sum(x.amount) filter (where x.currency <> '') as amount from (
  select c.state, c.slot, c.currency, c.n, c.amount from execution_day_counts c
   where c.tenant_id = $1 and c.workflow_id = '00000000-0000-0000-0000-000000000000' and c.namespace = any ($3) and c.created_on >= $4 and c.created_on < $5
  union all
  select c.state, c.slot, c.currency, $8 * c.n, $8 * c.amount from execution_counts c
   where c.tenant_id = $1 and c.workflow_id = '00000000-0000-0000-0000-000000000000' and c.namespace = any ($3) and c.hour >= $6 and c.hour < $7 and c.state not in (0, 1, 3, 8, 9, 10)
  union all
  select c.state, c.slot, c.currency, $11 * c.n, $11 * c.amount from execution_counts c
   where c.tenant_id = $1 and c.workflow_id = '00000000-0000-0000-0000-000000000000' and c.namespace = any ($3) and c.hour >= $9 and c.hour < $10 and c.state not in (0, 1, 3, 8, 9, 10)
  union all
  select c.state, c.slot, c.currency, c.n, c.amount from execution_counts c
   where c.tenant_id = $1 and c.workflow_id = '00000000-0000-0000-0000-000000000000' and c.namespace = any ($3) and c.state in (0, 1, 3, 8, 9, 10)
  union all
  select d.state, d.slot, coalesce(d.currency, ''), d.n, coalesce(d.amount, 0) from execution_deltas d
   where d.tenant_id = $1 and ($2::text[] is null or d.namespace = any ($2))
     and (d.state in (0, 1, 3, 8, 9, 10) or d.hour >= $12 and d.hour < $13)) x
 group by x.state, x.slot, x.currency;

-- name: counts_of
-- Safe: the same for some workflows.
select x.state, x.slot, x.currency, sum(x.n)::bigint as n, sum(x.amount) filter (where x.currency <> '') as amount from (
  select c.state, c.slot, c.currency, c.n, c.amount from execution_day_counts c
   where c.tenant_id = $1 and c.workflow_id = any ($2)
     and ($3::uuid[] is null or c.version_id = any ($3)) and ($4::text[] is null or c.namespace = any ($4)) and c.created_on >= $5 and c.created_on < $6
  union all
  select c.state, c.slot, c.currency, $9 * c.n, $9 * c.amount from execution_counts c
   where c.tenant_id = $1 and c.workflow_id = any ($2)
     and ($3::uuid[] is null or c.version_id = any ($3)) and ($4::text[] is null or c.namespace = any ($4)) and c.hour >= $7 and c.hour < $8 and c.state not in (0, 1, 3, 8, 9, 10)
  union all
  select c.state, c.slot, c.currency, $12 * c.n, $12 * c.amount from execution_counts c
   where c.tenant_id = $1 and c.workflow_id = any ($2)
     and ($3::uuid[] is null or c.version_id = any ($3)) and ($4::text[] is null or c.namespace = any ($4)) and c.hour >= $10 and c.hour < $11 and c.state not in (0, 1, 3, 8, 9, 10)
  union all
  select c.state, c.slot, c.currency, c.n, c.amount from execution_counts c
   where c.tenant_id = $1 and c.workflow_id = any ($2)
     and ($3::uuid[] is null or c.version_id = any ($3)) and ($4::text[] is null or c.namespace = any ($4)) and c.state in (0, 1, 3, 8, 9, 10)
  union all
  select d.state, d.slot, coalesce(d.currency, ''), d.n, coalesce(d.amount, 0) from execution_deltas d
   where d.tenant_id = $1 and d.workflow_id = any ($2)
     and ($3::uuid[] is null or d.version_id = any ($3)) and ($4::text[] is null or d.namespace = any ($4))
     and (d.state in (0, 1, 3, 8, 9, 10) or d.hour >= $13 and d.hour < $14)) x
 group by x.state, x.slot, x.currency;

-- name: counts_of_each
-- Safe: the same for some workflows, of each by itself.
select x.workflow_id, x.state, x.slot, x.currency, sum(x.n)::bigint as n, sum(x.amount) filter (where x.currency <> '') as amount from (
  select c.workflow_id, c.state, c.slot, c.currency, c.n, c.amount from execution_day_counts c
   where c.tenant_id = $1 and c.workflow_id = any ($2) and c.created_on >= $3 and c.created_on < $4
  union all
  select c.workflow_id, c.state, c.slot, c.currency, $7 * c.n, $7 * c.amount from execution_counts c
   where c.tenant_id = $1 and c.workflow_id = any ($2) and c.hour >= $5 and c.hour < $6 and c.state not in (0, 1, 3, 8, 9, 10)
  union all
  select c.workflow_id, c.state, c.slot, c.currency, $10 * c.n, $10 * c.amount from execution_counts c
   where c.tenant_id = $1 and c.workflow_id = any ($2) and c.hour >= $8 and c.hour < $9 and c.state not in (0, 1, 3, 8, 9, 10)
  union all
  select c.workflow_id, c.state, c.slot, c.currency, c.n, c.amount from execution_counts c
   where c.tenant_id = $1 and c.workflow_id = any ($2) and c.state in (0, 1, 3, 8, 9, 10)
  union all
  select d.workflow_id, d.state, d.slot, coalesce(d.currency, ''), d.n, coalesce(d.amount, 0) from execution_deltas d
   where d.tenant_id = $1 and d.workflow_id = any ($2)
     and (d.state in (0, 1, 3, 8, 9, 10) or d.hour >= $11 and d.hour < $12)) x
 group by x.workflow_id, x.state, x.slot, x.currency;

-- name: oldest_queued
-- Safe: the first row of an index in the order of ids, which is that of creation.
select e.created_at from workflow_executions e
 where e.tenant_id = $1 and e.status = 0 and e.started_at is null and not e.cancel_requested order by e.id limit 1;

-- name: oldest_queued_of
-- Safe: the same for each of a few workflows.
select min(o.created_at) from unnest($2::uuid[]) w (id) cross join lateral (
  select e.created_at from workflow_executions e
   where e.tenant_id = $1 and e.workflow_id = w.id and e.status = 0 and e.started_at is null and not e.cancel_requested
     and ($3::uuid[] is null or e.version_id = any ($3)) and ($4::text[] is null or e.namespace = any ($4)) order by e.id limit 1) o;

-- name: oldest_queued_of_each
-- Safe: the first row of an index for each of a few workflows.
select w.id as workflow_id, o.created_at from unnest($2::uuid[]) w (id) cross join lateral (
  select e.created_at from workflow_executions e
   where e.tenant_id = $1 and e.workflow_id = w.id and e.status = 0 and e.started_at is null and not e.cancel_requested order by e.id limit 1) o;

-- name: oldest_queued_in
-- Safe: what is queued, in the order of ids, until one is in the namespace.
select e.created_at from workflow_executions e
 where e.tenant_id = $1 and e.status = 0 and e.started_at is null and not e.cancel_requested and e.namespace = any ($2) order by e.id limit 1;

-- name: now
-- Safe: the clock that ages are measured with.
select maestro.now();

-- name: fold
-- Safe: one at a time by an advisory lock; what is folded is deleted in the same transaction. Runs as mc_engine.
select mc_fold_counts($1);

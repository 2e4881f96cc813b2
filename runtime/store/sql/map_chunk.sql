-- Items of maps that are lent to other workers. All run as mc_engine; what changes a row is a function of the migrations.

-- name: lend
-- Safe: fenced; a chunk of an execution that is the caller's, under a number that it counts itself.
select mc_chunk_lend($1, $2, $3, $4, $5, $6, $7, $8);

-- name: take
-- Safe: fenced; `skip locked`, and one chunk only, so that several helpers share what is lent.
select e.id, e.tenant_id, e.workflow_id, e.version_id, e.generation, e.namespace, e.region, e.priority, e.epoch,
       e.takeovers, e.inbox, e.cancel_requested, e.created_at,
       extract(epoch from pg_catalog.now() - e.created_at)::float8 as age_seconds,
       extract(epoch from e.deadline - pg_catalog.now())::float8 as deadline_in_seconds, e.meta, e.input,
       c.lender, c.number, c.step, c.items, c.attempts
  from mc_chunk_take($1, $2, $3) c join workflow_executions e on e.id = c.execution_id and e.shard = $1;

-- name: end
-- Safe: fenced, by the helper's own seat and epoch; whose chunk it is no more changes nothing.
select mc_chunk_end($1, $2, $3, $4, $5, $6, $7);

-- name: held
-- Safe: reads by an index over the chunks under way; the numbers of those that this seat still has to run.
select c.execution_id, c.lender, c.number, c.stop from map_chunks c
 where c.shard = $1 and c.helper = $2 and c.helper_epoch = $3 and c.outcomes is null;

-- name: back
-- Safe: fenced; what is fetched is deleted in the same statement, and what its answer is lost for is done again.
select lender, number, step, items, attempts, is_back, is_lost, outcomes
  from mc_chunk_back($1, $2, $3, $4, make_interval(secs => $5::float8), $6, $7);

-- name: others
-- Safe: reads a small table, for a share on which nothing rests; who runs suspects alone helps nobody.
select count(*)::int from workers w
 where w.shard = $1 and w.id <> $2 and not w.dead and w.lease_until > pg_catalog.now() and w.host not like '%:alone';

-- name: sweep
-- Safe: only chunks whose execution runs no more in the generation that lent them.
select mc_chunk_sweep($1);

-- What event handlers could not take, for the tenant whose it is.

-- name: passed_by
-- Safe: a page of the index on tenant and time, and mc_api sees only the tenant's own.
select f.handler, f.stream, f.shard, f.noun, f.id, f.seq, f.kind, f.attempts, f.error, f.at
  from event_failures f where f.tenant_id = $1 order by f.at desc limit $2;

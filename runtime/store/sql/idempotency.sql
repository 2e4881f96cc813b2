-- Keys of mutations. Under the role of the change they belong to; each names the tenant.

-- name: insert
-- Safe: the primary key lets one of two equal keys through; the other waits for the first one's commit, then does nothing.
insert into idempotency_keys (tenant_id, operation, key, shard, body_digest, result_id, created_at)
values ($1, $2, $3, 0, $4, $5, maestro.now()) on conflict do nothing returning true;

-- name: find
-- Safe: a probe of the primary key; with several shards a key of a spread tenant lies on the one of its execution.
select result_id, body_digest from idempotency_keys where tenant_id = $1 and operation = $2 and key = $3 limit 1;

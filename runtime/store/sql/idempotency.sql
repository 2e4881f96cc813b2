-- Keys of mutations. Under the role of the change they belong to; each names the tenant.

-- name: insert
-- Safe: the primary key lets one of two equal keys through; the other waits for the first one's commit, then does nothing.
insert into idempotency_keys (tenant_id, operation, key, shard, body_digest, result_id, created_at)
values ($1, $2, $3, $6, $4, $5, maestro.now()) on conflict do nothing returning true;

-- name: find
-- Safe: a probe of the primary key; a key lies in the shard of its result, which who has no result yet does not name.
select result_id, body_digest from idempotency_keys
 where tenant_id = $1 and operation = $2 and key = $3 and ($4::smallint is null or shard = $4) limit 1;

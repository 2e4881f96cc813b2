-- Why something is not running is said to its tenant: whether workers live (their rows belong to nobody), and since when a
-- message waits to be read. Both are read as mc_api; row security shows of the inbox only what is the tenant's,
-- and of both only these columns: what a message says is the engine's.
-- Locks: none that matter, for an instant.

set local search_path = maestro;

grant select (id, shard, host, dead, left_at, lease_until) on workers to mc_api;
grant select (shard, execution_id, tenant_id, created_at) on execution_inbox to mc_api;

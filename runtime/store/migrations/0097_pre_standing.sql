-- Why something is not running is said to its tenant: whether workers live (their rows belong to nobody), and since when a
-- message waits to be read. Both are read as mc_api; row security shows of the inbox only what is the tenant's.
-- Locks: none that matter, for an instant.

set local search_path = maestro;

grant select on workers, execution_inbox to mc_api;

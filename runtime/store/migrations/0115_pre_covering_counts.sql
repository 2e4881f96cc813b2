-- The keys of the folded counters hold what is counted as well: a reader of old hours and days reads pages of a key, and no row.
-- Locks: readers and the fold wait until both keys are built again, a second for a million of rows.
--
-- A row of a table is anywhere, so that a range of eight thousand counters touched as many pages. Price: what a fold changes is written to the
-- key as well. That pages need not be looked at for who may see them is vacuum's word, so it comes sooner than after a fifth of the table.

set local search_path = maestro;

-- Nobody folds beside this: his statement would name the old key.
select pg_advisory_xact_lock(7263005);
alter table execution_counts drop constraint execution_counts_pkey;
alter table execution_counts add primary key (tenant_id, workflow_id, namespace, hour, state, slot, version_id, day, currency) include (n, amount);
alter table execution_counts set (autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_insert_scale_factor = 0.05);
alter table execution_day_counts drop constraint execution_day_counts_pkey;
alter table execution_day_counts add primary key (tenant_id, workflow_id, namespace, created_on, state, slot, version_id, day, currency) include (n, amount);
alter table execution_day_counts set (autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_insert_scale_factor = 0.05);

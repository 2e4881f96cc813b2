-- Who refers to which blob. All run as mc_engine; the blobs themselves lie outside, see runtime/store/blob.py.

-- name: refer
-- Safe: committed before the blob is put; waits while somebody deletes the same blob, and never relies on that one.
select mc_blob_refer($1, $2, $3, $4, $5);

-- name: any
-- Safe: reads until the first row; asked by a process whose store is not there, before its first put.
select exists (select 1 from blob_refs);

-- name: days
-- Safe: reads one row per day; says what to do, does nothing.
select day, at from mc_blob_days();

-- name: patient
-- Safe: for one transaction, whose locks must last as long as the store takes to delete; who vanishes is noticed by keepalive.
select set_config('idle_in_transaction_session_timeout', '0', true);

-- name: release
-- Safe: references of executions that are gone; locked by address until the caller, who deletes the blobs, commits.
select gone, tenant, slot, digest from mc_blob_release($1, $2);

-- name: released
-- Safe: one row by its key; a day that changed meanwhile has another `at` and is due again.
select mc_blob_released($1, $2);

-- Durable acceptance.

-- name: enqueue
-- Safe: one transaction for keys, executions, first events and labels; keys are inserted in key order, so that two API
-- processes can't deadlock; the shard's row is held `for key share`: whoever closes the shard locks it `for update` first, and
-- so waits for this (a plain update of `open` would not).
select ordinal, id, fresh, same, at from mc_enqueue($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16);

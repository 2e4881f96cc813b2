-- Durable acceptance.

-- name: enqueue
-- Safe: one transaction for keys, executions, first events and labels; keys are inserted in key order, so that two API
-- processes can't deadlock; the shard's row is held `for key share`: whoever closes the shard locks it `for update` first, and
-- so waits for this (a plain update of `open` would not). With $2 and $3 fenced like a claim: what is born there is owned.
select ordinal, id, fresh, same, at, born from mc_enqueue_2($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16,
  $17, $18, $19);

-- The writer's statement. The function is the statement; its locks and rules are told in the migration.

-- name: flush
-- Safe: fenced by `for key share` on the worker's row; all rows belong to executions that this worker owns; one
-- implicit transaction, so that a refusal leaves nothing behind and the batch can be halved.
select live, closed from mc_flush_2($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18,
  $19, $20, $21, $22, $23, $24, $25, $26, $27, $28);

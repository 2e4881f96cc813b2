-- The writer's statement. The function is the statement; its locks and rules are told in the migration.

-- name: flush
-- Safe: fenced by `for key share` on the worker's row; all rows belong to executions that this worker owns; one
-- implicit transaction, so that a refusal leaves nothing behind and the batch can be halved. Numbers come as array literals.
select live, closed from mc_flush_2($1, $2, $3,
  $4, $5, $6::text::int[], $7::text::int[], $8::text::smallint[], $9::text::int[],
  $10::text::smallint[], $11::text::float8[], $12::text::boolean[], $13,
  $14, $15, $16::text::int[], $17::text::smallint[], $18,
  $19, $20::text::smallint[], $21::text::smallint[], $22::text::float8[], $23::text::int[], $24, $25,
  $26, $27, $28::text::int[]);

-- name: flush_with_children
-- Safe: as `flush`; children begin and are told in the same transaction. All rows of families that it touches are locked first,
-- in the order of their ids.
select live, closed from mc_flush_3($1, $2, $3,
  $4, $5, $6::text::int[], $7::text::int[], $8::text::smallint[], $9::text::int[],
  $10::text::smallint[], $11::text::float8[], $12::text::boolean[], $13,
  $14, $15, $16::text::int[], $17::text::smallint[], $18,
  $19, $20::text::smallint[], $21::text::smallint[], $22::text::float8[], $23::text::int[], $24, $25,
  $26, $27, $28::text::int[],
  $29, $30, $31, $32, $33, $34, $35, $36::text::int[], $37::text::float8[], $38, $39, $40, $41,
  $42, $43, $44::text::smallint[], $45);

-- name: flush_with_tasks
-- Safe: as `flush_with_children`; tasks begin, and are cancelled, in the same transaction. Executions are locked before their tasks.
select live, closed from mc_flush_4($1, $2, $3,
  $4, $5, $6::text::int[], $7::text::int[], $8::text::smallint[], $9::text::int[],
  $10::text::smallint[], $11::text::float8[], $12::text::boolean[], $13,
  $14, $15, $16::text::int[], $17::text::smallint[], $18,
  $19, $20::text::smallint[], $21::text::smallint[], $22::text::float8[], $23::text::int[], $24, $25,
  $26, $27, $28::text::int[],
  $29, $30, $31, $32, $33, $34, $35, $36::text::int[], $37::text::float8[], $38, $39, $40, $41,
  $42, $43, $44::text::smallint[], $45,
  $46, $47, $48, $49);

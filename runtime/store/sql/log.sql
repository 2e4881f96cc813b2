-- What steps logged.

-- name: write
-- Safe: numbers lines after the last one of their execution; two writers at once collide on the key and send again.
select mc_log($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11);

-- name: read
-- Safe: by primary key from a position on, bounded by the limit; row security and the tenant both apply.
select l.execution_id, l.position, l.step, l.item, l.generation, l.attempt, l.ts, l.level, l.message, l.fields
  from step_logs l
 where l.tenant_id = $1 and l.execution_id = $2 and l.position > $3 and ($4::int is null or l.step = $4)
   and ($6::int is null or l.item = $6)
 order by l.position limit $5;

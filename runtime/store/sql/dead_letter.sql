-- Dead letters: read as mc_api, under row security, each statement also naming the tenant; decided as mc_engine.

-- name: get_many
-- Safe: probes of the primary key; callers bound the number of ids.
select l.execution_id, l.generation, l.message, l.tenant_id, l.queue, l.status, l.reason, l.error, l.losses, l.evidence, l.created_at,
       l.decided_at, l.decided_by, l.decision_reason
  from unnest($2::uuid[], $3::smallint[], $4::int[]) x (e, g, m)
  join dead_letters l on l.execution_id = x.e and l.generation = x.g and l.message = x.m
 where l.tenant_id = $1;

-- name: page
-- Safe: a keyset page over the list's index; filters are applied to few rows, because few executions die.
select l.execution_id, l.generation, l.message, l.tenant_id, l.queue, l.status, l.reason, l.error, l.losses, l.evidence, l.created_at,
       l.decided_at, l.decided_by, l.decision_reason
  from dead_letters l
 where l.tenant_id = $1 and ($2::smallint[] is null or l.status = any ($2)) and ($3::uuid is null or l.execution_id = $3)
   and ($4::text is null or l.queue = $4) and ($5::timestamptz is null or l.created_at >= $5)
   and ($6::timestamptz is null or l.created_at < $6)
   and ($7::timestamptz is null or (l.created_at, l.execution_id, l.generation, l.message) < ($7, $8::uuid, $9::smallint, $10::int))
 order by l.created_at desc, l.execution_id desc, l.generation desc, l.message desc limit $11;

-- name: count
-- Safe: as a page, and stops at its cap.
select count(*)::int from (select 1 from dead_letters l
 where l.tenant_id = $1 and ($2::smallint[] is null or l.status = any ($2)) and ($3::uuid is null or l.execution_id = $3)
   and ($4::text is null or l.queue = $4) and ($5::timestamptz is null or l.created_at >= $5)
   and ($6::timestamptz is null or l.created_at < $6) limit $7) x;

-- name: redrivable
-- Safe: as a page of open ones, and one probe of the primary key for each; the `limit` keeps the planner from beginning at the
-- executions. What can't be redriven costs its probe and nothing else. A message to a dead execution goes with its execution's
-- letter, which is newer, and decided before it.
select l.execution_id, l.generation, l.message, l.created_at
  from dead_letters l cross join lateral
       (select e.status from workflow_executions e where e.shard = l.shard and e.id = l.execution_id and e.tenant_id = l.tenant_id limit 1) x
 where l.tenant_id = $1 and l.status = any ($2::smallint[]) and ($3::uuid is null or l.execution_id = $3)
   and ($4::text is null or l.queue = $4) and ($5::timestamptz is null or l.created_at >= $5)
   and ($6::timestamptz is null or l.created_at < $6)
   and (case when l.message = 0 then x.status = 6
             when x.status = 6 then $4 is null and exists (select 1 from dead_letters d where d.shard = l.shard and d.execution_id = l.execution_id
                    and d.message = 0 and d.status = 0 and d.tenant_id = l.tenant_id and ($6 is null or d.created_at < $6))
             else x.status in (0, 1, 3) end)
 order by l.created_at desc, l.execution_id desc, l.generation desc, l.message limit $7;

-- name: redrive
-- Safe: locks the letter, then the execution; only an open letter of a dead execution, or of a message to one that has not ended, changes.
select known, status, changed from mc_redrive_2($1, $2, $3, $4, $5, $6, $7, $8);

-- name: discard
-- Safe: as redrive.
select known, status, changed from mc_discard_2($1, $2, $3, $4, $5, $6, $7, $8);

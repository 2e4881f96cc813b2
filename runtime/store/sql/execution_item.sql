-- Items of maps as people read them: as mc_api, under row security; each statement also names the tenant.

-- name: rows
-- Safe: a range of the primary key for each item; callers bound the number of items.
select execution_id, step, item, generation, attempt, status, started_at, finished_at, finished_at = 'infinity' as is_open, result
  from step_executions where tenant_id = $1 and execution_id = $2 and step = $3 and item = any ($4::int[])
 order by item, generation, attempt;

-- name: numbers
-- Safe: a range of the primary key from an item on, bounded by the limit: the items that have a row with one of these statuses.
select distinct item from step_executions
 where tenant_id = $1 and execution_id = $2 and step = $3 and item > $4 and status = any ($5::smallint[]) order by item limit $6;

-- name: under_way
-- Safe: reads the events of one execution from a sequence on. What has begun ($4: STEP_STARTED) and of which no row of the
-- generation ($6) tells the end: no more than the items that are under way, and those that a lost owner had begun.
select distinct on (b.item) b.item, b.execution_id, b.tenant_id, b.seq, b.kind, b.ts, b.data
  from (select (v.data -> 'item')::int as item, (v.data -> 'attempt')::int as attempt, v.* from execution_events v
         where v.tenant_id = $1 and v.execution_id = $2 and v.seq > $5 and v.kind = $4 and (v.data -> 'step')::int = $3) b
 where b.item >= 0 and not exists (
       select 1 from step_executions s
        where s.tenant_id = $1 and s.execution_id = $2 and s.step = $3 and s.item = b.item and s.generation = $6
          and s.attempt >= b.attempt and s.finished_at <> 'infinity')
 order by b.item, b.seq desc;

-- name: counts
-- Safe: the rows of one map, by primary key. Completed counts from generation $4 on; of the rest only what generation $5 says:
-- a row that is open, that another attempt follows, or whose attempt was stopped, is no failure.
select count(*) filter (where x.status = 6)::int as completed, count(*) filter (where x.is_failure)::int as failed
  from (select distinct on (s.item) s.status,
               s.status in (5, 7, 10) and s.finished_at <> 'infinity' and not s.result ? 'retry_in_ms' as is_failure
          from step_executions s
         where s.tenant_id = $1 and s.execution_id = $2 and s.step = $3 and s.item >= 0
           and (s.generation = $5 or (s.status = 6 and s.generation between $4 and $5))
         order by s.item, s.status = 6 desc, s.attempt desc) x;

-- name: costs
-- Safe: reads the events of the executions by primary key, up to a sequence for each ($4); callers bound their number.
select v.execution_id, (v.data -> 'step')::int as step, split_part(v.data ->> 'cost', ' ', 2) as currency,
       sum(split_part(v.data ->> 'cost', ' ', 1)::numeric) as amount
  from execution_events v
 where v.tenant_id = $1 and v.execution_id = $2 and v.seq <= $3 and v.data ? 'cost' and (v.data -> 'item')::int >= 0
 group by 1, 2, 3;

-- name: parked
-- Safe: the rows of maps by primary key; callers bound the number of executions. Of each map the item that goes on first, of
-- those that wait for their next attempt or for a word about a doubt, and how many there are; none of what has completed since.
select distinct on (x.execution_id, x.step) x.execution_id, x.step, x.item, x.attempt, x.started_at, x.until, x.error,
       x.finished_at, x.is_open, x.waiting
  from (select n.*, count(*) over (partition by n.execution_id, n.step)::int as waiting
          from (select distinct on (s.execution_id, s.step, s.item) s.execution_id, s.step, s.item, s.attempt, s.started_at,
                       s.finished_at, s.finished_at = 'infinity' as is_open, s.result -> 'error' as error,
                       s.finished_at + make_interval(secs => (s.result -> 'retry_in_ms')::float8 / 1000) as until
                  from step_executions s
                 where s.tenant_id = $1 and s.execution_id between $3 and $4 and s.execution_id = any ($2) and s.item >= 0
                 order by s.execution_id, s.step, s.item, s.generation desc, s.attempt desc) n
         where n.is_open or n.until is not null) x
 order by x.execution_id, x.step, x.until nulls last, x.item;

-- Items of maps as people read them: as mc_api, under row security; each statement also names the tenant.

-- name: rows
-- Safe: a range of the primary key for each item; callers bound the number of items.
select execution_id, step, item, generation, attempt, status, started_at, finished_at, finished_at = 'infinity' as is_open, result
  from step_executions where tenant_id = $1 and execution_id = $2 and step = $3 and item = any ($4::int[])
 order by item, generation, attempt;

-- name: chosen
-- Safe: a range of the primary key from an item on, once, until the limit is reached; no result leaves the server. The items whose
-- newest row says one of these statuses ($8), as `MapView` reads it: the attempts that count are those of the generation in which the
-- item completed ($5 to $6), else those of its map ($6); while the map is open ($7), one is between two attempts (4) or begins again (1).
select n.item from (
  select distinct on (s.item) s.item,
         case when s.finished_at = 'infinity' then 5
              when s.status = 6 then 6
              when s.result ? 'retry_in_ms' then case when $7::boolean then 4 else 9 end
              when $7::boolean and s.status = 9 and s.result -> 'stopped' = 'true' then 1
              else s.status end as status
    from step_executions s
   where s.tenant_id = $1 and s.execution_id = $2 and s.step = $3 and s.item > $4
     and (s.generation = $6 or s.status = 6 and s.generation between $5 and $6)
     and not (s.status = 9 and s.finished_at = 'infinity')
   order by s.item, s.generation desc, s.attempt desc) n
 where n.status = any ($8::smallint[]) order by n.item limit $9;

-- name: under_way
-- Safe: reads the events of one execution from a sequence on, once and without a join, however many there are. What has begun
-- (20: STEP_STARTED) and of which no event since tells that it ended, waits, or is in doubt: no more than is under way; of all
-- items, or of these ($5).
select g.item, v.execution_id, v.tenant_id, v.seq, v.kind, v.ts, v.data
  from (select (e.data -> 'item')::int as item, max(e.seq) filter (where e.kind = 20) as begun,
               max(e.seq) filter (where e.kind <> 20) as ended
          from execution_events e
         where e.tenant_id = $1 and e.execution_id = $2 and e.seq > $4 and e.kind between 20 and 29 and (e.data -> 'step')::int = $3
           and ($5::int[] is null or (e.data -> 'item')::int = any ($5))
         group by 1) g
       join lateral (select * from execution_events e where e.tenant_id = $1 and e.execution_id = $2 and e.seq = g.begun) v on true
 where g.item >= 0 and g.begun > coalesce(g.ended, 0) order by g.item;

-- name: ranges
-- Safe: the rows of one map from an item on, by primary key, once; as ranges of numbers. Items that have a row that counts, as in
-- `chosen`.
select lower(r) as low, upper(r) as high
  from (select range_agg(int4range(s.item, s.item + 1)) as items from step_executions s
         where s.tenant_id = $1 and s.execution_id = $2 and s.step = $3 and s.item > $4
           and (s.generation = $6 or s.status = 6 and s.generation between $5 and $6)
           and not (s.status = 9 and s.finished_at = 'infinity')) x,
       unnest(x.items) r order by 1;

-- name: counts
-- Safe: the rows of one map, by primary key, once. An item completes once in the generations that count ($4 to $5), and fails
-- for good once in the generation of its map: a row that is open, or that another attempt follows, is no failure.
select count(*) filter (where s.status = 6 and s.generation between $4 and $5)::int as completed,
       count(*) filter (where s.status in (5, 7, 10) and s.generation = $5 and s.finished_at <> 'infinity'
                          and not s.result ? 'retry_in_ms')::int as failed
  from step_executions s where s.tenant_id = $1 and s.execution_id = $2 and s.step = $3 and s.item >= 0;

-- name: costs
-- Safe: reads the events of the executions by primary key, up to a sequence for each ($4); callers bound their number.
select v.execution_id, (v.data -> 'step')::int as step, split_part(v.data ->> 'cost', ' ', 2) as currency,
       sum(split_part(v.data ->> 'cost', ' ', 1)::numeric) as amount
  from execution_events v
 where v.tenant_id = $1 and v.execution_id = $2 and v.seq <= $3 and v.data ? 'cost' and (v.data -> 'item')::int >= 0
 group by 1, 2, 3;

-- name: parked
-- Safe: the rows of maps by primary key; callers bound the number of executions. Of each map the item that goes on first, of
-- those that wait for their next attempt or for a word about a doubt, and how many there are; none of what has completed since, of an
-- older generation, or of calls that were taken back.
select distinct on (x.execution_id, x.step) x.execution_id, x.step, x.item, x.attempt, x.started_at, x.until, x.error,
       x.finished_at, x.is_open, x.waiting
  from (select n.*, count(*) over (partition by n.execution_id, n.step)::int as waiting
          from (select distinct on (s.execution_id, s.step, s.item) s.execution_id, s.step, s.item, s.attempt, s.started_at,
                       s.finished_at, s.finished_at = 'infinity' as is_open, s.result -> 'error' as error,
                       s.finished_at + make_interval(secs => (s.result -> 'retry_in_ms')::float8 / 1000) as until
                  from step_executions s join workflow_executions e on e.id = s.execution_id and e.generation = s.generation
                 where s.tenant_id = $1 and s.execution_id between $3 and $4 and s.execution_id = any ($2) and s.item >= 0
                   and e.tenant_id = $1 and e.id between $3 and $4 and not (s.status = 9 and s.finished_at = 'infinity')
                 order by s.execution_id, s.step, s.item, s.generation desc, s.attempt desc) n
         where n.is_open or n.until is not null) x
 order by x.execution_id, x.step, x.until nulls last, x.item;

-- What a preview of the next generation reads of one execution: as mc_api, under row security; each statement also names the
-- tenant. Outputs, errors and payloads, which can be large, stay where they are.

-- name: execution
-- Safe: one probe of the primary key.
select status, generation, version_id from workflow_executions where tenant_id = $1 and id = $2;

-- name: rows
-- Safe: a range of the primary key of one execution, as a takeover reads it: items of maps that completed come as ranges, in
-- one row for all of a generation. Of gateways ($3) the output says which ways they took.
select s.step, s.item, s.generation, s.attempt, s.status, s.finished_at = 'infinity' as is_open, 0.0::float8 as ended_ago,
       case when s.step = any ($3::int[]) then s.result else s.result - array['output', 'error', 'stack'] end as result
  from step_executions s
 where s.tenant_id = $1 and s.execution_id = $2 and (s.item < 0 or s.status <> 6)
 union all
select x.step, -2, x.generation, 0, 6, false, 0.0, (select jsonb_agg(array[lower(r), upper(r)]) from unnest(x.items) r)
  from (select s.step, s.generation, range_agg(int4range(s.item, s.item + 1)) as items
          from step_executions s
         where s.tenant_id = $1 and s.execution_id = $2 and s.item >= 0 and s.status = 6
         group by s.step, s.generation) x
 order by 3, 1, 2, 4;

-- name: marks
-- Safe: a range of the primary key of one execution: the events by which a takeover reads the rows.
select v.kind, v.data - 'payload', 0.0::float8 as ago from execution_events v
 where v.tenant_id = $1 and v.execution_id = $2 and v.kind = any ($3::smallint[]) order by v.seq;

-- name: announced
-- Safe: the same range; steps of which a call was announced that may happen once.
select distinct (v.data ->> 'step')::int as step from execution_events v
 where v.tenant_id = $1 and v.execution_id = $2 and v.kind = $3;

-- One chunk for one call: a subquery with `limit` may be run once for each row that it is joined with, and takes another one every
-- time, as soon as the planner knows how small the table is. What a CTE takes is taken once. And whoever looks for lost helpers while
-- one takes a chunk waits for it, and judges what it finds then: an outer join would be judged by what was found before.
-- Locks: none; the functions are replaced, with the same arguments and results.

set local search_path = maestro;

create or replace function mc_chunk_take(p_shard smallint, p_me bigint, p_epoch bigint) returns setof map_chunks
language plpgsql set search_path = maestro set enable_seqscan = off as $$
begin
  perform 1 from workers w where w.shard = p_shard and w.id = p_me and w.epoch = p_epoch for key share;
  if not found then
    raise exception 'this worker was fenced off' using errcode = 'MC002';
  end if;
  return query
    with x as materialized (
        select f.execution_id, f.lender, f.number from map_chunks f join workflow_executions e
            on e.id = f.execution_id and e.shard = f.shard
         where f.shard = p_shard and f.helper is null and e.status = 1 and e.owner <> p_me and e.generation = f.generation
         order by f.created_at limit 1 for update of f skip locked)
    update map_chunks c set helper = p_me, helper_epoch = p_epoch from x
     where c.shard = p_shard and c.execution_id = x.execution_id and c.lender = x.lender and c.number = x.number
    returning c.*;
end $$;

create or replace function mc_chunk_back(p_shard smallint, p_me bigint, p_epoch bigint, p_exec uuid, p_patience interval, p_stop int,
                                         p_why text)
returns table (lender bigint, number int, step int, items int[], attempts int[], is_back boolean, is_lost boolean, outcomes text)
language plpgsql set search_path = maestro set enable_seqscan = off as $$
declare v_generation smallint;
begin
  perform 1 from workers w where w.shard = p_shard and w.id = p_me and w.epoch = p_epoch for key share;
  if not found then
    raise exception 'this worker was fenced off' using errcode = 'MC002';
  end if;
  select e.generation into v_generation from workflow_executions e
   where e.shard = p_shard and e.id = p_exec and e.owner = p_me and e.status = 1;
  if not found then
    return;
  end if;
  delete from map_chunks c where c.shard = p_shard and c.execution_id = p_exec and c.generation <> v_generation;
  update map_chunks c set stop = p_why
   where c.shard = p_shard and c.execution_id = p_exec and c.step = p_stop and c.helper is not null and c.stop is null;
  return query
    with x as materialized (
        select f.lender, f.number, f.helper is not null and not exists (select 1 from workers h
                where h.shard = p_shard and h.id = f.helper and h.epoch = f.helper_epoch and not h.dead) as is_lost
          from map_chunks f
         where f.shard = p_shard and f.execution_id = p_exec and (f.outcomes is not null
               or f.helper is null and (f.created_at <= pg_catalog.now() - p_patience or f.step = p_stop)
               or f.helper is not null and not exists (select 1 from workers h
                where h.shard = p_shard and h.id = f.helper and h.epoch = f.helper_epoch and not h.dead))
           for update of f)
    delete from map_chunks c using x
     where c.shard = p_shard and c.execution_id = p_exec and c.lender = x.lender and c.number = x.number
    returning c.lender, c.number, c.step, c.items, c.attempts, true, x.is_lost and c.outcomes is null, c.outcomes;
  return query
    select c.lender, c.number, c.step, c.items, c.attempts, false, false, null::text from map_chunks c
     where c.shard = p_shard and c.execution_id = p_exec;
end $$;

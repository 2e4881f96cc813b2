-- Items of a large map are lent to other workers, a chunk at a time (ADR-083). The owner of the execution puts a chunk here, a helper
-- takes it under its own lease, runs its items, and leaves what became of them; the owner fetches that and records it as if it
-- had run them itself. So the owner alone writes rows and events of its execution, as before. Workers of the release before
-- neither lend nor help.
-- Locks: none; the table and the functions are new.

set local search_path = maestro;

create table map_chunks (
  shard        smallint not null,
  execution_id uuid not null,
  lender       bigint not null,
  number       int not null,
  tenant_id    uuid not null,
  generation   smallint not null,
  step         int not null,
  items        int[] not null,
  attempts     int[] not null,
  created_at   timestamptz not null default pg_catalog.now(),
  helper       bigint,
  helper_epoch bigint,
  stop         text,
  outcomes     text,
  primary key (execution_id, lender, number, shard)
);
create index map_chunks_free on map_chunks (shard, created_at) where helper is null;
create index map_chunks_helper on map_chunks (helper) where helper is not null;
comment on table map_chunks is 'items of maps that are lent to other workers: as many rows as there are chunks under way';
comment on column map_chunks.lender is 'who has lent it, and counts its numbers; the execution may have another owner by now';
comment on column map_chunks.stop is 'why its items are to end, when they are';
comment on column map_chunks.outcomes is 'what became of the items, as events of the engine; what is not told was not done';

alter table map_chunks enable row level security;
create policy engine on map_chunks to mc_engine using (true) with check (true);
grant select, insert, update, delete on map_chunks to mc_engine;

-- Lend items of an execution that the caller owns; false when it does not.
create function mc_chunk_lend(p_shard smallint, p_me bigint, p_epoch bigint, p_exec uuid, p_number int, p_step int, p_items int[],
                              p_attempts int[]) returns boolean
language plpgsql set search_path = maestro set enable_seqscan = off as $$
begin
  perform 1 from workers w where w.shard = p_shard and w.id = p_me and w.epoch = p_epoch for key share;
  if not found then
    raise exception 'this worker was fenced off' using errcode = 'MC002';
  end if;
  insert into map_chunks as c (shard, execution_id, lender, number, tenant_id, generation, step, items, attempts)
    select w.shard, e.id, w.id, p_number, e.tenant_id, e.generation, p_step, p_items, p_attempts
      from workers w, workflow_executions e
     where w.shard = p_shard and w.id = p_me and e.shard = p_shard and e.id = p_exec and e.owner = p_me and e.status = 1;
  return found;
end $$;

-- Take the oldest chunk that nobody has, of an execution that somebody else runs.
create function mc_chunk_take(p_shard smallint, p_me bigint, p_epoch bigint) returns setof map_chunks
language plpgsql set search_path = maestro set enable_seqscan = off as $$
begin
  perform 1 from workers w where w.shard = p_shard and w.id = p_me and w.epoch = p_epoch for key share;
  if not found then
    raise exception 'this worker was fenced off' using errcode = 'MC002';
  end if;
  return query
    update map_chunks c set helper = p_me, helper_epoch = p_epoch
      from (select f.execution_id, f.lender, f.number from map_chunks f join workflow_executions e
              on e.id = f.execution_id and e.shard = f.shard
             where f.shard = p_shard and f.helper is null and e.status = 1 and e.owner <> p_me and e.generation = f.generation
             order by f.created_at limit 1 for update of f skip locked) x
     where c.shard = p_shard and c.execution_id = x.execution_id and c.lender = x.lender and c.number = x.number
    returning c.*;
end $$;

-- Leave what became of a chunk; false when it is the caller's no more.
create function mc_chunk_end(p_shard smallint, p_me bigint, p_epoch bigint, p_exec uuid, p_lender bigint, p_number int, p_outcomes text)
returns boolean
language plpgsql set search_path = maestro set enable_seqscan = off as $$
begin
  perform 1 from workers w where w.shard = p_shard and w.id = p_me and w.epoch = p_epoch for key share;
  if not found then
    raise exception 'this worker was fenced off' using errcode = 'MC002';
  end if;
  update map_chunks c set outcomes = p_outcomes
   where c.shard = p_shard and c.execution_id = p_exec and c.lender = p_lender and c.number = p_number
     and c.helper = p_me and c.helper_epoch = p_epoch and c.outcomes is null;
  return found;
end $$;

-- What has become of the chunks of an execution that the caller owns. Those that are told of, that nobody has taken within
-- p_patience, or whose helper is lost, are fetched, and gone with that; of the others only their numbers are told. Those of the
-- step p_stop are not begun any more; those of an older generation are forgotten.
create function mc_chunk_back(p_shard smallint, p_me bigint, p_epoch bigint, p_exec uuid, p_patience interval, p_stop int,
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
    delete from map_chunks c using (
        select f.lender, f.number, h.id is null and f.helper is not null as is_lost from map_chunks f left join workers h
            on h.shard = f.shard and h.id = f.helper and h.epoch = f.helper_epoch and not h.dead
         where f.shard = p_shard and f.execution_id = p_exec and (f.outcomes is not null
               or f.helper is null and (f.created_at <= pg_catalog.now() - p_patience or f.step = p_stop)
               or f.helper is not null and h.id is null)
           for update of f) x
     where c.shard = p_shard and c.execution_id = p_exec and c.lender = x.lender and c.number = x.number
    returning c.lender, c.number, c.step, c.items, c.attempts, true, x.is_lost and c.outcomes is null, c.outcomes;
  return query
    select c.lender, c.number, c.step, c.items, c.attempts, false, false, null::text from map_chunks c
     where c.shard = p_shard and c.execution_id = p_exec;
end $$;

-- Forget the chunks of executions that run no more in the generation that lent them; how many.
create function mc_chunk_sweep(p_shard smallint) returns int
language plpgsql set search_path = maestro set enable_seqscan = off as $$
declare v_count int;
begin
  delete from map_chunks c where c.shard = p_shard and not exists
    (select 1 from workflow_executions e where e.shard = p_shard and e.id = c.execution_id and e.generation = c.generation and e.status in (0, 1));
  get diagnostics v_count = row_count;
  return v_count;
end $$;

-- As mc_beat_2; `lent` says whether there is a chunk that nobody has taken.
create function mc_beat_3(p_shard smallint, p_me bigint, p_epoch bigint, p_lease interval, p_late interval)
returns table (live int, dead int, due int, queued int, inbox uuid[], lent int)
language plpgsql set search_path = maestro set enable_seqscan = off as $$
declare v_inbox uuid[];
begin
  update workers w set lease_until = pg_catalog.now() + p_lease, late_at = pg_catalog.now() + p_late
   where w.shard = p_shard and w.id = p_me and w.epoch = p_epoch and not w.dead;
  if not found then
    return query select 0, 0, 0, 0, '{}'::uuid[], 0;
    return;
  end if;
  -- From the side that is short: the messages while there are few, else the executions that this worker owns, of which there
  -- are never more than it has room for. The `limit` keeps the planner from beginning at the other side.
  if (select count(*) from (select 1 from execution_inbox i where i.shard = p_shard limit 500) x) < 500 then
    select array_agg(distinct i.execution_id) into v_inbox from execution_inbox i join workflow_executions e
       on e.id = i.execution_id and e.shard = i.shard where i.shard = p_shard and e.owner = p_me;
  else
    select array_agg(e.id) into v_inbox from workflow_executions e cross join lateral
       (select 1 from execution_inbox i where i.shard = p_shard and i.execution_id = e.id limit 1) m
     where e.shard = p_shard and e.status = 1 and e.owner = p_me;
  end if;
  return query select 1,
    (select count(*)::int from workers w where w.shard = p_shard and w.id <> p_me
        and (w.dead or w.lease_until < pg_catalog.now() or w.late_at < pg_catalog.now())),
    (select count(*)::int from (select 1 from workflow_executions e where e.shard = p_shard and e.status = 3 and e.wake_at <= pg_catalog.now() limit 1) x),
    (select count(*)::int from (select 1 from workflow_executions e where e.shard = p_shard and e.status = 0 limit 1) x),
    coalesce(v_inbox, '{}'),
    (select count(*)::int from (select 1 from map_chunks c where c.shard = p_shard and c.helper is null limit 1) x);
end $$;

revoke execute on function mc_chunk_lend(smallint, bigint, bigint, uuid, int, int, int[], int[]), mc_chunk_take(smallint, bigint, bigint),
  mc_chunk_end(smallint, bigint, bigint, uuid, bigint, int, text), mc_chunk_back(smallint, bigint, bigint, uuid, interval, int, text),
  mc_chunk_sweep(smallint), mc_beat_3(smallint, bigint, bigint, interval, interval) from public;
grant execute on function mc_chunk_lend(smallint, bigint, bigint, uuid, int, int, int[], int[]), mc_chunk_take(smallint, bigint, bigint),
  mc_chunk_end(smallint, bigint, bigint, uuid, bigint, int, text), mc_chunk_back(smallint, bigint, bigint, uuid, interval, int, text),
  mc_chunk_sweep(smallint), mc_beat_3(smallint, bigint, bigint, interval, interval) to mc_engine;

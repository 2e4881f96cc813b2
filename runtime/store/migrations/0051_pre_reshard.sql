-- From few shards to more: rows get the shard that their id names among a larger number; then each database of the map keeps
-- its own. Procedures, because they commit after each table: called by an operator outside of any transaction, as the owner,
-- while nothing works (docs/scaling.md, From 1 to N). Either may be stopped and called again.
-- Locks: none here; what the procedures lock is nobody else's, because every shard is closed.

set local search_path = maestro;

-- Every table with rows of shards, each partition as a table of its own, and how a row's shard follows from it.
create function mc_shard_tables() returns table (name text, shard_of text) language sql stable set search_path = maestro as $$
  select t.name, 'maestro.mc_shard(' || x.key || ', $1)'
    from (values ('workflow_executions', 'id'), ('step_executions', 'execution_id'), ('execution_events', 'execution_id'),
                 ('step_logs', 'execution_id'), ('execution_inbox', 'execution_id'), ('execution_labels', 'execution_id'),
                 ('dead_letters', 'execution_id'), ('idempotency_keys', 'result_id')) x (parent, key)
    cross join lateral (
      select x.parent as name where not exists (select 1 from pg_inherits i where i.inhparent = ('maestro.' || x.parent)::regclass)
      union all
      select c.relname from pg_inherits i join pg_class c on c.oid = i.inhrelid where i.inhparent = ('maestro.' || x.parent)::regclass) t
   order by 1
$$;
revoke execute on function mc_shard_tables() from public;

-- Which rows of a table follow their execution. Keys of the catalog's own changes stay in shard 0, with the catalog.
create function mc_shard_rows(p_name text) returns text language sql immutable as
$$ select case when p_name = 'idempotency_keys' then 'operation like ''%\_execution''' else 'true' end $$;
revoke execute on function mc_shard_rows(text) from public;

create procedure mc_reshard(p_total int) language plpgsql as $$
declare v_table record; v_from int := (select max(s.total) from maestro.shards s);
begin
  if p_total < v_from or p_total > 4096 or p_total & (p_total - 1) <> 0 then
    raise exception 'the number of shards must be a power of two, from % to 4096', v_from;
  end if;
  if exists (select 1 from maestro.shards s where s.open) then
    raise exception 'close every shard first: what is accepted meanwhile would get the old shard';
  end if;
  if exists (select 1 from maestro.workers w where not w.dead and w.lease_until > now()) then
    raise exception 'workers are still at work here: stop them first, they drain and leave';
  end if;
  insert into maestro.shards (shard, open, total) select n, false, p_total from generate_series(0, p_total - 1) n
    on conflict (shard) do update set total = excluded.total;
  -- What handlers have not had yet stands in every shard: who reads it there finds the events that lie there, and no others.
  insert into maestro.event_feed (shard, xact, n, after, at, executions, firsts, lasts, kinds)
    select s.shard, f.xact, f.n, f.after, f.at, f.executions, f.firsts, f.lasts, f.kinds from maestro.event_feed f, maestro.shards s
    on conflict do nothing;
  insert into maestro.event_cursors (handler, stream, shard, kinds, xact, since, backfill, backfill_seq, created_at)
    select distinct on (c.handler, s.shard) c.handler, c.stream, s.shard, c.kinds, c.xact, c.since, c.backfill, c.backfill_seq, c.created_at
      from maestro.event_cursors c, maestro.shards s where c.stream = 'execution' order by c.handler, s.shard, c.xact
    on conflict do nothing;
  -- Whoever is gone is dead in every shard, so that what he left is taken over wherever it lies now.
  update maestro.workers w set epoch = w.epoch + 1, lease_until = 'infinity', dead = true where not w.dead;
  insert into maestro.workers (id, shard, epoch, lease_until, dead, host, started_at, left_at)
    select distinct on (w.id, s.shard) w.id, s.shard, w.epoch, w.lease_until, w.dead, w.host, w.started_at, w.left_at
      from maestro.workers w, maestro.shards s order by w.id, s.shard
    on conflict do nothing;
  commit;
  for v_table in select t.name, t.shard_of from maestro.mc_shard_tables() t loop
    execute format('update maestro.%I set shard = %s where shard <> %2$s and %s', v_table.name,
      replace(v_table.shard_of, '$1', p_total::text), maestro.mc_shard_rows(v_table.name));
    commit;
  end loop;
end $$;
revoke execute on procedure mc_reshard(int) from public;

-- On a database that holds rows of all shards, because it was copied from one that does: only these are left, still closed.
create procedure mc_keep_shards(p_shards int[]) language plpgsql as $$
declare v_table record;
begin
  if exists (select 1 from maestro.shards s where s.open) then
    raise exception 'close every shard first: what is deleted here must be whole elsewhere';
  end if;
  if exists (select 1 from unnest(p_shards) x where x not in (select s.shard from maestro.shards s)) or cardinality(p_shards) = 0 then
    raise exception 'some of these shards are not here: call mc_reshard first';
  end if;
  for v_table in select t.name from maestro.mc_shard_tables() t loop
    execute format('delete from maestro.%I where shard <> all ($1)', v_table.name) using p_shards;
    commit;
  end loop;
  delete from maestro.workers w where w.shard <> all (p_shards);
  delete from maestro.event_feed f where f.shard <> all (p_shards);
  delete from maestro.event_cursors c where c.stream = 'execution' and c.shard <> all (p_shards);
  delete from maestro.shards s where s.shard <> all (p_shards);
end $$;
revoke execute on procedure mc_keep_shards(int[]) from public;

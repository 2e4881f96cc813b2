-- Several databases: each says which shards it holds and of how many, so that a process with another map is refused,
-- and rows of a split are given their new shard.
-- Locks: one on `shards` for a column; enqueues wait for it for a moment.

set local search_path = maestro;

alter table shards add column total smallint not null default 1;
comment on column shards.total is 'how many shards there are in all databases of the map';

-- The shard of an id among p_total: what every row says that belongs to an execution.
create function mc_shard(p_id uuid, p_total int) returns smallint language sql immutable parallel safe as
$$ select (maestro.mc_slot(p_id) * p_total >> 12)::smallint $$;
revoke execute on function mc_shard(uuid, int) from public;
grant execute on function mc_shard(uuid, int) to mc_engine;

-- Holds on workflows as the catalog has them, in a database that is not the catalog's (which holds shard 0): there nobody but
-- the login user sets or lifts one. How many changed. A hold waits for an exchange under way by the trigger of its table.
create function mc_copy_holds(p_tenant uuid[], p_id uuid[], p_reason text[], p_actor text[], p_at timestamptz[]) returns int
language plpgsql security definer set search_path = maestro, pg_temp as $$
declare v_lifted int; v_set int;
begin
  if exists (select 1 from shards s where s.shard = 0) then
    return 0;
  end if;
  delete from legal_holds h where h.scope = 'workflow' and not exists
    (select 1 from unnest(p_tenant, p_id) x (t, i) where x.t = h.tenant_id and x.i = h.id);
  get diagnostics v_lifted = row_count;
  insert into legal_holds (tenant_id, scope, id, reason, actor, at)
    select x.t, 'workflow', x.i, x.r, x.a, x.at from unnest(p_tenant, p_id, p_reason, p_actor, p_at) x (t, i, r, a, at)
    on conflict do nothing;
  get diagnostics v_set = row_count;
  return v_lifted + v_set;
end $$;
revoke execute on function mc_copy_holds(uuid[], uuid[], text[], text[], timestamptz[]) from public;
grant execute on function mc_copy_holds(uuid[], uuid[], text[], text[], timestamptz[]) to mc_engine;

-- The rule of the hot functions for those that had escaped it: no plan of a database without statistics may scan a table.
alter function mc_register(smallint, bigint, text, interval) set enable_seqscan = off;
alter function mc_leave(smallint, bigint, bigint) set enable_seqscan = off;
alter function mc_leave_2(smallint, bigint, bigint) set enable_seqscan = off;
alter function mc_bury(smallint, bigint) set enable_seqscan = off;

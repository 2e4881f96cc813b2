-- An execution of which the database refuses every checkpoint, even the one that says that it failed, ends as a dead letter.
-- Before, its worker left it alone, and its row stayed RUNNING for as long as that worker lived.
-- Locks: none; the function is new.

set local search_path = maestro;

-- End one execution of a live worker as a dead letter; false when it is not the worker's. Its number of the event is the
-- database's, so that a worker that counts wrongly can't stand in the way.
create function mc_give_up(p_shard smallint, p_me bigint, p_epoch bigint, p_exec uuid, p_error text) returns boolean
language plpgsql set search_path = maestro set enable_seqscan = off as $$
declare v_seq int;
begin
  perform 1 from workers w where w.shard = p_shard and w.id = p_me and w.epoch = p_epoch for key share;
  if not found then
    raise exception 'this worker was fenced off' using errcode = 'MC002';
  end if;
  update workflow_executions e set status = 6, epoch = e.epoch + 1, owner = null, wait = null, wake_at = null,
         finished_at = pg_catalog.now(), error = p_error::jsonb
   where e.shard = p_shard and e.id = p_exec and e.owner = p_me and e.status = 1;
  if not found then
    return false;
  end if;
  select max(v.seq) + 1 into v_seq from execution_events v where v.shard = p_shard and v.execution_id = p_exec;
  insert into execution_events as ev (shard, kind, seq, execution_id, tenant_id, ts, data)
    select w.shard, 14, v_seq, e.id, e.tenant_id, pg_catalog.now(), jsonb_build_object('error', p_error::jsonb)
      from workers w, workflow_executions e
     where w.shard = p_shard and w.id = p_me and e.shard = p_shard and e.id = p_exec;
  insert into dead_letters as l (execution_id, generation, shard, tenant_id, reason, error, losses, evidence)
    select e.id, e.generation, w.shard, e.tenant_id, 'checkpoint_refused', p_error::jsonb, e.takeovers, jsonb_build_object(
             'events', (select jsonb_agg(jsonb_build_object('sequence', t.seq, 'kind', t.kind, 'at', t.ts, 'data', t.data)
                                         order by t.seq)
                          from (select p.* from execution_events p where p.shard = p_shard and p.execution_id = p_exec
                                 order by p.seq desc limit 20) t))
      from workers w, workflow_executions e
     where w.shard = p_shard and w.id = p_me and e.shard = p_shard and e.id = p_exec;
  perform mc_unread(p_shard, array[p_exec]);
  perform mc_feed(p_shard, array[p_exec], array[v_seq], array[14]::smallint[], true);
  return true;
end $$;

revoke execute on function mc_give_up(smallint, bigint, bigint, uuid, text) from public;
grant execute on function mc_give_up(smallint, bigint, bigint, uuid, text) to mc_engine;

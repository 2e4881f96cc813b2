-- Dead letters at their edges. An execution whose events are gone can be given up; before, the number of its last event was
-- missing, and it stayed RUNNING. The evidence of every letter has the keys that the API of the release before reads, and
-- what that release decides about an execution leaves the letters of its messages alone.
-- Locks: none; four functions are replaced, with the same arguments and answers.

set local search_path = maestro;

-- As before; an execution without events gets its first one.
create or replace function mc_give_up(p_shard smallint, p_me bigint, p_epoch bigint, p_exec uuid, p_error text) returns boolean
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
  select coalesce(max(v.seq), 0) + 1 into v_seq from execution_events v where v.shard = p_shard and v.execution_id = p_exec;
  insert into execution_events as ev (shard, kind, seq, execution_id, tenant_id, ts, data)
    select w.shard, 14, v_seq, e.id, e.tenant_id, pg_catalog.now(), jsonb_build_object('error', p_error::jsonb)
      from workers w, workflow_executions e
     where w.shard = p_shard and w.id = p_me and e.shard = p_shard and e.id = p_exec;
  insert into dead_letters as l (execution_id, generation, shard, tenant_id, reason, error, losses, evidence)
    select e.id, e.generation, w.shard, e.tenant_id, 'checkpoint_refused', p_error::jsonb, e.takeovers, jsonb_build_object(
             'lost', null,
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

-- As before, with the keys of the evidence of an execution.
create or replace function mc_set_aside(p_shard smallint, p_me bigint, p_epoch bigint, p_exec uuid, p_message int, p_error text) returns void
language plpgsql set search_path = maestro set enable_seqscan = off as $$
begin
  perform 1 from workers w where w.shard = p_shard and w.id = p_me and w.epoch = p_epoch for key share;
  if not found then
    raise exception 'this worker was fenced off' using errcode = 'MC002';
  end if;
  insert into dead_letters as l (execution_id, generation, message, shard, tenant_id, queue, reason, error, losses, evidence)
    select e.id, e.generation, b.n, w.shard, e.tenant_id, 'messages', 'undecodable', p_error::jsonb, 0, jsonb_build_object(
             'message', jsonb_build_object('n', b.n, 'kind', b.kind, 'data', b.data, 'sent_at', b.created_at),
             'lost', null, 'events', null)
      from workers w, workflow_executions e, execution_inbox b
     where w.shard = p_shard and w.id = p_me and e.shard = p_shard and e.id = p_exec and e.owner = p_me
       and b.shard = p_shard and b.execution_id = p_exec and b.n = p_message
    on conflict do nothing;
end $$;

-- As before, of the execution's letter alone.
create or replace function mc_redrive(p_shard smallint, p_tenant uuid, p_exec uuid, p_generation smallint, p_actor text, p_reason text, p_event text)
returns table (known boolean, status smallint, changed boolean)
language plpgsql set search_path = maestro set enable_seqscan = off as $$
begin
  return query select r.known, r.status, r.changed
    from mc_redrive_2(p_shard, p_tenant, p_exec, p_generation, 0, p_actor, p_reason, p_event) r;
end $$;

-- As before, of the execution's letter alone.
create or replace function mc_discard(p_shard smallint, p_tenant uuid, p_exec uuid, p_generation smallint, p_actor text, p_reason text, p_event text)
returns table (known boolean, status smallint, changed boolean)
language plpgsql set search_path = maestro set enable_seqscan = off as $$
begin
  return query select r.known, r.status, r.changed
    from mc_discard_2(p_shard, p_tenant, p_exec, p_generation, 0, p_actor, p_reason, p_event) r;
end $$;

-- A message that its execution's owner can't decode (of a later release, or damaged) goes to the dead letters, whole and with
-- its reason, where a person has it delivered again or discards it. Before, it was dropped, or broke its reader.
-- Locks: brief ones on `dead_letters`, which is small, for a column and its key; the functions are new. mc_redrive and
-- mc_discard stay for one release.

set local search_path = maestro;

alter table dead_letters add column message int not null default 0;
comment on column dead_letters.message is 'the number of the message in its execution''s inbox; 0: the execution itself';
alter table dead_letters drop constraint dead_letters_pkey;
alter table dead_letters add primary key (execution_id, generation, message, shard);

-- Keep a message that can't be decoded as a dead letter. Its execution's owner alone says so, and takes it out of the inbox
-- with its next checkpoint, which tells of it; until then whoever takes over says so again, which changes nothing.
create function mc_set_aside(p_shard smallint, p_me bigint, p_epoch bigint, p_exec uuid, p_message int, p_error text) returns void
language plpgsql set search_path = maestro set enable_seqscan = off as $$
begin
  perform 1 from workers w where w.shard = p_shard and w.id = p_me and w.epoch = p_epoch for key share;
  if not found then
    raise exception 'this worker was fenced off' using errcode = 'MC002';
  end if;
  insert into dead_letters as l (execution_id, generation, message, shard, tenant_id, queue, reason, error, losses, evidence)
    select e.id, e.generation, b.n, w.shard, e.tenant_id, 'messages', 'undecodable', p_error::jsonb, 0, jsonb_build_object(
             'message', jsonb_build_object('n', b.n, 'kind', b.kind, 'data', b.data, 'sent_at', b.created_at))
      from workers w, workflow_executions e, execution_inbox b
     where w.shard = p_shard and w.id = p_me and e.shard = p_shard and e.id = p_exec and e.owner = p_me
       and b.shard = p_shard and b.execution_id = p_exec and b.n = p_message
    on conflict do nothing;
end $$;

-- As mc_redrive. A message is left for its execution once more, as its newest; what has ended takes none.
create function mc_redrive_2(p_shard smallint, p_tenant uuid, p_exec uuid, p_generation smallint, p_message int, p_actor text, p_reason text, p_event text)
returns table (known boolean, status smallint, changed boolean)
language plpgsql set search_path = maestro set enable_seqscan = off as $$
declare v_status smallint; v_said jsonb; v_next int;
begin
  select l.status, l.evidence -> 'message' into v_status, v_said from dead_letters l where l.shard = p_shard and l.execution_id = p_exec
     and l.generation = p_generation and l.message = p_message and l.tenant_id = p_tenant for update;
  if not found or v_status <> 0 then
    return query select v_status is not null, v_status, false;
    return;
  end if;
  if p_message = 0 then
    select r.generation into v_next from mc_retry(p_shard, p_tenant, p_exec, array[6]::smallint[], p_event) r;
  else
    select nullif(s.n, 0) into v_next
      from mc_send_3(p_shard, p_tenant, p_exec, (v_said ->> 'kind')::smallint, (v_said -> 'data')::text, false, false) s;
  end if;
  if v_next is null then
    return query select true, v_status, false;
    return;
  end if;
  update dead_letters l set status = 1, decided_at = pg_catalog.now(), decided_by = p_actor::jsonb, decision_reason = p_reason
   where l.shard = p_shard and l.execution_id = p_exec and l.generation = p_generation and l.message = p_message;
  return query select true, 1::smallint, true;
end $$;

-- As mc_discard. Who discards a message is said by its letter alone: its execution may run, and only an owner numbers events.
create function mc_discard_2(p_shard smallint, p_tenant uuid, p_exec uuid, p_generation smallint, p_message int, p_actor text, p_reason text, p_event text)
returns table (known boolean, status smallint, changed boolean)
language plpgsql set search_path = maestro set enable_seqscan = off as $$
declare v_status smallint;
begin
  select l.status into v_status from dead_letters l where l.shard = p_shard and l.execution_id = p_exec
     and l.generation = p_generation and l.message = p_message and l.tenant_id = p_tenant for update;
  if not found or v_status <> 0 then
    return query select v_status is not null, v_status, false;
    return;
  end if;
  update dead_letters l set status = 2, decided_at = pg_catalog.now(), decided_by = p_actor::jsonb, decision_reason = p_reason
   where l.shard = p_shard and l.execution_id = p_exec and l.generation = p_generation and l.message = p_message;
  if p_message > 0 then
    return query select true, 2::smallint, true;
    return;
  end if;
  -- The execution's row is locked as by everybody else who numbers its events; it may be gone, the letter outlives it.
  perform 1 from workflow_executions e where e.shard = p_shard and e.id = p_exec and e.tenant_id = p_tenant for update;
  if found then
    insert into execution_events as ev (shard, kind, seq, execution_id, tenant_id, ts, data)
      select s.shard, 15, (select max(p.seq) + 1 from execution_events p where p.shard = p_shard and p.execution_id = p_exec),
             p_exec, p_tenant, pg_catalog.now(), p_event::jsonb from shards s where s.shard = p_shard;
    perform mc_feed(p_shard, array[p_exec], array[(select max(p.seq) from execution_events p where p.shard = p_shard and p.execution_id = p_exec)],
      array[15]::smallint[], true);
  end if;
  return query select true, 2::smallint, true;
end $$;

revoke execute on function mc_set_aside(smallint, bigint, bigint, uuid, int, text),
  mc_redrive_2(smallint, uuid, uuid, smallint, int, text, text, text),
  mc_discard_2(smallint, uuid, uuid, smallint, int, text, text, text) from public;
grant execute on function mc_set_aside(smallint, bigint, bigint, uuid, int, text),
  mc_redrive_2(smallint, uuid, uuid, smallint, int, text, text, text),
  mc_discard_2(smallint, uuid, uuid, smallint, int, text, text, text) to mc_engine;

-- The poison rule. An owner that is lost (not one that leaves in good order) counts against what it ran and did not
-- checkpoint since. From the second loss on an execution is a suspect: queued, but handed out only to workers that run it
-- alone, so that bystanders of the same worker are not counted guilty. The third loss ends it: status 6 and a dead letter,
-- in the same transaction, before any process sees it again.
-- Locks: short ones on workers and workflow_executions; the index is partial and almost always empty.

set local search_path = maestro;

alter table workers add column left_at timestamptz;
comment on column workers.left_at is 'it left in good order: what it hands over is not counted as lost';

create index workflow_executions_suspects on workflow_executions (shard, id) where status = 0 and takeovers >= 2;

create table dead_letters (
  execution_id    uuid not null,
  generation      smallint not null,
  shard           smallint not null,
  tenant_id       uuid not null,
  queue           text not null default 'executions',
  status          smallint not null default 0,
  reason          text not null,
  error           jsonb not null,
  losses          smallint not null,
  evidence        jsonb not null,
  created_at      timestamptz not null default pg_catalog.now(),
  decided_at      timestamptz,
  decided_by      jsonb,
  decision_reason text,
  primary key (execution_id, generation, shard),
  check ((status = 0) = (decided_at is null))
);
create index dead_letters_list on dead_letters (tenant_id, created_at desc, execution_id desc, generation desc);

alter table dead_letters enable row level security;
create policy tenant on dead_letters to mc_api using (tenant_id = nullif(current_setting('mc.tenant', true), '')::uuid)
  with check (tenant_id = nullif(current_setting('mc.tenant', true), '')::uuid);
create policy engine on dead_letters to mc_engine using (true) with check (true);
grant select on dead_letters to mc_api;
grant select, insert, update, delete on dead_letters to mc_engine;

-- Leave in good order, and say so.
create function mc_leave_2(p_shard smallint, p_me bigint, p_epoch bigint) returns int
language plpgsql set search_path = maestro as $$
begin
  -- As in the takeover: only `for update` waits for a flush or claim of this worker that the server still runs.
  perform 1 from workers w where w.shard = p_shard and w.id = p_me and w.epoch = p_epoch for update;
  update workers w set dead = true, lease_until = 'infinity', epoch = w.epoch + 1, left_at = pg_catalog.now()
   where w.shard = p_shard and w.id = p_me and w.epoch = p_epoch;
  return (select count(*)::int from workflow_executions e where e.shard = p_shard and e.owner = p_me and e.status = 1);
end $$;

-- As mc_claim, and suspects are passed by.
create function mc_claim_2(p_shard smallint, p_me bigint, p_epoch bigint, p_ids uuid[])
returns setof workflow_executions
language plpgsql set search_path = maestro set enable_seqscan = off as $$
declare v_lo uuid := mc_lo(p_ids); v_hi uuid := mc_hi(p_ids); v_ids uuid[];
begin
  perform 1 from workers w where w.shard = p_shard and w.id = p_me and w.epoch = p_epoch for key share;
  if not found then
    raise exception 'this worker was fenced off' using errcode = 'MC002';
  end if;
  select array_agg(d.id) into v_ids from (select e.id from workflow_executions e where e.shard = p_shard
    and e.id between v_lo and v_hi and e.id = any (p_ids) and e.status = 0 and e.takeovers < 2 for update skip locked) d;
  return query update workflow_executions e
     set status = 1, owner = p_me, epoch = e.epoch + 1, started_at = least(e.started_at, pg_catalog.now()), wait = null, wake_at = null
   where e.shard = p_shard and e.id between v_lo and v_hi and e.id = any (v_ids) and e.status = 0 and e.takeovers < 2
   returning e.*;
end $$;

-- Take one suspect, the oldest that nobody else is taking.
create function mc_claim_alone(p_shard smallint, p_me bigint, p_epoch bigint)
returns setof workflow_executions
language plpgsql set search_path = maestro set enable_seqscan = off as $$
declare v_id uuid;
begin
  perform 1 from workers w where w.shard = p_shard and w.id = p_me and w.epoch = p_epoch for key share;
  if not found then
    raise exception 'this worker was fenced off' using errcode = 'MC002';
  end if;
  select e.id into v_id from workflow_executions e
   where e.shard = p_shard and e.status = 0 and e.takeovers >= 2 order by e.id limit 1 for update skip locked;
  return query update workflow_executions e
     set status = 1, owner = p_me, epoch = e.epoch + 1, started_at = least(e.started_at, pg_catalog.now())
   where e.shard = p_shard and e.id = v_id
   returning e.*;
end $$;

-- As mc_takeover (after mc_bury, with a snapshot of its own, repeated until it returns nothing), and it judges: what comes
-- back with status 1 is the caller's, with status 0 a suspect, with status 6 dead. The row lock and the dead owner's fence
-- make this the only writer of the execution's events, so it may number them.
create function mc_takeover_2(p_shard smallint, p_me bigint, p_epoch bigint, p_limit int)
returns setof workflow_executions
language plpgsql set search_path = maestro set enable_seqscan = off as $$
declare v_ids uuid[]; v_left boolean[]; v_lost jsonb[]; v_lo uuid; v_hi uuid; v_dead uuid[];
  v_error jsonb := jsonb_build_object('type', 'poison', 'retryable', false, 'message',
    'Three workers were lost while they ran this execution, the last one while it ran nothing else.');
begin
  perform 1 from workers w where w.shard = p_shard and w.id = p_me and w.epoch = p_epoch for key share;
  if not found then
    raise exception 'this worker was fenced off' using errcode = 'MC002';
  end if;
  select array_agg(d.id), array_agg(d.has_left), array_agg(d.lost) into v_ids, v_left, v_lost from
    (select e.id, w.left_at is not null as has_left,
            jsonb_build_object('worker', w.host, 'id', w.id::text, 'started_at', w.started_at) as lost
       from workflow_executions e, workers w where w.shard = p_shard and w.dead
        and e.shard = p_shard and e.status = 1 and e.owner = w.id limit p_limit for update of e skip locked) d;
  if v_ids is null then
    return;
  end if;
  v_lo := mc_lo(v_ids);
  v_hi := mc_hi(v_ids);
  update workflow_executions e set epoch = e.epoch + 1, takeovers = x.t, status = x.st,
         owner = case when x.st = 1 then p_me end,
         finished_at = case when x.st = 6 then pg_catalog.now() end,
         error = case when x.st = 6 then v_error end
    from (select c.id, c.t, case when c.t >= 3 then 6 when c.t = 2 then 0 else 1 end as st
            from (select o.id, o.takeovers + case when y.has_left then 0 else 1 end as t
                    from workflow_executions o, unnest(v_ids, v_left) y (id, has_left)
                   where o.shard = p_shard and o.id between v_lo and v_hi and o.id = any (v_ids) and o.id = y.id) c) x
   where e.shard = p_shard and e.id between v_lo and v_hi and e.id = any (v_ids) and e.id = x.id;
  insert into execution_events as ev (shard, kind, seq, execution_id, tenant_id, ts, data)
    select w.shard, 13, (select max(p.seq) + 1 from execution_events p where p.shard = p_shard and p.execution_id = e.id),
           e.id, e.tenant_id, pg_catalog.now(), jsonb_build_object('lost', x.lost, 'handed_over', x.has_left,
             'takeovers', e.takeovers, 'worker', case when e.status = 1 then w.host end)
      from workers w, workflow_executions e, unnest(v_ids, v_left, v_lost) x (id, has_left, lost)
     where w.shard = p_shard and w.id = p_me
       and e.shard = p_shard and e.id between v_lo and v_hi and e.id = any (v_ids) and e.id = x.id;
  select array_agg(e.id) into v_dead from workflow_executions e
   where e.shard = p_shard and e.id between v_lo and v_hi and e.id = any (v_ids) and e.status = 6;
  if v_dead is not null then
    insert into execution_events as ev (shard, kind, seq, execution_id, tenant_id, ts, data)
      select w.shard, 14, (select max(p.seq) + 1 from execution_events p where p.shard = p_shard and p.execution_id = e.id),
             e.id, e.tenant_id, pg_catalog.now(), jsonb_build_object('error', v_error)
        from workers w, workflow_executions e
       where w.shard = p_shard and w.id = p_me
         and e.shard = p_shard and e.id between v_lo and v_hi and e.id = any (v_dead);
    insert into dead_letters as l (execution_id, generation, shard, tenant_id, reason, error, losses, evidence)
      select e.id, e.generation, w.shard, e.tenant_id, 'owner_lost', v_error, e.takeovers, jsonb_build_object(
               'lost', (select jsonb_agg(t.data -> 'lost' || jsonb_build_object('lost_at', t.ts) order by t.seq)
                          from (select p.seq, p.ts, p.data from execution_events p where p.shard = p_shard
                                   and p.execution_id = e.id and p.kind = 13 and not (p.data ->> 'handed_over')::boolean
                                 order by p.seq desc limit e.takeovers) t),
               'events', (select jsonb_agg(jsonb_build_object('sequence', t.seq, 'kind', t.kind, 'at', t.ts, 'data', t.data)
                                           order by t.seq)
                            from (select p.* from execution_events p where p.shard = p_shard and p.execution_id = e.id
                                   order by p.seq desc limit 20) t))
        from workers w, workflow_executions e
       where w.shard = p_shard and w.id = p_me
         and e.shard = p_shard and e.id between v_lo and v_hi and e.id = any (v_dead);
  end if;
  return query select e.* from workflow_executions e
   where e.shard = p_shard and e.id between v_lo and v_hi and e.id = any (v_ids);
end $$;

-- A person's decision to run it again: the next generation, queued. The letter is locked first; only an open one changes.
create function mc_redrive(p_shard smallint, p_tenant uuid, p_exec uuid, p_generation smallint, p_actor text, p_reason text, p_event text)
returns table (known boolean, status smallint, changed boolean)
language plpgsql set search_path = maestro set enable_seqscan = off as $$
declare v_status smallint; v_next smallint;
begin
  select l.status into v_status from dead_letters l where l.shard = p_shard and l.execution_id = p_exec
     and l.generation = p_generation and l.tenant_id = p_tenant for update;
  if not found or v_status <> 0 then
    return query select v_status is not null, v_status, false;
    return;
  end if;
  select r.generation into v_next from mc_retry(p_shard, p_tenant, p_exec, array[6]::smallint[], p_event) r;
  if v_next is null then
    return query select true, v_status, false;
    return;
  end if;
  update dead_letters l set status = 1, decided_at = pg_catalog.now(), decided_by = p_actor::jsonb, decision_reason = p_reason
   where l.shard = p_shard and l.execution_id = p_exec and l.generation = p_generation;
  return query select true, 1::smallint, true;
end $$;

-- A person's decision to leave it dead: the letter is closed, the execution keeps its status and gets one more event.
create function mc_discard(p_shard smallint, p_tenant uuid, p_exec uuid, p_generation smallint, p_actor text, p_reason text, p_event text)
returns table (known boolean, status smallint, changed boolean)
language plpgsql set search_path = maestro set enable_seqscan = off as $$
declare v_status smallint;
begin
  select l.status into v_status from dead_letters l where l.shard = p_shard and l.execution_id = p_exec
     and l.generation = p_generation and l.tenant_id = p_tenant for update;
  if not found or v_status <> 0 then
    return query select v_status is not null, v_status, false;
    return;
  end if;
  update dead_letters l set status = 2, decided_at = pg_catalog.now(), decided_by = p_actor::jsonb, decision_reason = p_reason
   where l.shard = p_shard and l.execution_id = p_exec and l.generation = p_generation;
  -- The execution's row is locked as by everybody else who numbers its events; it may be gone, the letter outlives it.
  perform 1 from workflow_executions e where e.shard = p_shard and e.id = p_exec and e.tenant_id = p_tenant for update;
  if found then
    insert into execution_events as ev (shard, kind, seq, execution_id, tenant_id, ts, data)
      select s.shard, 15, (select max(p.seq) + 1 from execution_events p where p.shard = p_shard and p.execution_id = p_exec),
             p_exec, p_tenant, pg_catalog.now(), p_event::jsonb from shards s where s.shard = p_shard;
  end if;
  return query select true, 2::smallint, true;
end $$;

revoke execute on function mc_leave_2(smallint, bigint, bigint), mc_claim_2(smallint, bigint, bigint, uuid[]),
  mc_claim_alone(smallint, bigint, bigint), mc_takeover_2(smallint, bigint, bigint, int),
  mc_redrive(smallint, uuid, uuid, smallint, text, text, text), mc_discard(smallint, uuid, uuid, smallint, text, text, text) from public;
grant execute on function mc_leave_2(smallint, bigint, bigint), mc_claim_2(smallint, bigint, bigint, uuid[]),
  mc_claim_alone(smallint, bigint, bigint), mc_takeover_2(smallint, bigint, bigint, int),
  mc_redrive(smallint, uuid, uuid, smallint, text, text, text), mc_discard(smallint, uuid, uuid, smallint, text, text, text) to mc_engine;

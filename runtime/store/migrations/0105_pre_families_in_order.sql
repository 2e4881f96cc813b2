-- Families under pressure. Who ends or parks members of families locks all rows that the end may touch before it changes the first
-- one, in the order of their ids: two workers whose executions are parents and children of each other's wait, and don't deadlock.
-- Only a child that has never ended is one that its parent waits for; and while a child runs, its parent is not retried.
-- Locks: a brief one on `workflow_executions` for the trigger's condition. Functions are replaced in place: arguments and answers stay.

set local search_path = maestro;

-- The children that some executions have started and that have not ended. Each belongs to its parent until its first end: a later
-- generation of it is its own.
create function mc_children_open(p_shard smallint, p_exec uuid[]) returns table (id uuid, generation smallint)
language plpgsql stable set search_path = maestro set enable_seqscan = off as $$
declare v_ids uuid[];
begin
  select array_agg((v.data ->> 'child')::uuid) into v_ids from execution_events v where v.shard = p_shard
     and v.execution_id between mc_lo(p_exec) and mc_hi(p_exec) and v.execution_id = any (p_exec) and v.kind = 37;
  return query select e.id, e.generation from workflow_executions e where e.shard = p_shard
    and e.id between mc_lo(v_ids) and mc_hi(v_ids) and e.id = any (v_ids) and e.status in (0, 1, 3) order by e.id;
end $$;

-- Lock some executions, and with those that are about to end (p_ended) their parents and the children that they cancel. Whoever
-- locks rows of several members of families does it here, or holds no other row: a dead letter of a takeover is the exception.
create function mc_family_lock(p_shard smallint, p_ended uuid[], p_more uuid[]) returns void
language plpgsql set search_path = maestro set enable_seqscan = off as $$
declare v_ids uuid[];
begin
  v_ids := p_more || p_ended || array(select (e.meta ->> 'parent')::uuid from workflow_executions e where e.shard = p_shard
      and e.id between mc_lo(p_ended) and mc_hi(p_ended) and e.id = any (p_ended) and e.meta ? 'parent')
    || array(select c.id from mc_children_open(p_shard, p_ended) c);
  perform 1 from workflow_executions e where e.shard = p_shard and e.id between mc_lo(v_ids) and mc_hi(v_ids) and e.id = any (v_ids)
    order by e.id for update;
end $$;

-- As mc_flush_2; before it, children (c_*) begin, queued, and words (m_*) are left for children, by their numbers. `c_parent` starts
-- children and is owned by the caller. Called for every batch that ends or parks a member of a family.
create or replace function mc_flush_3(p_shard smallint, p_me bigint, p_epoch bigint, s_tenant uuid[], s_exec uuid[], s_step int[], s_item int[], s_gen smallint[], s_attempt int[], s_status smallint[], s_age float8[], s_open boolean[], s_result text[], v_tenant uuid[], v_exec uuid[], v_seq int[], v_kind smallint[], v_data text[], f_id uuid[], f_status smallint[], f_wait smallint[], f_wake float8[], f_seen int[], f_output text[], f_error text[], r_id uuid[], i_exec uuid[], i_n int[],
  c_parent uuid[], c_id uuid[], c_tenant uuid[], c_workflow uuid[], c_version uuid[], c_namespace text[], c_region text[], c_priority int[], c_timeout float8[], c_input text[], c_meta text[], c_event text[], c_labels text[],
  m_tenant uuid[], m_exec uuid[], m_kind smallint[], m_data text[])
returns table (live int, closed int)
language plpgsql set search_path = maestro set enable_seqscan = off as $$
declare v_word record; v_ended uuid[];
begin
  perform 1 from workers w where w.shard = p_shard and w.id = p_me and w.epoch = p_epoch for key share;
  if not found then
    return query select 0, 0;
    return;
  end if;
  if cardinality(c_id) > 0 then
    insert into workflow_executions as e (id, shard, tenant_id, workflow_id, version_id, status, epoch, namespace, region, priority, deadline,
        input, meta)
      select x.i, w.shard, x.t, x.w, x.v, 0, 0, x.n, x.r, x.p,
             case when x.ti is not null then least(pg_catalog.now() + make_interval(secs => x.ti), '9999-01-01') end, x.inp::jsonb, x.m::jsonb
        from workers w, unnest(c_id, c_tenant, c_workflow, c_version, c_namespace, c_region, c_priority, c_timeout, c_input, c_meta)
             x (i, t, w, v, n, r, p, ti, inp, m)
       where w.shard = p_shard and w.id = p_me;
    insert into execution_events as ev (shard, kind, seq, execution_id, tenant_id, ts, data)
      select w.shard, 1, 1, x.i, x.t, pg_catalog.now(), x.e::jsonb
        from workers w, unnest(c_id, c_tenant, c_event) x (i, t, e) where w.shard = p_shard and w.id = p_me;
    insert into execution_labels as l (tenant_id, shard, key, value, execution_id)
      select x.t, w.shard, j.key, j.value, x.i
        from workers w, unnest(c_id, c_tenant, c_labels) x (i, t, l) cross join lateral jsonb_each_text(x.l::jsonb) j
       where w.shard = p_shard and w.id = p_me and x.l is not null;
    perform mc_feed(p_shard, c_id, array_fill(1, array[cardinality(c_id)]), array_fill(1::smallint, array[cardinality(c_id)]), false);
  end if;
  select array_agg(x.i) into v_ended from unnest(f_id, f_status) x (i, t) where x.t not in (0, 3);
  perform mc_family_lock(p_shard, v_ended, f_id || r_id || c_parent || m_exec);
  for v_word in select x.t, x.e, x.k, x.d from unnest(m_tenant, m_exec, m_kind, m_data) with ordinality x (t, e, k, d, o) order by x.e, x.o loop
    perform mc_send_3(p_shard, v_word.t, v_word.e, v_word.k, v_word.d, v_word.k = 1, v_word.k = 4);
  end loop;
  if cardinality(c_id) > 0 then
    -- What has children is known by its row: whatever ends it looks for them.
    update workflow_executions e set meta = e.meta || '{"children": true}'
     where e.shard = p_shard and e.id between mc_lo(c_parent) and mc_hi(c_parent) and e.id = any (c_parent) and e.owner = p_me
       and not e.meta ? 'children';
  end if;
  return query select f.live, f.closed from mc_flush_2(p_shard, p_me, p_epoch, s_tenant, s_exec, s_step, s_item, s_gen, s_attempt,
    s_status, s_age, s_open, s_result, v_tenant, v_exec, v_seq, v_kind, v_data, f_id, f_status, f_wait, f_wake, f_seen, f_output,
    f_error, r_id, i_exec, i_n) f;
end $$;

-- The end of an execution that has a parent or children, whoever ends it: the parent is told, and where it did not complete the
-- children that it waits for are cancelled (one that ends in good order has none that goes on). A large output is the parent's
-- too from now on, since it is told the reference; not of one that is kept no longer.
create or replace function mc_family_ended() returns trigger
language plpgsql set search_path = maestro set enable_seqscan = off as $$
declare v_child uuid; v_digest text := new.output #>> '{$blob,digest}'; v_parent uuid := (new.meta ->> 'parent')::uuid;
begin
  if v_parent is not null then
    if v_digest is not null then
      insert into blob_refs as r (shard, execution_id, tenant_id, digest, size)
        select s.shard, v_parent, new.tenant_id, v_digest, (new.output #>> '{$blob,size}')::bigint
          from shards s, workflow_executions p where s.shard = new.shard and p.shard = s.shard and p.id = v_parent
        on conflict do nothing;
    end if;
    perform mc_send_3(new.shard, new.tenant_id, v_parent, 5::smallint, jsonb_build_object('child', new.id, 'status', new.status,
      'output', new.output, 'error', new.error)::text, false, false);
  end if;
  if new.meta ? 'children' and new.status <> 2 then
    for v_child in select c.id from mc_children_open(new.shard, array[new.id]) c where c.generation = 0 order by 1 loop
      perform mc_send_3(new.shard, new.tenant_id, v_child, 1::smallint, jsonb_build_object('actor',
        jsonb_build_object('subject', new.id, 'kind', 'system'), 'reason', 'its parent has ended')::text, true, false);
    end loop;
  end if;
  return null;
end $$;
create or replace trigger family_ended after update on workflow_executions for each row
  when (old.status not in (2, 4, 5, 6, 7) and new.status in (2, 4, 5, 6, 7) and (new.meta ? 'parent' or new.meta ? 'children'))
  execute function mc_family_ended();

-- As before, once the rows of its family are locked.
create or replace function mc_give_up(p_shard smallint, p_me bigint, p_epoch bigint, p_exec uuid, p_error text) returns boolean
language plpgsql set search_path = maestro set enable_seqscan = off as $$
declare v_seq int;
begin
  perform 1 from workers w where w.shard = p_shard and w.id = p_me and w.epoch = p_epoch for key share;
  if not found then
    raise exception 'this worker was fenced off' using errcode = 'MC002';
  end if;
  perform mc_family_lock(p_shard, array[p_exec], '{}');
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

-- As before; not while a child of it has not ended: the next generation would start a second one of the same step beside it.
create or replace function mc_retry(p_shard smallint, p_tenant uuid, p_exec uuid, p_statuses smallint[], p_event text)
returns table (known boolean, status smallint, generation smallint)
language plpgsql set search_path = maestro set enable_seqscan = off as $$
declare v_status smallint; v_generation smallint;
begin
  select e.status into v_status from workflow_executions e
   where e.shard = p_shard and e.id = p_exec and e.tenant_id = p_tenant for update;
  if not found then
    return query select false, null::smallint, null::smallint;
    return;
  end if;
  if v_status <> all (p_statuses) or exists (select 1 from mc_children_open(p_shard, array[p_exec])) then
    return query select true, v_status, null::smallint;
    return;
  end if;
  update workflow_executions e set status = 0, generation = e.generation + 1, cancel_requested = false, output = null, error = null,
         finished_at = null, wake_at = null, wait = null, takeovers = 0,
         deadline = case when e.meta ->> 'timeout_ms' is not null then
           least(pg_catalog.now() + make_interval(secs => (e.meta ->> 'timeout_ms')::float8 / 1000), '9999-01-01') end
   where e.shard = p_shard and e.id = p_exec returning e.generation into v_generation;
  delete from execution_inbox b where b.shard = p_shard and b.execution_id = p_exec;
  insert into execution_events as ev (shard, kind, seq, execution_id, tenant_id, ts, data)
    select s.shard, 11, (select max(p.seq) + 1 from execution_events p where p.shard = p_shard and p.execution_id = p_exec),
           p_exec, p_tenant, pg_catalog.now(), p_event::jsonb from shards s where s.shard = p_shard;
  perform mc_feed(p_shard, array[p_exec], array[(select max(p.seq) from execution_events p where p.shard = p_shard and p.execution_id = p_exec)],
    array[11]::smallint[], true);
  return query select true, 0::smallint, v_generation;
end $$;

revoke execute on function mc_children_open(smallint, uuid[]), mc_family_lock(smallint, uuid[], uuid[]) from public;
grant execute on function mc_children_open(smallint, uuid[]), mc_family_lock(smallint, uuid[], uuid[]) to mc_engine;

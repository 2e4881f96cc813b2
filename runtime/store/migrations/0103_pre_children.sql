-- Children: an execution that a step of another one starts and waits for. A child lies in the slot of its parent, so that
-- both are rows of one shard for ever: it begins in the commit of the event that tells of it, a word of its parent reaches
-- it in the commit of the word, and its end wakes its parent in the commit of the end. No relay, and no window between.
-- Locks: a brief one on `workflow_executions` for a trigger; the functions are new but for `mc_unread`, whose arguments and
-- answer stay. mc_flush_2 goes on to be what a batch without children calls.

set local search_path = maestro;

-- As mc_flush_2; before it, children (c_*) begin, queued, and words (m_*) are left for children, by their numbers: rows are
-- locked from the leaves up, as a child's end locks its parent. `c_parent` starts them and is owned by the caller.
create function mc_flush_3(p_shard smallint, p_me bigint, p_epoch bigint, s_tenant uuid[], s_exec uuid[], s_step int[], s_item int[], s_gen smallint[], s_attempt int[], s_status smallint[], s_age float8[], s_open boolean[], s_result text[], v_tenant uuid[], v_exec uuid[], v_seq int[], v_kind smallint[], v_data text[], f_id uuid[], f_status smallint[], f_wait smallint[], f_wake float8[], f_seen int[], f_output text[], f_error text[], r_id uuid[], i_exec uuid[], i_n int[],
  c_parent uuid[], c_id uuid[], c_tenant uuid[], c_workflow uuid[], c_version uuid[], c_namespace text[], c_region text[], c_priority int[], c_timeout float8[], c_input text[], c_meta text[], c_event text[], c_labels text[],
  m_tenant uuid[], m_exec uuid[], m_kind smallint[], m_data text[])
returns table (live int, closed int)
language plpgsql set search_path = maestro set enable_seqscan = off as $$
declare v_word record;
begin
  perform 1 from workers w where w.shard = p_shard and w.id = p_me and w.epoch = p_epoch for key share;
  if not found then
    return query select 0, 0;
    return;
  end if;
  if cardinality(c_id) > 0 then
    perform mc_enqueue_2(p_shard, null, null, array_fill(false, array[cardinality(c_id)]), c_id, c_tenant, c_workflow, c_version,
      c_namespace, c_region, c_priority, c_timeout, array_fill(null::timestamptz, array[cardinality(c_id)]), c_input, c_meta,
      array_fill(null::text, array[cardinality(c_id)]), array_fill(null::bytea, array[cardinality(c_id)]), c_event, c_labels);
  end if;
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

-- The end of an execution that has a parent or children, whoever ends it: the parent is told, and where it did not complete
-- its children are cancelled (an execution that ends in good order has none that goes on). A large output is the parent's
-- too from now on, since it is told the reference.
create function mc_family_ended() returns trigger
language plpgsql set search_path = maestro set enable_seqscan = off as $$
declare v_child uuid; v_digest text := new.output #>> '{$blob,digest}'; v_parent uuid := (new.meta ->> 'parent')::uuid;
begin
  if v_parent is not null then
    if v_digest is not null then
      insert into blob_refs as r (shard, execution_id, tenant_id, digest, size)
        select s.shard, v_parent, new.tenant_id, v_digest, (new.output #>> '{$blob,size}')::bigint from shards s where s.shard = new.shard
        on conflict do nothing;
    end if;
    perform mc_send_3(new.shard, new.tenant_id, v_parent, 5::smallint, jsonb_build_object('child', new.id, 'status', new.status,
      'output', new.output, 'error', new.error)::text, false, false);
  end if;
  if new.meta ? 'children' and new.status <> 2 then
    for v_child in select distinct (v.data ->> 'child')::uuid from execution_events v
        where v.shard = new.shard and v.execution_id = new.id and v.kind = 37 order by 1 loop
      perform mc_send_3(new.shard, new.tenant_id, v_child, 1::smallint, jsonb_build_object('actor',
        jsonb_build_object('subject', new.id, 'kind', 'system'), 'reason', 'its parent has ended')::text, true, false);
    end loop;
  end if;
  return null;
end $$;
create trigger family_ended after update on workflow_executions for each row
  when ((new.meta ? 'parent' or new.meta ? 'children') and new.status in (2, 4, 5, 6, 7) and old.status not in (2, 4, 5, 6, 7))
  execute function mc_family_ended();

-- As before, and the end of a child that was never read is told by its word.
create or replace function mc_unread(p_shard smallint, p_exec uuid[]) returns void
language plpgsql set search_path = maestro set enable_seqscan = off as $$
declare v_exec uuid[]; v_tenant uuid[]; v_seq int[]; v_data text[];
begin
  select array_agg(x.e), array_agg(x.t), array_agg(x.q), array_agg(x.d) into v_exec, v_tenant, v_seq, v_data from (
    select b.execution_id as e, b.tenant_id as t,
           (select max(p.seq) from execution_events p where p.shard = p_shard and p.execution_id = b.execution_id)
             + row_number() over (partition by b.execution_id order by b.n) as q,
           (b.data || jsonb_build_object('n', b.n, 'message', case b.kind when 1 then 'cancel' when 2 then 'signal' when 3 then 'pause'
              when 4 then 'resume' when 5 then 'child_ended' when 9 then 'resolve_in_doubt' end))::text as d
      from execution_inbox b where b.shard = p_shard and b.execution_id = any (p_exec)) x;
  if v_exec is null then
    return;
  end if;
  insert into execution_events as ev (shard, kind, seq, execution_id, tenant_id, ts, data)
    select s.shard, 34, x.q, x.e, x.t, pg_catalog.now(), x.d::jsonb
      from shards s, unnest(v_exec, v_tenant, v_seq, v_data) x (e, t, q, d) where s.shard = p_shard;
  delete from execution_inbox b where b.shard = p_shard and b.execution_id = any (v_exec);
  perform mc_feed(p_shard, v_exec, v_seq, array_fill(34::smallint, array[cardinality(v_exec)]), false);
end $$;

revoke execute on function mc_flush_3(smallint, bigint, bigint, uuid[], uuid[], int[], int[], smallint[], int[], smallint[], float8[], boolean[], text[], uuid[], uuid[], int[], smallint[], text[], uuid[], smallint[], smallint[], float8[], int[], text[], text[], uuid[], uuid[], int[],
  uuid[], uuid[], uuid[], uuid[], uuid[], text[], text[], int[], float8[], text[], text[], text[], text[], uuid[], uuid[], smallint[], text[]), mc_family_ended() from public;
grant execute on function mc_flush_3(smallint, bigint, bigint, uuid[], uuid[], int[], int[], smallint[], int[], smallint[], float8[], boolean[], text[], uuid[], uuid[], int[], smallint[], text[], uuid[], smallint[], smallint[], float8[], int[], text[], text[], uuid[], uuid[], int[],
  uuid[], uuid[], uuid[], uuid[], uuid[], text[], text[], int[], float8[], text[], text[], text[], text[], uuid[], uuid[], smallint[], text[]), mc_family_ended() to mc_engine;

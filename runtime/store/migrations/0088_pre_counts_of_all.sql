-- Folded counters are there a third time, with an empty namespace: under all workflows of all namespaces. The numbers of a tenant are
-- then as few rows as those of a namespace, and both lie together in the key.
-- Locks: readers and the fold of execution_counts wait until its key is built again, a second for a million of rows.

set local search_path = maestro;

-- Nobody folds beside this: his statement would name the old key.
select pg_advisory_xact_lock(7263005);
alter table execution_counts drop constraint execution_counts_pkey;
alter table execution_counts add primary key (tenant_id, workflow_id, namespace, hour, state, slot, version_id, day, currency);
insert into execution_counts (tenant_id, workflow_id, hour, state, slot, namespace, version_id, day, currency, n, amount)
  select c.tenant_id, c.workflow_id, c.hour, c.state, c.slot, '', c.version_id, c.day, c.currency, sum(c.n), sum(c.amount)
    from execution_counts c where c.workflow_id = '00000000-0000-0000-0000-000000000000' group by 1, 2, 3, 4, 5, 7, 8, 9;
comment on table execution_counts is 'counters of executions, folded; the nil workflow stands for all of them, and with it the empty namespace for all of those';

-- As before, with the third row of each.
create or replace function mc_fold_counts(p_limit int) returns int
language plpgsql set search_path = maestro as $$
declare v_gone int;
begin
  perform pg_advisory_xact_lock(7263005);
  with gone as (
    delete from execution_deltas d where d.ctid = any (array(select x.ctid from execution_deltas x limit p_limit)) returning d.*),
  added as (
    insert into execution_counts as c (tenant_id, workflow_id, hour, state, slot, namespace, version_id, day, currency, n, amount)
      select g.tenant_id, x.workflow, g.hour, g.state, g.slot, x.namespace, x.version, g.day, coalesce(g.currency, ''), sum(g.n), coalesce(sum(g.amount), 0)
        from gone g cross join lateral (values (g.workflow_id, g.version_id, g.namespace),
             ('00000000-0000-0000-0000-000000000000'::uuid, '00000000-0000-0000-0000-000000000000'::uuid, g.namespace),
             ('00000000-0000-0000-0000-000000000000'::uuid, '00000000-0000-0000-0000-000000000000'::uuid, '')) x (workflow, version, namespace)
       group by 1, 2, 3, 4, 5, 6, 7, 8, 9 having sum(g.n) <> 0 or sum(g.amount) <> 0
    on conflict (tenant_id, workflow_id, namespace, hour, state, slot, version_id, day, currency) do update
      set n = c.n + excluded.n, amount = c.amount + excluded.amount)
  select count(*) into v_gone from gone;
  if v_gone > 0 then
    delete from execution_counts c where c.state in (0, 1, 3, 8, 9) and c.n = 0;
  end if;
  return v_gone;
end $$;

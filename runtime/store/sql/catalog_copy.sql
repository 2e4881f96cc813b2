-- What a database that does not hold the catalog gets of it: versions for its workers, settings and holds for its retention.
-- Read in the catalog, written in the copy; both as mc_engine. Nobody else writes these tables there.

-- name: digest
-- Safe: reads only. Equal on both sides when there is nothing to bring.
select md5(concat_ws(';',
  (select string_agg(concat_ws(':', t.id, t.name, t.spread, t.settings), ',' order by t.id) from tenants t),
  (select string_agg(concat_ws(':', w.id, w.namespace, w.name, coalesce(w.retention_days, 0), coalesce(w.max_running, 0)), ',' order by w.id) from workflows w),
  (select string_agg(concat_ws(':', h.tenant_id, h.id), ',' order by h.tenant_id, h.id) from legal_holds h where h.scope = 'workflow')));

-- name: impatient
-- Safe: for one transaction; who waits for a lock holds up everybody behind, so it gives up as the catalog's own exchange does.
select set_config('lock_timeout', '200ms', true);

-- name: still
-- Safe: waits a moment for who is just setting something, holds up who comes next, until the transaction ends: for one exchange.
select pg_advisory_xact_lock(7263003);

-- name: tenants
-- Safe: reads a small table.
select id, name, spread, settings::text as settings from tenants;

-- name: workflows
-- Safe: reads what a workflow is called, how long its executions are kept and how many may run, no definition.
select id, tenant_id, namespace, name, retention_days, max_running from workflows;

-- name: holds
-- Safe: reads a small table. Holds on executions lie beside the executions and are not copied.
select tenant_id, id, reason, actor, at from legal_holds where scope = 'workflow';

-- name: put_tenants
-- Safe: the leader alone writes here; rows are replaced by what the catalog says.
insert into tenants as t (id, name, spread, settings)
  select x.i, x.n, x.sp, x.s::jsonb from unnest($1::uuid[], $2::text[], $3::boolean[], $4::text[]) x (i, n, sp, s)
  on conflict (id) do update set name = excluded.name, spread = excluded.spread, settings = excluded.settings;

-- name: drop_workflows
-- Safe: drafts that are gone from the catalog; what has a version or an execution is never deleted there.
delete from workflows w where not exists (select 1 from unnest($1::uuid[]) x (i) where x.i = w.id)
   and not exists (select 1 from workflow_versions v where v.workflow_id = w.id);

-- name: put_workflows
-- Safe: as tenants; a change of retention_days waits for an exchange under way, by its trigger.
insert into workflows as w (id, tenant_id, namespace, name, retention_days, max_running, created_by)
  select x.i, x.t, x.ns, x.n, x.r, x.m, '{"subject": "catalog"}'
    from unnest($1::uuid[], $2::uuid[], $3::text[], $4::text[], $5::int[], $6::int[]) x (i, t, ns, n, r, m)
  on conflict (id) do update set namespace = excluded.namespace, name = excluded.name, retention_days = excluded.retention_days,
    max_running = excluded.max_running;

-- name: copy_holds
-- Safe: a hold waits for an exchange under way, by its trigger, and counts in every later one; the catalog's own are left alone.
select mc_copy_holds($1, $2, $3, $4, $5);

-- name: newest
-- Safe: an hour back, because who publishes may commit late.
select coalesce(max(published_at) - interval '1 hour', '1970-01-01') from workflow_versions;

-- name: since
-- Safe: reads ids only.
select id from workflow_versions where published_at >= $1;

-- name: known
-- Safe: probes of the primary key.
select id from workflow_versions where id = any ($1);

-- name: versions
-- Safe: probes of the primary key, a few at a time; versions never change.
select id, tenant_id, workflow_id, version, version_order, state, digest, source, source_format, definition::text as definition,
       published_at, published_by::text as published_by from workflow_versions where id = any ($1);

-- name: put_version
-- Safe: a version that is there already is the same.
insert into workflow_versions (id, tenant_id, workflow_id, version, version_order, state, digest, source, source_format, definition,
  published_at, published_by)
values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10::text::jsonb, $11, $12::text::jsonb) on conflict do nothing;

-- Outputs that are given again (ADR-086). Run as mc_engine; each statement of a worker names the tenant.

-- name: find
-- Safe: one probe of the primary key, and one of the execution that it came from.
select c.execution_id, c.step, c.item, c.digest, c.output from step_cache c
 where c.tenant_id = $1 and c.key = $2 and c.expires_at > pg_catalog.now()
   and exists (select 1 from workflow_executions e where e.id = c.execution_id and e.tenant_id = c.tenant_id);

-- name: keep
-- Safe: probes of the primary key; callers bound the number of entries, and sort them. The newest output counts.
insert into step_cache as c (tenant_id, key, expires_at, execution_id, step, item, digest, output)
select x.tenant_id, x.key, pg_catalog.now() + x.ms * interval '1 millisecond', x.execution_id, x.step, x.item, x.digest, x.output::jsonb
  from unnest($1::uuid[], $2::bytea[], $3::bigint[], $4::uuid[], $5::text[], $6::int[], $7::text[], $8::text[])
       as x (tenant_id, key, ms, execution_id, step, item, digest, output)
on conflict (tenant_id, key) do update set expires_at = excluded.expires_at, execution_id = excluded.execution_id,
  step = excluded.step, item = excluded.item, digest = excluded.digest, output = excluded.output;

-- name: sweep
-- Safe: at most $1 rows from the end of the index of expiry; what a worker writes meanwhile is passed by.
with x as materialized (
  select c.tenant_id, c.key from step_cache c where c.expires_at <= pg_catalog.now() order by c.expires_at limit $1 for update skip locked)
delete from step_cache d using x where d.tenant_id = x.tenant_id and d.key = x.key;

-- name: shrink
-- Safe: counts no further than $1 entries, and takes at most $2 of those beyond: the ones that expire first.
with x as materialized (
  select c.tenant_id, c.key from step_cache c
   where (select count(*) from (select 1 from step_cache limit $1 + 1) y) > $1
   order by c.expires_at limit $2 for update skip locked)
delete from step_cache d using x where d.tenant_id = x.tenant_id and d.key = x.key;

-- name: orphans
-- Safe: at most $3 entries behind ($1, $2) in the order of the primary key, each with a probe of its execution.
with page as (
  select c.tenant_id, c.key, c.execution_id from step_cache c where (c.tenant_id, c.key) > ($1, $2)
   order by c.tenant_id, c.key limit $3),
gone as (
  delete from step_cache d using page p where d.tenant_id = p.tenant_id and d.key = p.key and d.execution_id = p.execution_id
     and not exists (select 1 from workflow_executions e where e.id = p.execution_id and e.tenant_id = p.tenant_id)
  returning 1)
select (select count(*)::int from page) as seen, (select count(*)::int from gone) as gone,
       (select p.tenant_id from page p order by p.tenant_id desc, p.key desc limit 1) as tenant_id,
       (select p.key from page p order by p.tenant_id desc, p.key desc limit 1) as key;

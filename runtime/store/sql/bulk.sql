-- Bulk operations (ADR-092): read as mc_api, under row security; written as mc_engine, each statement also naming the tenant or
-- the runner that holds the operation.

-- name: get_many
-- Safe: probes of the primary key; callers bound the number of ids.
select id, tenant_id, state, deed, filter, total, done, refused, actor, reason, created_at, started_at, finished_at,
       stopped_by, stop_reason
  from bulk_operations where tenant_id = $1 and id = any ($2::uuid[]) and state > 0;

-- name: page
-- Safe: a keyset page over the list's index.
select id, tenant_id, state, deed, filter, total, done, refused, actor, reason, created_at, started_at, finished_at,
       stopped_by, stop_reason
  from bulk_operations where tenant_id = $1 and state > 0 and ($2::uuid is null or id < $2) order by id desc limit $3;

-- name: results
-- Safe: a keyset page over the primary key, or over the index of what was refused.
select position, execution_id, outcome, code, message, at from bulk_results
 where tenant_id = $1 and operation_id = $2 and ($3::int is null or position > $3) order by position limit $4;

-- name: refusals
-- Safe: as results.
select position, execution_id, outcome, code, message, at from bulk_results
 where tenant_id = $1 and operation_id = $2 and outcome = 1 and ($3::int is null or position > $3) order by position limit $4;

-- name: preview
-- Safe: one row.
insert into bulk_operations (id, tenant_id, deed, filter, digest, selected, total, actor, expires_at)
values ($1, $2, $3, $4, $5, $6, cardinality($6::uuid[]), $7, pg_catalog.now() + make_interval(secs => $8))
returning expires_at;

-- name: forget
-- Safe: previews of one tenant, all but the newest $2.
with x as materialized (
  select id from bulk_operations where tenant_id = $1 and state = 0 order by id desc offset $2 for update skip locked)
delete from bulk_operations o using x where o.id = x.id;

-- name: alone
-- Safe: until the end of the transaction, starts of one tenant follow each other, so what is counted then holds.
select pg_advisory_xact_lock(hashtextextended('bulk_operations ' || $1::text, 0));

-- name: lock
-- Safe: locks one row by its key until the end of the transaction.
select state, digest, expires_at > pg_catalog.now() as is_valid from bulk_operations where tenant_id = $1 and id = $2 for update;

-- name: running
-- Safe: few rows of a partial index; asked under the tenant's lock.
select count(*)::int from bulk_operations where tenant_id = $1 and state = 1;

-- name: start
-- Safe: one row by its key, locked before.
update bulk_operations set state = 1, started_at = pg_catalog.now(), reason = $3, actor = $4, runner = $5,
       lease_until = pg_catalog.now() + make_interval(secs => $6), expires_at = pg_catalog.now() + make_interval(secs => $7)
 where tenant_id = $1 and id = $2 and state = 0;

-- name: stop
-- Safe: one row by its key; the first word counts.
update bulk_operations set stopped_by = $3, stop_reason = $4 where tenant_id = $1 and id = $2 and state = 1 and stopped_by is null;

-- name: claim
-- Safe: one that nobody works on, or none; two that look at once take two. First of the tenants of whose fewest are worked on: a few rows of a
-- partial index, at most ten of each tenant.
with x as materialized (
  select l.id from bulk_operations l where l.state = 1 and l.lease_until < pg_catalog.now()
   order by (select count(*) from bulk_operations b where b.tenant_id = l.tenant_id and b.state = 1 and b.lease_until >= pg_catalog.now()), l.id
   limit 1 for update skip locked)
update bulk_operations o set runner = $1, lease_until = pg_catalog.now() + make_interval(secs => $2) from x
 where o.id = x.id returning o.id;

-- name: part
-- Safe: one row by its key, only for its runner.
update bulk_operations set lease_until = pg_catalog.now() + make_interval(secs => $3)
 where id = $1 and runner = $2 and state = 1
returning tenant_id, deed, actor, reason, position, stopped_by is not null as is_stopped,
          selected[position + 1 : position + $4] as ids;

-- name: renew
-- Safe: one row by its key, only for its runner.
update bulk_operations set lease_until = pg_catalog.now() + make_interval(secs => $3) where id = $1 and runner = $2 and state = 1;

-- name: record
-- Safe: one row by its key, only for its runner and only from the place where the part began; else nothing is written.
with o as (
  update bulk_operations set position = position + cardinality($4::uuid[]),
         done = done + cardinality(array_positions($5::smallint[], 0::smallint)),
         refused = refused + cardinality(array_positions($5::smallint[], 1::smallint))
   where id = $1 and runner = $2 and state = 1 and position = $3 returning id, tenant_id),
r as (
  insert into bulk_results (operation_id, position, tenant_id, execution_id, outcome, code, message)
  select o.id, $3 + x.n, o.tenant_id, x.execution, x.outcome, x.code, x.message
    from o cross join unnest($4::uuid[], $5::smallint[], $6::text[], $7::text[]) with ordinality as x (execution, outcome, code, message, n)
  returning 1)
select count(*)::int from r;

-- name: finish
-- Safe: one row by its key, only for its runner.
update bulk_operations set state = $3, finished_at = pg_catalog.now(), runner = null, lease_until = null, selected = '{}',
       expires_at = pg_catalog.now() + make_interval(secs => $4)
 where id = $1 and runner = $2 and state = 1;

-- name: leave
-- Safe: one row by its key, only for its runner: the next one may begin at once.
update bulk_operations set lease_until = pg_catalog.now() where id = $1 and runner = $2 and state = 1;

-- name: sweep
-- Safe: one operation from the end of the index of expiry, with its results.
with x as materialized (
  select id from bulk_operations where state <> 1 and expires_at < pg_catalog.now() order by expires_at limit 1 for update skip locked)
delete from bulk_operations o using x where o.id = x.id returning o.id;

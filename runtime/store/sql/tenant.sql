-- Tenants: the names that tokens carry, and the ids that rows carry. Read and made as mc_engine.

-- name: find
-- Safe: one probe of the unique index on the name.
select id, name, spread from tenants where name = $1;

-- name: get
-- Safe: one probe of the primary key.
select id, name, spread from tenants where id = $1;

-- name: settings
-- Safe: one probe of the primary key.
select settings from tenants where id = $1;

-- name: create
-- Safe: of two who make the same tenant at once, one does nothing, and both read it afterwards.
insert into tenants (id, name, created_at) values (gen_random_uuid(), $1, maestro.now()) on conflict (name) do nothing;

-- name: settings_of_workflow
-- Safe: one probe of the primary key.
select jsonb_strip_nulls(jsonb_build_object('max_running', max_running, 'retention_days', retention_days))
  from workflows where tenant_id = $1 and id = $2;

-- name: lock_tenant
-- Safe: locks one row by its key until the end of the transaction: changes of one tenant follow each other.
select settings from tenants where id = $1 and id = $2 for update;

-- name: lock_workflow
-- Safe: as lock_tenant.
select jsonb_strip_nulls(jsonb_build_object('max_running', max_running, 'retention_days', retention_days))
  from workflows where tenant_id = $1 and id = $2 for update;

-- name: set_tenant
-- Safe: one row by its key, locked before.
update tenants set settings = $3 where id = $1 and id = $2;

-- name: set_workflow
-- Safe: one row by its key, locked before.
update workflows set max_running = ($3::jsonb ->> 'max_running')::int, retention_days = ($3::jsonb ->> 'retention_days')::int
 where tenant_id = $1 and id = $2;

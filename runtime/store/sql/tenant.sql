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

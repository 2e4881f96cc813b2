-- Workflows and their versions. All run as mc_api under row security; each also names the tenant.

-- name: find
-- Safe: one probe of the primary key.
select * from workflow_records where tenant_id = $1 and id = $2;

-- name: find_by_name
-- Safe: one probe of the unique index (tenant, namespace, name).
select * from workflow_records where tenant_id = $1 and namespace = $2 and name = $3;

-- name: get_many
-- Safe: a probe of the primary key per id; callers bound the number of ids.
select * from workflow_records where tenant_id = $1 and id = any ($2);

-- name: get_many_by_name
-- Safe: probes of the unique index; of equal names the one in namespace `default` comes first.
select distinct on (name) * from workflow_records where tenant_id = $1 and name = any ($2)
 order by name, namespace <> 'default', namespace;

-- name: draft
-- Safe: one probe of the primary key.
select id, tenant_id, draft_source, draft_format, draft_definition, draft_digest from workflows where tenant_id = $1 and id = $2;

-- name: drafts
-- Safe: probes of the primary key, and of the digest index for whether the draft was published as it is.
select w.id, w.tenant_id, w.draft_source, w.draft_format, w.draft_definition, w.draft_digest from workflows w
 where w.tenant_id = $1 and w.id = any ($2) and w.draft_digest is not null and not exists
   (select 1 from workflow_versions v where v.workflow_id = w.id and v.digest = w.draft_digest);

-- name: lock
-- Safe: locks one row by its key until the end of the transaction: changes of one workflow follow each other.
select id, name, status, draft_digest from workflows where tenant_id = $1 and id = $2 for update;

-- name: insert
-- Safe: the unique index lets one of two equal names through.
insert into workflows (id, tenant_id, namespace, name, display_name, description, labels, region, draft_source, draft_format,
  draft_definition, draft_digest, created_at, created_by, updated_at)
values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, maestro.now(), $13, maestro.now())
on conflict (tenant_id, namespace, name) do nothing returning id;

-- name: update
-- Safe: one row by its key, locked before; NULL leaves a column as it is.
update workflows set draft_source = coalesce($3, draft_source), draft_format = coalesce($4, draft_format),
  draft_definition = coalesce($5, draft_definition), draft_digest = coalesce($6, draft_digest),
  display_name = coalesce($7, display_name), description = coalesce($8, description), labels = coalesce($9, labels),
  updated_at = maestro.now()
 where tenant_id = $1 and id = $2;

-- name: mark_published
-- Safe: one row by its key, locked before.
update workflows set status = 1, updated_at = maestro.now() where tenant_id = $1 and id = $2;

-- name: insert_version
-- Safe: under the lock of its workflow; the unique index on (workflow, version) stands behind it. One statement, so that no
-- version is without its provenance.
with made as (
  insert into workflow_versions (id, tenant_id, workflow_id, version, version_order, digest, source, source_format, definition,
    changelog, published_at, published_by)
  values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, maestro.now(), $11)
  returning *)
insert into version_provenance (version_id, tenant_id, workflow_id, version, digest, source_digest, source_format, actor, recorded_at)
select m.id, m.tenant_id, m.workflow_id, m.version, m.digest, mc_source_digest(m.source), m.source_format, m.published_by, m.published_at
  from made m;

-- name: set_version_state
-- Safe: one row by its unique index, under the lock of its workflow; a trigger refuses a state that goes back.
update workflow_versions set state = $4 where tenant_id = $1 and workflow_id = $2 and version = $3;

-- name: touch
-- Safe: one row by its key, locked before.
update workflows set updated_at = maestro.now() where tenant_id = $1 and id = $2;

-- name: archive
-- Safe: one row by its key, locked before; a trigger refuses the way back.
update workflows set status = 2, updated_at = maestro.now() where tenant_id = $1 and id = $2;

-- name: delete
-- Safe: one row by its key, locked before; the key of its versions refuses a workflow that has some.
delete from workflows where tenant_id = $1 and id = $2;

-- name: release_before
-- Safe: the order index backwards from a number on; passes the previews between two releases.
select id, tenant_id, workflow_id, version, state, digest, source, source_format, definition, published_at, published_by, changelog
  from workflow_versions
 where tenant_id = $1 and workflow_id = $2 and ($3::text is null or version_order < $3 collate "C") and version_order like '%~'
 order by version_order desc limit 1;

-- name: version
-- Safe: one probe of the unique index (workflow, version).
select id, tenant_id, workflow_id, version, state, digest, source, source_format, definition, published_at, published_by, changelog
  from workflow_versions where tenant_id = $1 and workflow_id = $2 and version = $3;

-- name: version_by_digest
-- Safe: a probe of the digest index; of several the highest.
select id, tenant_id, workflow_id, version, state, digest, source, source_format, definition, published_at, published_by, changelog
  from workflow_versions where tenant_id = $1 and workflow_id = $2 and digest = $3 order by version_order desc limit 1;

-- name: highest_version
-- Safe: the end of the order index.
select version from workflow_versions where tenant_id = $1 and workflow_id = $2 order by version_order desc limit 1;

-- name: versions_by_id
-- Safe: probes of the primary key; callers bound the number of ids.
select id, tenant_id, workflow_id, version, state, digest, source, source_format, definition, published_at, published_by, changelog
  from workflow_versions where tenant_id = $1 and id = any ($2);

-- name: current_versions
-- Safe: per workflow the end of the order index, skipping what is deprecated.
select distinct on (workflow_id) id, tenant_id, workflow_id, version, state, digest, source, source_format, definition, published_at,
       published_by, changelog
  from workflow_versions where tenant_id = $1 and workflow_id = any ($2) and state = 1 order by workflow_id, version_order desc;

-- name: versions
-- Safe: the order index from a cursor on, bounded by the limit.
select id, tenant_id, workflow_id, version, state, digest, source, source_format, definition, published_at, published_by, changelog,
       version_order
  from workflow_versions where tenant_id = $1 and workflow_id = $2 and ($3::text is null or version_order < $3 collate "C")
 order by version_order desc limit $4;

-- name: versions_before
-- Safe: the order index backwards from a cursor on, bounded by the limit.
select id, tenant_id, workflow_id, version, state, digest, source, source_format, definition, published_at, published_by, changelog,
       version_order
  from workflow_versions where tenant_id = $1 and workflow_id = $2 and ($3::text is null or version_order > $3 collate "C")
 order by version_order limit $4;

-- name: target
-- Safe: what an enqueue needs to know, by probes of unique indexes; without a version the current one.
select w.id as workflow_id, w.name, w.namespace, w.status, v.id as version_id, v.version, v.state
  from workflows w left join lateral (
    select v.id, v.version, v.state from workflow_versions v
     where v.workflow_id = w.id and (case when $5::text is null then v.state = 1 else v.version = $5 end)
     order by v.version_order desc limit 1) v on true
 where w.tenant_id = $1 and (w.id = $2 or ($2::uuid is null and w.namespace = $3 and w.name = $4));

-- name: ids_by_name
-- Safe: probes of the unique index; for lists of executions that lie in other databases than the catalog.
select id from workflows where tenant_id = $1 and name = any ($2);

-- name: ids_by_version
-- Safe: reads the tenant's versions; for the same lists.
select id from workflow_versions where tenant_id = $1 and version = $2;

-- name: plan
-- Safe: one probe of the primary key; versions never change, so what is read may be kept for ever. Run as mc_engine.
select v.definition, v.digest, v.version from workflow_versions v where v.id = $1;

-- name: versions_to_start
-- Safe: a probe by name, then the order index of one workflow's versions, without what they say. Run as mc_engine. Where the
-- namespace has no workflow of this name, the one is meant that validation finds: of `default`, else of the first that has one.
with meant as (
  select w.id, w.namespace from workflows w
   where w.tenant_id = $1 and w.name = $2 and w.status <> 2
   order by w.namespace <> $3, w.namespace <> 'default', w.namespace limit 1)
select v.id, v.workflow_id, m.namespace, v.version, v.state from meant m join workflow_versions v on v.workflow_id = m.id
 where v.state <> 3 order by v.version_order desc;

-- name: event
-- Safe: numbers under the lock of the noun's row (or before it is visible), so no number is given twice.
insert into domain_events (tenant_id, noun, id, seq, kind, ts, actor, data)
select $1, $2, $3, coalesce(max(d.seq), 0) + 1, $4, maestro.now(), $5, $6
  from domain_events d where d.tenant_id = $1 and d.noun = $2 and d.id = $3;

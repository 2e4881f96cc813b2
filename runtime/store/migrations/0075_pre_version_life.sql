-- The end of versions and workflows, and what publishing leaves for the ledger of provenance.
-- Locks: brief ones on `workflows` and `workflow_versions` for a trigger each; the table is new, filled from the versions there are.

set local search_path = maestro;

-- One row per published version, written by the statement that publishes it: what the ledger will begin its receipts with.
create table version_provenance (
  version_id    uuid primary key references workflow_versions (id),
  tenant_id     uuid not null,
  workflow_id   uuid not null,
  version       text not null,
  digest        text not null,
  source_digest text not null,
  source_format text not null,
  actor         jsonb not null,
  recorded_at   timestamptz not null default pg_catalog.now()
);
comment on table version_provenance is 'who published which content from which source, and when; never changed';
comment on column version_provenance.digest is 'of the canonical definition';
comment on column version_provenance.source_digest is 'of the document as it was written, in UTF-8';

create function mc_source_digest(p_source text) returns text
language sql immutable parallel safe as $$ select 'sha256:' || encode(sha256(convert_to(p_source, 'UTF8')), 'hex') $$;

insert into version_provenance (version_id, tenant_id, workflow_id, version, digest, source_digest, source_format, actor, recorded_at)
  select v.id, v.tenant_id, v.workflow_id, v.version, v.digest, mc_source_digest(v.source), v.source_format, v.published_by, v.published_at
    from workflow_versions v;

create function mc_provenance_is_immutable() returns trigger language plpgsql as $$
begin
  raise exception 'what was recorded of a publication never changes' using errcode = 'MC003';
end $$;
create trigger immutable before update or delete on version_provenance
  for each row execute function mc_provenance_is_immutable();
create trigger kept before truncate on version_provenance
  for each statement execute function mc_provenance_is_immutable();

create function mc_versions_are_kept() returns trigger language plpgsql as $$
begin
  raise exception 'published versions are never deleted' using errcode = 'MC003';
end $$;
create trigger kept before truncate on workflow_versions
  for each statement execute function mc_versions_are_kept();

-- A workflow that has versions can't be deleted, by the key of its versions; one that is archived stays so.
create function mc_archived_stays() returns trigger language plpgsql as $$
begin
  raise exception 'an archived workflow stays archived' using errcode = 'MC003';
end $$;
create trigger archived before update on workflows
  for each row when (old.status = 2 and new.status <> 2) execute function mc_archived_stays();

alter table version_provenance enable row level security;
create policy tenant on version_provenance to mc_api using (tenant_id = nullif(current_setting('mc.tenant', true), '')::uuid)
  with check (tenant_id = nullif(current_setting('mc.tenant', true), '')::uuid);
create policy engine on version_provenance to mc_engine using (true) with check (true);
grant select, insert on version_provenance to mc_api;
grant select on version_provenance to mc_engine;
grant delete on workflows to mc_api;
revoke execute on function mc_source_digest(text), mc_provenance_is_immutable(), mc_versions_are_kept(), mc_archived_stays() from public;
grant execute on function mc_source_digest(text) to mc_api;

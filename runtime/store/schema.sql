-- Generated from the migrations by `python -m runtime.store.schema`; not applied, only reviewed.

create table blob_refs (
  shard smallint not null,
  execution_id uuid not null,
  tenant_id uuid not null,
  digest text not null,
  size bigint not null,
  created_at timestamp with time zone not null default now(),
  constraint blob_refs_pkey PRIMARY KEY (execution_id, digest, shard)
);
CREATE INDEX blob_refs_digest ON maestro.blob_refs USING btree (tenant_id, digest);
alter table blob_refs enable row level security;

create table bulk_operations (
  id uuid not null,
  tenant_id uuid not null,
  state smallint not null default 0,
  deed jsonb not null,
  filter jsonb not null,
  digest bytea not null,
  selected uuid[] not null,
  total integer not null,
  position integer not null default 0,
  done integer not null default 0,
  refused integer not null default 0,
  actor jsonb not null,
  reason text,
  created_at timestamp with time zone not null default now(),
  expires_at timestamp with time zone not null,
  started_at timestamp with time zone,
  finished_at timestamp with time zone,
  stopped_by jsonb,
  stop_reason text,
  runner uuid,
  lease_until timestamp with time zone,
  constraint bulk_operations_pkey PRIMARY KEY (id),
  constraint bulk_operations_check CHECK (((state >= 2) = (finished_at IS NOT NULL)))
);
CREATE INDEX bulk_operations_expired ON maestro.bulk_operations USING btree (expires_at) WHERE (state <> 1);
CREATE INDEX bulk_operations_list ON maestro.bulk_operations USING btree (tenant_id, id DESC);
CREATE INDEX bulk_operations_open ON maestro.bulk_operations USING btree (id) WHERE (state = 1);
alter table bulk_operations enable row level security;

create table bulk_results (
  operation_id uuid not null,
  position integer not null,
  tenant_id uuid not null,
  execution_id uuid not null,
  outcome smallint not null,
  code text,
  message text,
  at timestamp with time zone not null default now(),
  constraint bulk_results_pkey PRIMARY KEY (operation_id, "position"),
  constraint bulk_results_operation_id_fkey FOREIGN KEY (operation_id) REFERENCES bulk_operations(id) ON DELETE CASCADE
);
CREATE INDEX bulk_results_refused ON maestro.bulk_results USING btree (operation_id, "position") WHERE (outcome = 1);
alter table bulk_results enable row level security;

create table dead_letters (
  execution_id uuid not null,
  generation smallint not null,
  shard smallint not null,
  tenant_id uuid not null,
  queue text not null default 'executions'::text,
  status smallint not null default 0,
  reason text not null,
  error jsonb not null,
  losses smallint not null,
  evidence jsonb not null,
  created_at timestamp with time zone not null default now(),
  decided_at timestamp with time zone,
  decided_by jsonb,
  decision_reason text,
  message integer not null default 0,
  constraint dead_letters_pkey PRIMARY KEY (execution_id, generation, message, shard),
  constraint dead_letters_check CHECK (((status = 0) = (decided_at IS NULL)))
);
CREATE INDEX dead_letters_list ON maestro.dead_letters USING btree (tenant_id, created_at DESC, execution_id DESC, generation DESC);
alter table dead_letters enable row level security;

create table domain_events (
  tenant_id uuid not null,
  noun text not null,
  id uuid not null,
  seq integer not null,
  kind text not null,
  ts timestamp with time zone not null default now(),
  actor jsonb not null,
  data jsonb,
  xact xid8 not null default pg_current_xact_id(),
  after xid8 not null default pg_snapshot_xmax(pg_current_snapshot()),
  constraint domain_events_pkey PRIMARY KEY (tenant_id, noun, id, seq)
);
CREATE INDEX domain_events_feed ON maestro.domain_events USING btree (xact);
alter table domain_events enable row level security;

create table event_cursors (
  handler text not null,
  stream text not null,
  shard smallint not null,
  kinds bigint not null,
  xact xid8 not null,
  since xid8,
  backfill uuid,
  backfill_seq integer not null default 0,
  owner bigint,
  lease_until timestamp with time zone not null default now(),
  attempts integer not null default 0,
  error text,
  failed_at timestamp with time zone,
  created_at timestamp with time zone not null default now(),
  moved_at timestamp with time zone not null default now(),
  missed_until timestamp with time zone,
  failed_tenant uuid,
  constraint event_cursors_pkey PRIMARY KEY (handler, stream, shard),
  constraint event_cursors_stream_check CHECK ((stream = ANY (ARRAY['execution'::text, 'domain'::text])))
) with (fillfactor=50);

create table event_failures (
  handler text not null,
  stream text not null,
  shard smallint not null,
  tenant_id uuid not null,
  noun text not null,
  id uuid not null,
  seq integer not null,
  kind text not null,
  reason text not null,
  attempts integer not null,
  error text not null,
  at timestamp with time zone not null default now(),
  constraint event_failures_pkey PRIMARY KEY (handler, stream, id, seq, noun, shard)
);
CREATE INDEX event_failures_age ON maestro.event_failures USING btree (at);
CREATE INDEX event_failures_tenant ON maestro.event_failures USING btree (tenant_id, at DESC);
alter table event_failures enable row level security;

create table event_feed (
  shard smallint not null,
  xact xid8 not null,
  n integer not null,
  after xid8,
  at timestamp with time zone not null default now(),
  executions uuid[] not null,
  firsts integer[] not null,
  lasts integer[] not null,
  kinds bigint[] not null,
  constraint event_feed_pkey PRIMARY KEY (shard, xact, n)
) with (autovacuum_vacuum_scale_factor=0, autovacuum_vacuum_threshold=2000, autovacuum_vacuum_insert_scale_factor=0.5);

create table execution_counts (
  tenant_id uuid not null,
  workflow_id uuid not null,
  hour timestamp with time zone not null,
  state smallint not null,
  slot smallint not null,
  namespace text not null,
  version_id uuid not null,
  day date not null,
  currency text not null,
  n bigint not null,
  amount numeric not null,
  constraint execution_counts_pkey PRIMARY KEY (tenant_id, workflow_id, namespace, hour, state, slot, version_id, day, currency) INCLUDE (n, amount)
) with (fillfactor=70, autovacuum_vacuum_scale_factor=0.05, autovacuum_vacuum_insert_scale_factor=0.05);
CREATE INDEX execution_counts_day ON maestro.execution_counts USING btree (day);
CREATE INDEX execution_counts_unended ON maestro.execution_counts USING btree (tenant_id, workflow_id) WHERE (state = ANY (ARRAY[0, 1, 3, 8, 9, 10]));
alter table execution_counts enable row level security;

create table execution_day_counts (
  tenant_id uuid not null,
  workflow_id uuid not null,
  created_on date not null,
  state smallint not null,
  slot smallint not null,
  namespace text not null,
  version_id uuid not null,
  day date not null,
  currency text not null,
  n bigint not null,
  amount numeric not null,
  constraint execution_day_counts_pkey PRIMARY KEY (tenant_id, workflow_id, namespace, created_on, state, slot, version_id, day, currency) INCLUDE (n, amount)
) with (fillfactor=70, autovacuum_vacuum_scale_factor=0.05, autovacuum_vacuum_insert_scale_factor=0.05);
CREATE INDEX execution_day_counts_day ON maestro.execution_day_counts USING btree (day);
alter table execution_day_counts enable row level security;

create table execution_deltas (
  tenant_id uuid not null,
  workflow_id uuid not null,
  version_id uuid not null,
  hour timestamp with time zone not null,
  day date not null,
  state smallint not null,
  slot smallint not null,
  n integer not null,
  namespace text not null,
  currency text,
  amount numeric
);
CREATE INDEX execution_deltas_tenant ON maestro.execution_deltas USING btree (tenant_id);
alter table execution_deltas enable row level security;

create table execution_events (
  shard smallint not null,
  kind smallint not null,
  seq integer not null,
  execution_id uuid not null,
  tenant_id uuid not null,
  ts timestamp with time zone not null,
  data jsonb,
  constraint execution_events_pkey PRIMARY KEY (execution_id, seq, shard)
) partition by RANGE (execution_id);
CREATE TRIGGER compensating AFTER INSERT ON maestro.execution_events FOR EACH ROW WHEN ((new.kind = ANY (ARRAY[11, 17]))) EXECUTE FUNCTION mc_note_compensating();
alter table execution_events enable row level security;

create table execution_inbox (
  shard smallint not null,
  n integer not null,
  execution_id uuid not null,
  tenant_id uuid not null,
  kind smallint not null,
  created_at timestamp with time zone not null default now(),
  data jsonb,
  constraint execution_inbox_pkey PRIMARY KEY (execution_id, n, shard)
);
alter table execution_inbox enable row level security;

create table execution_labels (
  tenant_id uuid not null,
  shard smallint not null,
  key text not null,
  value text not null,
  execution_id uuid not null,
  constraint execution_labels_pkey PRIMARY KEY (execution_id, key, shard)
);
CREATE INDEX execution_labels_find ON maestro.execution_labels USING btree (tenant_id, key, value, execution_id DESC);
alter table execution_labels enable row level security;

create table human_task_events (
  shard smallint not null,
  task_id uuid not null,
  seq integer not null,
  tenant_id uuid not null,
  kind text not null,
  at timestamp with time zone not null,
  actor jsonb not null,
  before jsonb not null,
  after jsonb not null,
  reason text,
  constraint human_task_events_pkey PRIMARY KEY (task_id, seq, shard)
);
alter table human_task_events enable row level security;

create table human_task_people (
  shard smallint not null,
  task_id uuid not null,
  tenant_id uuid not null,
  who text not null,
  is_held boolean not null,
  constraint human_task_people_pkey PRIMARY KEY (task_id, who, shard)
);
CREATE INDEX human_task_people_list ON maestro.human_task_people USING btree (tenant_id, who, is_held, task_id DESC);
alter table human_task_people enable row level security;

create table human_tasks (
  shard smallint not null,
  status smallint not null,
  id uuid not null,
  tenant_id uuid not null,
  version integer not null,
  priority integer not null,
  execution_id uuid,
  step integer,
  generation smallint,
  step_key text,
  workflow_id uuid,
  assignee text,
  closed_to text[] not null,
  due_at timestamp with time zone,
  next_at timestamp with time zone,
  ended_at timestamp with time zone,
  state jsonb not null,
  constraint human_tasks_pkey PRIMARY KEY (id, shard),
  constraint human_tasks_check CHECK (((status >= 4) = (ended_at IS NOT NULL))),
  constraint human_tasks_check1 CHECK ((((execution_id IS NULL) = (step IS NULL)) AND ((execution_id IS NULL) = (generation IS NULL))))
);
CREATE INDEX human_tasks_assignee ON maestro.human_tasks USING btree (tenant_id, assignee, id DESC) WHERE ((status < 4) AND (assignee IS NOT NULL));
CREATE INDEX human_tasks_due ON maestro.human_tasks USING btree (tenant_id, due_at, id) WHERE ((status < 4) AND (due_at IS NOT NULL));
CREATE INDEX human_tasks_ended ON maestro.human_tasks USING btree (tenant_id, ended_at) WHERE ((ended_at IS NOT NULL) AND (execution_id IS NULL));
CREATE INDEX human_tasks_list ON maestro.human_tasks USING btree (tenant_id, id DESC);
CREATE INDEX human_tasks_of_workflow ON maestro.human_tasks USING btree (tenant_id, workflow_id, id DESC) WHERE (workflow_id IS NOT NULL);
CREATE INDEX human_tasks_open ON maestro.human_tasks USING btree (tenant_id, id DESC) WHERE (status < 4);
CREATE INDEX human_tasks_timers ON maestro.human_tasks USING btree (shard, next_at) WHERE (next_at IS NOT NULL);
CREATE UNIQUE INDEX human_tasks_of_step ON maestro.human_tasks USING btree (execution_id, step, generation, shard) WHERE (execution_id IS NOT NULL);
alter table human_tasks enable row level security;

create table idempotency_keys (
  tenant_id uuid not null,
  operation text not null,
  key text not null,
  shard smallint not null,
  body_digest bytea not null,
  result_id uuid not null,
  created_at timestamp with time zone not null default now(),
  constraint idempotency_keys_pkey PRIMARY KEY (tenant_id, operation, key, shard)
);
CREATE INDEX idempotency_keys_age ON maestro.idempotency_keys USING btree (created_at);
alter table idempotency_keys enable row level security;

create table legal_holds (
  tenant_id uuid not null,
  scope text not null,
  id uuid not null,
  reason text not null,
  actor text not null,
  at timestamp with time zone not null default now(),
  constraint legal_holds_pkey PRIMARY KEY (tenant_id, scope, id),
  constraint legal_holds_scope_check CHECK ((scope = ANY (ARRAY['execution'::text, 'workflow'::text])))
);
CREATE TRIGGER retention BEFORE INSERT OR DELETE OR UPDATE ON maestro.legal_holds FOR EACH ROW EXECUTE FUNCTION mc_retention_settings();
alter table legal_holds enable row level security;

create table map_chunks (
  shard smallint not null,
  execution_id uuid not null,
  lender bigint not null,
  number integer not null,
  tenant_id uuid not null,
  generation smallint not null,
  step integer not null,
  items integer[] not null,
  attempts integer[] not null,
  created_at timestamp with time zone not null default now(),
  helper bigint,
  helper_epoch bigint,
  stop text,
  outcomes text,
  constraint map_chunks_pkey PRIMARY KEY (execution_id, lender, number, shard)
);
CREATE INDEX map_chunks_free ON maestro.map_chunks USING btree (shard, created_at) WHERE (helper IS NULL);
CREATE INDEX map_chunks_helper ON maestro.map_chunks USING btree (helper) WHERE (helper IS NOT NULL);
alter table map_chunks enable row level security;

create table migrations (
  name text not null,
  sha256 text not null,
  applied_at timestamp with time zone not null default now(),
  constraint migrations_pkey PRIMARY KEY (name)
);

create table outbox (
  shard smallint not null,
  id uuid not null,
  tenant_id uuid not null,
  topic text not null,
  key text not null,
  payload jsonb not null,
  attempts integer not null default 0,
  available_at timestamp with time zone not null default now(),
  created_at timestamp with time zone not null default now(),
  constraint outbox_pkey PRIMARY KEY (id, shard)
);
CREATE INDEX outbox_due ON maestro.outbox USING btree (shard, available_at);
alter table outbox enable row level security;

create table retention_changes (
  day date not null,
  execution_id uuid not null
);
CREATE INDEX retention_changes_day ON maestro.retention_changes USING btree (day);

create table retention_days (
  day date not null,
  as_of date not null,
  policy text not null,
  state smallint not null,
  kept bigint not null default 0,
  dropped bigint not null default 0,
  bytes bigint not null default 0,
  at timestamp with time zone not null default now(),
  released timestamp with time zone,
  constraint retention_days_pkey PRIMARY KEY (day)
);

create table shards (
  shard smallint not null,
  open boolean not null default true,
  total smallint not null default 1,
  constraint shards_pkey PRIMARY KEY (shard)
);

create table step_cache (
  tenant_id uuid not null,
  key bytea not null,
  expires_at timestamp with time zone not null,
  execution_id uuid not null,
  step text not null,
  item integer not null,
  digest text not null,
  output jsonb,
  constraint step_cache_pkey PRIMARY KEY (tenant_id, key)
);
CREATE INDEX step_cache_expires ON maestro.step_cache USING btree (expires_at);
alter table step_cache enable row level security;

create table step_executions (
  shard smallint not null,
  status smallint not null,
  step integer not null,
  execution_id uuid not null,
  tenant_id uuid not null,
  attempt integer not null,
  generation smallint not null,
  item integer not null,
  started_at timestamp with time zone not null,
  finished_at timestamp with time zone not null,
  result jsonb not null,
  constraint step_executions_pkey PRIMARY KEY (execution_id, step, item, generation, attempt, shard)
) partition by RANGE (execution_id);
CREATE TRIGGER cost_inserted AFTER INSERT ON maestro.step_executions FOR EACH ROW WHEN ((new.result ? 'cost'::text)) EXECUTE FUNCTION mc_count_cost();
CREATE TRIGGER cost_updated AFTER UPDATE ON maestro.step_executions FOR EACH ROW WHEN ((((new.result ? 'cost'::text) OR (old.result ? 'cost'::text)) AND (new.result IS DISTINCT FROM old.result))) EXECUTE FUNCTION mc_count_cost();
alter table step_executions enable row level security;

create table step_logs (
  shard smallint not null,
  position integer not null,
  execution_id uuid not null,
  tenant_id uuid not null,
  step integer not null,
  item integer not null,
  generation smallint not null,
  attempt integer not null,
  ts timestamp with time zone not null,
  level text not null,
  message text not null,
  fields jsonb,
  constraint step_logs_pkey PRIMARY KEY (execution_id, "position", shard)
) partition by RANGE (execution_id);
alter table step_logs enable row level security;

create table tenants (
  id uuid not null,
  name text not null,
  spread boolean not null default false,
  settings jsonb not null default '{}'::jsonb,
  created_at timestamp with time zone not null default now(),
  constraint tenants_name_key UNIQUE (name),
  constraint tenants_pkey PRIMARY KEY (id),
  constraint tenants_retention_days CHECK (
CASE
    WHEN (NOT (settings ? 'retention_days'::text)) THEN true
    WHEN (jsonb_typeof((settings -> 'retention_days'::text)) <> 'number'::text) THEN false
    ELSE (((((settings ->> 'retention_days'::text))::numeric >= (1)::numeric) AND (((settings ->> 'retention_days'::text))::numeric <= (36500)::numeric)) AND (((settings ->> 'retention_days'::text))::numeric = trunc(((settings ->> 'retention_days'::text))::numeric)))
END)
);
CREATE INDEX tenants_limited ON maestro.tenants USING btree (id) WHERE (settings ? 'max_running'::text);
CREATE TRIGGER retention BEFORE UPDATE ON maestro.tenants FOR EACH ROW WHEN (((new.settings -> 'retention_days'::text) IS DISTINCT FROM (old.settings -> 'retention_days'::text))) EXECUTE FUNCTION mc_retention_settings();
alter table tenants enable row level security;

create table version_provenance (
  version_id uuid not null,
  tenant_id uuid not null,
  workflow_id uuid not null,
  version text not null,
  digest text not null,
  source_digest text not null,
  source_format text not null,
  actor jsonb not null,
  recorded_at timestamp with time zone not null default now(),
  constraint version_provenance_pkey PRIMARY KEY (version_id),
  constraint version_provenance_version_id_fkey FOREIGN KEY (version_id) REFERENCES workflow_versions(id)
);
CREATE TRIGGER immutable BEFORE DELETE OR UPDATE ON maestro.version_provenance FOR EACH ROW EXECUTE FUNCTION mc_provenance_is_immutable();
CREATE TRIGGER kept BEFORE TRUNCATE ON maestro.version_provenance FOR EACH STATEMENT EXECUTE FUNCTION mc_provenance_is_immutable();
alter table version_provenance enable row level security;

create table workers (
  id bigint not null,
  shard smallint not null,
  epoch bigint not null default 1,
  lease_until timestamp with time zone not null,
  dead boolean not null default false,
  host text not null,
  started_at timestamp with time zone not null default now(),
  left_at timestamp with time zone,
  late_at timestamp with time zone,
  tags text[] not null default '{}'::text[],
  constraint workers_pkey PRIMARY KEY (id, shard)
) with (fillfactor=50);

create table workflow_executions (
  id uuid not null,
  shard smallint not null,
  tenant_id uuid not null,
  workflow_id uuid not null,
  version_id uuid not null,
  status smallint not null,
  wait smallint,
  generation smallint not null default 0,
  namespace text not null default 'default'::text,
  region text,
  inbox integer not null default 0,
  deadline timestamp with time zone,
  meta jsonb not null default '{}'::jsonb,
  priority integer not null default 0,
  owner bigint,
  epoch bigint not null default 0,
  takeovers smallint not null default 0,
  wake_at timestamp with time zone,
  cancel_requested boolean not null default false,
  created_at timestamp with time zone not null default now(),
  started_at timestamp with time zone,
  finished_at timestamp with time zone,
  input jsonb,
  output jsonb,
  error jsonb,
  compensating boolean not null default false,
  lane text,
  in_lane boolean,
  wanted_tags text,
  constraint workflow_executions_pkey PRIMARY KEY (id, shard),
  constraint workflow_executions_check CHECK (((owner IS NOT NULL) = (status = 1)))
) partition by RANGE (id);
CREATE INDEX workflow_executions_due ON ONLY maestro.workflow_executions USING btree (shard, wake_at) WHERE (status = 3);
CREATE INDEX workflow_executions_lane ON ONLY maestro.workflow_executions USING btree (shard, workflow_id, lane) WHERE (in_lane AND (status = ANY (ARRAY[0, 1, 3])));
CREATE INDEX workflow_executions_lane_backlog ON ONLY maestro.workflow_executions USING btree (tenant_id) WHERE ((status = 3) AND (wait = 6));
CREATE INDEX workflow_executions_lane_oldest ON ONLY maestro.workflow_executions USING btree (shard, workflow_id, lane, id) WHERE ((status = 3) AND (NOT in_lane) AND ((meta #>> '{concurrency,on_conflict}'::text[]) = 'cancel_oldest'::text));
CREATE INDEX workflow_executions_lane_queue ON ONLY maestro.workflow_executions USING btree (shard, workflow_id, lane, priority DESC, id) WHERE ((status = 3) AND (NOT in_lane));
CREATE INDEX workflow_executions_late ON ONLY maestro.workflow_executions USING btree (shard, deadline) WHERE ((status = 3) AND (NOT in_lane) AND (deadline IS NOT NULL));
CREATE INDEX workflow_executions_list ON ONLY maestro.workflow_executions USING btree (tenant_id, id DESC);
CREATE INDEX workflow_executions_namespace ON ONLY maestro.workflow_executions USING btree (tenant_id, namespace, id DESC) WHERE (namespace <> 'default'::text);
CREATE INDEX workflow_executions_owner ON ONLY maestro.workflow_executions USING btree (shard, owner) WHERE (status = 1);
CREATE INDEX workflow_executions_queue ON ONLY maestro.workflow_executions USING btree (shard, tenant_id, priority DESC, id) WHERE (status = 0);
CREATE INDEX workflow_executions_queue_cancelled ON ONLY maestro.workflow_executions USING btree (shard, tenant_id, id) WHERE ((status = 0) AND cancel_requested);
CREATE INDEX workflow_executions_queue_over ON ONLY maestro.workflow_executions USING btree (shard, tenant_id, deadline) WHERE ((status = 0) AND (deadline IS NOT NULL));
CREATE INDEX workflow_executions_state ON ONLY maestro.workflow_executions USING btree (tenant_id, status, id DESC) WHERE (status <> 2);
CREATE INDEX workflow_executions_suspects ON ONLY maestro.workflow_executions USING btree (shard, id) WHERE ((status = 0) AND (takeovers >= 2));
CREATE INDEX workflow_executions_tags ON ONLY maestro.workflow_executions USING btree (shard, wanted_tags, priority DESC, id) WHERE (wanted_tags IS NOT NULL);
CREATE INDEX workflow_executions_tags_of ON ONLY maestro.workflow_executions USING btree (shard, wanted_tags, workflow_id, priority DESC, id) WHERE (wanted_tags IS NOT NULL);
CREATE INDEX workflow_executions_workflow ON ONLY maestro.workflow_executions USING btree (tenant_id, workflow_id, id DESC);
CREATE INDEX workflow_executions_workflow_apart ON ONLY maestro.workflow_executions USING btree (tenant_id, workflow_id, status, id DESC) WHERE mc_is_listed_apart(status);
CREATE TRIGGER count_deleted AFTER DELETE ON maestro.workflow_executions REFERENCING OLD TABLE AS old_rows FOR EACH STATEMENT EXECUTE FUNCTION mc_count_executions();
CREATE TRIGGER count_inserted AFTER INSERT ON maestro.workflow_executions REFERENCING NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION mc_count_executions();
CREATE TRIGGER count_updated AFTER UPDATE ON maestro.workflow_executions REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION mc_count_executions();
CREATE TRIGGER family_ended AFTER UPDATE ON maestro.workflow_executions FOR EACH ROW WHEN (((old.status <> ALL (ARRAY[2, 4, 5, 6, 7])) AND (new.status = ANY (ARRAY[2, 4, 5, 6, 7])) AND ((new.meta ? 'parent'::text) OR (new.meta ? 'children'::text)))) EXECUTE FUNCTION mc_family_ended();
CREATE TRIGGER lane_entered BEFORE INSERT ON maestro.workflow_executions FOR EACH ROW WHEN (((new.lane IS NULL) AND (new.meta ? 'concurrency'::text))) EXECUTE FUNCTION mc_lane_enter();
CREATE TRIGGER lane_entered_again BEFORE UPDATE ON maestro.workflow_executions FOR EACH ROW WHEN (((new.lane IS NOT NULL) AND (new.status = 0) AND (old.status = ANY (ARRAY[2, 4, 5, 6, 7])))) EXECUTE FUNCTION mc_lane_enter();
CREATE TRIGGER tags_noted BEFORE UPDATE ON maestro.workflow_executions FOR EACH ROW WHEN (((new.wait = 10) OR (old.wanted_tags IS NOT NULL))) EXECUTE FUNCTION mc_note_tags();
CREATE TRIGGER tasks_ended AFTER UPDATE ON maestro.workflow_executions FOR EACH ROW WHEN (((old.status <> ALL (ARRAY[2, 4, 5, 6, 7])) AND (new.status = ANY (ARRAY[2, 4, 5, 6, 7])) AND (new.meta ? 'tasks'::text))) EXECUTE FUNCTION mc_tasks_ended();
alter table workflow_executions enable row level security;

create table workflow_versions (
  id uuid not null,
  tenant_id uuid not null,
  workflow_id uuid not null,
  version text not null,
  version_order text collate "C" not null,
  state smallint not null default 1,
  digest text not null,
  source text not null,
  source_format text not null,
  definition jsonb not null,
  changelog text,
  published_at timestamp with time zone not null default now(),
  published_by jsonb not null,
  constraint workflow_versions_workflow_id_version_key UNIQUE (workflow_id, version),
  constraint workflow_versions_pkey PRIMARY KEY (id),
  constraint workflow_versions_workflow_id_fkey FOREIGN KEY (workflow_id) REFERENCES workflows(id)
);
CREATE INDEX workflow_versions_digest ON maestro.workflow_versions USING btree (workflow_id, digest);
CREATE INDEX workflow_versions_order ON maestro.workflow_versions USING btree (workflow_id, version_order DESC);
CREATE TRIGGER immutable BEFORE DELETE OR UPDATE ON maestro.workflow_versions FOR EACH ROW EXECUTE FUNCTION mc_version_is_immutable();
CREATE TRIGGER kept BEFORE TRUNCATE ON maestro.workflow_versions FOR EACH STATEMENT EXECUTE FUNCTION mc_versions_are_kept();
alter table workflow_versions enable row level security;

create table workflows (
  id uuid not null,
  tenant_id uuid not null,
  namespace text not null default 'default'::text,
  name text not null,
  status smallint not null default 0,
  display_name text,
  description text,
  labels jsonb not null default '{}'::jsonb,
  region text,
  draft_source text,
  draft_format text,
  draft_definition jsonb,
  draft_digest text,
  created_at timestamp with time zone not null default now(),
  created_by jsonb not null,
  updated_at timestamp with time zone not null default now(),
  retention_days integer,
  max_running integer,
  constraint workflows_tenant_id_namespace_name_key UNIQUE (tenant_id, namespace, name),
  constraint workflows_pkey PRIMARY KEY (id),
  constraint workflows_max_running_check CHECK ((max_running > 0)),
  constraint workflows_retention_days CHECK (((retention_days >= 1) AND (retention_days <= 36500)))
);
CREATE INDEX workflows_limited ON maestro.workflows USING btree (tenant_id, id) WHERE (max_running IS NOT NULL);
CREATE INDEX workflows_updated ON maestro.workflows USING btree (tenant_id, updated_at DESC, id DESC);
CREATE TRIGGER archived BEFORE UPDATE ON maestro.workflows FOR EACH ROW WHEN (((old.status = 2) AND (new.status <> 2))) EXECUTE FUNCTION mc_archived_stays();
CREATE TRIGGER retention BEFORE UPDATE ON maestro.workflows FOR EACH ROW WHEN ((new.retention_days IS DISTINCT FROM old.retention_days)) EXECUTE FUNCTION mc_retention_settings();
alter table workflows enable row level security;

create view workflow_records with (security_invoker=true) as
 SELECT id,
    tenant_id,
    namespace,
    name,
    status,
    created_at,
    created_by,
    updated_at,
    display_name,
    description,
    labels,
    region,
    ( SELECT v.id
           FROM workflow_versions v
          WHERE ((v.workflow_id = w.id) AND (v.state = 1))
          ORDER BY v.version_order DESC
         LIMIT 1) AS current_version_id,
    draft_digest
   FROM workflows w;

CREATE OR REPLACE FUNCTION maestro.mc_archived_stays()
 RETURNS trigger
 LANGUAGE plpgsql
AS $function$
begin
  raise exception 'an archived workflow stays archived' using errcode = 'MC003';
end $function$;

CREATE OR REPLACE FUNCTION maestro.mc_beat(p_shard smallint, p_me bigint, p_epoch bigint, p_lease interval)
 RETURNS TABLE(live integer, dead integer, due integer, queued integer, inbox uuid[])
 LANGUAGE plpgsql
 SET search_path TO 'maestro'
 SET enable_seqscan TO 'off'
AS $function$
declare v_inbox uuid[];
begin
  update workers w set lease_until = pg_catalog.now() + p_lease
   where w.shard = p_shard and w.id = p_me and w.epoch = p_epoch and not w.dead;
  if not found then
    return query select 0, 0, 0, 0, '{}'::uuid[];
    return;
  end if;
  -- From the side that is short: the messages while there are few, else the executions that this worker owns, of which there
  -- are never more than it has room for. The `limit` keeps the planner from beginning at the other side.
  if (select count(*) from (select 1 from execution_inbox i where i.shard = p_shard limit 500) x) < 500 then
    select array_agg(distinct i.execution_id) into v_inbox from execution_inbox i join workflow_executions e
       on e.id = i.execution_id and e.shard = i.shard where i.shard = p_shard and e.owner = p_me;
  else
    select array_agg(e.id) into v_inbox from workflow_executions e cross join lateral
       (select 1 from execution_inbox i where i.shard = p_shard and i.execution_id = e.id limit 1) m
     where e.shard = p_shard and e.status = 1 and e.owner = p_me;
  end if;
  return query select 1,
    (select count(*)::int from workers w where w.shard = p_shard and (w.dead or w.lease_until < pg_catalog.now()) and w.id <> p_me),
    (select count(*)::int from (select 1 from workflow_executions e where e.shard = p_shard and e.status = 3 and e.wake_at <= pg_catalog.now() limit 1) x),
    (select count(*)::int from (select 1 from workflow_executions e where e.shard = p_shard and e.status = 0 limit 1) x),
    coalesce(v_inbox, '{}');
end $function$;

CREATE OR REPLACE FUNCTION maestro.mc_beat_2(p_shard smallint, p_me bigint, p_epoch bigint, p_lease interval, p_late interval)
 RETURNS TABLE(live integer, dead integer, due integer, queued integer, inbox uuid[])
 LANGUAGE plpgsql
 SET search_path TO 'maestro'
 SET enable_seqscan TO 'off'
AS $function$
declare v_inbox uuid[];
begin
  update workers w set lease_until = pg_catalog.now() + p_lease, late_at = pg_catalog.now() + p_late
   where w.shard = p_shard and w.id = p_me and w.epoch = p_epoch and not w.dead;
  if not found then
    return query select 0, 0, 0, 0, '{}'::uuid[];
    return;
  end if;
  -- From the side that is short: the messages while there are few, else the executions that this worker owns, of which there
  -- are never more than it has room for. The `limit` keeps the planner from beginning at the other side.
  if (select count(*) from (select 1 from execution_inbox i where i.shard = p_shard limit 500) x) < 500 then
    select array_agg(distinct i.execution_id) into v_inbox from execution_inbox i join workflow_executions e
       on e.id = i.execution_id and e.shard = i.shard where i.shard = p_shard and e.owner = p_me;
  else
    select array_agg(e.id) into v_inbox from workflow_executions e cross join lateral
       (select 1 from execution_inbox i where i.shard = p_shard and i.execution_id = e.id limit 1) m
     where e.shard = p_shard and e.status = 1 and e.owner = p_me;
  end if;
  return query select 1,
    (select count(*)::int from workers w where w.shard = p_shard and w.id <> p_me
        and (w.dead or w.lease_until < pg_catalog.now() or w.late_at < pg_catalog.now())),
    (select count(*)::int from (select 1 from workflow_executions e where e.shard = p_shard and e.status = 3 and e.wake_at <= pg_catalog.now() limit 1) x),
    (select count(*)::int from (select 1 from workflow_executions e where e.shard = p_shard and e.status = 0 limit 1) x),
    coalesce(v_inbox, '{}');
end $function$;

CREATE OR REPLACE FUNCTION maestro.mc_beat_3(p_shard smallint, p_me bigint, p_epoch bigint, p_lease interval, p_late interval)
 RETURNS TABLE(live integer, dead integer, due integer, queued integer, inbox uuid[], lent integer)
 LANGUAGE plpgsql
 SET search_path TO 'maestro'
 SET enable_seqscan TO 'off'
AS $function$
declare v_inbox uuid[]; v_tags text[];
begin
  update workers w set lease_until = pg_catalog.now() + p_lease, late_at = pg_catalog.now() + p_late
   where w.shard = p_shard and w.id = p_me and w.epoch = p_epoch and not w.dead returning w.tags into v_tags;
  if not found then
    return query select 0, 0, 0, 0, '{}'::uuid[], 0;
    return;
  end if;
  -- From the side that is short: the messages while there are few, else the executions that this worker owns, of which there
  -- are never more than it has room for. The `limit` keeps the planner from beginning at the other side.
  if (select count(*) from (select 1 from execution_inbox i where i.shard = p_shard limit 500) x) < 500 then
    select array_agg(distinct i.execution_id) into v_inbox from execution_inbox i join workflow_executions e
       on e.id = i.execution_id and e.shard = i.shard where i.shard = p_shard and e.owner = p_me;
  else
    select array_agg(e.id) into v_inbox from workflow_executions e cross join lateral
       (select 1 from execution_inbox i where i.shard = p_shard and i.execution_id = e.id limit 1) m
     where e.shard = p_shard and e.status = 1 and e.owner = p_me;
  end if;
  return query select 1,
    (select count(*)::int from workers w where w.shard = p_shard and w.id <> p_me
        and (w.dead or w.lease_until < pg_catalog.now() or w.late_at < pg_catalog.now())),
    (select count(*)::int from (select 1 from workflow_executions e where e.shard = p_shard and e.status = 3 and e.wake_at <= pg_catalog.now() limit 1) x)
      + case when v_tags = '{}' then 0 else (select count(*)::int from (select 1 from workflow_executions e
          where e.shard = p_shard and e.wanted_tags is not null limit 1) x) end
      + (select count(*)::int from (select 1 from workflow_executions e where e.shard = p_shard and e.status = 3 and not e.in_lane limit 1) x),
    (select count(*)::int from (select 1 from workflow_executions e where e.shard = p_shard and e.status = 0 limit 1) x),
    coalesce(v_inbox, '{}'),
    (select count(*)::int from (select 1 from map_chunks c where c.shard = p_shard and c.helper is null limit 1) x);
end $function$;

CREATE OR REPLACE FUNCTION maestro.mc_beat_4(p_shard smallint, p_me bigint, p_epoch bigint, p_lease interval, p_late interval)
 RETURNS TABLE(live integer, dead integer, due integer, queued integer, inbox uuid[], lent integer, next_due double precision)
 LANGUAGE plpgsql
 SET search_path TO 'maestro'
 SET enable_seqscan TO 'off'
AS $function$
begin
  return query select b.live, b.dead, b.due, b.queued, b.inbox, b.lent, case when b.live = 1 then mc_next_due(p_shard) end
    from mc_beat_3(p_shard, p_me, p_epoch, p_lease, p_late) b;
end $function$;

CREATE OR REPLACE FUNCTION maestro.mc_begin_again(p_shard smallint, p_tenant uuid, p_exec uuid, p_statuses smallint[], p_kind smallint, p_event text)
 RETURNS TABLE(known boolean, status smallint, generation smallint)
 LANGUAGE plpgsql
 SET search_path TO 'maestro'
 SET enable_seqscan TO 'off'
AS $function$
begin
  return query select b.known, b.status, b.generation
    from mc_begin_again_2(p_shard, p_tenant, p_exec, p_statuses, p_kind, p_event, null, null, null) b;
end $function$;

CREATE OR REPLACE FUNCTION maestro.mc_begin_again_2(p_shard smallint, p_tenant uuid, p_exec uuid, p_statuses smallint[], p_kind smallint, p_event text, p_version uuid, p_generation smallint, p_input text)
 RETURNS TABLE(known boolean, status smallint, generation smallint, is_seen boolean)
 LANGUAGE plpgsql
 SET search_path TO 'maestro'
 SET enable_seqscan TO 'off'
AS $function$
declare v_row workflow_executions; v_generation smallint; v_seq int;
begin
  select e.* into v_row from workflow_executions e
   where e.shard = p_shard and e.id = p_exec and e.tenant_id = p_tenant for update;
  if not found then
    return query select false, null::smallint, null::smallint, true;
    return;
  end if;
  if v_row.status <> all (p_statuses) or exists (select 1 from mc_children_open(p_shard, array[p_exec])) then
    return query select true, v_row.status, null::smallint, true;
    return;
  end if;
  if v_row.version_id <> p_version or v_row.generation <> p_generation then
    return query select true, v_row.status, null::smallint, false;
    return;
  end if;
  update workflow_executions e set status = 0, generation = e.generation + 1, cancel_requested = false, output = null, error = null,
         finished_at = null, wake_at = null, wait = null, takeovers = 0, compensating = false, input = coalesce(p_input::jsonb, e.input),
         deadline = case when e.meta ->> 'timeout_ms' is not null then
           least(pg_catalog.now() + make_interval(secs => (e.meta ->> 'timeout_ms')::float8 / 1000), '9999-01-01') end
   where e.shard = p_shard and e.id = p_exec returning e.generation into v_generation;
  delete from execution_inbox b where b.shard = p_shard and b.execution_id = p_exec;
  insert into execution_events as ev (shard, kind, seq, execution_id, tenant_id, ts, data)
    select s.shard, p_kind, (select max(p.seq) + 1 from execution_events p where p.shard = p_shard and p.execution_id = p_exec),
           p_exec, p_tenant, pg_catalog.now(),
           p_event::jsonb || case when p_input is null then '{}' else jsonb_build_object('input_before', v_row.input) end
      from shards s where s.shard = p_shard returning ev.seq into v_seq;
  perform mc_feed(p_shard, array[p_exec], array[v_seq], array[p_kind], true);
  return query select true, 0::smallint, v_generation, true;
end $function$;

CREATE OR REPLACE FUNCTION maestro.mc_blob_days()
 RETURNS TABLE(day date, at timestamp with time zone)
 LANGUAGE sql
 STABLE SECURITY DEFINER
 SET search_path TO 'maestro', 'pg_temp'
AS $function$
  select r.day, r.at from retention_days r where r.state = 3 and r.released is distinct from r.at
    and not exists (select 1 from shards s where not s.open) order by r.day
$function$;

CREATE OR REPLACE FUNCTION maestro.mc_blob_lock(p_tenant uuid, p_slot integer, p_digest text)
 RETURNS bigint
 LANGUAGE sql
 IMMUTABLE
AS $function$ select hashtextextended(p_tenant::text || '/' || p_slot || '/' || p_digest, 7263005) $function$;

CREATE OR REPLACE FUNCTION maestro.mc_blob_refer(p_shard smallint, p_exec uuid, p_tenant uuid, p_digest text, p_size bigint)
 RETURNS void
 LANGUAGE plpgsql
 SET search_path TO 'maestro'
 SET enable_seqscan TO 'off'
AS $function$
begin
  perform pg_advisory_xact_lock_shared(mc_blob_lock(p_tenant, mc_slot(p_exec), p_digest));
  insert into blob_refs as r (shard, execution_id, tenant_id, digest, size)
    select s.shard, p_exec, p_tenant, p_digest, p_size from shards s where s.shard = p_shard
    on conflict do nothing;
end $function$;

CREATE OR REPLACE FUNCTION maestro.mc_blob_release(p_day date, p_limit integer)
 RETURNS TABLE(gone integer, tenant uuid[], slot integer[], digest text[])
 LANGUAGE plpgsql
 SET search_path TO 'maestro'
 SET enable_seqscan TO 'off'
AS $function$
declare
  v_lo uuid := mc_uuid_floor(p_day::timestamp at time zone 'UTC'); v_hi uuid := mc_uuid_floor((p_day + 1)::timestamp at time zone 'UTC');
  v_exec uuid[]; v_tenant uuid[]; v_digest text[];
begin
  select array_agg(d.execution_id), array_agg(d.tenant_id), array_agg(d.digest) into v_exec, v_tenant, v_digest from (
    select r.execution_id, r.tenant_id, r.digest from blob_refs r
     where r.execution_id >= v_lo and r.execution_id < v_hi
       and not exists (select 1 from workflow_executions e where e.id = r.execution_id and e.id >= v_lo and e.id < v_hi)
     order by r.execution_id, r.digest limit p_limit) d;
  -- In one order, so that nobody waits in a circle. What follows has a snapshot of its own, taken under these locks.
  perform pg_advisory_xact_lock(k.key) from (select distinct mc_blob_lock(x.t, mc_slot(x.e), x.d) as key
    from unnest(v_exec, v_tenant, v_digest) x (e, t, d) order by 1) k;
  delete from blob_refs r using unnest(v_exec, v_digest) x (e, d)
   where r.execution_id = any (v_exec) and r.execution_id = x.e and r.digest = x.d;
  return query
    select coalesce(cardinality(v_exec), 0), array_agg(y.t), array_agg(y.s), array_agg(y.d) from (
      select distinct x.t, mc_slot(x.e) as s, x.d from unnest(v_exec, v_tenant, v_digest) x (e, t, d)) y
     where not exists (select 1 from blob_refs o where o.tenant_id = y.t and o.digest = y.d and mc_slot(o.execution_id) = y.s);
end $function$;

CREATE OR REPLACE FUNCTION maestro.mc_blob_released(p_day date, p_at timestamp with time zone)
 RETURNS void
 LANGUAGE sql
 SECURITY DEFINER
 SET search_path TO 'maestro', 'pg_temp'
AS $function$ update retention_days r set released = p_at where r.day = p_day $function$;

CREATE OR REPLACE FUNCTION maestro.mc_bury(p_shard smallint, p_me bigint)
 RETURNS integer
 LANGUAGE plpgsql
 SET search_path TO 'maestro'
 SET enable_seqscan TO 'off'
AS $function$
declare v_count int;
begin
  with d as (select w.id from workers w where w.shard = p_shard and w.lease_until < pg_catalog.now() and not w.dead and w.id <> p_me
             for update skip locked)
  update workers w set epoch = w.epoch + 1, lease_until = 'infinity', dead = true from d where w.shard = p_shard and w.id = d.id;
  get diagnostics v_count = row_count;
  return v_count;
end $function$;

CREATE OR REPLACE FUNCTION maestro.mc_bury_2(p_shard smallint, p_me bigint, p_gone bigint[])
 RETURNS integer
 LANGUAGE plpgsql
 SET search_path TO 'maestro'
 SET enable_seqscan TO 'off'
AS $function$
declare v_count int;
begin
  with d as (select w.id from workers w where w.shard = p_shard and not w.dead and w.id <> p_me
                and (w.lease_until < pg_catalog.now() or w.id = any (p_gone) and w.late_at < pg_catalog.now())
             for update skip locked)
  update workers w set epoch = w.epoch + 1, lease_until = 'infinity', dead = true from d where w.shard = p_shard and w.id = d.id;
  get diagnostics v_count = row_count;
  return v_count;
end $function$;

CREATE OR REPLACE FUNCTION maestro.mc_children_open(p_shard smallint, p_exec uuid[])
 RETURNS TABLE(id uuid, generation smallint)
 LANGUAGE plpgsql
 STABLE
 SET search_path TO 'maestro'
 SET enable_seqscan TO 'off'
AS $function$
declare v_ids uuid[];
begin
  select array_agg((v.data ->> 'child')::uuid) into v_ids from execution_events v where v.shard = p_shard
     and v.execution_id between mc_lo(p_exec) and mc_hi(p_exec) and v.execution_id = any (p_exec) and v.kind = 37;
  return query select e.id, e.generation from workflow_executions e where e.shard = p_shard
    and e.id between mc_lo(v_ids) and mc_hi(v_ids) and e.id = any (v_ids) and e.status in (0, 1, 3) order by e.id;
end $function$;

CREATE OR REPLACE FUNCTION maestro.mc_chunk_back(p_shard smallint, p_me bigint, p_epoch bigint, p_exec uuid, p_patience interval, p_stop integer, p_why text)
 RETURNS TABLE(lender bigint, number integer, step integer, items integer[], attempts integer[], is_back boolean, is_lost boolean, outcomes text)
 LANGUAGE plpgsql
 SET search_path TO 'maestro'
 SET enable_seqscan TO 'off'
AS $function$
declare v_generation smallint;
begin
  perform 1 from workers w where w.shard = p_shard and w.id = p_me and w.epoch = p_epoch for key share;
  if not found then
    raise exception 'this worker was fenced off' using errcode = 'MC002';
  end if;
  select e.generation into v_generation from workflow_executions e
   where e.shard = p_shard and e.id = p_exec and e.owner = p_me and e.status = 1;
  if not found then
    return;
  end if;
  delete from map_chunks c where c.shard = p_shard and c.execution_id = p_exec and c.generation <> v_generation;
  update map_chunks c set stop = p_why
   where c.shard = p_shard and c.execution_id = p_exec and c.step = p_stop and c.helper is not null and c.stop is null;
  return query
    with x as materialized (
        select f.lender, f.number, f.helper is not null and not exists (select 1 from workers h
                where h.shard = p_shard and h.id = f.helper and h.epoch = f.helper_epoch and not h.dead) as is_lost
          from map_chunks f
         where f.shard = p_shard and f.execution_id = p_exec and (f.outcomes is not null
               or f.helper is null and (f.created_at <= pg_catalog.now() - p_patience or f.step = p_stop)
               or f.helper is not null and not exists (select 1 from workers h
                where h.shard = p_shard and h.id = f.helper and h.epoch = f.helper_epoch and not h.dead))
           for update of f)
    delete from map_chunks c using x
     where c.shard = p_shard and c.execution_id = p_exec and c.lender = x.lender and c.number = x.number
    returning c.lender, c.number, c.step, c.items, c.attempts, true, x.is_lost and c.outcomes is null, c.outcomes;
  return query
    select c.lender, c.number, c.step, c.items, c.attempts, false, false, null::text from map_chunks c
     where c.shard = p_shard and c.execution_id = p_exec;
end $function$;

CREATE OR REPLACE FUNCTION maestro.mc_chunk_end(p_shard smallint, p_me bigint, p_epoch bigint, p_exec uuid, p_lender bigint, p_number integer, p_outcomes text)
 RETURNS boolean
 LANGUAGE plpgsql
 SET search_path TO 'maestro'
 SET enable_seqscan TO 'off'
AS $function$
begin
  perform 1 from workers w where w.shard = p_shard and w.id = p_me and w.epoch = p_epoch for key share;
  if not found then
    raise exception 'this worker was fenced off' using errcode = 'MC002';
  end if;
  update map_chunks c set outcomes = p_outcomes
   where c.shard = p_shard and c.execution_id = p_exec and c.lender = p_lender and c.number = p_number
     and c.helper = p_me and c.helper_epoch = p_epoch and c.outcomes is null;
  return found;
end $function$;

CREATE OR REPLACE FUNCTION maestro.mc_chunk_lend(p_shard smallint, p_me bigint, p_epoch bigint, p_exec uuid, p_number integer, p_step integer, p_items integer[], p_attempts integer[])
 RETURNS boolean
 LANGUAGE plpgsql
 SET search_path TO 'maestro'
 SET enable_seqscan TO 'off'
AS $function$
begin
  perform 1 from workers w where w.shard = p_shard and w.id = p_me and w.epoch = p_epoch for key share;
  if not found then
    raise exception 'this worker was fenced off' using errcode = 'MC002';
  end if;
  insert into map_chunks as c (shard, execution_id, lender, number, tenant_id, generation, step, items, attempts)
    select w.shard, e.id, w.id, p_number, e.tenant_id, e.generation, p_step, p_items, p_attempts
      from workers w, workflow_executions e
     where w.shard = p_shard and w.id = p_me and e.shard = p_shard and e.id = p_exec and e.owner = p_me and e.status = 1;
  return found;
end $function$;

CREATE OR REPLACE FUNCTION maestro.mc_chunk_sweep(p_shard smallint)
 RETURNS integer
 LANGUAGE plpgsql
 SET search_path TO 'maestro'
 SET enable_seqscan TO 'off'
AS $function$
declare v_count int;
begin
  delete from map_chunks c where c.shard = p_shard and not exists
    (select 1 from workflow_executions e where e.shard = p_shard and e.id = c.execution_id and e.generation = c.generation and e.status in (0, 1));
  get diagnostics v_count = row_count;
  return v_count;
end $function$;

CREATE OR REPLACE FUNCTION maestro.mc_chunk_take(p_shard smallint, p_me bigint, p_epoch bigint)
 RETURNS SETOF map_chunks
 LANGUAGE plpgsql
 SET search_path TO 'maestro'
 SET enable_seqscan TO 'off'
AS $function$
begin
  perform 1 from workers w where w.shard = p_shard and w.id = p_me and w.epoch = p_epoch for key share;
  if not found then
    raise exception 'this worker was fenced off' using errcode = 'MC002';
  end if;
  return query
    with x as materialized (
        select f.execution_id, f.lender, f.number from map_chunks f join workflow_executions e
            on e.id = f.execution_id and e.shard = f.shard
         where f.shard = p_shard and f.helper is null and e.status = 1 and e.owner <> p_me and e.generation = f.generation
         order by f.created_at limit 1 for update of f skip locked)
    update map_chunks c set helper = p_me, helper_epoch = p_epoch from x
     where c.shard = p_shard and c.execution_id = x.execution_id and c.lender = x.lender and c.number = x.number
    returning c.*;
end $function$;

CREATE OR REPLACE FUNCTION maestro.mc_claim(p_shard smallint, p_me bigint, p_epoch bigint, p_ids uuid[])
 RETURNS SETOF workflow_executions
 LANGUAGE plpgsql
 SET search_path TO 'maestro'
 SET enable_seqscan TO 'off'
AS $function$
declare v_lo uuid := mc_lo(p_ids); v_hi uuid := mc_hi(p_ids); v_ids uuid[];
begin
  perform 1 from workers w where w.shard = p_shard and w.id = p_me and w.epoch = p_epoch for key share;
  if not found then
    raise exception 'this worker was fenced off' using errcode = 'MC002';
  end if;
  -- A row that another one holds (who claims, cancels or retries it) is passed by, not waited for: it is hinted at again.
  select array_agg(d.id) into v_ids from (select e.id from workflow_executions e
    where e.shard = p_shard and e.id between v_lo and v_hi and e.id = any (p_ids) and e.status = 0 for update skip locked) d;
  return query update workflow_executions e
     set status = 1, owner = p_me, epoch = e.epoch + 1, started_at = least(e.started_at, pg_catalog.now()), wait = null, wake_at = null
   where e.shard = p_shard and e.id between v_lo and v_hi and e.id = any (v_ids) and e.status = 0
   returning e.*;
end $function$;

CREATE OR REPLACE FUNCTION maestro.mc_claim_2(p_shard smallint, p_me bigint, p_epoch bigint, p_ids uuid[])
 RETURNS SETOF workflow_executions
 LANGUAGE plpgsql
 SET search_path TO 'maestro'
 SET enable_seqscan TO 'off'
AS $function$
declare v_lo uuid := mc_lo(p_ids); v_hi uuid := mc_hi(p_ids); v_ids uuid[];
begin
  perform 1 from workers w where w.shard = p_shard and w.id = p_me and w.epoch = p_epoch for key share;
  if not found then
    raise exception 'this worker was fenced off' using errcode = 'MC002';
  end if;
  select array_agg(d.id) into v_ids from (select e.id from workflow_executions e where e.shard = p_shard
    and e.id between v_lo and v_hi and e.id = any (p_ids) and e.status = 0 and e.takeovers < 2 for update skip locked) d;
  v_ids := mc_within_limits(p_shard, v_ids);
  return query update workflow_executions e
     set status = 1, owner = p_me, epoch = e.epoch + 1, started_at = least(e.started_at, pg_catalog.now()), wait = null, wake_at = null
   where e.shard = p_shard and e.id between v_lo and v_hi and e.id = any (v_ids) and e.status = 0 and e.takeovers < 2
   returning e.*;
end $function$;

CREATE OR REPLACE FUNCTION maestro.mc_claim_alone(p_shard smallint, p_me bigint, p_epoch bigint)
 RETURNS SETOF workflow_executions
 LANGUAGE plpgsql
 SET search_path TO 'maestro'
 SET enable_seqscan TO 'off'
AS $function$
declare v_ids uuid[];
begin
  perform 1 from workers w where w.shard = p_shard and w.id = p_me and w.epoch = p_epoch for key share;
  if not found then
    raise exception 'this worker was fenced off' using errcode = 'MC002';
  end if;
  if mc_has_limits() then
    select array_agg(d.id) into v_ids from (select e.id from workflow_executions e where e.shard = p_shard and e.status = 0 and e.takeovers >= 2
       and e.id in (select x.id from (select distinct on (s.workflow_id) s.id from workflow_executions s
         where s.shard = p_shard and s.status = 0 and s.takeovers >= 2 order by s.workflow_id, s.id) x order by x.id limit 100)
      order by e.id for update skip locked) d;
    v_ids := mc_within_limits(p_shard, v_ids);
    v_ids := array(select x.id from unnest(v_ids) x (id) order by x.id limit 1);
  else
    v_ids := array(select d.id from (select e.id from workflow_executions e
      where e.shard = p_shard and e.status = 0 and e.takeovers >= 2 order by e.id limit 1 for update skip locked) d);
  end if;
  return query update workflow_executions e
     set status = 1, owner = p_me, epoch = e.epoch + 1, started_at = least(e.started_at, pg_catalog.now())
   where e.shard = p_shard and e.id = v_ids[1]
   returning e.*;
end $function$;

CREATE OR REPLACE FUNCTION maestro.mc_copy_holds(p_tenant uuid[], p_id uuid[], p_reason text[], p_actor text[], p_at timestamp with time zone[])
 RETURNS integer
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'maestro', 'pg_temp'
AS $function$
declare v_lifted int; v_set int;
begin
  if exists (select 1 from shards s where s.shard = 0) then
    return 0;
  end if;
  delete from legal_holds h where h.scope = 'workflow' and not exists
    (select 1 from unnest(p_tenant, p_id) x (t, i) where x.t = h.tenant_id and x.i = h.id);
  get diagnostics v_lifted = row_count;
  insert into legal_holds (tenant_id, scope, id, reason, actor, at)
    select x.t, 'workflow', x.i, x.r, x.a, x.at from unnest(p_tenant, p_id, p_reason, p_actor, p_at) x (t, i, r, a, at)
    on conflict do nothing;
  get diagnostics v_set = row_count;
  return v_lifted + v_set;
end $function$;

CREATE OR REPLACE FUNCTION maestro.mc_count_anew()
 RETURNS void
 LANGUAGE plpgsql
 SET search_path TO 'maestro', 'pg_temp'
AS $function$
begin
  perform pg_advisory_xact_lock(7263005);
  delete from execution_deltas;
  delete from execution_counts;
  delete from execution_day_counts;
  insert into execution_deltas select * from mc_counts_of('maestro.workflow_executions', 'maestro.step_executions', null, 1);
end $function$;

CREATE OR REPLACE FUNCTION maestro.mc_count_cost()
 RETURNS trigger
 LANGUAGE plpgsql
AS $function$
begin
  insert into maestro.execution_deltas (tenant_id, workflow_id, version_id, hour, day, state, slot, n, namespace, currency, amount)
    select e.tenant_id, e.workflow_id, e.version_id, date_bin('1 hour', e.created_at, '2000-01-01 00:00:00+00'), maestro.mc_id_day(e.id),
           -1, -1, 0, e.namespace, split_part(x.cost, ' ', 2), x.sign * split_part(x.cost, ' ', 1)::numeric
      from maestro.workflow_executions e,
           (select new.result ->> 'cost' as cost, 1 as sign union all select old.result ->> 'cost', -1 where tg_op = 'UPDATE') x
     where e.id = new.execution_id and e.shard = new.shard and x.cost is not null;
  return null;
end $function$;

CREATE OR REPLACE FUNCTION maestro.mc_count_executions()
 RETURNS trigger
 LANGUAGE plpgsql
AS $function$
declare
  v_today constant date := (pg_catalog.now() at time zone 'UTC')::date;
  v_lo constant uuid := maestro.mc_uuid_floor(v_today::timestamp at time zone 'UTC');
  v_hi constant uuid := maestro.mc_uuid_floor((v_today + 1)::timestamp at time zone 'UTC');
begin
  if tg_op = 'INSERT' then
    insert into maestro.execution_deltas (tenant_id, workflow_id, version_id, hour, day, state, slot, n, namespace)
      select e.tenant_id, e.workflow_id, e.version_id, date_bin('1 hour', e.created_at, '2000-01-01 00:00:00+00'),
             case when e.id >= v_lo and e.id < v_hi then v_today else maestro.mc_id_day(e.id) end,
             maestro.mc_state(e.status, e.wait, e.cancel_requested, e.compensating), maestro.mc_duration_slot(e.status, e.started_at, e.finished_at),
             count(*), e.namespace
        from new_rows e group by 1, 2, 3, 4, 5, 6, 7, 9;
  elsif tg_op = 'UPDATE' then
    insert into maestro.execution_deltas (tenant_id, workflow_id, version_id, hour, day, state, slot, n, namespace)
      select e.tenant_id, e.workflow_id, e.version_id, date_bin('1 hour', e.created_at, '2000-01-01 00:00:00+00'),
             case when e.id >= v_lo and e.id < v_hi then v_today else maestro.mc_id_day(e.id) end,
             maestro.mc_state(e.status, e.wait, e.cancel_requested, e.compensating), maestro.mc_duration_slot(e.status, e.started_at, e.finished_at),
             sum(e.sign), e.namespace
        from (select o.tenant_id, o.workflow_id, o.version_id, o.created_at, o.id, o.status, o.wait, o.cancel_requested, o.compensating, o.started_at, o.finished_at, o.namespace, -1 as sign from old_rows o
              union all
              select w.tenant_id, w.workflow_id, w.version_id, w.created_at, w.id, w.status, w.wait, w.cancel_requested, w.compensating, w.started_at, w.finished_at, w.namespace, 1 from new_rows w) e
       group by 1, 2, 3, 4, 5, 6, 7, 9 having sum(e.sign) <> 0;
  else
    insert into maestro.execution_deltas (tenant_id, workflow_id, version_id, hour, day, state, slot, n, namespace)
      select e.tenant_id, e.workflow_id, e.version_id, date_bin('1 hour', e.created_at, '2000-01-01 00:00:00+00'),
             maestro.mc_id_day(e.id),
             maestro.mc_state(e.status, e.wait, e.cancel_requested, e.compensating), maestro.mc_duration_slot(e.status, e.started_at, e.finished_at),
             -count(*), e.namespace
        from old_rows e group by 1, 2, 3, 4, 5, 6, 7, 9;
  end if;
  return null;
end $function$;

CREATE OR REPLACE FUNCTION maestro.mc_count_moved(p_exec uuid, p_from uuid, p_to uuid)
 RETURNS void
 LANGUAGE plpgsql
 SET search_path TO 'maestro'
AS $function$
begin
  insert into execution_deltas (tenant_id, workflow_id, version_id, hour, day, state, slot, n, namespace, currency, amount)
    select e.tenant_id, e.workflow_id, x.version, date_bin('1 hour', e.created_at, '2000-01-01 00:00:00+00'), mc_id_day(e.id), -1, -1, 0,
           e.namespace, split_part(s.result ->> 'cost', ' ', 2), x.sign * sum(split_part(s.result ->> 'cost', ' ', 1)::numeric)
      from workflow_executions e join step_executions s on s.execution_id = e.id and s.shard = e.shard, (values (p_from, -1), (p_to, 1)) x (version, sign)
     where e.id = p_exec and s.result ? 'cost' group by 1, 2, 3, 4, 5, 9, 10, x.sign;
end $function$;

CREATE OR REPLACE FUNCTION maestro.mc_counts_of(p_executions text, p_steps text, p_ids uuid[], p_sign integer)
 RETURNS SETOF execution_deltas
 LANGUAGE plpgsql
 STABLE
 SET search_path TO 'maestro', 'pg_temp'
AS $function$
begin
  return query execute format('select e.tenant_id, e.workflow_id, e.version_id, date_bin(''1 hour'', e.created_at, ''2000-01-01 00:00:00+00''), '
    'maestro.mc_id_day(e.id), maestro.mc_state(e.status, e.wait, e.cancel_requested, e.compensating), '
    'maestro.mc_duration_slot(e.status, e.started_at, e.finished_at), ($2 * count(*))::int, e.namespace, null::text, null::numeric '
    'from %s e where $1 is null or e.id = any ($1) group by 1, 2, 3, 4, 5, 6, 7, 9', p_executions) using p_ids, p_sign;
  return query execute format('select e.tenant_id, e.workflow_id, e.version_id, date_bin(''1 hour'', e.created_at, ''2000-01-01 00:00:00+00''), '
    'maestro.mc_id_day(e.id), -1::smallint, -1::smallint, 0, e.namespace, split_part(s.result ->> ''cost'', '' '', 2), '
    '$2 * sum(split_part(s.result ->> ''cost'', '' '', 1)::numeric) from %s s join %s e on e.id = s.execution_id '
    'where s.result ? ''cost'' and ($1 is null or s.execution_id = any ($1)) group by 1, 2, 3, 4, 5, 9, 10', p_steps, p_executions) using p_ids, p_sign;
end $function$;

CREATE OR REPLACE FUNCTION maestro.mc_day_catch_up(p_day date, p_as_of date, p_default integer)
 RETURNS integer
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'maestro', 'pg_temp'
 SET enable_seqscan TO 'off'
AS $function$
declare v_suffix text := '_' || to_char(p_day, 'YYYYMMDD'); v_table text; v_key text; v_ids uuid[];
begin
  perform pg_advisory_xact_lock(7263004);
  with gone as (delete from retention_changes c where c.day = p_day returning c.execution_id)
  select array_agg(distinct g.execution_id) into v_ids from gone g;
  if v_ids is null then
    return 0;
  end if;
  foreach v_table in array array['workflow_executions', 'step_executions', 'execution_events', 'step_logs'] loop
    v_key := mc_day_key(v_table);
    execute format('delete from maestro_days.%I x where x.%I = any ($1)', v_table || v_suffix, v_key) using v_ids;
    if v_table = 'workflow_executions' then
      execute format('insert into maestro_days.%I select e.* from %s and e.id = any ($3)', v_table || v_suffix,
        mc_day_part(v_table || v_suffix, true)) using p_as_of, p_default, v_ids;
    elsif to_regclass('maestro.' || v_table || v_suffix) is not null then
      execute format('insert into maestro_days.%1$I select x.* from maestro.%1$I x where x.execution_id = any ($1) and exists '
        '(select 1 from maestro_days.%2$I e where e.id = x.execution_id)', v_table || v_suffix, 'workflow_executions' || v_suffix) using v_ids;
    end if;
  end loop;
  return cardinality(v_ids);
end $function$;

CREATE OR REPLACE FUNCTION maestro.mc_day_copy(p_day date, p_as_of date, p_default integer)
 RETURNS bigint
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'maestro', 'pg_temp'
AS $function$
declare
  v_suffix text := '_' || to_char(p_day, 'YYYYMMDD'); v_table text; v_kept bigint; v_all bigint;
  v_executions text := 'workflow_executions' || v_suffix;
begin
  perform pg_advisory_xact_lock(7263004);
  foreach v_table in array mc_day_tables() loop
    execute format('create table maestro_days.%I (like maestro.%I including all)', v_table || v_suffix, v_table);
    execute format('alter table maestro_days.%1$I add constraint day_bounds check (%2$I >= %3$L and %2$I < %4$L)', v_table || v_suffix,
      mc_day_key(v_table), mc_uuid_floor(p_day::timestamp at time zone 'UTC'), mc_uuid_floor((p_day + 1)::timestamp at time zone 'UTC'));
  end loop;
  execute format('alter table maestro_days.%I set (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.05)', v_executions);
  execute format('select count(*) from maestro.%I', v_executions) into v_all;
  execute format('insert into maestro_days.%I select e.* from %s', v_executions, mc_day_part(v_executions, true)) using p_as_of, p_default;
  get diagnostics v_kept = row_count;
  execute format('analyze maestro_days.%I', v_executions);
  foreach v_table in array array['step_executions', 'execution_events', 'step_logs'] loop
    if v_kept > 0 and to_regclass('maestro.' || v_table || v_suffix) is not null then
      execute format('insert into maestro_days.%1$I select x.* from maestro.%1$I x where exists '
        '(select 1 from maestro_days.%2$I e where e.id = x.execution_id)', v_table || v_suffix, v_executions);
    end if;
  end loop;
  update retention_days r set kept = v_kept, dropped = v_all - v_kept where r.day = p_day;
  return v_kept;
end $function$;

CREATE OR REPLACE FUNCTION maestro.mc_day_exchange(p_day date, p_default integer)
 RETURNS boolean
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'maestro', 'pg_temp'
 SET lock_timeout TO '200ms'
AS $function$
declare
  v_day retention_days; v_suffix text := '_' || to_char(p_day, 'YYYYMMDD'); v_table text; v_name text;
  v_before bigint := 0; v_after bigint := 0; v_kept bigint; v_counts execution_deltas[]; v_changed uuid[];
  v_executions text := format('maestro_days.%I', 'workflow_executions' || v_suffix); v_steps text := format('maestro_days.%I', 'step_executions' || v_suffix);
begin
  perform pg_advisory_xact_lock(7263003);
  perform pg_advisory_xact_lock(7263004);
  select * into v_day from retention_days r where r.day = p_day for update;
  if v_day.state is distinct from 1 or v_day.policy <> mc_retention_policy(p_default) then
    return false;
  end if;
  v_counts := array(select c from mc_counts_of(v_executions, v_steps, null, 1) c);
  foreach v_table in array mc_day_tables() loop
    execute format('lock table only maestro.%I in access exclusive mode', v_table);
    if to_regclass('maestro.' || v_table || v_suffix) is not null then
      execute format('lock table maestro.%I in access exclusive mode', v_table || v_suffix);
    end if;
  end loop;
  select array_agg(distinct c.execution_id) into v_changed from retention_changes c where c.day = p_day;
  if v_changed is not null then
    v_counts := v_counts || array(select c from mc_counts_of(v_executions, v_steps, v_changed, -1) c);
    perform mc_day_catch_up(p_day, v_day.as_of, p_default);
    v_counts := v_counts || array(select c from mc_counts_of(v_executions, v_steps, v_changed, 1) c);
  end if;
  execute format('select count(*) from maestro_days.%I', 'workflow_executions' || v_suffix) into v_kept;
  foreach v_table in array mc_day_tables() loop
    v_name := v_table || v_suffix;
    v_before := v_before + coalesce(pg_total_relation_size(to_regclass('maestro.' || v_name)), 0);
    v_after := v_after + case when v_kept > 0 then pg_total_relation_size(to_regclass('maestro_days.' || v_name)) else 0 end;
    execute format('drop table if exists maestro.%I', v_name);
    if v_kept > 0 then
      execute format('alter table maestro_days.%I set schema maestro', v_name);
      execute format('alter table maestro.%I attach partition maestro.%I for values from (%L) to (%L)', v_table, v_name,
        mc_uuid_floor(p_day::timestamp at time zone 'UTC'), mc_uuid_floor((p_day + 1)::timestamp at time zone 'UTC'));
      execute format('alter table maestro.%I drop constraint day_bounds', v_name);
    else
      execute format('drop table maestro_days.%I', v_name);
    end if;
  end loop;
  perform pg_advisory_xact_lock(7263005);
  delete from execution_deltas d where d.day = p_day;
  delete from execution_counts c where c.day = p_day;
  delete from execution_day_counts c where c.day = p_day;
  insert into execution_deltas select * from unnest(v_counts);
  update retention_days r set state = 2, dropped = r.dropped + r.kept - v_kept, kept = v_kept, bytes = greatest(v_before - v_after, 0), at = pg_catalog.now()
   where r.day = p_day;
  return true;
end $function$;

CREATE OR REPLACE FUNCTION maestro.mc_day_key(p_table text)
 RETURNS text
 LANGUAGE sql
 IMMUTABLE
AS $function$ select case p_table when 'workflow_executions' then 'id' else 'execution_id' end $function$;

CREATE OR REPLACE FUNCTION maestro.mc_day_part(p_table text, p_stays boolean)
 RETURNS text
 LANGUAGE sql
 IMMUTABLE
AS $function$
  select format('maestro.%I e left join maestro.workflows w on w.id = e.workflow_id left join maestro.tenants t on t.id = e.tenant_id where '
    || case when p_stays then '' else 'not ' end || '(e.status in (0, 1, 3) or coalesce(e.finished_at, e.created_at) >= '
    '($1 - coalesce(w.retention_days, (t.settings ->> ''retention_days'')::int, $2))::timestamp at time zone ''UTC'' '
    'or (e.tenant_id, e.id) in (select h.tenant_id, h.id from maestro.legal_holds h where h.scope = ''execution'') '
    'or (e.tenant_id, e.workflow_id) in (select h.tenant_id, h.id from maestro.legal_holds h where h.scope = ''workflow''))', p_table)
$function$;

CREATE OR REPLACE FUNCTION maestro.mc_day_sweep(p_day date, p_after uuid, p_limit integer)
 RETURNS TABLE(upto uuid, gone integer)
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'maestro', 'pg_temp'
 SET enable_seqscan TO 'off'
AS $function$
declare
  v_lo uuid := mc_uuid_floor(p_day::timestamp at time zone 'UTC'); v_hi uuid := mc_uuid_floor((p_day + 1)::timestamp at time zone 'UTC');
  v_upto uuid; v_gone int := 0; v_count int; v_tasks uuid[];
begin
  select mc_hi(array_agg(x.execution_id)) into v_upto from (select l.execution_id from execution_labels l
    where l.execution_id > coalesce(p_after, v_lo) and l.execution_id < v_hi order by l.execution_id limit p_limit) x;
  if v_upto is not null then
    delete from execution_labels l where l.execution_id > coalesce(p_after, v_lo) and l.execution_id <= v_upto
      and not exists (select 1 from workflow_executions e where e.id = l.execution_id and e.id between v_lo and v_upto);
    get diagnostics v_gone = row_count;
    return query select v_upto, v_gone;
    return;
  end if;
  v_tasks := array(select t.id from human_tasks t where t.execution_id >= v_lo and t.execution_id < v_hi
    and not exists (select 1 from workflow_executions e where e.id = t.execution_id and e.id between v_lo and v_hi) limit p_limit);
  if cardinality(v_tasks) > 0 then
    delete from human_task_people p where p.task_id = any (v_tasks);
    delete from human_task_events v where v.task_id = any (v_tasks);
    delete from human_tasks t where t.id = any (v_tasks);
    return query select coalesce(p_after, v_lo), cardinality(v_tasks);
    return;
  end if;
  delete from execution_inbox b where b.execution_id >= v_lo and b.execution_id < v_hi
    and not exists (select 1 from workflow_executions e where e.id = b.execution_id);
  get diagnostics v_count = row_count;
  v_gone := v_count;
  delete from idempotency_keys k where k.created_at >= (p_day - 1)::timestamp at time zone 'UTC' and k.created_at < (p_day + 2)::timestamp at time zone 'UTC'
    and k.operation = 'enqueue_execution' and k.result_id >= v_lo and k.result_id < v_hi
    and not exists (select 1 from workflow_executions e where e.id = k.result_id);
  get diagnostics v_count = row_count;
  update retention_days r set state = 3 where r.day = p_day and r.state = 2;
  return query select null::uuid, v_gone + v_count;
end $function$;

CREATE OR REPLACE FUNCTION maestro.mc_day_tables()
 RETURNS text[]
 LANGUAGE sql
 IMMUTABLE
AS $function$ select array['step_executions', 'execution_events', 'step_logs', 'workflow_executions'] $function$;

CREATE OR REPLACE FUNCTION maestro.mc_day_watch(p_day date, p_as_of date, p_policy text, p_default integer)
 RETURNS boolean
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'maestro', 'pg_temp'
 SET lock_timeout TO '200ms'
AS $function$
declare v_suffix text := '_' || to_char(p_day, 'YYYYMMDD'); v_table text; v_due boolean;
begin
  -- Not while a leader that is none any more still copies: the changes that it needs would be forgotten.
  perform pg_advisory_xact_lock(7263004);
  execute format('select not exists (select 1 from maestro.%I) or exists (select 1 from %s)', 'workflow_executions' || v_suffix,
                 mc_day_part('workflow_executions' || v_suffix, false)) into v_due using p_as_of, p_default;
  insert into retention_days as r (day, as_of, policy, state) values (p_day, p_as_of, p_policy, case when v_due then 1 else 3 end)
    on conflict (day) do update set as_of = excluded.as_of, policy = excluded.policy, state = excluded.state, at = pg_catalog.now();
  delete from retention_changes c where c.day = p_day;
  foreach v_table in array mc_day_tables() loop
    execute format('drop table if exists maestro_days.%I', v_table || v_suffix);
    if v_due and to_regclass('maestro.' || v_table || v_suffix) is not null then
      execute format('create or replace trigger retention after insert or update or delete on maestro.%I for each row '
        'execute function maestro.mc_note_change(%L)', v_table || v_suffix, p_day);
    elsif exists (select 1 from pg_trigger g where g.tgrelid = to_regclass('maestro.' || v_table || v_suffix) and g.tgname = 'retention') then
      execute format('drop trigger retention on maestro.%I', v_table || v_suffix);
    end if;
  end loop;
  return v_due;
end $function$;

CREATE OR REPLACE FUNCTION maestro.mc_days_due(p_default integer)
 RETURNS TABLE(day date, as_of date, policy text, state smallint)
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'maestro', 'pg_temp'
AS $function$
declare
  v_today date := (maestro.now() at time zone 'UTC')::date;
  v_policy text := mc_retention_policy(p_default);
  v_least int;
begin
  select least(p_default, (select min((t.settings ->> 'retention_days')::int) from tenants t where t.settings ? 'retention_days'),
               (select min(w.retention_days) from workflows w)) into v_least;
  return query
    select r.day, r.as_of, r.policy, r.state from retention_days r where r.state = 2
    union all
    (select d.day, v_today, v_policy, 0::smallint
       from (select to_date(right(c.relname, 8), 'YYYYMMDD') as day from pg_inherits i join pg_class c on c.oid = i.inhrelid
              where i.inhparent = 'maestro.workflow_executions'::regclass and c.relname ~ '^workflow_executions_[0-9]{8}$') d
      where d.day < v_today - v_least and not exists (select 1 from retention_days r where r.day = d.day
              and (r.state = 2 or (r.state = 3 and r.as_of >= v_today and r.policy = v_policy)))
      order by 1);
end $function$;

CREATE OR REPLACE FUNCTION maestro.mc_discard(p_shard smallint, p_tenant uuid, p_exec uuid, p_generation smallint, p_actor text, p_reason text, p_event text)
 RETURNS TABLE(known boolean, status smallint, changed boolean)
 LANGUAGE plpgsql
 SET search_path TO 'maestro'
 SET enable_seqscan TO 'off'
AS $function$
begin
  return query select r.known, r.status, r.changed
    from mc_discard_2(p_shard, p_tenant, p_exec, p_generation, 0, p_actor, p_reason, p_event) r;
end $function$;

CREATE OR REPLACE FUNCTION maestro.mc_discard_2(p_shard smallint, p_tenant uuid, p_exec uuid, p_generation smallint, p_message integer, p_actor text, p_reason text, p_event text)
 RETURNS TABLE(known boolean, status smallint, changed boolean)
 LANGUAGE plpgsql
 SET search_path TO 'maestro'
 SET enable_seqscan TO 'off'
AS $function$
declare v_status smallint;
begin
  select l.status into v_status from dead_letters l where l.shard = p_shard and l.execution_id = p_exec
     and l.generation = p_generation and l.message = p_message and l.tenant_id = p_tenant for update;
  if not found or v_status <> 0 then
    return query select v_status is not null, v_status, false;
    return;
  end if;
  update dead_letters l set status = 2, decided_at = pg_catalog.now(), decided_by = p_actor::jsonb, decision_reason = p_reason
   where l.shard = p_shard and l.execution_id = p_exec and l.generation = p_generation and l.message = p_message;
  if p_message > 0 then
    return query select true, 2::smallint, true;
    return;
  end if;
  -- The execution's row is locked as by everybody else who numbers its events; it may be gone, the letter outlives it.
  perform 1 from workflow_executions e where e.shard = p_shard and e.id = p_exec and e.tenant_id = p_tenant for update;
  if found then
    insert into execution_events as ev (shard, kind, seq, execution_id, tenant_id, ts, data)
      select s.shard, 15, (select max(p.seq) + 1 from execution_events p where p.shard = p_shard and p.execution_id = p_exec),
             p_exec, p_tenant, pg_catalog.now(), p_event::jsonb from shards s where s.shard = p_shard;
    perform mc_feed(p_shard, array[p_exec], array[(select max(p.seq) from execution_events p where p.shard = p_shard and p.execution_id = p_exec)],
      array[15]::smallint[], true);
  end if;
  return query select true, 2::smallint, true;
end $function$;

CREATE OR REPLACE FUNCTION maestro.mc_drop_logs(p_before date)
 RETURNS integer
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'maestro', 'pg_temp'
 SET lock_timeout TO '2s'
AS $function$
declare v_name text; v_dropped int := 0;
begin
  for v_name in select c.relname from pg_inherits i join pg_class c on c.oid = i.inhrelid
      where i.inhparent = 'maestro.step_logs'::regclass and c.relname ~ '^step_logs_[0-9]{8}$'
        and to_date(right(c.relname, 8), 'YYYYMMDD') < p_before order by 1 loop
    execute format('drop table maestro.%I', v_name);
    v_dropped := v_dropped + 1;
  end loop;
  return v_dropped;
end $function$;

CREATE OR REPLACE FUNCTION maestro.mc_due(p_shard smallint, p_me bigint, p_epoch bigint, p_limit integer)
 RETURNS SETOF workflow_executions
 LANGUAGE plpgsql
 SET search_path TO 'maestro'
 SET enable_seqscan TO 'off'
AS $function$
declare v_ids uuid[]; v_late uuid[]; v_timed uuid[]; v_fit uuid[]; v_lo uuid; v_hi uuid; v_tags text[]; v_sets text[]; v_set text;
  v_limits boolean := mc_has_limits(); v_room int; v_some uuid[];
begin
  perform 1 from workers w where w.shard = p_shard and w.id = p_me and w.epoch = p_epoch for key share;
  if not found then
    raise exception 'this worker was fenced off' using errcode = 'MC002';
  end if;
  select w.tags into v_tags from workers w where w.shard = p_shard and w.id = p_me;
  select array_agg(d.id) into v_ids from (select e.id from workflow_executions e
    where e.shard = p_shard and e.status = 3 and e.wake_at <= pg_catalog.now() and (e.in_lane is not false or e.compensating)
    order by e.wake_at limit p_limit for update skip locked) d;
  v_timed := v_ids;
  if v_tags <> '{}' and coalesce(cardinality(v_ids), 0) < p_limit then
    select array_agg(x.t order by random()) into v_sets from (
      with recursive sets as (
        (select e.wanted_tags as t from workflow_executions e where e.shard = p_shard and e.wanted_tags is not null order by e.wanted_tags limit 1)
        union all
        select n.t from sets s cross join lateral (
          select e.wanted_tags as t from workflow_executions e where e.shard = p_shard and e.wanted_tags > s.t order by e.wanted_tags limit 1) n)
      select s.t from sets s) x
     where exists (select 1 from jsonb_array_elements(x.t::jsonb) a where a.value <@ to_jsonb(v_tags));
    foreach v_set in array coalesce(v_sets, '{}') loop
      exit when coalesce(cardinality(v_ids), 0) >= p_limit;
      v_room := p_limit - coalesce(cardinality(v_ids), 0);
      if v_limits then
        v_some := mc_tagged(p_shard, v_set, v_room, v_ids);
        v_ids := v_ids || array(select d.id from (select e.id from workflow_executions e where e.shard = p_shard and e.id between mc_lo(v_some)
          and mc_hi(v_some) and e.id = any (v_some) and e.wanted_tags = v_set for update skip locked) d);
      else
        v_ids := v_ids || array(select d.id from (select e.id from workflow_executions e
          where e.shard = p_shard and e.wanted_tags = v_set and (v_ids is null or e.id <> all (v_ids))
          order by e.priority desc, e.id limit v_room for update skip locked) d);
      end if;
    end loop;
  end if;
  if coalesce(cardinality(v_ids), 0) < p_limit and exists (select 1 from workflow_executions e where e.shard = p_shard and e.status = 3 and not e.in_lane) then
    select array_agg(d.id) into v_late from (select e.id from workflow_executions e
      where e.shard = p_shard and e.status = 3 and not e.in_lane and not e.compensating and e.deadline <= pg_catalog.now()
      order by e.deadline limit p_limit - coalesce(cardinality(v_ids), 0) for update skip locked) d;
    v_ids := v_ids || v_late;
    if coalesce(cardinality(v_ids), 0) < p_limit then
      v_ids := v_ids || mc_lanes_ready(p_shard, p_limit - coalesce(cardinality(v_ids), 0));
    end if;
  end if;
  v_fit := mc_within_limits(p_shard, v_ids);
  if cardinality(v_fit) < cardinality(v_ids) then
    -- A time that has come is no place: it waits for one in the queue. Who waits for tags or in a lane goes on waiting.
    update workflow_executions e set status = 0, wait = null, wake_at = null
     where e.shard = p_shard and e.id between mc_lo(v_timed) and mc_hi(v_timed) and e.id = any (v_timed) and e.id <> all (v_fit) and e.status = 3;
    v_ids := v_fit;
  end if;
  v_lo := mc_lo(v_ids);
  v_hi := mc_hi(v_ids);
  return query update workflow_executions e
     set status = 1, owner = p_me, epoch = e.epoch + 1, started_at = least(e.started_at, pg_catalog.now()), wait = null, wake_at = null,
         in_lane = case when e.lane is not null then e.in_lane or not (e.compensating or coalesce(e.id = any (v_late), false)) end
   -- By their ids: an index of what is parked would be read as a whole, whenever the statistics are of a moment when nothing was.
   where e.shard = p_shard and e.id between v_lo and v_hi and e.id = any (v_ids) and coalesce(e.status = 3, false)
   returning e.*;
end $function$;

CREATE OR REPLACE FUNCTION maestro.mc_duration_slot(p_status smallint, p_started timestamp with time zone, p_finished timestamp with time zone)
 RETURNS smallint
 LANGUAGE sql
 IMMUTABLE PARALLEL SAFE
AS $function$ select case when p_status = 2 and p_started is not null
     then ceil(20 * ln(greatest(extract(epoch from p_finished - p_started)::float8 * 1000, 1)))::smallint else -1::smallint end $function$;

CREATE OR REPLACE FUNCTION maestro.mc_enqueue(p_shard smallint, p_id uuid[], p_tenant uuid[], p_workflow uuid[], p_version uuid[], p_namespace text[], p_region text[], p_priority integer[], p_timeout double precision[], p_wake timestamp with time zone[], p_input text[], p_meta text[], p_key text[], p_digest bytea[], p_event text[], p_labels text[])
 RETURNS TABLE(ordinal integer, id uuid, fresh boolean, same boolean, at timestamp with time zone)
 LANGUAGE plpgsql
 SET search_path TO 'maestro'
 SET enable_seqscan TO 'off'
AS $function$
begin
  -- Whoever closes a shard takes its row `for update` before he sets `open`: a plain update of that column would pass
  -- beside this `for key share`, and an enqueue under way would commit after the shard was thought to be still.
  perform 1 from shards s where s.shard = p_shard and s.open for key share;
  if not found then
    raise exception 'shard % is closed while it is being moved', p_shard using errcode = 'MC001';
  end if;
  insert into idempotency_keys as k (tenant_id, operation, key, shard, body_digest, result_id)
    select x.t, 'enqueue_execution', x.k, s.shard, x.d, x.i
      from shards s, unnest(p_tenant, p_key, p_digest, p_id) x (t, k, d, i)
     where s.shard = p_shard and x.k is not null order by x.t, x.k
    on conflict do nothing;
  insert into workflow_executions as e (id, shard, tenant_id, workflow_id, version_id, status, wait, wake_at, namespace, region,
      priority, deadline, input, meta)
    select x.i, s.shard, x.t, x.w, x.v, case when x.wk is null then 0 else 3 end, case when x.wk is null then null else 0 end,
           x.wk, x.n, x.r, x.p, case when x.ti is not null then least(greatest(x.wk, pg_catalog.now()) + make_interval(secs => x.ti), '9999-01-01') end,
           x.inp::jsonb, x.m::jsonb
      from shards s, unnest(p_id, p_tenant, p_workflow, p_version, p_namespace, p_region, p_priority, p_timeout, p_wake,
                            p_input, p_meta, p_key) x (i, t, w, v, n, r, p, ti, wk, inp, m, k)
     where s.shard = p_shard and (x.k is null or exists (select 1 from idempotency_keys k where k.shard = p_shard
       and k.tenant_id = x.t and k.operation = 'enqueue_execution' and k.key = x.k and k.result_id = x.i));
  insert into execution_events as ev (shard, kind, seq, execution_id, tenant_id, ts, data)
    select s.shard, 1, 1, x.i, x.t, pg_catalog.now(), x.e::jsonb
      from shards s, unnest(p_id, p_tenant, p_key, p_event) x (i, t, k, e)
     where s.shard = p_shard and (x.k is null or exists (select 1 from idempotency_keys k where k.shard = p_shard
       and k.tenant_id = x.t and k.operation = 'enqueue_execution' and k.key = x.k and k.result_id = x.i));
  insert into execution_labels as l (tenant_id, shard, key, value, execution_id)
    select x.t, s.shard, j.key, j.value, x.i
      from shards s, unnest(p_id, p_tenant, p_key, p_labels) x (i, t, k, l) cross join lateral jsonb_each_text(x.l::jsonb) j
     where s.shard = p_shard and x.l is not null and (x.k is null or exists (select 1 from idempotency_keys k
       where k.shard = p_shard and k.tenant_id = x.t and k.operation = 'enqueue_execution' and k.key = x.k and k.result_id = x.i));
  -- With a known key nothing was written and the feed's row finds nothing: cheaper than asking again.
  perform mc_feed(p_shard, p_id, array_fill(1, array[cardinality(p_id)]), array_fill(1::smallint, array[cardinality(p_id)]), false);
  -- A key that was there at the insert and is gone now was deleted by retention in between; the caller sends again.
  if exists (select 1 from unnest(p_tenant, p_key) x (t, k) where x.k is not null and not exists (select 1 from idempotency_keys k
      where k.shard = p_shard and k.tenant_id = x.t and k.operation = 'enqueue_execution' and k.key = x.k)) then
    raise exception 'an idempotency key expired meanwhile' using errcode = '40001';
  end if;
  return query
    select x.o::int, coalesce(k.result_id, x.i), k.result_id is null or k.result_id = x.i, k.body_digest is null or k.body_digest = x.d, pg_catalog.now()
      from unnest(p_id, p_tenant, p_key, p_digest) with ordinality x (i, t, k, d, o)
      left join idempotency_keys k on k.shard = p_shard and k.tenant_id = x.t and k.operation = 'enqueue_execution' and k.key = x.k
     order by x.o;
end $function$;

CREATE OR REPLACE FUNCTION maestro.mc_enqueue_2(p_shard smallint, p_me bigint, p_epoch bigint, p_born boolean[], p_id uuid[], p_tenant uuid[], p_workflow uuid[], p_version uuid[], p_namespace text[], p_region text[], p_priority integer[], p_timeout double precision[], p_wake timestamp with time zone[], p_input text[], p_meta text[], p_key text[], p_digest bytea[], p_event text[], p_labels text[])
 RETURNS TABLE(ordinal integer, id uuid, fresh boolean, same boolean, at timestamp with time zone, born boolean)
 LANGUAGE plpgsql
 SET search_path TO 'maestro'
 SET enable_seqscan TO 'off'
AS $function$
declare v_born boolean := false; v_tenants uuid[]; v_workflows uuid[];
  v_result uuid[] := p_id; v_same boolean[]; v_gone boolean;
begin
  -- Whoever closes a shard takes its row `for update` before he sets `open`: a plain update of that column would pass
  -- beside this `for key share`, and an enqueue under way would commit after the shard was thought to be still.
  perform 1 from shards s where s.shard = p_shard and s.open for key share;
  if not found then
    raise exception 'shard % is closed while it is being moved', p_shard using errcode = 'MC001';
  end if;
  if p_me is not null then
    -- The fence, as of every function that makes a worker an owner: a takeover waits for this, or this finds it done.
    perform 1 from workers w where w.shard = p_shard and w.id = p_me and w.epoch = p_epoch for key share;
    v_born := found and not exists
      (select 1 from workflow_executions e where e.shard = p_shard and e.status = 0 and e.takeovers < 2);
    if v_born and mc_has_limits() then
      select array_agg(l.tenant) filter (where l.workflow is null), array_agg(l.workflow) into v_tenants, v_workflows
        from mc_limits_of(p_shard, p_tenant, p_workflow) l;
      p_born := array(select x.b and not (coalesce(x.t = any (v_tenants), false) or coalesce(x.w = any (v_workflows), false))
        from unnest(p_born, p_tenant, p_workflow) with ordinality x (b, t, w, o) order by x.o);
    end if;
  end if;
  if num_nonnulls(variadic p_key) > 0 then
    insert into idempotency_keys as k (tenant_id, operation, key, shard, body_digest, result_id)
      select x.t, 'enqueue_execution', x.k, s.shard, x.d, x.i
        from shards s, unnest(p_tenant, p_key, p_digest, p_id) x (t, k, d, i)
       where s.shard = p_shard and x.k is not null order by x.t, x.k
      on conflict do nothing;
    -- By a probe for each: a table that was empty when it was looked at would be joined row by row.
    select array_agg(coalesce(k.result_id, x.i) order by x.o), array_agg(k.body_digest is null or k.body_digest = x.d order by x.o),
           bool_or(x.k is not null and k.result_id is null)
      into v_result, v_same, v_gone
      from unnest(p_id, p_tenant, p_key, p_digest) with ordinality x (i, t, k, d, o)
      left join lateral (select i.result_id, i.body_digest from idempotency_keys i where i.shard = p_shard and i.tenant_id = x.t
        and i.operation = 'enqueue_execution' and i.key = x.k limit 1) k on true;
    -- A key that was there at the insert and is gone now was deleted by retention in between; the caller sends again.
    if v_gone then
      raise exception 'an idempotency key expired meanwhile' using errcode = '40001';
    end if;
  end if;
  insert into workflow_executions as e (id, shard, tenant_id, workflow_id, version_id, status, wait, wake_at, owner, epoch,
      started_at, namespace, region, priority, deadline, input, meta)
    select x.i, s.shard, x.t, x.w, x.v, case when x.wk is not null then 3 when v_born and x.b then 1 else 0 end,
           case when x.wk is not null then 0 end, x.wk, case when v_born and x.b and x.wk is null then p_me end,
           case when v_born and x.b and x.wk is null then 1 else 0 end, case when v_born and x.b and x.wk is null then pg_catalog.now() end,
           x.n, x.r, x.p, case when x.ti is not null then least(greatest(x.wk, pg_catalog.now()) + make_interval(secs => x.ti), '9999-01-01') end,
           x.inp::jsonb, x.m::jsonb
      from shards s, unnest(p_born, p_id, p_tenant, p_workflow, p_version, p_namespace, p_region, p_priority, p_timeout, p_wake,
                            p_input, p_meta, v_result) x (b, i, t, w, v, n, r, p, ti, wk, inp, m, res)
     where s.shard = p_shard and x.res = x.i;
  insert into execution_events as ev (shard, kind, seq, execution_id, tenant_id, ts, data)
    select s.shard, 1, 1, x.i, x.t, pg_catalog.now(), x.e::jsonb
      from shards s, unnest(p_id, p_tenant, p_event, v_result) x (i, t, e, res) where s.shard = p_shard and x.res = x.i;
  if num_nonnulls(variadic p_labels) > 0 then
    insert into execution_labels as l (tenant_id, shard, key, value, execution_id)
      select x.t, s.shard, j.key, j.value, x.i
        from shards s, unnest(p_id, p_tenant, p_labels, v_result) x (i, t, l, res) cross join lateral jsonb_each_text(x.l::jsonb) j
       where s.shard = p_shard and x.l is not null and x.res = x.i;
  end if;
  -- With a known key nothing was written and the feed's row finds nothing: cheaper than asking again.
  perform mc_feed(p_shard, p_id, array_fill(1, array[cardinality(p_id)]), array_fill(1::smallint, array[cardinality(p_id)]), false);
  return query
    select x.o::int, x.res, x.res = x.i, coalesce(x.m, true), pg_catalog.now(), v_born and x.b and x.wk is null and x.res = x.i
      from unnest(p_id, v_result, v_same, p_born, p_wake) with ordinality x (i, res, m, b, wk, o) order by x.o;
end $function$;

CREATE OR REPLACE FUNCTION maestro.mc_family_ended()
 RETURNS trigger
 LANGUAGE plpgsql
 SET search_path TO 'maestro'
 SET enable_seqscan TO 'off'
AS $function$
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
end $function$;

CREATE OR REPLACE FUNCTION maestro.mc_family_lock(p_shard smallint, p_ended uuid[], p_more uuid[])
 RETURNS void
 LANGUAGE plpgsql
 SET search_path TO 'maestro'
 SET enable_seqscan TO 'off'
AS $function$
declare v_ids uuid[];
begin
  v_ids := p_more || p_ended || array(select (e.meta ->> 'parent')::uuid from workflow_executions e where e.shard = p_shard
      and e.id between mc_lo(p_ended) and mc_hi(p_ended) and e.id = any (p_ended) and e.meta ? 'parent')
    || array(select c.id from mc_children_open(p_shard, p_ended) c);
  perform 1 from workflow_executions e where e.shard = p_shard and e.id between mc_lo(v_ids) and mc_hi(v_ids) and e.id = any (v_ids)
    order by e.id for update;
end $function$;

CREATE OR REPLACE FUNCTION maestro.mc_feed(p_shard smallint, p_exec uuid[], p_seq integer[], p_kind smallint[], p_late boolean)
 RETURNS void
 LANGUAGE plpgsql
AS $function$
declare v_wanted bigint;
begin
  select bit_or(c.kinds) into v_wanted from maestro.event_cursors c where c.shard = p_shard and c.stream = 'execution';
  if v_wanted is null then
    return;
  end if;
  insert into maestro.event_feed as f (shard, xact, n, after, executions, firsts, lasts, kinds)
    select s.shard, pg_current_xact_id(),
           coalesce((select max(p.n) + 1 from maestro.event_feed p where p.shard = p_shard and p.xact = pg_current_xact_id()), 1),
           case when p_late then pg_snapshot_xmax(pg_current_snapshot()) end, y.e, y.a, y.z, y.k
      from maestro.shards s, (select array_agg(x.e), array_agg(x.a), array_agg(x.z), array_agg(x.k) from
             (select u.e, min(u.n), max(u.n), bit_or(1::bigint << u.k) from unnest(p_exec, p_seq, p_kind) u (e, n, k)
               where (1::bigint << u.k) & v_wanted <> 0 group by u.e) x (e, a, z, k)) y (e, a, z, k)
     where s.shard = p_shard and y.e is not null;
end $function$;

CREATE OR REPLACE FUNCTION maestro.mc_flush(p_shard smallint, p_me bigint, p_epoch bigint, s_tenant uuid[], s_exec uuid[], s_step integer[], s_item integer[], s_gen smallint[], s_attempt integer[], s_status smallint[], s_age double precision[], s_open boolean[], s_result text[], v_tenant uuid[], v_exec uuid[], v_seq integer[], v_kind smallint[], v_data text[], f_id uuid[], f_status smallint[], f_wait smallint[], f_wake double precision[], f_seen integer[], f_output text[], f_error text[], r_id uuid[], i_exec uuid[], i_n integer[])
 RETURNS TABLE(live integer, closed integer)
 LANGUAGE plpgsql
 SET search_path TO 'maestro'
 SET enable_seqscan TO 'off'
AS $function$
declare v_closed int := 0; v_lo uuid := mc_lo(f_id); v_hi uuid := mc_hi(f_id); v_ended uuid[];
begin
  perform 1 from workers w where w.shard = p_shard and w.id = p_me and w.epoch = p_epoch for key share;
  if not found then
    return query select 0, 0;
    return;
  end if;
  if cardinality(s_exec) > 0 then
    insert into step_executions as s (shard, status, step, execution_id, tenant_id, attempt, generation, item, started_at, finished_at, result)
      select w.shard, x.st, x.s, x.e, x.t, x.a, x.g, x.i, pg_catalog.now() - make_interval(secs => x.age),
             case when x.o then 'infinity' else pg_catalog.now() end, x.r::jsonb
        from workers w, unnest(s_tenant, s_exec, s_step, s_item, s_gen, s_attempt, s_status, s_age, s_open, s_result)
             x (t, e, s, i, g, a, st, age, o, r)
       where w.shard = p_shard and w.id = p_me
      on conflict (execution_id, step, item, generation, attempt, shard) do update
        set status = excluded.status, finished_at = excluded.finished_at, result = excluded.result
        where s.finished_at = 'infinity';
  end if;
  if cardinality(v_exec) > 0 then
    insert into execution_events as ev (shard, kind, seq, execution_id, tenant_id, ts, data)
      select w.shard, x.k, x.n, x.e, x.t, pg_catalog.now(), x.d::jsonb
        from workers w, unnest(v_tenant, v_exec, v_seq, v_kind, v_data) x (t, e, n, k, d)
       where w.shard = p_shard and w.id = p_me;
    perform mc_feed(p_shard, v_exec, v_seq, v_kind, false);
  end if;
  if cardinality(i_exec) > 0 then
    delete from execution_inbox b using unnest(i_exec, i_n) x (e, n)
     where b.shard = p_shard and b.execution_id = any (i_exec) and b.execution_id = x.e and b.n = x.n;
  end if;
  if cardinality(r_id) > 0 then
    update workflow_executions e set takeovers = 0
     where e.shard = p_shard and e.id between mc_lo(r_id) and mc_hi(r_id) and e.id = any (r_id) and e.owner = p_me;
  end if;
  if cardinality(f_id) > 0 then
    update workflow_executions e
       set status = case when x.t = 3 and e.inbox > x.seen then 0 else x.t end,
           wait = case when x.t = 3 and e.inbox <= x.seen then x.w end,
           wake_at = case when x.t = 3 and e.inbox <= x.seen and x.wk is not null then pg_catalog.now() + make_interval(secs => x.wk) end,
           output = x.o::jsonb, error = x.er::jsonb, owner = null, takeovers = 0,
           finished_at = case when x.t in (0, 3) then null else pg_catalog.now() end
      from unnest(f_id, f_status, f_wait, f_wake, f_seen, f_output, f_error) x (i, t, w, wk, seen, o, er)
     where e.shard = p_shard and e.id between v_lo and v_hi and e.id = any (f_id) and e.id = x.i and e.owner = p_me;
    get diagnostics v_closed = row_count;
    -- With a live fence every closed row is owned; fewer are a defect, and nothing of this call may stay.
    if v_closed <> cardinality(f_id) then
      raise exception 'only % of % executions to close are owned', v_closed, cardinality(f_id) using errcode = 'MC004';
    end if;
    -- A message that came too late for what has ended is no word to a later generation. The rows are locked by now.
    select array_agg(x.i) into v_ended from unnest(f_id, f_status) x (i, t) where x.t not in (0, 3);
    delete from execution_inbox b where b.shard = p_shard and b.execution_id = any (v_ended);
  end if;
  return query select 1, v_closed;
end $function$;

CREATE OR REPLACE FUNCTION maestro.mc_flush_2(p_shard smallint, p_me bigint, p_epoch bigint, s_tenant uuid[], s_exec uuid[], s_step integer[], s_item integer[], s_gen smallint[], s_attempt integer[], s_status smallint[], s_age double precision[], s_open boolean[], s_result text[], v_tenant uuid[], v_exec uuid[], v_seq integer[], v_kind smallint[], v_data text[], f_id uuid[], f_status smallint[], f_wait smallint[], f_wake double precision[], f_seen integer[], f_output text[], f_error text[], r_id uuid[], i_exec uuid[], i_n integer[])
 RETURNS TABLE(live integer, closed integer)
 LANGUAGE plpgsql
 SET search_path TO 'maestro'
 SET enable_seqscan TO 'off'
AS $function$
declare v_closed int := 0; v_lo uuid := mc_lo(f_id); v_hi uuid := mc_hi(f_id); v_ended uuid[];
begin
  perform 1 from workers w where w.shard = p_shard and w.id = p_me and w.epoch = p_epoch for key share;
  if not found then
    return query select 0, 0;
    return;
  end if;
  if cardinality(s_exec) > 0 then
    insert into step_executions as s (shard, status, step, execution_id, tenant_id, attempt, generation, item, started_at, finished_at, result)
      select w.shard, x.st, x.s, x.e, x.t, x.a, x.g, x.i, pg_catalog.now() - make_interval(secs => x.age),
             case when x.o then 'infinity' else pg_catalog.now() end, x.r::jsonb
        from workers w, unnest(s_tenant, s_exec, s_step, s_item, s_gen, s_attempt, s_status, s_age, s_open, s_result)
             x (t, e, s, i, g, a, st, age, o, r)
       where w.shard = p_shard and w.id = p_me
      on conflict (execution_id, step, item, generation, attempt, shard) do update
        set status = excluded.status, finished_at = excluded.finished_at, result = excluded.result
        where s.finished_at = 'infinity';
  end if;
  if cardinality(v_exec) > 0 then
    insert into execution_events as ev (shard, kind, seq, execution_id, tenant_id, ts, data)
      select w.shard, x.k, x.n, x.e, x.t, pg_catalog.now(), x.d::jsonb
        from workers w, unnest(v_tenant, v_exec, v_seq, v_kind, v_data) x (t, e, n, k, d)
       where w.shard = p_shard and w.id = p_me;
    perform mc_feed(p_shard, v_exec, v_seq, v_kind, false);
  end if;
  if cardinality(i_exec) > 0 then
    -- By a probe for each: joined to the arrays, one row would be expected of an inbox that was empty when it was looked at, and the
    -- arrays read from their beginning for each message that there is.
    delete from execution_inbox b where b.shard = p_shard and b.ctid = any (array(
      select m.ctid from unnest(i_exec, i_n) x (e, n) cross join lateral (
        select i.ctid from execution_inbox i where i.shard = p_shard and i.execution_id = x.e and i.n = x.n limit 1) m));
  end if;
  if cardinality(r_id) > 0 then
    update workflow_executions e set takeovers = 0
     where e.shard = p_shard and e.id between mc_lo(r_id) and mc_hi(r_id) and e.id = any (r_id) and e.owner = p_me;
  end if;
  if cardinality(f_id) > 0 then
    update workflow_executions e
       set status = case when x.t = 3 and e.inbox > x.seen then 0 else x.t end,
           wait = case when x.t = 3 and e.inbox <= x.seen then x.w end,
           wake_at = case when x.t = 3 and e.inbox <= x.seen and x.wk is not null then pg_catalog.now() + make_interval(secs => x.wk) end,
           output = x.o::jsonb, error = x.er::jsonb, owner = null, takeovers = 0,
           finished_at = case when x.t in (0, 3) then null else pg_catalog.now() end
      from unnest(f_id, f_status, f_wait, f_wake, f_seen, f_output, f_error) x (i, t, w, wk, seen, o, er)
     -- Not `e.owner = p_me`: by the statistics of a quiet moment nobody owns anything, so one row would be expected, and the arrays
     -- read from their beginning for each of the two thousand that there are.
     where e.shard = p_shard and e.id between v_lo and v_hi and e.id = any (f_id) and e.id = x.i and coalesce(e.owner = p_me, false);
    get diagnostics v_closed = row_count;
    -- With a live fence every closed row is owned; fewer are a defect, and nothing of this call may stay.
    if v_closed <> cardinality(f_id) then
      raise exception 'only % of % executions to close are owned', v_closed, cardinality(f_id) using errcode = 'MC004';
    end if;
    -- What came too late for what has ended is no word to a later generation: it is told as unread. The rows are locked by now.
    select array_agg(x.i) into v_ended from unnest(f_id, f_status) x (i, t) where x.t not in (0, 3);
    perform mc_unread(p_shard, v_ended);
  end if;
  return query select 1, v_closed;
end $function$;

CREATE OR REPLACE FUNCTION maestro.mc_flush_3(p_shard smallint, p_me bigint, p_epoch bigint, s_tenant uuid[], s_exec uuid[], s_step integer[], s_item integer[], s_gen smallint[], s_attempt integer[], s_status smallint[], s_age double precision[], s_open boolean[], s_result text[], v_tenant uuid[], v_exec uuid[], v_seq integer[], v_kind smallint[], v_data text[], f_id uuid[], f_status smallint[], f_wait smallint[], f_wake double precision[], f_seen integer[], f_output text[], f_error text[], r_id uuid[], i_exec uuid[], i_n integer[], c_parent uuid[], c_id uuid[], c_tenant uuid[], c_workflow uuid[], c_version uuid[], c_namespace text[], c_region text[], c_priority integer[], c_timeout double precision[], c_input text[], c_meta text[], c_event text[], c_labels text[], m_tenant uuid[], m_exec uuid[], m_kind smallint[], m_data text[])
 RETURNS TABLE(live integer, closed integer)
 LANGUAGE plpgsql
 SET search_path TO 'maestro'
 SET enable_seqscan TO 'off'
AS $function$
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
end $function$;

CREATE OR REPLACE FUNCTION maestro.mc_flush_4(p_shard smallint, p_me bigint, p_epoch bigint, s_tenant uuid[], s_exec uuid[], s_step integer[], s_item integer[], s_gen smallint[], s_attempt integer[], s_status smallint[], s_age double precision[], s_open boolean[], s_result text[], v_tenant uuid[], v_exec uuid[], v_seq integer[], v_kind smallint[], v_data text[], f_id uuid[], f_status smallint[], f_wait smallint[], f_wake double precision[], f_seen integer[], f_output text[], f_error text[], r_id uuid[], i_exec uuid[], i_n integer[], c_parent uuid[], c_id uuid[], c_tenant uuid[], c_workflow uuid[], c_version uuid[], c_namespace text[], c_region text[], c_priority integer[], c_timeout double precision[], c_input text[], c_meta text[], c_event text[], c_labels text[], m_tenant uuid[], m_exec uuid[], m_kind smallint[], m_data text[], t_exec uuid[], t_open text, x_exec uuid[], x_reason text[])
 RETURNS TABLE(live integer, closed integer)
 LANGUAGE plpgsql
 SET search_path TO 'maestro'
 SET enable_seqscan TO 'off'
AS $function$
declare v_stop record; v_ended uuid[];
begin
  perform 1 from workers w where w.shard = p_shard and w.id = p_me and w.epoch = p_epoch for key share;
  if not found then
    return query select 0, 0;
    return;
  end if;
  select array_agg(x.i) into v_ended from unnest(f_id, f_status) x (i, t) where x.t not in (0, 3);
  perform mc_family_lock(p_shard, v_ended, f_id || r_id || c_parent || m_exec || t_exec || x_exec);
  if cardinality(t_exec) > 0 then
    -- What has tasks is known by its row: whatever ends it looks for them.
    update workflow_executions e set meta = e.meta || '{"tasks": true}'
     where e.shard = p_shard and e.id between mc_lo(t_exec) and mc_hi(t_exec) and e.id = any (t_exec) and e.owner = p_me
       and not e.meta ? 'tasks';
    perform mc_task_open(p_shard, mc_task_separated(p_shard, t_open));
  end if;
  for v_stop in select x.e, x.r from unnest(x_exec, x_reason) with ordinality x (e, r, o) order by x.e, x.o loop
    perform mc_task_cancel(p_shard, array[v_stop.e], v_stop.r);
  end loop;
  return query select f.live, f.closed from mc_flush_3(p_shard, p_me, p_epoch, s_tenant, s_exec, s_step, s_item, s_gen, s_attempt, s_status, s_age, s_open, s_result, v_tenant, v_exec,
    v_seq, v_kind, v_data, f_id, f_status, f_wait, f_wake, f_seen, f_output, f_error, r_id, i_exec, i_n, c_parent, c_id, c_tenant,
    c_workflow, c_version, c_namespace, c_region, c_priority, c_timeout, c_input, c_meta, c_event, c_labels, m_tenant, m_exec, m_kind,
    m_data) f;
end $function$;

CREATE OR REPLACE FUNCTION maestro.mc_fold_counts(p_limit integer)
 RETURNS integer
 LANGUAGE plpgsql
 SET search_path TO 'maestro'
AS $function$
declare v_gone int;
begin
  perform pg_advisory_xact_lock(7263005);
  with gone as (
    delete from execution_deltas d where d.ctid = any (array(select x.ctid from execution_deltas x limit p_limit)) returning d.*),
  summed as (
    select g.tenant_id, x.workflow, g.hour, g.state, g.slot, x.namespace, x.version, g.day, coalesce(g.currency, '') as currency,
           sum(g.n) as n, coalesce(sum(g.amount), 0) as amount
      from gone g cross join lateral (values (g.workflow_id, g.version_id, g.namespace),
           ('00000000-0000-0000-0000-000000000000'::uuid, '00000000-0000-0000-0000-000000000000'::uuid, g.namespace),
           ('00000000-0000-0000-0000-000000000000'::uuid, '00000000-0000-0000-0000-000000000000'::uuid, '')) x (workflow, version, namespace)
     group by 1, 2, 3, 4, 5, 6, 7, 8, 9 having sum(g.n) <> 0 or sum(g.amount) <> 0),
  hours as (
    insert into execution_counts as c (tenant_id, workflow_id, hour, state, slot, namespace, version_id, day, currency, n, amount)
      select s.tenant_id, s.workflow, s.hour, s.state, s.slot, s.namespace, s.version, s.day, s.currency, s.n, s.amount from summed s
    on conflict (tenant_id, workflow_id, namespace, hour, state, slot, version_id, day, currency) do update
      set n = c.n + excluded.n, amount = c.amount + excluded.amount),
  days as (
    insert into execution_day_counts as c (tenant_id, workflow_id, created_on, state, slot, namespace, version_id, day, currency, n, amount)
      select s.tenant_id, s.workflow, (s.hour at time zone 'UTC')::date, s.state, s.slot, s.namespace, s.version, s.day, s.currency, sum(s.n), sum(s.amount)
        from summed s where s.state not in (0, 1, 3, 8, 9, 10) group by 1, 2, 3, 4, 5, 6, 7, 8, 9
    on conflict (tenant_id, workflow_id, namespace, created_on, state, slot, version_id, day, currency) do update
      set n = c.n + excluded.n, amount = c.amount + excluded.amount)
  select count(*) into v_gone from gone;
  if v_gone > 0 then
    delete from execution_counts c where c.state in (0, 1, 3, 8, 9, 10) and c.n = 0;
  end if;
  return v_gone;
end $function$;

CREATE OR REPLACE FUNCTION maestro.mc_forget_keys(p_shard smallint, p_age interval, p_limit integer)
 RETURNS integer
 LANGUAGE plpgsql
 SET search_path TO 'maestro'
 SET enable_seqscan TO 'off'
AS $function$
declare v_count int;
begin
  with d as (select k.tenant_id, k.operation, k.key from idempotency_keys k
              where k.shard = p_shard and k.created_at < pg_catalog.now() - p_age limit p_limit for update skip locked)
  delete from idempotency_keys k using d
   where k.shard = p_shard and k.tenant_id = d.tenant_id and k.operation = d.operation and k.key = d.key;
  get diagnostics v_count = row_count;
  return v_count;
end $function$;

CREATE OR REPLACE FUNCTION maestro.mc_give_up(p_shard smallint, p_me bigint, p_epoch bigint, p_exec uuid, p_error text)
 RETURNS boolean
 LANGUAGE plpgsql
 SET search_path TO 'maestro'
 SET enable_seqscan TO 'off'
AS $function$
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
end $function$;

CREATE OR REPLACE FUNCTION maestro.mc_gone(p_shard smallint, p_me bigint)
 RETURNS bigint[]
 LANGUAGE plpgsql
 SET search_path TO 'maestro'
 SET enable_seqscan TO 'off'
AS $function$
declare v_late bigint[];
begin
  select array_agg(w.id) into v_late from workers w
   where w.shard = p_shard and w.id <> p_me and not w.dead and w.late_at < pg_catalog.now();
  if v_late is null or pg_postmaster_start_time() > pg_catalog.now() - interval '10 seconds' then
    return '{}';
  end if;
  return array(select x.id from unnest(v_late) x (id) where not exists
    (select 1 from pg_locks l where l.locktype = 'advisory' and l.granted and l.objsubid = 1
        and l.database = (select d.oid from pg_database d where d.datname = current_database())
        and ((l.classid::bigint << 32) | l.objid::bigint) = x.id));
end $function$;

CREATE OR REPLACE FUNCTION maestro.mc_has_limits()
 RETURNS boolean
 LANGUAGE plpgsql
 SET search_path TO 'maestro'
 SET enable_seqscan TO 'off'
AS $function$
begin
  return exists (select 1 from tenants t where t.settings ? 'max_running')
      or exists (select 1 from workflows w where w.max_running is not null);
end $function$;

CREATE OR REPLACE FUNCTION maestro.mc_hi(p_ids uuid[])
 RETURNS uuid
 LANGUAGE sql
 IMMUTABLE
AS $function$ select x from unnest(p_ids) x order by x desc limit 1 $function$;

CREATE OR REPLACE FUNCTION maestro.mc_id_day(p_id uuid)
 RETURNS date
 LANGUAGE sql
 IMMUTABLE PARALLEL SAFE
AS $function$ select (to_timestamp(('x' || left(replace(p_id::text, '-', ''), 12))::bit(48)::bigint / 1000.0) at time zone 'UTC')::date $function$;

CREATE OR REPLACE FUNCTION maestro.mc_is_listed_apart(p_status smallint)
 RETURNS boolean
 LANGUAGE plpgsql
 IMMUTABLE PARALLEL SAFE COST 1e+06
AS $function$ begin return p_status <> 2; end $function$;

CREATE OR REPLACE PROCEDURE maestro.mc_keep_shards(IN p_shards integer[])
 LANGUAGE plpgsql
AS $procedure$
declare v_table record;
begin
  if exists (select 1 from maestro.shards s where s.open) then
    raise exception 'close every shard first: what is deleted here must be whole elsewhere';
  end if;
  if exists (select 1 from unnest(p_shards) x where x not in (select s.shard from maestro.shards s)) or cardinality(p_shards) = 0 then
    raise exception 'some of these shards are not here: call mc_reshard first';
  end if;
  for v_table in select t.name from maestro.mc_shard_tables() t loop
    execute format('delete from maestro.%I where shard <> all ($1)', v_table.name) using p_shards;
    commit;
  end loop;
  delete from maestro.workers w where w.shard <> all (p_shards);
  delete from maestro.event_feed f where f.shard <> all (p_shards);
  delete from maestro.event_cursors c where c.stream = 'execution' and c.shard <> all (p_shards);
  delete from maestro.shards s where s.shard <> all (p_shards);
  perform maestro.mc_count_anew();
end $procedure$;

CREATE OR REPLACE FUNCTION maestro.mc_lane_enter()
 RETURNS trigger
 LANGUAGE plpgsql
 SET search_path TO 'maestro'
 SET enable_seqscan TO 'off'
AS $function$
declare v_open uuid[];
begin
  if tg_op = 'INSERT' then
    new.lane := new.meta #>> '{concurrency,key}';
    if new.meta #>> '{concurrency,on_conflict}' = 'reject' and new.wake_at is null and not new.meta ? 'parent' then
      perform pg_advisory_xact_lock(mc_lane_key(new.workflow_id, new.lane));
      select array_agg(x.id order by x.id) into v_open from (
        select e.id from workflow_executions e where e.shard = new.shard and e.workflow_id = new.workflow_id and e.lane = new.lane
           and e.in_lane and e.status in (0, 1, 3)
        union all
        select e.id from workflow_executions e where e.shard = new.shard and e.workflow_id = new.workflow_id and e.lane = new.lane
           and e.status = 3 and not e.in_lane and (e.wake_at is null or e.wake_at <= pg_catalog.now())) x;
      if cardinality(v_open) >= (new.meta #>> '{concurrency,limit}')::int then
        raise exception 'the lane is full' using errcode = 'MC006', detail = jsonb_build_object('key', new.lane,
          'limit', new.meta #> '{concurrency,limit}', 'holders', to_jsonb(v_open[1:20]))::text;
      end if;
    end if;
  end if;
  new.in_lane := false;
  new.wait := case when new.wake_at is null then 6 else new.wait end;
  new.status := 3;
  new.owner := null;
  return new;
end $function$;

CREATE OR REPLACE FUNCTION maestro.mc_lane_keeps(p_shard smallint, p_workflow uuid, p_lane text)
 RETURNS uuid
 LANGUAGE plpgsql
 SET search_path TO 'maestro'
 SET enable_seqscan TO 'off'
AS $function$
declare v_most int;
begin
  select (e.meta #>> '{concurrency,limit}')::int into v_most from workflow_executions e where e.shard = p_shard and e.workflow_id = p_workflow
     and e.lane = p_lane and e.status = 3 and not e.in_lane and e.meta #>> '{concurrency,on_conflict}' = 'cancel_oldest'
     and (e.wake_at is null or e.wake_at <= pg_catalog.now()) order by e.id desc limit 1;
  if v_most is null then
    return null;
  end if;
  return (select x.id from (
    select e.id from workflow_executions e where e.shard = p_shard and e.workflow_id = p_workflow and e.lane = p_lane
       and e.in_lane and e.status in (0, 1, 3) and not e.cancel_requested
    union all
    select e.id from workflow_executions e where e.shard = p_shard and e.workflow_id = p_workflow and e.lane = p_lane
       and e.status = 3 and not e.in_lane and not e.compensating and (e.wake_at is null or e.wake_at <= pg_catalog.now())) x
   order by x.id desc offset v_most - 1 limit 1);
end $function$;

CREATE OR REPLACE FUNCTION maestro.mc_lane_key(p_workflow uuid, p_lane text)
 RETURNS bigint
 LANGUAGE sql
 IMMUTABLE
AS $function$ select hashtextextended(p_workflow::text || '/' || p_lane, 7263009) $function$;

CREATE OR REPLACE FUNCTION maestro.mc_lanes_ready(p_shard smallint, p_limit integer)
 RETURNS uuid[]
 LANGUAGE plpgsql
 SET search_path TO 'maestro'
 SET enable_seqscan TO 'off'
AS $function$
declare v_lane record; v_one record; v_held int; v_turn int; v_keeps uuid; v_found uuid[] := '{}'; v_turns int[] := '{}';
begin
  for v_lane in
    with recursive lanes as (
      (select e.workflow_id, e.lane from workflow_executions e where e.shard = p_shard and e.status = 3 and not e.in_lane
        order by e.workflow_id, e.lane limit 1)
      union all
      select n.workflow_id, n.lane from lanes l cross join lateral (
        select e.workflow_id, e.lane from workflow_executions e where e.shard = p_shard and e.status = 3 and not e.in_lane
           and (e.workflow_id, e.lane) > (l.workflow_id, l.lane) order by e.workflow_id, e.lane limit 1) n)
    select l.workflow_id, l.lane from lanes l
     order by row_number() over (partition by l.workflow_id order by random()), random()
  loop
    exit when cardinality(v_found) >= 4 * p_limit;
    continue when not pg_try_advisory_xact_lock(mc_lane_key(v_lane.workflow_id, v_lane.lane));
    select count(*) into v_held from workflow_executions e where e.shard = p_shard and e.workflow_id = v_lane.workflow_id
       and e.lane = v_lane.lane and e.in_lane and e.status in (0, 1, 3);
    -- A lane that is full is left without a lock on any of its rows.
    continue when v_held >= (select (e.meta #>> '{concurrency,limit}')::int from workflow_executions e where e.shard = p_shard
       and e.workflow_id = v_lane.workflow_id and e.lane = v_lane.lane and e.status = 3 and not e.in_lane and not e.compensating
       and (e.wake_at is null or e.wake_at <= pg_catalog.now()) order by e.priority desc, e.id limit 1);
    v_keeps := mc_lane_keeps(p_shard, v_lane.workflow_id, v_lane.lane);
    v_turn := 0;
    for v_one in
      select e.id, (e.meta #>> '{concurrency,limit}')::int as most from workflow_executions e where e.shard = p_shard
         and e.workflow_id = v_lane.workflow_id and e.lane = v_lane.lane and e.status = 3 and not e.in_lane and not e.compensating
         and (e.wake_at is null or e.wake_at <= pg_catalog.now()) and (e.deadline is null or e.deadline > pg_catalog.now())
         and (v_keeps is null or e.id >= v_keeps)
       order by e.priority desc, e.id limit p_limit for update skip locked
    loop
      exit when v_held >= v_one.most;
      v_held := v_held + 1;
      v_turn := v_turn + 1;
      v_found := v_found || v_one.id;
      v_turns := v_turns || v_turn;
    end loop;
  end loop;
  return array(select x.id from unnest(v_found, v_turns) with ordinality x (id, turn, place) order by x.turn, x.place limit p_limit);
end $function$;

CREATE OR REPLACE FUNCTION maestro.mc_lanes_trim(p_shard smallint)
 RETURNS uuid[]
 LANGUAGE plpgsql
 SET search_path TO 'maestro'
 SET enable_seqscan TO 'off'
AS $function$
declare v_lane record; v_one record; v_keeps uuid; v_old uuid[] := '{}'; v_told uuid[] := '{}';
begin
  for v_lane in
    with recursive lanes as (
      (select e.workflow_id, e.lane from workflow_executions e where e.shard = p_shard and e.status = 3 and not e.in_lane and e.meta #>> '{concurrency,on_conflict}' = 'cancel_oldest'
        order by e.workflow_id, e.lane limit 1)
      union all
      select n.workflow_id, n.lane from lanes l cross join lateral (
        select e.workflow_id, e.lane from workflow_executions e where e.shard = p_shard and e.status = 3 and not e.in_lane and e.meta #>> '{concurrency,on_conflict}' = 'cancel_oldest'
           and (e.workflow_id, e.lane) > (l.workflow_id, l.lane) order by e.workflow_id, e.lane limit 1) n)
    select l.workflow_id, l.lane from lanes l
  loop
    exit when cardinality(v_old) >= 500;
    continue when not pg_try_advisory_xact_lock(mc_lane_key(v_lane.workflow_id, v_lane.lane));
    v_keeps := mc_lane_keeps(p_shard, v_lane.workflow_id, v_lane.lane);
    continue when v_keeps is null;
    v_old := v_old || array(select x.id from (
      select e.id from workflow_executions e where e.shard = p_shard and e.workflow_id = v_lane.workflow_id and e.lane = v_lane.lane
         and e.in_lane and e.status in (0, 1, 3) and not e.cancel_requested and e.id < v_keeps
      union all
      select e.id from workflow_executions e where e.shard = p_shard and e.workflow_id = v_lane.workflow_id and e.lane = v_lane.lane
         and e.status = 3 and not e.in_lane and not e.compensating and (e.wake_at is null or e.wake_at <= pg_catalog.now()) and e.id < v_keeps) x
     order by x.id limit 500 - cardinality(v_old));
  end loop;
  for v_one in
    select e.id, e.tenant_id from workflow_executions e where e.shard = p_shard and e.id between mc_lo(v_old) and mc_hi(v_old)
       and e.id = any (v_old) and e.status in (0, 1, 3) and not e.cancel_requested order by e.id for update skip locked
  loop
    perform mc_send_3(p_shard, v_one.tenant_id, v_one.id, 1::smallint, jsonb_build_object('actor',
      jsonb_build_object('subject', 'concurrency', 'kind', 'system'), 'reason', 'a newer execution has the same concurrency key')::text, true, false);
    v_told := v_told || v_one.id;
  end loop;
  return v_told;
end $function$;

CREATE OR REPLACE FUNCTION maestro.mc_leave(p_shard smallint, p_me bigint, p_epoch bigint)
 RETURNS integer
 LANGUAGE plpgsql
 SET search_path TO 'maestro'
 SET enable_seqscan TO 'off'
AS $function$
begin
  -- As in the takeover: only `for update` waits for a flush or claim of this worker that the server still runs.
  perform 1 from workers w where w.shard = p_shard and w.id = p_me and w.epoch = p_epoch for update;
  update workers w set dead = true, lease_until = 'infinity', epoch = w.epoch + 1
   where w.shard = p_shard and w.id = p_me and w.epoch = p_epoch;
  return (select count(*)::int from workflow_executions e where e.shard = p_shard and e.owner = p_me and e.status = 1);
end $function$;

CREATE OR REPLACE FUNCTION maestro.mc_leave_2(p_shard smallint, p_me bigint, p_epoch bigint)
 RETURNS integer
 LANGUAGE plpgsql
 SET search_path TO 'maestro'
 SET enable_seqscan TO 'off'
AS $function$
begin
  -- As in the takeover: only `for update` waits for a flush or claim of this worker that the server still runs.
  perform 1 from workers w where w.shard = p_shard and w.id = p_me and w.epoch = p_epoch for update;
  update workers w set dead = true, lease_until = 'infinity', epoch = w.epoch + 1, left_at = pg_catalog.now()
   where w.shard = p_shard and w.id = p_me and w.epoch = p_epoch;
  return (select count(*)::int from workflow_executions e where e.shard = p_shard and e.owner = p_me and e.status = 1);
end $function$;

CREATE OR REPLACE FUNCTION maestro.mc_limit_reached(p_in smallint, p_tenant uuid, p_workflow uuid)
 RETURNS TABLE(most integer, running integer, of_workflow boolean)
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'maestro', 'pg_temp'
 SET enable_seqscan TO 'off'
AS $function$
begin
  if p_tenant is distinct from mc_tenant() or not mc_has_limits() then
    return;
  end if;
  return query select l.most, r.n, l.workflow is not null from mc_limits_of(p_in, array[p_tenant], array[p_workflow]) l
    cross join lateral (select mc_running(p_in, l.tenant, l.workflow, l.most) as n) r where r.n >= l.most order by l.workflow is null limit 1;
end $function$;

CREATE OR REPLACE FUNCTION maestro.mc_limits_of(p_shard smallint, p_tenants uuid[], p_workflows uuid[])
 RETURNS TABLE(tenant uuid, workflow uuid, most integer)
 LANGUAGE plpgsql
 SET search_path TO 'maestro'
 SET enable_seqscan TO 'off'
AS $function$
declare v_total int;
begin
  select s.total into v_total from shards s where s.shard = p_shard;
  return query select x.t, x.w, case when x.spread then greatest(1, x.most / v_total + (p_shard < x.most % v_total)::int) else x.most end from (
      select t.id as t, null::uuid as w, floor(least((t.settings ->> 'max_running')::numeric, 1000000000))::int as most, t.spread from tenants t
       where t.settings ? 'max_running' and t.id = any (p_tenants)
         and case when jsonb_typeof(t.settings -> 'max_running') = 'number' then (t.settings ->> 'max_running')::numeric >= 1 else false end
      union all
      select w.tenant_id, w.id, w.max_running, coalesce((select t.spread from tenants t where t.id = w.tenant_id), false) from workflows w
       where w.max_running is not null and w.tenant_id = any (p_tenants) and w.id = any (p_workflows)) x;
end $function$;

CREATE OR REPLACE FUNCTION maestro.mc_lo(p_ids uuid[])
 RETURNS uuid
 LANGUAGE sql
 IMMUTABLE
AS $function$ select x from unnest(p_ids) x order by x limit 1 $function$;

CREATE OR REPLACE FUNCTION maestro.mc_log(p_shard smallint, l_tenant uuid[], l_exec uuid[], l_step integer[], l_item integer[], l_gen smallint[], l_attempt integer[], l_age double precision[], l_level text[], l_message text[], l_fields text[])
 RETURNS void
 LANGUAGE plpgsql
 SET search_path TO 'maestro'
 SET enable_seqscan TO 'off'
AS $function$
begin
  insert into step_logs as l (shard, position, execution_id, tenant_id, step, item, generation, attempt, ts, level, message, fields)
    select s.shard, coalesce((select max(p.position) from step_logs p where p.shard = p_shard and p.execution_id = x.e), 0)
             + row_number() over (partition by x.e order by x.o), x.e, x.t, x.s, x.i, x.g, x.a,
           pg_catalog.now() - make_interval(secs => x.age), x.lv, x.m, x.f::jsonb
      from shards s, unnest(l_tenant, l_exec, l_step, l_item, l_gen, l_attempt, l_age, l_level, l_message, l_fields)
           with ordinality x (t, e, s, i, g, a, age, lv, m, f, o)
     where s.shard = p_shard;
end $function$;

CREATE OR REPLACE FUNCTION maestro.mc_make_partitions(p_from date, p_to date)
 RETURNS integer
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'maestro', 'pg_temp'
 SET lock_timeout TO '1s'
AS $function$
declare
  v_day date; v_table text; v_name text; v_made int := 0;
begin
  perform pg_advisory_xact_lock(7263001);
  for v_day in select d::date from generate_series(p_from, p_to, interval '1 day') d loop
    foreach v_table in array array['step_executions', 'execution_events', 'workflow_executions', 'step_logs'] loop
      v_name := v_table || '_' || to_char(v_day, 'YYYYMMDD');
      if to_regclass('maestro.' || v_name) is null then
        execute format('create table maestro.%I (like maestro.%I including all)', v_name, v_table);
        if v_table = 'workflow_executions' then
          execute format('alter table maestro.%I set (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.05)', v_name);
        end if;
        execute format('alter table maestro.%I attach partition maestro.%I for values from (%L) to (%L)', v_table, v_name,
          maestro.mc_uuid_floor(v_day::timestamp at time zone 'UTC'),
          maestro.mc_uuid_floor((v_day + 1)::timestamp at time zone 'UTC'));
        v_made := v_made + 1;
      end if;
    end loop;
  end loop;
  return v_made;
end $function$;

CREATE OR REPLACE FUNCTION maestro.mc_migrate(p_shard smallint, p_tenant uuid, p_exec uuid, p_from uuid, p_to uuid, p_version text, p_epoch bigint, p_seq integer, p_event text)
 RETURNS TABLE(known boolean, status smallint, moved boolean)
 LANGUAGE plpgsql
 SET search_path TO 'maestro'
 SET enable_seqscan TO 'off'
AS $function$
declare v_row workflow_executions; v_seq int; v_wakes boolean;
begin
  select e.* into v_row from workflow_executions e
   where e.shard = p_shard and e.id = p_exec and e.tenant_id = p_tenant for update;
  if not found then
    return query select false, null::smallint, false;
    return;
  end if;
  select max(p.seq) into v_seq from execution_events p where p.shard = p_shard and p.execution_id = p_exec;
  if v_row.status not in (0, 3) or v_row.version_id <> p_from or v_row.epoch <> p_epoch or v_seq <> p_seq
     or v_row.cancel_requested or v_row.compensating then
    return query select true, v_row.status, false;
    return;
  end if;
  v_wakes := v_row.status = 3 and v_row.epoch > 0 and v_row.in_lane is not false and v_row.wait is distinct from 5;
  perform mc_count_moved(p_exec, p_from, p_to);
  update workflow_executions e set version_id = p_to, meta = e.meta || jsonb_build_object('version', p_version) || case when v_row.epoch = 0 then '{"migrated": true}'::jsonb else '{}' end,
         status = case when v_wakes then 0 else e.status end, wait = case when v_wakes then null else e.wait end,
         wake_at = case when v_wakes then null else e.wake_at end
   where e.shard = p_shard and e.id = p_exec;
  insert into execution_events as ev (shard, kind, seq, execution_id, tenant_id, ts, data)
    select s.shard, 18, p_seq + 1, p_exec, p_tenant, pg_catalog.now(), p_event::jsonb || jsonb_build_object('queued', v_wakes or v_row.status = 0)
      from shards s where s.shard = p_shard;
  perform mc_feed(p_shard, array[p_exec], array[p_seq + 1], array[18]::smallint[], true);
  return query select true, case when v_wakes then 0::smallint else v_row.status end, true;
end $function$;

CREATE OR REPLACE FUNCTION maestro.mc_next_due(p_shard smallint)
 RETURNS double precision
 LANGUAGE sql
 STABLE
 SET search_path TO 'maestro'
 SET enable_seqscan TO 'off'
AS $function$
  select extract(epoch from e.wake_at - pg_catalog.now())::float8 from workflow_executions e
   where e.shard = p_shard and e.status = 3 and e.wake_at > pg_catalog.now() order by e.wake_at limit 1;
$function$;

CREATE OR REPLACE FUNCTION maestro.mc_note_change()
 RETURNS trigger
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'maestro', 'pg_temp'
AS $function$
begin
  -- The trigger's argument is the day. A field is looked up when its line runs, so each table meets its own alone.
  if tg_table_name ~ '^workflow_executions' then
    insert into retention_changes (day, execution_id) values (tg_argv[0]::date, case when tg_op = 'DELETE' then old.id else new.id end);
  else
    insert into retention_changes (day, execution_id)
      values (tg_argv[0]::date, case when tg_op = 'DELETE' then old.execution_id else new.execution_id end);
  end if;
  return null;
end $function$;

CREATE OR REPLACE FUNCTION maestro.mc_note_compensating()
 RETURNS trigger
 LANGUAGE plpgsql
 SET enable_seqscan TO 'off'
AS $function$
begin
  update maestro.workflow_executions e set compensating = (new.kind = 17)
   where e.shard = new.shard and e.id = new.execution_id and e.compensating is distinct from (new.kind = 17);
  return null;
end $function$;

CREATE OR REPLACE FUNCTION maestro.mc_note_tags()
 RETURNS trigger
 LANGUAGE plpgsql
 SET search_path TO 'maestro'
 SET enable_seqscan TO 'off'
AS $function$
begin
  if new.status <> 3 or new.wait is distinct from 10 then
    new.wanted_tags := null;
  elsif old.wanted_tags is null then
    select (v.data -> 'tags')::text into new.wanted_tags from execution_events v
     where v.shard = new.shard and v.execution_id = new.id and v.kind = 5 order by v.seq desc limit 1;
  end if;
  return new;
end $function$;

CREATE OR REPLACE FUNCTION maestro.mc_provenance_is_immutable()
 RETURNS trigger
 LANGUAGE plpgsql
AS $function$
begin
  raise exception 'what was recorded of a publication never changes' using errcode = 'MC003';
end $function$;

CREATE OR REPLACE FUNCTION maestro.mc_redrive(p_shard smallint, p_tenant uuid, p_exec uuid, p_generation smallint, p_actor text, p_reason text, p_event text)
 RETURNS TABLE(known boolean, status smallint, changed boolean)
 LANGUAGE plpgsql
 SET search_path TO 'maestro'
 SET enable_seqscan TO 'off'
AS $function$
begin
  return query select r.known, r.status, r.changed
    from mc_redrive_2(p_shard, p_tenant, p_exec, p_generation, 0, p_actor, p_reason, p_event) r;
end $function$;

CREATE OR REPLACE FUNCTION maestro.mc_redrive_2(p_shard smallint, p_tenant uuid, p_exec uuid, p_generation smallint, p_message integer, p_actor text, p_reason text, p_event text)
 RETURNS TABLE(known boolean, status smallint, changed boolean)
 LANGUAGE plpgsql
 SET search_path TO 'maestro'
 SET enable_seqscan TO 'off'
AS $function$
declare v_status smallint; v_said jsonb; v_next int;
begin
  select l.status, l.evidence -> 'message' into v_status, v_said from dead_letters l where l.shard = p_shard and l.execution_id = p_exec
     and l.generation = p_generation and l.message = p_message and l.tenant_id = p_tenant for update;
  if not found or v_status <> 0 then
    return query select v_status is not null, v_status, false;
    return;
  end if;
  if p_message = 0 then
    select r.generation into v_next from mc_retry(p_shard, p_tenant, p_exec, array[6]::smallint[], p_event) r;
  else
    select nullif(s.n, 0) into v_next
      from mc_send_3(p_shard, p_tenant, p_exec, (v_said ->> 'kind')::smallint, (v_said -> 'data')::text,
                     v_said ->> 'kind' = '1', v_said ->> 'kind' = '4') s;
  end if;
  if v_next is null then
    return query select true, v_status, false;
    return;
  end if;
  update dead_letters l set status = 1, decided_at = pg_catalog.now(), decided_by = p_actor::jsonb, decision_reason = p_reason
   where l.shard = p_shard and l.execution_id = p_exec and l.generation = p_generation and l.message = p_message;
  return query select true, 1::smallint, true;
end $function$;

CREATE OR REPLACE FUNCTION maestro.mc_register(p_shard smallint, p_me bigint, p_host text, p_lease interval)
 RETURNS bigint
 LANGUAGE plpgsql
 SET search_path TO 'maestro'
 SET enable_seqscan TO 'off'
AS $function$
declare v_epoch bigint;
begin
  insert into workers as w (id, shard, epoch, lease_until, host)
    select p_me, s.shard, 1, pg_catalog.now() + p_lease, p_host from shards s where s.shard = p_shard
    returning w.epoch into v_epoch;
  return v_epoch;
end $function$;

CREATE OR REPLACE FUNCTION maestro.mc_register_2(p_shard smallint, p_me bigint, p_host text, p_lease interval, p_tags text[])
 RETURNS bigint
 LANGUAGE plpgsql
 SET search_path TO 'maestro'
 SET enable_seqscan TO 'off'
AS $function$
declare v_epoch bigint;
begin
  insert into workers as w (id, shard, epoch, lease_until, host, tags)
    select p_me, s.shard, 1, pg_catalog.now() + p_lease, p_host, p_tags from shards s where s.shard = p_shard
    returning w.epoch into v_epoch;
  return v_epoch;
end $function$;

CREATE OR REPLACE PROCEDURE maestro.mc_reshard(IN p_total integer)
 LANGUAGE plpgsql
AS $procedure$
declare v_table record; v_from int := (select max(s.total) from maestro.shards s);
begin
  if p_total < v_from or p_total > 4096 or p_total & (p_total - 1) <> 0 then
    raise exception 'the number of shards must be a power of two, from % to 4096', v_from;
  end if;
  if exists (select 1 from maestro.shards s where s.open) then
    raise exception 'close every shard first: what is accepted meanwhile would get the old shard';
  end if;
  if exists (select 1 from maestro.workers w where not w.dead and w.lease_until > now()) then
    raise exception 'workers are still at work here: stop them first, they drain and leave';
  end if;
  insert into maestro.shards (shard, open, total) select n, false, p_total from generate_series(0, p_total - 1) n
    on conflict (shard) do update set total = excluded.total;
  -- What handlers have not had yet stands in every shard: who reads it there finds the events that lie there, and no others.
  insert into maestro.event_feed (shard, xact, n, after, at, executions, firsts, lasts, kinds)
    select s.shard, f.xact, f.n, f.after, f.at, f.executions, f.firsts, f.lasts, f.kinds from maestro.event_feed f, maestro.shards s
    on conflict do nothing;
  insert into maestro.event_cursors (handler, stream, shard, kinds, xact, since, backfill, backfill_seq, created_at)
    select distinct on (c.handler, s.shard) c.handler, c.stream, s.shard, c.kinds, c.xact, c.since, c.backfill, c.backfill_seq, c.created_at
      from maestro.event_cursors c, maestro.shards s where c.stream = 'execution' order by c.handler, s.shard, c.xact
    on conflict do nothing;
  -- Whoever is gone is dead in every shard, so that what he left is taken over wherever it lies now.
  update maestro.workers w set epoch = w.epoch + 1, lease_until = 'infinity', dead = true where not w.dead;
  insert into maestro.workers (id, shard, epoch, lease_until, dead, host, started_at, left_at)
    select distinct on (w.id, s.shard) w.id, s.shard, w.epoch, w.lease_until, w.dead, w.host, w.started_at, w.left_at
      from maestro.workers w, maestro.shards s order by w.id, s.shard
    on conflict do nothing;
  commit;
  for v_table in select t.name, t.shard_of from maestro.mc_shard_tables() t loop
    execute format('update maestro.%I set shard = %s where shard <> %2$s and %s', v_table.name,
      replace(v_table.shard_of, '$1', p_total::text), maestro.mc_shard_rows(v_table.name));
    commit;
  end loop;
end $procedure$;

CREATE OR REPLACE FUNCTION maestro.mc_retention_policy(p_default integer)
 RETURNS text
 LANGUAGE sql
 STABLE SECURITY DEFINER
 SET search_path TO 'maestro', 'pg_temp'
AS $function$
  select md5(concat_ws(';', p_default,
    (select string_agg(t.id::text || ':' || (t.settings ->> 'retention_days'), ',' order by t.id) from tenants t where t.settings ? 'retention_days'),
    (select string_agg(w.id::text || ':' || w.retention_days, ',' order by w.id) from workflows w where w.retention_days is not null),
    (select string_agg(concat(h.scope, h.id, h.tenant_id), ',' order by h.tenant_id, h.scope, h.id) from legal_holds h)))
$function$;

CREATE OR REPLACE FUNCTION maestro.mc_retention_settings()
 RETURNS trigger
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'maestro', 'pg_temp'
AS $function$
begin
  perform pg_advisory_xact_lock_shared(7263003);
  -- Lines of their own: a field is looked up when its line runs, and only holds have these.
  if tg_table_name = 'legal_holds' and tg_op <> 'DELETE' then
    if not exists (select 1 from workflow_executions e where new.scope = 'execution' and e.id = new.id and e.tenant_id = new.tenant_id)
       and not exists (select 1 from workflows w where new.scope = 'workflow' and w.id = new.id and w.tenant_id = new.tenant_id) then
      raise exception 'there is no % % in this tenant to hold', new.scope, new.id using errcode = 'MC005';
    end if;
  end if;
  return case when tg_op = 'DELETE' then old else new end;
end $function$;

CREATE OR REPLACE FUNCTION maestro.mc_retry(p_shard smallint, p_tenant uuid, p_exec uuid, p_statuses smallint[], p_event text)
 RETURNS TABLE(known boolean, status smallint, generation smallint)
 LANGUAGE plpgsql
 SET search_path TO 'maestro'
 SET enable_seqscan TO 'off'
AS $function$
begin
  return query select * from mc_begin_again(p_shard, p_tenant, p_exec, p_statuses, 11::smallint, p_event);
end $function$;

CREATE OR REPLACE FUNCTION maestro.mc_running(p_shard smallint, p_tenant uuid, p_workflow uuid, p_most integer)
 RETURNS integer
 LANGUAGE plpgsql
 SET search_path TO 'maestro'
 SET enable_seqscan TO 'off'
AS $function$
begin
  if p_workflow is null then
    return (select count(*) from (select 1 from workflow_executions e where e.shard = p_shard and e.tenant_id = p_tenant and e.status = 1 limit p_most) x);
  end if;
  return (select count(*) from (select 1 from workflow_executions e where e.shard = p_shard and e.tenant_id = p_tenant
     and e.workflow_id = p_workflow and e.status = 1 and mc_is_listed_apart(e.status) limit p_most) x);
end $function$;

CREATE OR REPLACE FUNCTION maestro.mc_send(p_shard smallint, p_tenant uuid, p_exec uuid, p_kind smallint, p_data text, p_cancel boolean)
 RETURNS TABLE(known boolean, status smallint, n integer)
 LANGUAGE plpgsql
 SET search_path TO 'maestro'
 SET enable_seqscan TO 'off'
AS $function$
declare v_status smallint; v_n int;
begin
  update workflow_executions e set inbox = e.inbox + 1, cancel_requested = e.cancel_requested or p_cancel,
         status = case when e.status = 3 and (e.wait is distinct from 5 or p_cancel) then 0 else e.status end,
         wait = case when e.status = 3 and (e.wait is distinct from 5 or p_cancel) then null else e.wait end,
         wake_at = case when e.status = 3 and (e.wait is distinct from 5 or p_cancel) then null else e.wake_at end
   where e.shard = p_shard and e.id = p_exec and e.tenant_id = p_tenant and e.status in (0, 1, 3)
   returning e.status, e.inbox into v_status, v_n;
  if not found then
    return query select exists (select 1 from workflow_executions e where e.shard = p_shard and e.id = p_exec and e.tenant_id = p_tenant),
      (select e.status from workflow_executions e where e.shard = p_shard and e.id = p_exec and e.tenant_id = p_tenant), 0;
    return;
  end if;
  insert into execution_inbox as b (shard, n, execution_id, tenant_id, kind, data)
    select s.shard, v_n, p_exec, p_tenant, p_kind, p_data::jsonb from shards s where s.shard = p_shard;
  return query select true, v_status, v_n;
end $function$;

CREATE OR REPLACE FUNCTION maestro.mc_send_2(p_shard smallint, p_tenant uuid, p_exec uuid, p_kind smallint, p_data text, p_cancel boolean, p_resumes boolean)
 RETURNS TABLE(known boolean, status smallint, n integer)
 LANGUAGE plpgsql
 SET search_path TO 'maestro'
 SET enable_seqscan TO 'off'
AS $function$
declare v_status smallint; v_n int;
begin
  update workflow_executions e set inbox = e.inbox + 1, cancel_requested = e.cancel_requested or p_cancel,
         status = case when e.status = 3 and (e.wait is distinct from 5 or p_cancel or p_resumes) then 0 else e.status end,
         wait = case when e.status = 3 and (e.wait is distinct from 5 or p_cancel or p_resumes) then null else e.wait end,
         wake_at = case when e.status = 3 and (e.wait is distinct from 5 or p_cancel or p_resumes) then null else e.wake_at end
   where e.shard = p_shard and e.id = p_exec and e.tenant_id = p_tenant and e.status in (0, 1, 3)
   returning e.status, e.inbox into v_status, v_n;
  if not found then
    return query select exists (select 1 from workflow_executions e where e.shard = p_shard and e.id = p_exec and e.tenant_id = p_tenant),
      (select e.status from workflow_executions e where e.shard = p_shard and e.id = p_exec and e.tenant_id = p_tenant), 0;
    return;
  end if;
  insert into execution_inbox as b (shard, n, execution_id, tenant_id, kind, data)
    select s.shard, v_n, p_exec, p_tenant, p_kind, p_data::jsonb from shards s where s.shard = p_shard;
  return query select true, v_status, v_n;
end $function$;

CREATE OR REPLACE FUNCTION maestro.mc_send_3(p_shard smallint, p_tenant uuid, p_exec uuid, p_kind smallint, p_data text, p_cancel boolean, p_resumes boolean)
 RETURNS TABLE(known boolean, status smallint, n integer)
 LANGUAGE plpgsql
 SET search_path TO 'maestro'
 SET enable_seqscan TO 'off'
AS $function$
declare v_status smallint; v_n int;
begin
  update workflow_executions e set inbox = e.inbox + 1, cancel_requested = e.cancel_requested or p_cancel,
         status = case when e.status = 3 and (p_cancel or e.epoch > 0 and (e.in_lane is not false or e.compensating) and (e.wait is distinct from 5 or p_resumes)) then 0 else e.status end,
         wait = case when e.status = 3 and (p_cancel or e.epoch > 0 and (e.in_lane is not false or e.compensating) and (e.wait is distinct from 5 or p_resumes)) then null else e.wait end,
         wake_at = case when e.status = 3 and (p_cancel or e.epoch > 0 and (e.in_lane is not false or e.compensating) and (e.wait is distinct from 5 or p_resumes)) then null else e.wake_at end
   where e.shard = p_shard and e.id = p_exec and e.tenant_id = p_tenant and e.status in (0, 1, 3)
   returning e.status, e.inbox into v_status, v_n;
  if not found then
    return query select exists (select 1 from workflow_executions e where e.shard = p_shard and e.id = p_exec and e.tenant_id = p_tenant),
      (select e.status from workflow_executions e where e.shard = p_shard and e.id = p_exec and e.tenant_id = p_tenant), 0;
    return;
  end if;
  insert into execution_inbox as b (shard, n, execution_id, tenant_id, kind, data)
    select s.shard, v_n, p_exec, p_tenant, p_kind, p_data::jsonb from shards s where s.shard = p_shard;
  return query select true, v_status, v_n;
end $function$;

CREATE OR REPLACE FUNCTION maestro.mc_set_aside(p_shard smallint, p_me bigint, p_epoch bigint, p_exec uuid, p_message integer, p_error text)
 RETURNS void
 LANGUAGE plpgsql
 SET search_path TO 'maestro'
 SET enable_seqscan TO 'off'
AS $function$
begin
  perform 1 from workers w where w.shard = p_shard and w.id = p_me and w.epoch = p_epoch for key share;
  if not found then
    raise exception 'this worker was fenced off' using errcode = 'MC002';
  end if;
  insert into dead_letters as l (execution_id, generation, message, shard, tenant_id, queue, reason, error, losses, evidence)
    select e.id, e.generation, b.n, w.shard, e.tenant_id, 'messages', 'undecodable', p_error::jsonb, 0, jsonb_build_object(
             'message', jsonb_build_object('n', b.n, 'kind', b.kind, 'data', b.data, 'sent_at', b.created_at),
             'lost', null, 'events', null)
      from workers w, workflow_executions e, execution_inbox b
     where w.shard = p_shard and w.id = p_me and e.shard = p_shard and e.id = p_exec and e.owner = p_me
       and b.shard = p_shard and b.execution_id = p_exec and b.n = p_message
    on conflict do nothing;
end $function$;

CREATE OR REPLACE FUNCTION maestro.mc_shard(p_id uuid, p_total integer)
 RETURNS smallint
 LANGUAGE sql
 IMMUTABLE PARALLEL SAFE
AS $function$ select (maestro.mc_slot(p_id) * p_total >> 12)::smallint $function$;

CREATE OR REPLACE FUNCTION maestro.mc_shard_rows(p_name text)
 RETURNS text
 LANGUAGE sql
 IMMUTABLE
AS $function$ select case when p_name = 'idempotency_keys' then 'operation similar to ''%(\_execution|\_human\_task)''' else 'true' end $function$;

CREATE OR REPLACE FUNCTION maestro.mc_shard_tables()
 RETURNS TABLE(name text, shard_of text)
 LANGUAGE sql
 STABLE
 SET search_path TO 'maestro'
AS $function$
  select t.name, 'maestro.mc_shard(' || x.key || ', $1)'
    from (values ('workflow_executions', 'id'), ('step_executions', 'execution_id'), ('execution_events', 'execution_id'),
                 ('step_logs', 'execution_id'), ('execution_inbox', 'execution_id'), ('execution_labels', 'execution_id'),
                 ('dead_letters', 'execution_id'), ('idempotency_keys', 'result_id'), ('blob_refs', 'execution_id'),
                 ('human_tasks', 'id'), ('human_task_events', 'task_id'), ('human_task_people', 'task_id')) x (parent, key)
    cross join lateral (
      select x.parent as name where not exists (select 1 from pg_inherits i where i.inhparent = ('maestro.' || x.parent)::regclass)
      union all
      select c.relname from pg_inherits i join pg_class c on c.oid = i.inhrelid where i.inhparent = ('maestro.' || x.parent)::regclass) t
   order by t.name <> 'blob_refs', 1
$function$;

CREATE OR REPLACE FUNCTION maestro.mc_slot(p_id uuid)
 RETURNS integer
 LANGUAGE sql
 IMMUTABLE PARALLEL SAFE
AS $function$ select ('x' || substr(replace(p_id::text, '-', ''), 14, 3))::bit(12)::int $function$;

CREATE OR REPLACE FUNCTION maestro.mc_source_digest(p_source text)
 RETURNS text
 LANGUAGE sql
 IMMUTABLE PARALLEL SAFE
AS $function$ select 'sha256:' || encode(sha256(convert_to(p_source, 'UTF8')), 'hex') $function$;

CREATE OR REPLACE FUNCTION maestro.mc_state(p_status smallint, p_wait smallint, p_cancel boolean)
 RETURNS smallint
 LANGUAGE sql
 IMMUTABLE PARALLEL SAFE
AS $function$ select case when p_status = 3 and p_wait = 5 then 8 when p_cancel and p_status in (0, 1, 3) then 9 else p_status end::smallint $function$;

CREATE OR REPLACE FUNCTION maestro.mc_state(p_status smallint, p_wait smallint, p_cancel boolean, p_compensating boolean)
 RETURNS smallint
 LANGUAGE sql
 IMMUTABLE PARALLEL SAFE
AS $function$ select case when p_compensating and p_status in (0, 1, 3) then 10 when p_status = 3 and p_wait = 5 then 8 when p_cancel and p_status in (0, 1, 3) then 9 else p_status end::smallint $function$;

CREATE OR REPLACE FUNCTION maestro.mc_sweep_workers(p_shard smallint)
 RETURNS integer
 LANGUAGE plpgsql
 SET search_path TO 'maestro'
 SET enable_seqscan TO 'off'
AS $function$
declare v_count int;
begin
  delete from workers w where w.shard = p_shard and w.dead and not exists
    (select 1 from workflow_executions e where e.shard = p_shard and e.status = 1 and e.owner = w.id);
  get diagnostics v_count = row_count;
  return v_count;
end $function$;

CREATE OR REPLACE FUNCTION maestro.mc_tagged(p_shard smallint, p_tags text, p_limit integer, p_not uuid[])
 RETURNS uuid[]
 LANGUAGE plpgsql
 SET search_path TO 'maestro'
 SET enable_seqscan TO 'off'
AS $function$
begin
  return array(
    with recursive flows as (
      (select e.workflow_id, e.tenant_id from workflow_executions e where e.shard = p_shard and e.wanted_tags = p_tags order by e.workflow_id limit 1)
      union all
      select n.workflow_id, n.tenant_id from flows f cross join lateral (
        select e.workflow_id, e.tenant_id from workflow_executions e where e.shard = p_shard and e.wanted_tags = p_tags
           and e.workflow_id > f.workflow_id order by e.workflow_id limit 1) n),
    rooms as (
      select f.workflow_id, f.tenant_id, b.of_tenant, b.of_workflow from flows f cross join lateral (
        select min(r.room) filter (where r.workflow is null) as of_tenant, min(r.room) filter (where r.workflow is not null) as of_workflow
          from (select l.workflow, l.most - mc_running(p_shard, l.tenant, l.workflow, l.most) as room
                  from mc_limits_of(p_shard, array[f.tenant_id], array[f.workflow_id]) l) r) b),
    found as (
      select x.id, x.priority, r.of_tenant, row_number() over (partition by r.tenant_id order by x.priority desc, x.id) as place
        from rooms r cross join lateral (
          select e.id, e.priority from workflow_executions e where e.shard = p_shard and e.wanted_tags = p_tags
             and e.workflow_id = r.workflow_id and (p_not is null or e.id <> all (p_not))
           order by e.priority desc, e.id limit greatest(0, least(p_limit, r.of_tenant, r.of_workflow))) x)
    select f.id from found f where f.of_tenant is null or f.place <= f.of_tenant order by f.priority desc, f.id limit p_limit);
end $function$;

CREATE OR REPLACE FUNCTION maestro.mc_takeover(p_shard smallint, p_me bigint, p_epoch bigint, p_limit integer)
 RETURNS SETOF workflow_executions
 LANGUAGE plpgsql
 SET search_path TO 'maestro'
 SET enable_seqscan TO 'off'
AS $function$
begin
  perform 1 from workers w where w.shard = p_shard and w.id = p_me and w.epoch = p_epoch for key share;
  if not found then
    raise exception 'this worker was fenced off' using errcode = 'MC002';
  end if;
  return query with d as (select e.id from workflow_executions e, workers w where w.shard = p_shard and w.dead
      and e.shard = p_shard and e.status = 1 and e.owner = w.id limit p_limit for update of e skip locked)
    update workflow_executions e set owner = p_me, epoch = e.epoch + 1, takeovers = e.takeovers + 1
      from d where e.shard = p_shard and e.id = d.id returning e.*;
end $function$;

CREATE OR REPLACE FUNCTION maestro.mc_takeover_2(p_shard smallint, p_me bigint, p_epoch bigint, p_limit integer)
 RETURNS SETOF workflow_executions
 LANGUAGE plpgsql
 SET search_path TO 'maestro'
 SET enable_seqscan TO 'off'
AS $function$
declare v_ids uuid[]; v_left boolean[]; v_lost jsonb[]; v_lo uuid; v_hi uuid; v_dead uuid[];
  v_error jsonb := jsonb_build_object('type', 'poison', 'retryable', false, 'message',
    'Three workers were lost while they ran this execution, the last one while it ran nothing else.');
begin
  perform 1 from workers w where w.shard = p_shard and w.id = p_me and w.epoch = p_epoch for key share;
  if not found then
    raise exception 'this worker was fenced off' using errcode = 'MC002';
  end if;
  select array_agg(d.id), array_agg(d.has_left), array_agg(d.lost) into v_ids, v_left, v_lost from
    (select e.id, w.left_at is not null as has_left,
            jsonb_build_object('worker', w.host, 'id', w.id::text, 'started_at', w.started_at) as lost
       from workflow_executions e, workers w where w.shard = p_shard and w.dead
        and e.shard = p_shard and e.status = 1 and e.owner = w.id limit p_limit for update of e skip locked) d;
  if v_ids is null then
    return;
  end if;
  v_lo := mc_lo(v_ids);
  v_hi := mc_hi(v_ids);
  update workflow_executions e set epoch = e.epoch + 1, takeovers = x.t, status = x.st,
         owner = case when x.st = 1 then p_me end,
         finished_at = case when x.st = 6 then pg_catalog.now() end,
         error = case when x.st = 6 then v_error end
    from (select c.id, c.t, case when c.t >= 3 then 6 when c.t = 2 then 0 else 1 end as st
            from (select o.id, o.takeovers + case when y.has_left then 0 else 1 end as t
                    from workflow_executions o, unnest(v_ids, v_left) y (id, has_left)
                   where o.shard = p_shard and o.id between v_lo and v_hi and o.id = any (v_ids) and o.id = y.id) c) x
   where e.shard = p_shard and e.id between v_lo and v_hi and e.id = any (v_ids) and e.id = x.id;
  insert into execution_events as ev (shard, kind, seq, execution_id, tenant_id, ts, data)
    select w.shard, 13, (select max(p.seq) + 1 from execution_events p where p.shard = p_shard and p.execution_id = e.id),
           e.id, e.tenant_id, pg_catalog.now(), jsonb_build_object('lost', x.lost, 'handed_over', x.has_left,
             'takeovers', e.takeovers, 'worker', case when e.status = 1 then w.host end)
      from workers w, workflow_executions e, unnest(v_ids, v_left, v_lost) x (id, has_left, lost)
     where w.shard = p_shard and w.id = p_me
       and e.shard = p_shard and e.id between v_lo and v_hi and e.id = any (v_ids) and e.id = x.id;
  select array_agg(e.id) into v_dead from workflow_executions e
   where e.shard = p_shard and e.id between v_lo and v_hi and e.id = any (v_ids) and e.status = 6;
  if v_dead is not null then
    insert into execution_events as ev (shard, kind, seq, execution_id, tenant_id, ts, data)
      select w.shard, 14, (select max(p.seq) + 1 from execution_events p where p.shard = p_shard and p.execution_id = e.id),
             e.id, e.tenant_id, pg_catalog.now(), jsonb_build_object('error', v_error)
        from workers w, workflow_executions e
       where w.shard = p_shard and w.id = p_me
         and e.shard = p_shard and e.id between v_lo and v_hi and e.id = any (v_dead);
    insert into dead_letters as l (execution_id, generation, shard, tenant_id, reason, error, losses, evidence)
      select e.id, e.generation, w.shard, e.tenant_id, 'owner_lost', v_error, e.takeovers, jsonb_build_object(
               'lost', (select jsonb_agg(t.data -> 'lost' || jsonb_build_object('lost_at', t.ts) order by t.seq)
                          from (select p.seq, p.ts, p.data from execution_events p where p.shard = p_shard
                                   and p.execution_id = e.id and p.kind = 13 and not (p.data ->> 'handed_over')::boolean
                                 order by p.seq desc limit e.takeovers) t),
               'events', (select jsonb_agg(jsonb_build_object('sequence', t.seq, 'kind', t.kind, 'at', t.ts, 'data', t.data)
                                           order by t.seq)
                            from (select p.* from execution_events p where p.shard = p_shard and p.execution_id = e.id
                                   order by p.seq desc limit 20) t))
        from workers w, workflow_executions e
       where w.shard = p_shard and w.id = p_me
         and e.shard = p_shard and e.id between v_lo and v_hi and e.id = any (v_dead);
  end if;
  perform mc_feed(p_shard, array_agg(v.execution_id), array_agg(v.seq), array_agg(v.kind), true) from execution_events v
   where v.shard = p_shard and v.execution_id between v_lo and v_hi and v.execution_id = any (v_ids) and v.kind in (13, 14)
     and v.ts = pg_catalog.now();
  return query select e.* from workflow_executions e
   where e.shard = p_shard and e.id between v_lo and v_hi and e.id = any (v_ids);
end $function$;

CREATE OR REPLACE FUNCTION maestro.mc_takeover_3(p_shard smallint, p_me bigint, p_epoch bigint, p_limit integer)
 RETURNS SETOF workflow_executions
 LANGUAGE plpgsql
 SET search_path TO 'maestro'
 SET enable_seqscan TO 'off'
AS $function$
declare v_ids uuid[]; v_left boolean[]; v_lost jsonb[]; v_lo uuid; v_hi uuid; v_dead uuid[];
  v_error jsonb := jsonb_build_object('type', 'poison', 'retryable', false, 'message',
    'Three workers were lost while they ran this execution, the last one while it ran nothing else.');
begin
  perform 1 from workers w where w.shard = p_shard and w.id = p_me and w.epoch = p_epoch for key share;
  if not found then
    raise exception 'this worker was fenced off' using errcode = 'MC002';
  end if;
  select array_agg(d.id), array_agg(d.has_left), array_agg(d.lost) into v_ids, v_left, v_lost from
    (select e.id, w.left_at is not null as has_left,
            jsonb_build_object('worker', w.host, 'id', w.id::text, 'started_at', w.started_at) as lost
       from workflow_executions e, workers w where w.shard = p_shard and w.dead
        and e.shard = p_shard and e.status = 1 and e.owner = w.id limit p_limit for update of e skip locked) d;
  if v_ids is null then
    return;
  end if;
  v_lo := mc_lo(v_ids);
  v_hi := mc_hi(v_ids);
  update workflow_executions e set epoch = e.epoch + 1, takeovers = x.t, status = x.st,
         owner = case when x.st = 1 then p_me end,
         finished_at = case when x.st = 6 then pg_catalog.now() end,
         error = case when x.st = 6 then v_error end
    from (select c.id, c.t, case when c.t >= 3 then 6 when c.t = 2 then 0 else 1 end as st
            from (select o.id, o.takeovers + case when y.has_left then 0 else 1 end as t
                    from workflow_executions o, unnest(v_ids, v_left) y (id, has_left)
                   where o.shard = p_shard and o.id between v_lo and v_hi and o.id = any (v_ids) and o.id = y.id) c) x
   where e.shard = p_shard and e.id between v_lo and v_hi and e.id = any (v_ids) and e.id = x.id;
  insert into execution_events as ev (shard, kind, seq, execution_id, tenant_id, ts, data)
    select w.shard, 13, (select max(p.seq) + 1 from execution_events p where p.shard = p_shard and p.execution_id = e.id),
           e.id, e.tenant_id, pg_catalog.now(), jsonb_build_object('lost', x.lost, 'handed_over', x.has_left,
             'takeovers', e.takeovers, 'worker', case when e.status = 1 then w.host end)
      from workers w, workflow_executions e, unnest(v_ids, v_left, v_lost) x (id, has_left, lost)
     where w.shard = p_shard and w.id = p_me
       and e.shard = p_shard and e.id between v_lo and v_hi and e.id = any (v_ids) and e.id = x.id;
  select array_agg(e.id) into v_dead from workflow_executions e
   where e.shard = p_shard and e.id between v_lo and v_hi and e.id = any (v_ids) and e.status = 6;
  if v_dead is not null then
    insert into execution_events as ev (shard, kind, seq, execution_id, tenant_id, ts, data)
      select w.shard, 14, (select max(p.seq) + 1 from execution_events p where p.shard = p_shard and p.execution_id = e.id),
             e.id, e.tenant_id, pg_catalog.now(), jsonb_build_object('error', v_error)
        from workers w, workflow_executions e
       where w.shard = p_shard and w.id = p_me
         and e.shard = p_shard and e.id between v_lo and v_hi and e.id = any (v_dead);
    insert into dead_letters as l (execution_id, generation, shard, tenant_id, reason, error, losses, evidence)
      select e.id, e.generation, w.shard, e.tenant_id, 'owner_lost', v_error, e.takeovers, jsonb_build_object(
               'lost', (select jsonb_agg(t.data -> 'lost' || jsonb_build_object('lost_at', t.ts) order by t.seq)
                          from (select p.seq, p.ts, p.data from execution_events p where p.shard = p_shard
                                   and p.execution_id = e.id and p.kind = 13 and not (p.data ->> 'handed_over')::boolean
                                 order by p.seq desc limit e.takeovers) t),
               'events', (select jsonb_agg(jsonb_build_object('sequence', t.seq, 'kind', t.kind, 'at', t.ts, 'data', t.data)
                                           order by t.seq)
                            from (select p.* from execution_events p where p.shard = p_shard and p.execution_id = e.id
                                   order by p.seq desc limit 20) t))
        from workers w, workflow_executions e
       where w.shard = p_shard and w.id = p_me
         and e.shard = p_shard and e.id between v_lo and v_hi and e.id = any (v_dead);
    perform mc_unread(p_shard, v_dead);
  end if;
  perform mc_feed(p_shard, array_agg(v.execution_id), array_agg(v.seq), array_agg(v.kind), true) from execution_events v
   where v.shard = p_shard and v.execution_id between v_lo and v_hi and v.execution_id = any (v_ids) and v.kind in (13, 14)
     and v.ts = pg_catalog.now();
  return query select e.* from workflow_executions e
   where e.shard = p_shard and e.id between v_lo and v_hi and e.id = any (v_ids);
end $function$;

CREATE OR REPLACE FUNCTION maestro.mc_task_cancel(p_shard smallint, p_exec uuid[], p_reason text)
 RETURNS integer
 LANGUAGE plpgsql
 SET search_path TO 'maestro'
 SET enable_seqscan TO 'off'
AS $function$
declare v_ids uuid[]; v_ended jsonb;
begin
  select array_agg(x.id) into v_ids from (select t.id from human_tasks t
    where t.shard = p_shard and t.execution_id = any (p_exec) and t.status < 4 order by t.id for update) x;
  if v_ids is null then
    return 0;
  end if;
  v_ended := jsonb_build_object('status', 'CANCELLED', 'ended_at', to_jsonb(pg_catalog.now()),
    'ended_by', jsonb_build_object('subject', 'system', 'kind', 'system'));
  insert into human_task_events as v (shard, task_id, seq, tenant_id, kind, at, actor, before, after, reason)
    select s.shard, t.id, t.version + 1, t.tenant_id, 'cancelled', pg_catalog.now(), v_ended -> 'ended_by',
           jsonb_build_object('status', t.state -> 'status', 'ended_at', null, 'ended_by', null), v_ended, p_reason
      from shards s, human_tasks t where s.shard = p_shard and t.shard = p_shard and t.id = any (v_ids);
  update human_tasks t set status = 6, version = t.version + 1, next_at = null, ended_at = pg_catalog.now(), state = t.state || v_ended
   where t.shard = p_shard and t.id = any (v_ids);
  delete from human_task_people p where p.shard = p_shard and p.task_id = any (v_ids);
  return cardinality(v_ids);
end $function$;

CREATE OR REPLACE FUNCTION maestro.mc_task_open(p_shard smallint, p_tasks text)
 RETURNS void
 LANGUAGE plpgsql
 SET search_path TO 'maestro'
 SET enable_seqscan TO 'off'
AS $function$
declare v_tasks jsonb := p_tasks::jsonb;
begin
  insert into human_tasks as t (shard, status, id, tenant_id, version, priority, execution_id, step, generation, step_key, workflow_id,
                                assignee, closed_to, due_at, next_at, ended_at, state)
    select s.shard, x.status, x.id, x.tenant_id, 1, x.priority, x.execution_id, x.step, x.generation, x.step_key, x.workflow_id,
           x.assignee, x.closed_to, x.due_at, x.next_at, null, x.state
      from shards s, jsonb_to_recordset(v_tasks) x (status smallint, id uuid, tenant_id uuid, priority int, execution_id uuid, step int,
           generation smallint, step_key text, workflow_id uuid, assignee text, closed_to text[], due_at timestamptz, next_at timestamptz,
           state jsonb)
     where s.shard = p_shard
    on conflict do nothing;
  insert into human_task_events as v (shard, task_id, seq, tenant_id, kind, at, actor, before, after, reason)
    select s.shard, t.id, 1, t.tenant_id, 'created', (t.state ->> 'created_at')::timestamptz, t.state -> 'created_by', '{}', t.state, null
      from shards s, human_tasks t, jsonb_to_recordset(v_tasks) x (id uuid)
     where s.shard = p_shard and t.shard = p_shard and t.id = x.id and t.version = 1
    on conflict do nothing;
  insert into human_task_people as p (shard, task_id, tenant_id, who, is_held)
    select s.shard, t.id, t.tenant_id, o.value ->> 0, (o.value ->> 1)::boolean
      from shards s, human_tasks t, jsonb_to_recordset(v_tasks) x (id uuid, people jsonb), jsonb_array_elements(x.people) o
     where s.shard = p_shard and t.shard = p_shard and t.id = x.id and t.version = 1
    on conflict do nothing;
end $function$;

CREATE OR REPLACE FUNCTION maestro.mc_task_separated(p_shard smallint, p_tasks text)
 RETURNS text
 LANGUAGE sql
 STABLE
 SET search_path TO 'maestro'
 SET enable_seqscan TO 'off'
AS $function$
  select coalesce(jsonb_agg(case when (x.value -> 'state' ->> 'separation_of_duties')::boolean and c.closed is not null then
      x.value || jsonb_build_object('closed_to', to_jsonb(c.closed), 'state', x.value -> 'state' || jsonb_build_object('excluded', to_jsonb(c.closed)),
        'people', coalesce((select jsonb_agg(p.value) from jsonb_array_elements(x.value -> 'people') p
                             where substr(p.value ->> 0, 6) <> all (c.closed) or p.value ->> 0 not like 'user:%'), '[]'))
      else x.value end order by x.ordinality), '[]')::text
    from jsonb_array_elements(p_tasks::jsonb) with ordinality x cross join lateral (
      select array_agg(distinct o.who #>> '{}') as closed from (
        select y.who from jsonb_path_query(x.value, '$.state.excluded[*]') y (who)
        union all
        select y.who from human_tasks t cross join lateral jsonb_path_query(t.state, '$.answers[*].by.subject') y (who)
         where t.shard = p_shard and t.execution_id = (x.value ->> 'execution_id')::uuid and t.status = 4) o) c
$function$;

CREATE OR REPLACE FUNCTION maestro.mc_task_tell(p_shard smallint, p_tenant uuid, p_task uuid)
 RETURNS TABLE(known boolean, status smallint, n integer)
 LANGUAGE plpgsql
 SET search_path TO 'maestro'
 SET enable_seqscan TO 'off'
AS $function$
declare v_task record;
begin
  select t.id, t.execution_id, t.step, t.generation, t.state into v_task from human_tasks t
   where t.shard = p_shard and t.id = p_task and t.tenant_id = p_tenant and t.execution_id is not null and t.status >= 4;
  if not found then
    return query select false, null::smallint, 0;
    return;
  end if;
  if exists (select 1 from workflow_executions e where e.shard = p_shard and e.id = v_task.execution_id and e.tenant_id = p_tenant
                and e.status in (0, 1, 3) and e.cancel_requested) then
    return query select true, 5::smallint, 0;
    return;
  end if;
  return query select m.known, m.status, m.n from mc_send_3(p_shard, p_tenant, v_task.execution_id, 6::smallint, jsonb_build_object(
    'actor', v_task.state -> 'ended_by', 'task', v_task.id, 'step', v_task.step, 'generation', v_task.generation,
    'status', v_task.state -> 'status', 'outcome', v_task.state -> 'outcome', 'response', v_task.state -> 'response',
    'at', v_task.state -> 'ended_at')::text, false, false) m;
end $function$;

CREATE OR REPLACE FUNCTION maestro.mc_tasks_ended()
 RETURNS trigger
 LANGUAGE plpgsql
 SET search_path TO 'maestro'
 SET enable_seqscan TO 'off'
AS $function$
begin
  perform mc_task_cancel(new.shard, array[new.id], 'the execution has ended');
  return null;
end $function$;

CREATE OR REPLACE FUNCTION maestro.mc_tenant()
 RETURNS uuid
 LANGUAGE sql
 STABLE
AS $function$ select nullif(current_setting('mc.tenant', true), '')::uuid $function$;

CREATE OR REPLACE FUNCTION maestro.mc_trim_feed(p_shard smallint, p_age interval, p_limit integer)
 RETURNS integer
 LANGUAGE plpgsql
 SET search_path TO 'maestro'
 SET enable_seqscan TO 'off'
AS $function$
declare v_slowest xid8; v_last xid8; v_at timestamptz; v_count int;
begin
  select min(c.xact) into v_slowest from event_cursors c where c.shard = p_shard and c.stream = 'execution';
  select max(x.xact), max(x.at) into v_last, v_at from (select f.xact, f.at from event_feed f where f.shard = p_shard order by f.xact, f.n limit p_limit) x
   where x.xact < coalesce(v_slowest, pg_snapshot_xmin(pg_current_snapshot())) or x.at < pg_catalog.now() - p_age;
  if v_last is null then
    return 0;
  end if;
  update event_cursors c set xact = (v_last::text::bigint + 1)::text::xid8, missed_until = v_at, moved_at = pg_catalog.now()
   where c.shard = p_shard and c.stream = 'execution' and c.xact <= v_last;
  delete from event_feed f where f.shard = p_shard and f.xact <= v_last;
  get diagnostics v_count = row_count;
  return v_count;
end $function$;

CREATE OR REPLACE FUNCTION maestro.mc_unread(p_shard smallint, p_exec uuid[])
 RETURNS void
 LANGUAGE plpgsql
 SET search_path TO 'maestro'
 SET enable_seqscan TO 'off'
AS $function$
declare v_exec uuid[]; v_tenant uuid[]; v_seq int[]; v_data text[];
begin
  select array_agg(x.e), array_agg(x.t), array_agg(x.q), array_agg(x.d) into v_exec, v_tenant, v_seq, v_data from (
    select b.execution_id as e, b.tenant_id as t,
           (select max(p.seq) from execution_events p where p.shard = p_shard and p.execution_id = b.execution_id)
             + row_number() over (partition by b.execution_id order by b.n) as q,
           (b.data || jsonb_build_object('n', b.n, 'message', case b.kind when 1 then 'cancel' when 2 then 'signal' when 3 then 'pause'
              when 4 then 'resume' when 5 then 'child_ended' when 6 then 'human_task_ended' when 9 then 'resolve_in_doubt' end))::text as d
      from execution_inbox b where b.shard = p_shard and b.execution_id = any (p_exec)) x;
  if v_exec is null then
    return;
  end if;
  insert into execution_events as ev (shard, kind, seq, execution_id, tenant_id, ts, data)
    select s.shard, 34, x.q, x.e, x.t, pg_catalog.now(), x.d::jsonb
      from shards s, unnest(v_exec, v_tenant, v_seq, v_data) x (e, t, q, d) where s.shard = p_shard;
  delete from execution_inbox b where b.shard = p_shard and b.execution_id = any (v_exec);
  perform mc_feed(p_shard, v_exec, v_seq, array_fill(34::smallint, array[cardinality(v_exec)]), false);
end $function$;

CREATE OR REPLACE FUNCTION maestro.mc_uuid_floor(p_at timestamp with time zone)
 RETURNS uuid
 LANGUAGE sql
 IMMUTABLE PARALLEL SAFE
AS $function$ select (lpad(to_hex(floor(extract(epoch from p_at) * 1000)::bigint), 12, '0') || repeat('0', 20))::uuid $function$;

CREATE OR REPLACE FUNCTION maestro.mc_version_is_immutable()
 RETURNS trigger
 LANGUAGE plpgsql
AS $function$
begin
  if tg_op = 'DELETE' or (to_jsonb(new) - 'state') is distinct from (to_jsonb(old) - 'state') or new.state < old.state then
    raise exception 'a published version never changes' using errcode = 'MC003';
  end if;
  return new;
end $function$;

CREATE OR REPLACE FUNCTION maestro.mc_versions_are_kept()
 RETURNS trigger
 LANGUAGE plpgsql
AS $function$
begin
  raise exception 'published versions are never deleted' using errcode = 'MC003';
end $function$;

CREATE OR REPLACE FUNCTION maestro.mc_within_limits(p_shard smallint, p_ids uuid[])
 RETURNS uuid[]
 LANGUAGE plpgsql
 SET search_path TO 'maestro'
 SET enable_seqscan TO 'off'
AS $function$
declare v_limit record; v_one record; v_room jsonb := '{}'; v_fit uuid[] := '{}'; v_tenants uuid[]; v_workflows uuid[]; v_lo uuid; v_hi uuid;
begin
  if p_ids is null or not mc_has_limits() then
    return p_ids;
  end if;
  v_lo := mc_lo(p_ids);
  v_hi := mc_hi(p_ids);
  select array_agg(distinct e.tenant_id), array_agg(distinct e.workflow_id) into v_tenants, v_workflows from workflow_executions e
   where e.shard = p_shard and e.id between v_lo and v_hi and e.id = any (p_ids);
  -- Everybody locks in this order. What was counted before a lock was had would be out of date.
  for v_limit in select l.tenant, l.workflow, l.most from mc_limits_of(p_shard, v_tenants, v_workflows) l order by coalesce(l.workflow, l.tenant) loop
    perform pg_advisory_xact_lock(hashtextextended(p_shard || '/' || coalesce(v_limit.workflow, v_limit.tenant), 7263010));
    v_room := v_room || jsonb_build_object(coalesce(v_limit.workflow, v_limit.tenant),
      v_limit.most - mc_running(p_shard, v_limit.tenant, v_limit.workflow, v_limit.most));
  end loop;
  if v_room = '{}' then
    return p_ids;
  end if;
  for v_one in
    select e.id, e.tenant_id::text as t, e.workflow_id::text as w, e.cancel_requested or coalesce(e.deadline <= pg_catalog.now(), false) as ends
      from workflow_executions e where e.shard = p_shard and e.id between v_lo and v_hi and e.id = any (p_ids) order by e.priority desc, e.id
  loop
    if not v_one.ends then
      continue when (v_room ->> v_one.t)::int <= 0 or (v_room ->> v_one.w)::int <= 0;
      if v_room ? v_one.t then
        v_room := v_room || jsonb_build_object(v_one.t, (v_room ->> v_one.t)::int - 1);
      end if;
      if v_room ? v_one.w then
        v_room := v_room || jsonb_build_object(v_one.w, (v_room ->> v_one.w)::int - 1);
      end if;
    end if;
    v_fit := v_fit || v_one.id;
  end loop;
  return v_fit;
end $function$;

CREATE OR REPLACE FUNCTION maestro.now()
 RETURNS timestamp with time zone
 LANGUAGE sql
 STABLE
AS $function$ select coalesce(nullif(current_setting('mc.now', true), '')::timestamptz, pg_catalog.now()) $function$;

create policy engine on blob_refs to mc_engine using (true) with check (true);
create policy tenant on blob_refs to mc_api using ((tenant_id = (NULLIF(current_setting('mc.tenant'::text, true), ''::text))::uuid)) with check ((tenant_id = (NULLIF(current_setting('mc.tenant'::text, true), ''::text))::uuid));
create policy engine on bulk_operations to mc_engine using (true) with check (true);
create policy tenant on bulk_operations to mc_api using ((tenant_id = (NULLIF(current_setting('mc.tenant'::text, true), ''::text))::uuid)) with check ((tenant_id = (NULLIF(current_setting('mc.tenant'::text, true), ''::text))::uuid));
create policy engine on bulk_results to mc_engine using (true) with check (true);
create policy tenant on bulk_results to mc_api using ((tenant_id = (NULLIF(current_setting('mc.tenant'::text, true), ''::text))::uuid)) with check ((tenant_id = (NULLIF(current_setting('mc.tenant'::text, true), ''::text))::uuid));
create policy engine on dead_letters to mc_engine using (true) with check (true);
create policy tenant on dead_letters to mc_api using ((tenant_id = (NULLIF(current_setting('mc.tenant'::text, true), ''::text))::uuid)) with check ((tenant_id = (NULLIF(current_setting('mc.tenant'::text, true), ''::text))::uuid));
create policy engine on domain_events to mc_engine using (true) with check (true);
create policy tenant on domain_events to mc_api using ((tenant_id = (NULLIF(current_setting('mc.tenant'::text, true), ''::text))::uuid)) with check ((tenant_id = (NULLIF(current_setting('mc.tenant'::text, true), ''::text))::uuid));
create policy engine on event_failures to mc_engine using (true) with check (true);
create policy tenant on event_failures to mc_api using ((tenant_id = (NULLIF(current_setting('mc.tenant'::text, true), ''::text))::uuid)) with check ((tenant_id = (NULLIF(current_setting('mc.tenant'::text, true), ''::text))::uuid));
create policy engine on execution_counts to mc_engine using (true) with check (true);
create policy tenant on execution_counts to mc_api using ((tenant_id = (NULLIF(current_setting('mc.tenant'::text, true), ''::text))::uuid)) with check ((tenant_id = (NULLIF(current_setting('mc.tenant'::text, true), ''::text))::uuid));
create policy engine on execution_day_counts to mc_engine using (true) with check (true);
create policy tenant on execution_day_counts to mc_api using ((tenant_id = (NULLIF(current_setting('mc.tenant'::text, true), ''::text))::uuid)) with check ((tenant_id = (NULLIF(current_setting('mc.tenant'::text, true), ''::text))::uuid));
create policy engine on execution_deltas to mc_engine using (true) with check (true);
create policy tenant on execution_deltas to mc_api using ((tenant_id = (NULLIF(current_setting('mc.tenant'::text, true), ''::text))::uuid)) with check ((tenant_id = (NULLIF(current_setting('mc.tenant'::text, true), ''::text))::uuid));
create policy engine on execution_events to mc_engine using (true) with check (true);
create policy tenant on execution_events to mc_api using ((tenant_id = (NULLIF(current_setting('mc.tenant'::text, true), ''::text))::uuid)) with check ((tenant_id = (NULLIF(current_setting('mc.tenant'::text, true), ''::text))::uuid));
create policy engine on execution_inbox to mc_engine using (true) with check (true);
create policy tenant on execution_inbox to mc_api using ((tenant_id = (NULLIF(current_setting('mc.tenant'::text, true), ''::text))::uuid)) with check ((tenant_id = (NULLIF(current_setting('mc.tenant'::text, true), ''::text))::uuid));
create policy engine on execution_labels to mc_engine using (true) with check (true);
create policy tenant on execution_labels to mc_api using ((tenant_id = (NULLIF(current_setting('mc.tenant'::text, true), ''::text))::uuid)) with check ((tenant_id = (NULLIF(current_setting('mc.tenant'::text, true), ''::text))::uuid));
create policy engine on human_task_events to mc_engine using (true) with check (true);
create policy tenant on human_task_events to mc_api using ((tenant_id = (NULLIF(current_setting('mc.tenant'::text, true), ''::text))::uuid)) with check ((tenant_id = (NULLIF(current_setting('mc.tenant'::text, true), ''::text))::uuid));
create policy engine on human_task_people to mc_engine using (true) with check (true);
create policy tenant on human_task_people to mc_api using ((tenant_id = (NULLIF(current_setting('mc.tenant'::text, true), ''::text))::uuid)) with check ((tenant_id = (NULLIF(current_setting('mc.tenant'::text, true), ''::text))::uuid));
create policy engine on human_tasks to mc_engine using (true) with check (true);
create policy tenant on human_tasks to mc_api using ((tenant_id = (NULLIF(current_setting('mc.tenant'::text, true), ''::text))::uuid)) with check ((tenant_id = (NULLIF(current_setting('mc.tenant'::text, true), ''::text))::uuid));
create policy engine on idempotency_keys to mc_engine using (true) with check (true);
create policy tenant on idempotency_keys to mc_api using ((tenant_id = (NULLIF(current_setting('mc.tenant'::text, true), ''::text))::uuid)) with check ((tenant_id = (NULLIF(current_setting('mc.tenant'::text, true), ''::text))::uuid));
create policy engine on legal_holds to mc_engine using (true) with check (true);
create policy tenant on legal_holds to mc_api using ((tenant_id = (NULLIF(current_setting('mc.tenant'::text, true), ''::text))::uuid)) with check ((tenant_id = (NULLIF(current_setting('mc.tenant'::text, true), ''::text))::uuid));
create policy engine on map_chunks to mc_engine using (true) with check (true);
create policy engine on outbox to mc_engine using (true) with check (true);
create policy tenant on outbox to mc_api using ((tenant_id = (NULLIF(current_setting('mc.tenant'::text, true), ''::text))::uuid)) with check ((tenant_id = (NULLIF(current_setting('mc.tenant'::text, true), ''::text))::uuid));
create policy engine on step_cache to mc_engine using (true) with check (true);
create policy engine on step_executions to mc_engine using (true) with check (true);
create policy tenant on step_executions to mc_api using ((tenant_id = (NULLIF(current_setting('mc.tenant'::text, true), ''::text))::uuid)) with check ((tenant_id = (NULLIF(current_setting('mc.tenant'::text, true), ''::text))::uuid));
create policy engine on step_logs to mc_engine using (true) with check (true);
create policy tenant on step_logs to mc_api using ((tenant_id = (NULLIF(current_setting('mc.tenant'::text, true), ''::text))::uuid)) with check ((tenant_id = (NULLIF(current_setting('mc.tenant'::text, true), ''::text))::uuid));
create policy engine on tenants to mc_engine using (true) with check (true);
create policy tenant on tenants to mc_api using ((id = (NULLIF(current_setting('mc.tenant'::text, true), ''::text))::uuid));
create policy engine on version_provenance to mc_engine using (true) with check (true);
create policy tenant on version_provenance to mc_api using ((tenant_id = (NULLIF(current_setting('mc.tenant'::text, true), ''::text))::uuid)) with check ((tenant_id = (NULLIF(current_setting('mc.tenant'::text, true), ''::text))::uuid));
create policy engine on workflow_executions to mc_engine using (true) with check (true);
create policy tenant on workflow_executions to mc_api using ((tenant_id = (NULLIF(current_setting('mc.tenant'::text, true), ''::text))::uuid)) with check ((tenant_id = (NULLIF(current_setting('mc.tenant'::text, true), ''::text))::uuid));
create policy engine on workflow_versions to mc_engine using (true) with check (true);
create policy tenant on workflow_versions to mc_api using ((tenant_id = (NULLIF(current_setting('mc.tenant'::text, true), ''::text))::uuid)) with check ((tenant_id = (NULLIF(current_setting('mc.tenant'::text, true), ''::text))::uuid));
create policy engine on workflows to mc_engine using (true) with check (true);
create policy tenant on workflows to mc_api using ((tenant_id = (NULLIF(current_setting('mc.tenant'::text, true), ''::text))::uuid)) with check ((tenant_id = (NULLIF(current_setting('mc.tenant'::text, true), ''::text))::uuid));

grant delete, insert, select, update on blob_refs to mc_engine;
grant select on bulk_operations to mc_api;
grant delete, insert, select, update on bulk_operations to mc_engine;
grant select on bulk_results to mc_api;
grant delete, insert, select, update on bulk_results to mc_engine;
grant select on dead_letters to mc_api;
grant delete, insert, select, update on dead_letters to mc_engine;
grant insert, select on domain_events to mc_api;
grant delete, insert, select, update on domain_events to mc_engine;
grant delete, insert, select, update on event_cursors to mc_engine;
grant select on event_failures to mc_api;
grant delete, insert, select, update on event_failures to mc_engine;
grant delete, insert, select, update on event_feed to mc_engine;
grant select on execution_counts to mc_api;
grant delete, insert, select, update on execution_counts to mc_engine;
grant select on execution_day_counts to mc_api;
grant delete, insert, select, update on execution_day_counts to mc_engine;
grant select on execution_deltas to mc_api;
grant delete, insert, select, update on execution_deltas to mc_engine;
grant select on execution_events to mc_api;
grant delete, insert, select, update on execution_events to mc_engine;
grant delete, insert, select, update on execution_inbox to mc_engine;
grant select (shard, execution_id, tenant_id, created_at) on execution_inbox to mc_api;
grant select on execution_labels to mc_api;
grant delete, insert, select, update on execution_labels to mc_engine;
grant execute on function mc_beat(p_shard smallint, p_me bigint, p_epoch bigint, p_lease interval) to mc_engine;
grant execute on function mc_beat_2(p_shard smallint, p_me bigint, p_epoch bigint, p_lease interval, p_late interval) to mc_engine;
grant execute on function mc_beat_3(p_shard smallint, p_me bigint, p_epoch bigint, p_lease interval, p_late interval) to mc_engine;
grant execute on function mc_beat_4(p_shard smallint, p_me bigint, p_epoch bigint, p_lease interval, p_late interval) to mc_engine;
grant execute on function mc_begin_again(p_shard smallint, p_tenant uuid, p_exec uuid, p_statuses smallint[], p_kind smallint, p_event text) to mc_engine;
grant execute on function mc_begin_again_2(p_shard smallint, p_tenant uuid, p_exec uuid, p_statuses smallint[], p_kind smallint, p_event text, p_version uuid, p_generation smallint, p_input text) to mc_engine;
grant execute on function mc_blob_days() to mc_engine;
grant execute on function mc_blob_lock(p_tenant uuid, p_slot integer, p_digest text) to mc_engine;
grant execute on function mc_blob_refer(p_shard smallint, p_exec uuid, p_tenant uuid, p_digest text, p_size bigint) to mc_engine;
grant execute on function mc_blob_release(p_day date, p_limit integer) to mc_engine;
grant execute on function mc_blob_released(p_day date, p_at timestamp with time zone) to mc_engine;
grant execute on function mc_bury(p_shard smallint, p_me bigint) to mc_engine;
grant execute on function mc_bury_2(p_shard smallint, p_me bigint, p_gone bigint[]) to mc_engine;
grant execute on function mc_children_open(p_shard smallint, p_exec uuid[]) to mc_engine;
grant execute on function mc_chunk_back(p_shard smallint, p_me bigint, p_epoch bigint, p_exec uuid, p_patience interval, p_stop integer, p_why text) to mc_engine;
grant execute on function mc_chunk_end(p_shard smallint, p_me bigint, p_epoch bigint, p_exec uuid, p_lender bigint, p_number integer, p_outcomes text) to mc_engine;
grant execute on function mc_chunk_lend(p_shard smallint, p_me bigint, p_epoch bigint, p_exec uuid, p_number integer, p_step integer, p_items integer[], p_attempts integer[]) to mc_engine;
grant execute on function mc_chunk_sweep(p_shard smallint) to mc_engine;
grant execute on function mc_chunk_take(p_shard smallint, p_me bigint, p_epoch bigint) to mc_engine;
grant execute on function mc_claim(p_shard smallint, p_me bigint, p_epoch bigint, p_ids uuid[]) to mc_engine;
grant execute on function mc_claim_2(p_shard smallint, p_me bigint, p_epoch bigint, p_ids uuid[]) to mc_engine;
grant execute on function mc_claim_alone(p_shard smallint, p_me bigint, p_epoch bigint) to mc_engine;
grant execute on function mc_copy_holds(p_tenant uuid[], p_id uuid[], p_reason text[], p_actor text[], p_at timestamp with time zone[]) to mc_engine;
grant execute on function mc_count_moved(p_exec uuid, p_from uuid, p_to uuid) to mc_engine;
grant execute on function mc_day_catch_up(p_day date, p_as_of date, p_default integer) to mc_engine;
grant execute on function mc_day_copy(p_day date, p_as_of date, p_default integer) to mc_engine;
grant execute on function mc_day_exchange(p_day date, p_default integer) to mc_engine;
grant execute on function mc_day_sweep(p_day date, p_after uuid, p_limit integer) to mc_engine;
grant execute on function mc_day_watch(p_day date, p_as_of date, p_policy text, p_default integer) to mc_engine;
grant execute on function mc_days_due(p_default integer) to mc_engine;
grant execute on function mc_discard(p_shard smallint, p_tenant uuid, p_exec uuid, p_generation smallint, p_actor text, p_reason text, p_event text) to mc_engine;
grant execute on function mc_discard_2(p_shard smallint, p_tenant uuid, p_exec uuid, p_generation smallint, p_message integer, p_actor text, p_reason text, p_event text) to mc_engine;
grant execute on function mc_drop_logs(p_before date) to mc_engine;
grant execute on function mc_due(p_shard smallint, p_me bigint, p_epoch bigint, p_limit integer) to mc_engine;
grant execute on function mc_duration_slot(p_status smallint, p_started timestamp with time zone, p_finished timestamp with time zone) to mc_api;
grant execute on function mc_duration_slot(p_status smallint, p_started timestamp with time zone, p_finished timestamp with time zone) to mc_engine;
grant execute on function mc_enqueue(p_shard smallint, p_id uuid[], p_tenant uuid[], p_workflow uuid[], p_version uuid[], p_namespace text[], p_region text[], p_priority integer[], p_timeout double precision[], p_wake timestamp with time zone[], p_input text[], p_meta text[], p_key text[], p_digest bytea[], p_event text[], p_labels text[]) to mc_engine;
grant execute on function mc_enqueue_2(p_shard smallint, p_me bigint, p_epoch bigint, p_born boolean[], p_id uuid[], p_tenant uuid[], p_workflow uuid[], p_version uuid[], p_namespace text[], p_region text[], p_priority integer[], p_timeout double precision[], p_wake timestamp with time zone[], p_input text[], p_meta text[], p_key text[], p_digest bytea[], p_event text[], p_labels text[]) to mc_engine;
grant execute on function mc_family_ended() to mc_engine;
grant execute on function mc_family_lock(p_shard smallint, p_ended uuid[], p_more uuid[]) to mc_engine;
grant execute on function mc_feed(p_shard smallint, p_exec uuid[], p_seq integer[], p_kind smallint[], p_late boolean) to mc_engine;
grant execute on function mc_flush(p_shard smallint, p_me bigint, p_epoch bigint, s_tenant uuid[], s_exec uuid[], s_step integer[], s_item integer[], s_gen smallint[], s_attempt integer[], s_status smallint[], s_age double precision[], s_open boolean[], s_result text[], v_tenant uuid[], v_exec uuid[], v_seq integer[], v_kind smallint[], v_data text[], f_id uuid[], f_status smallint[], f_wait smallint[], f_wake double precision[], f_seen integer[], f_output text[], f_error text[], r_id uuid[], i_exec uuid[], i_n integer[]) to mc_engine;
grant execute on function mc_flush_2(p_shard smallint, p_me bigint, p_epoch bigint, s_tenant uuid[], s_exec uuid[], s_step integer[], s_item integer[], s_gen smallint[], s_attempt integer[], s_status smallint[], s_age double precision[], s_open boolean[], s_result text[], v_tenant uuid[], v_exec uuid[], v_seq integer[], v_kind smallint[], v_data text[], f_id uuid[], f_status smallint[], f_wait smallint[], f_wake double precision[], f_seen integer[], f_output text[], f_error text[], r_id uuid[], i_exec uuid[], i_n integer[]) to mc_engine;
grant execute on function mc_flush_3(p_shard smallint, p_me bigint, p_epoch bigint, s_tenant uuid[], s_exec uuid[], s_step integer[], s_item integer[], s_gen smallint[], s_attempt integer[], s_status smallint[], s_age double precision[], s_open boolean[], s_result text[], v_tenant uuid[], v_exec uuid[], v_seq integer[], v_kind smallint[], v_data text[], f_id uuid[], f_status smallint[], f_wait smallint[], f_wake double precision[], f_seen integer[], f_output text[], f_error text[], r_id uuid[], i_exec uuid[], i_n integer[], c_parent uuid[], c_id uuid[], c_tenant uuid[], c_workflow uuid[], c_version uuid[], c_namespace text[], c_region text[], c_priority integer[], c_timeout double precision[], c_input text[], c_meta text[], c_event text[], c_labels text[], m_tenant uuid[], m_exec uuid[], m_kind smallint[], m_data text[]) to mc_engine;
grant execute on function mc_flush_4(p_shard smallint, p_me bigint, p_epoch bigint, s_tenant uuid[], s_exec uuid[], s_step integer[], s_item integer[], s_gen smallint[], s_attempt integer[], s_status smallint[], s_age double precision[], s_open boolean[], s_result text[], v_tenant uuid[], v_exec uuid[], v_seq integer[], v_kind smallint[], v_data text[], f_id uuid[], f_status smallint[], f_wait smallint[], f_wake double precision[], f_seen integer[], f_output text[], f_error text[], r_id uuid[], i_exec uuid[], i_n integer[], c_parent uuid[], c_id uuid[], c_tenant uuid[], c_workflow uuid[], c_version uuid[], c_namespace text[], c_region text[], c_priority integer[], c_timeout double precision[], c_input text[], c_meta text[], c_event text[], c_labels text[], m_tenant uuid[], m_exec uuid[], m_kind smallint[], m_data text[], t_exec uuid[], t_open text, x_exec uuid[], x_reason text[]) to mc_engine;
grant execute on function mc_fold_counts(p_limit integer) to mc_engine;
grant execute on function mc_forget_keys(p_shard smallint, p_age interval, p_limit integer) to mc_engine;
grant execute on function mc_give_up(p_shard smallint, p_me bigint, p_epoch bigint, p_exec uuid, p_error text) to mc_engine;
grant execute on function mc_gone(p_shard smallint, p_me bigint) to mc_engine;
grant execute on function mc_has_limits() to mc_engine;
grant execute on function mc_hi(p_ids uuid[]) to mc_engine;
grant execute on function mc_id_day(p_id uuid) to mc_api;
grant execute on function mc_id_day(p_id uuid) to mc_engine;
grant execute on function mc_is_listed_apart(p_status smallint) to mc_api;
grant execute on function mc_is_listed_apart(p_status smallint) to mc_engine;
grant execute on function mc_lane_enter() to mc_engine;
grant execute on function mc_lane_keeps(p_shard smallint, p_workflow uuid, p_lane text) to mc_engine;
grant execute on function mc_lane_key(p_workflow uuid, p_lane text) to mc_engine;
grant execute on function mc_lanes_ready(p_shard smallint, p_limit integer) to mc_engine;
grant execute on function mc_lanes_trim(p_shard smallint) to mc_engine;
grant execute on function mc_leave(p_shard smallint, p_me bigint, p_epoch bigint) to mc_engine;
grant execute on function mc_leave_2(p_shard smallint, p_me bigint, p_epoch bigint) to mc_engine;
grant execute on function mc_limit_reached(p_in smallint, p_tenant uuid, p_workflow uuid) to mc_api;
grant execute on function mc_limits_of(p_shard smallint, p_tenants uuid[], p_workflows uuid[]) to mc_engine;
grant execute on function mc_lo(p_ids uuid[]) to mc_engine;
grant execute on function mc_log(p_shard smallint, l_tenant uuid[], l_exec uuid[], l_step integer[], l_item integer[], l_gen smallint[], l_attempt integer[], l_age double precision[], l_level text[], l_message text[], l_fields text[]) to mc_engine;
grant execute on function mc_make_partitions(p_from date, p_to date) to mc_engine;
grant execute on function mc_migrate(p_shard smallint, p_tenant uuid, p_exec uuid, p_from uuid, p_to uuid, p_version text, p_epoch bigint, p_seq integer, p_event text) to mc_engine;
grant execute on function mc_next_due(p_shard smallint) to mc_engine;
grant execute on function mc_note_tags() to mc_engine;
grant execute on function mc_redrive(p_shard smallint, p_tenant uuid, p_exec uuid, p_generation smallint, p_actor text, p_reason text, p_event text) to mc_engine;
grant execute on function mc_redrive_2(p_shard smallint, p_tenant uuid, p_exec uuid, p_generation smallint, p_message integer, p_actor text, p_reason text, p_event text) to mc_engine;
grant execute on function mc_register(p_shard smallint, p_me bigint, p_host text, p_lease interval) to mc_engine;
grant execute on function mc_register_2(p_shard smallint, p_me bigint, p_host text, p_lease interval, p_tags text[]) to mc_engine;
grant execute on function mc_retry(p_shard smallint, p_tenant uuid, p_exec uuid, p_statuses smallint[], p_event text) to mc_engine;
grant execute on function mc_running(p_shard smallint, p_tenant uuid, p_workflow uuid, p_most integer) to mc_engine;
grant execute on function mc_send(p_shard smallint, p_tenant uuid, p_exec uuid, p_kind smallint, p_data text, p_cancel boolean) to mc_engine;
grant execute on function mc_send_2(p_shard smallint, p_tenant uuid, p_exec uuid, p_kind smallint, p_data text, p_cancel boolean, p_resumes boolean) to mc_engine;
grant execute on function mc_send_3(p_shard smallint, p_tenant uuid, p_exec uuid, p_kind smallint, p_data text, p_cancel boolean, p_resumes boolean) to mc_engine;
grant execute on function mc_set_aside(p_shard smallint, p_me bigint, p_epoch bigint, p_exec uuid, p_message integer, p_error text) to mc_engine;
grant execute on function mc_shard(p_id uuid, p_total integer) to mc_engine;
grant execute on function mc_slot(p_id uuid) to mc_api;
grant execute on function mc_slot(p_id uuid) to mc_engine;
grant execute on function mc_source_digest(p_source text) to mc_api;
grant execute on function mc_state(p_status smallint, p_wait smallint, p_cancel boolean) to mc_api;
grant execute on function mc_state(p_status smallint, p_wait smallint, p_cancel boolean) to mc_engine;
grant execute on function mc_state(p_status smallint, p_wait smallint, p_cancel boolean, p_compensating boolean) to mc_api;
grant execute on function mc_state(p_status smallint, p_wait smallint, p_cancel boolean, p_compensating boolean) to mc_engine;
grant execute on function mc_sweep_workers(p_shard smallint) to mc_engine;
grant execute on function mc_tagged(p_shard smallint, p_tags text, p_limit integer, p_not uuid[]) to mc_engine;
grant execute on function mc_takeover(p_shard smallint, p_me bigint, p_epoch bigint, p_limit integer) to mc_engine;
grant execute on function mc_takeover_2(p_shard smallint, p_me bigint, p_epoch bigint, p_limit integer) to mc_engine;
grant execute on function mc_takeover_3(p_shard smallint, p_me bigint, p_epoch bigint, p_limit integer) to mc_engine;
grant execute on function mc_task_cancel(p_shard smallint, p_exec uuid[], p_reason text) to mc_engine;
grant execute on function mc_task_open(p_shard smallint, p_tasks text) to mc_engine;
grant execute on function mc_task_separated(p_shard smallint, p_tasks text) to mc_engine;
grant execute on function mc_task_tell(p_shard smallint, p_tenant uuid, p_task uuid) to mc_engine;
grant execute on function mc_tasks_ended() to mc_engine;
grant execute on function mc_tenant() to mc_api;
grant execute on function mc_tenant() to mc_engine;
grant execute on function mc_trim_feed(p_shard smallint, p_age interval, p_limit integer) to mc_engine;
grant execute on function mc_unread(p_shard smallint, p_exec uuid[]) to mc_engine;
grant execute on function mc_uuid_floor(p_at timestamp with time zone) to mc_api;
grant execute on function mc_uuid_floor(p_at timestamp with time zone) to mc_engine;
grant execute on function mc_version_is_immutable() to mc_engine;
grant execute on function mc_within_limits(p_shard smallint, p_ids uuid[]) to mc_engine;
grant execute on function now() to mc_api;
grant execute on function now() to mc_engine;
grant select on human_task_events to mc_api;
grant delete, insert, select on human_task_events to mc_engine;
grant select on human_task_people to mc_api;
grant delete, insert, select, update on human_task_people to mc_engine;
grant select on human_tasks to mc_api;
grant delete, insert, select, update on human_tasks to mc_engine;
grant insert, select on idempotency_keys to mc_api;
grant delete, insert, select, update on idempotency_keys to mc_engine;
grant select on legal_holds to mc_api;
grant select on legal_holds to mc_engine;
grant delete, insert, select, update on map_chunks to mc_engine;
grant select on migrations to mc_api;
grant select on migrations to mc_engine;
grant delete, insert, select, update on outbox to mc_engine;
grant select on retention_days to mc_engine;
grant delete, insert, select, update on shards to mc_engine;
grant delete, insert, select, update on step_cache to mc_engine;
grant select on step_executions to mc_api;
grant delete, insert, select, update on step_executions to mc_engine;
grant select on step_logs to mc_api;
grant delete, insert, select, update on step_logs to mc_engine;
grant select on tenants to mc_api;
grant delete, insert, select, update on tenants to mc_engine;
grant insert, select on version_provenance to mc_api;
grant select on version_provenance to mc_engine;
grant delete, insert, select, update on workers to mc_engine;
grant select (id, shard, lease_until, dead, host, left_at, tags) on workers to mc_api;
grant select on workflow_executions to mc_api;
grant delete, insert, select, update on workflow_executions to mc_engine;
grant select on workflow_records to mc_api;
grant select on workflow_records to mc_engine;
grant insert, select, update on workflow_versions to mc_api;
grant delete, insert, select, update on workflow_versions to mc_engine;
grant delete, insert, select, update on workflows to mc_api;
grant delete, insert, select, update on workflows to mc_engine;

-- Whose the event was on which a handler fails: what the handler said of it is shown to that tenant and to no other.
-- Locks: short ones on event_cursors and event_failures; both are small.

set local search_path = maestro;

alter table event_cursors add column failed_tenant uuid;
comment on column event_cursors.failed_tenant is 'whose all the events were on which it failed last; null when they were of several';
create index event_failures_tenant on event_failures (tenant_id, at desc);

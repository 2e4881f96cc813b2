-- What event handlers need beside the feed: a note for one that was away too long, and trimming without long deletes.
-- Locks: short ones on event_cursors.

set local search_path = maestro;

alter table event_cursors add column missed_until timestamptz;
comment on column event_cursors.missed_until is 'events up to then were trimmed before the handler had them, and it has not yet been told';

-- Rows of the feed that every handler of the shard has behind it, or that are too old to be kept for one: a bounded batch
-- of them. A handler that still had some of them before it is moved on, and its row says what it missed.
create function mc_trim_feed(p_shard smallint, p_age interval, p_limit int) returns int
language plpgsql set search_path = maestro set enable_seqscan = off as $$
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
end $$;

revoke execute on function mc_trim_feed(smallint, interval, int) from public;
grant execute on function mc_trim_feed(smallint, interval, int) to mc_engine;

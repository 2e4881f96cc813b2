-- A heartbeat is told when the next parked execution is due, so that its worker need not wait for another beat
-- Locks: none but those of two new functions. Who knows of them asks mc_beat_4; mc_beat_3 answers older workers beside it.

set local search_path = maestro;

-- Seconds until the next parked execution is due; null: none is parked for a time that is to come. One that waits for its lane
-- too is counted: whoever asks for it in vain has lost a statement.
create function mc_next_due(p_shard smallint) returns double precision
language sql stable set search_path = maestro set enable_seqscan = off as $$
  select extract(epoch from e.wake_at - pg_catalog.now())::float8 from workflow_executions e
   where e.shard = p_shard and e.status = 3 and e.wake_at > pg_catalog.now() order by e.wake_at limit 1;
$$;

-- As mc_beat_3, and when the next one is due.
create function mc_beat_4(p_shard smallint, p_me bigint, p_epoch bigint, p_lease interval, p_late interval)
returns table (live integer, dead integer, due integer, queued integer, inbox uuid[], lent integer, next_due double precision)
language plpgsql set search_path = maestro set enable_seqscan = off as $$
begin
  return query select b.live, b.dead, b.due, b.queued, b.inbox, b.lent, case when b.live = 1 then mc_next_due(p_shard) end
    from mc_beat_3(p_shard, p_me, p_epoch, p_lease, p_late) b;
end $$;

revoke execute on function mc_next_due(smallint), mc_beat_4(smallint, bigint, bigint, interval, interval) from public;
grant execute on function mc_next_due(smallint), mc_beat_4(smallint, bigint, bigint, interval, interval) to mc_engine;

-- The office of the scheduler's leader: a session-level advisory lock.

-- name: take
-- Safe: never waits; held until the connection ends, so it is asked for once per connection.
select pg_try_advisory_lock($1::bigint);

-- name: prove
-- Safe: reads the lock table for this session only; true as long as the connection that took the lock lives.
select exists (select 1 from pg_locks l where l.locktype = 'advisory' and l.pid = pg_backend_pid() and l.granted
                and ((l.classid::bigint << 32) | l.objid::bigint) = $1::bigint);

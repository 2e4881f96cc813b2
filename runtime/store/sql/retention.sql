-- Retention of executions by whole days. All run as mc_engine, which may call these functions and none of their parts.

-- name: days_due
-- Safe: reads the catalogs and the settings; says what to do, does nothing.
select day, as_of, policy, state from mc_days_due($1);

-- name: watch
-- Safe: waits at most 200 ms for a lock on the day; puts the triggers on and clears what an earlier attempt left.
select mc_day_watch($1, $2, $3, $4);

-- name: copy
-- Safe: writes only into tables that nobody reads; long when much is kept, and rolled back whole when it is interrupted.
select mc_day_copy($1, $2, $3);

-- name: catch_up
-- Safe: an execution that changes meanwhile is noted again, and copied again the next time.
select mc_day_catch_up($1, $2, $3);

-- name: exchange
-- Safe: nothing can change between the last copy and the exchange, because the tables are locked; waits at most 200 ms for each lock.
select mc_day_exchange($1, $2);

-- name: outcome
-- Safe: reads one row by its key.
select kept, dropped, bytes from retention_days where day = $1;

-- name: sweep
-- Safe: a bounded batch in the order of ids; only what belongs to executions that are not there.
select upto, gone from mc_day_sweep($1, $2, $3);

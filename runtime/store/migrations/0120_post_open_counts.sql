-- What 0106 replaced: every statement asks for the state that came with it too, so none can be answered by this index any more.
-- Locks: exclusive on execution_counts for an instant.

set local search_path = maestro;

drop index execution_counts_open;

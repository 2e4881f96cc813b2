"""Redis: hints only. It can be emptied, restarted or away at any moment; nothing is lost by that.

Streams hand queued executions to workers, published messages ring bells. What is lost here, the
scheduler's sweep and slow polling of PostgreSQL make up.
"""

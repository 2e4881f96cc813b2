"""What callers send: one input per mutation, and the filters of lists."""

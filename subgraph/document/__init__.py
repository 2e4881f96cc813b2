"""Documents: what a caller wrote, from its text to an operation that may run, and what that may cost."""

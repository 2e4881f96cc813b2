"""The way out: one shared HTTP session with limits, and the rule of where it may go."""

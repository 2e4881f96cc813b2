"""Logs, traces and metrics of the process; nothing is exported unless configured."""

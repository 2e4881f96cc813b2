"""Streams, one noun per file: replayed from the log, then live."""

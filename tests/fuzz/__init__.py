"""Throws broken documents at the reader, validation, formatting and converting: `make fuzz SECONDS=3600`."""

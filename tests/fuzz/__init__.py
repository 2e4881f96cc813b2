"""Throws documents, whole and broken, at all that reads definitions; and expressions: `make fuzz SECONDS=3600`."""

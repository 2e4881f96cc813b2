"""Reads, one noun per file."""

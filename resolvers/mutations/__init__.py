"""Changes, one noun per file."""

"""Examples that really run: workflow documents, and the small shop they talk to."""

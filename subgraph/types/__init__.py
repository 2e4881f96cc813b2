"""The types of the graph, one noun per file, each with `of(record)`."""

"""What steps can use: one file per connector, the registry that finds them, and how one is called."""

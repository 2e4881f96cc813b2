"""What happens because time passed: one leader, one file per duty."""

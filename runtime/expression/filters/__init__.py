"""The filters of expressions, a file per kind of value. Each takes the meter first and pays before it works."""

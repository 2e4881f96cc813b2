"""The receptionist: argument, one service call, record. Knows no GraphQL type and no SQL."""

"""What is asked of steps chooses among a few statements; it makes none of its own."""

from __future__ import annotations

from itertools import combinations

from runtime.model.step_table import StepColumn
from runtime.store.step_table import statement_of


def test_there_are_few_statements_and_each_reads_what_is_asked_for() -> None:
    every = [
        frozenset(some)
        for count in range(len(StepColumn) + 1)
        for some in combinations(StepColumn, count)
    ]

    statements = {columns: statement_of(columns) for columns in every}

    assert len(set(statements.values())) <= 4
    assert all(f" as {name}" in text for columns, text in statements.items() for name in columns)
    assert " as code" not in statement_of(frozenset({StepColumn.STATUS}))

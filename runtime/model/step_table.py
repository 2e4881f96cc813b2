"""The steps of one execution in columns: of what ended well at the first go, rows alone say everything."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any
from uuid import UUID


class StepColumn(StrEnum):
    """What is stored of a step's attempt, by the name that `StepExecution` has for it."""

    STATUS = "status"
    ATTEMPT = "attempt"
    STARTED_AT = "started_at"
    FINISHED_AT = "finished_at"
    DURATION = "duration"
    WORKER_ID = "worker_id"
    SKIP_REASON = "skip_reason"
    INPUT_HASH = "input_hash"
    OUTPUT_HASH = "output_hash"
    CODE = "code"
    CODE_HASH = "code_hash"


@dataclass(frozen=True, slots=True)
class StepNames:
    """What the plan says of all its steps, in its order; `places` are their numbers as text."""

    places: tuple[str, ...]
    keys: tuple[str, ...]
    types: tuple[str, ...]
    max_attempts: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class StepTable:
    """The steps of an execution that is over, each with one attempt that ended well.

    Columns are as long as the plan, in its order. Statuses are numbers as text, instants are ISO 8601 text in UTC with
    microseconds, durations whole milliseconds as text; the others are what `StepExecution` has.
    """

    execution_id: UUID
    names: StepNames
    columns: Mapping[str, Sequence[Any]]

    def __getitem__(self, column: StepColumn) -> Sequence[Any]:
        """A column that was asked for; raises KeyError for another."""
        return self.columns[column]

"""ExecutionReplay: whether an execution's record follows from its decisions, made once more."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple
from uuid import UUID

from runtime.model.blob import Stored
from runtime.model.checkpoint import StepRecord
from runtime.model.event import ExecutionEvent
from runtime.model.execution import ExecutionStatus
from runtime.model.values import Json


class DivergenceKind(StrEnum):
    """What does not agree: closed.

    EVENT: another event follows from what came before. ROW: an attempt's row says something else than was decided.
    INPUT: an input, rendered again, has another digest. OUTPUT: a stored output is not what its digest says.
    RESULT: the end of the execution. DEFINITION: the version is not what its digest says. EXECUTED: a pure step, run
    again, gives another output.
    """

    EVENT = "event"
    ROW = "row"
    INPUT = "input"
    OUTPUT = "output"
    RESULT = "result"
    DEFINITION = "definition"
    EXECUTED = "executed"


class ReplayDivergence(NamedTuple):
    """The first thing that does not agree: at which event, of which step or item, what follows and what is recorded."""

    kind: DivergenceKind
    expected: str
    found: str
    sequence: int | None = None
    step: str | None = None
    item: int | None = None


@dataclass(frozen=True, slots=True)
class RecordedEnd:
    """How the row of an execution says that it is; `output` and `error` of one that has ended."""

    status: ExecutionStatus
    generation: int = 0
    output: Stored = None
    error: Json = None


@dataclass(frozen=True, slots=True)
class ExecutionRecord:
    """What is stored of an execution, of one moment: all events in order, all rows of steps and of items."""

    events: tuple[ExecutionEvent, ...]
    rows: tuple[StepRecord, ...]
    end: RecordedEnd


@dataclass(frozen=True, slots=True)
class ExecutionReplay:
    """What a replay came to: how much of the record it made again, and the first divergence if there is one.

    `outputs` were hashed again; `executed` of the attempts were run again, `left_out` could not be.
    """

    execution_id: UUID
    events: int = 0
    attempts: int = 0
    inputs: int = 0
    outputs: int = 0
    executed: int = 0
    left_out: int = 0
    divergence: ReplayDivergence | None = None

    @property
    def is_equal(self) -> bool:
        """Whether everything recorded follows from the decisions."""
        return self.divergence is None

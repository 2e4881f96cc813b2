"""At the end of a seed, every execution is replayed from its record: all of it follows from the decisions."""

from __future__ import annotations

import hashlib
from collections import Counter
from math import inf

import orjson

from runtime.engine.event import BlobLoaded
from runtime.engine.program import Program
from runtime.engine.proof import Proof
from runtime.engine.state import run_of
from runtime.model.blob import BlobKey, BlobRef, stored
from runtime.model.checkpoint import OwnedExecution, StepRecord
from runtime.model.event import EventKind, ExecutionEvent
from runtime.model.execution import ExecutionStatus
from runtime.model.execution_replay import ExecutionRecord, ExecutionReplay, RecordedEnd
from tests.simulator.blobs import SimBlobs
from tests.simulator.loop import START
from tests.simulator.model import Model
from tests.simulator.tables import Execution
from tests.support.histories import drive

# What was replayed, in all seeds of this process.
REPLAYED: Counter[str] = Counter()


def record_of(e: Execution) -> ExecutionRecord:
    """What is stored of it."""
    events = tuple(
        ExecutionEvent(e.id, e.tenant, number, EventKind(kind), START, data)
        for number, (kind, data) in sorted(e.events.items())
    )
    rows = tuple(
        StepRecord(step, item, generation, attempt, status, ended == inf, 0.0, result)
        for (step, item, generation, attempt), (status, ended, result) in e.steps.items()
    )
    end = RecordedEnd(ExecutionStatus(e.status), e.generation, stored(e.output), e.error)
    return ExecutionRecord(events, rows, end)


def replay(
    e: Execution, program: Program, record: ExecutionRecord, model: Model, blobs: SimBlobs
) -> ExecutionReplay:
    """Replay one execution."""
    owned = OwnedExecution(*model.row_of(e))
    run = run_of(owned, program.plan)._replace(generation=0)
    proving = Proof(program, run, record).prove()
    found = drive(proving, lambda ref: _loaded(e, ref, blobs))
    REPLAYED["executions"] += 1
    REPLAYED["inputs"] += found.inputs
    REPLAYED["outputs"] += found.outputs
    return found


def _loaded(e: Execution, ref: BlobRef, blobs: SimBlobs) -> BlobLoaded:
    raw = blobs.blobs.get(BlobKey.of(e.tenant, e.id, ref.digest))
    if raw is None or f"sha256:{hashlib.sha256(raw).hexdigest()}" != ref.digest:
        return BlobLoaded(ref, problem="it is damaged")
    return BlobLoaded(ref, orjson.loads(raw))

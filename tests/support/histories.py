"""Recorded histories: all that was stored of real executions, kept as files, and replayed by every later version."""

from __future__ import annotations

import json
from collections.abc import Callable, Generator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final
from uuid import UUID

from runtime.definition import compile_plan
from runtime.definition.canonical import canonical_digest
from runtime.engine.event import BlobLoaded
from runtime.engine.program import Program
from runtime.engine.proof import Proof
from runtime.engine.state import run_of
from runtime.model.blob import BlobRef, stored
from runtime.model.checkpoint import OwnedExecution, StepRecord
from runtime.model.event import EventKind, ExecutionEvent
from runtime.model.execution import ExecutionStatus
from runtime.model.execution_replay import ExecutionRecord, ExecutionReplay, RecordedEnd
from runtime.model.values import Digest
from runtime.store.blob import Blobs
from runtime.store.execution_replay import RecordedExecution

FOLDER: Final = Path(__file__).parents[1] / "golden" / "histories"


@dataclass
class History:
    """One execution: the JSON of its file. Tests change it, to see that it is noticed."""

    data: dict[str, Any]

    @classmethod
    def read(cls, path: Path) -> History:
        return cls(json.loads(path.read_text("utf-8")))

    def write(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        text = json.dumps(self.data, indent=1, sort_keys=True, ensure_ascii=False)
        path.write_text(text + "\n", "utf-8")

    def replay(self) -> ExecutionReplay:
        """Replay it with this version of the engine."""
        execution, end = self.data["execution"], self.data["end"]
        one, tenant = UUID(execution["id"]), UUID(execution["tenant_id"])
        definition = self.data["definition"]
        digest = canonical_digest(definition)
        assert digest == Digest(self.data["digest"])
        program = Program.of(compile_plan(definition, digest))
        owned = OwnedExecution(
            one, tenant, UUID(int=0), UUID(int=0), 0, execution["namespace"], None, 0, 1, 0, 0,
            cancel_requested=False,
            created_at=datetime.fromisoformat(execution["created_at"]), age_seconds=0.0,
            deadline_in_seconds=None, meta=execution["meta"], input=execution["input"],
        )  # fmt: skip
        events = tuple(
            ExecutionEvent(one, tenant, e["sequence"], EventKind[e["kind"]], _NO_TIME, e["data"])
            for e in self.data["events"]
        )
        rows = tuple(StepRecord(ended_ago=0.0, **row) for row in self.data["rows"])
        ended = RecordedEnd(
            ExecutionStatus[end["status"]], end["generation"], stored(end["output"]), end["error"]
        )
        proof = Proof(program, run_of(owned, program.plan), ExecutionRecord(events, rows, ended))
        return drive(proof.prove(), self._load)

    def _load(self, ref: BlobRef) -> BlobLoaded:
        blobs = self.data["blobs"]
        if ref.digest not in blobs:
            return BlobLoaded(ref, problem="it is not there")
        return BlobLoaded(ref, blobs[ref.digest])


_NO_TIME: Final = datetime(2026, 1, 1, tzinfo=UTC)


def drive(
    proving: Generator[BlobRef, BlobLoaded, ExecutionReplay],
    load: Callable[[BlobRef], BlobLoaded],
) -> ExecutionReplay:
    """Let a replay go through its record, and give it the large values that it asks for."""
    try:
        wanted = next(proving)
        while True:
            wanted = proving.send(load(wanted))
    except StopIteration as end:
        replayed: ExecutionReplay = end.value
        return replayed


async def history_of(
    found: RecordedExecution, definition: Any, digest: Digest, blobs: Blobs
) -> History:
    """What is stored of an execution, as its file says it."""
    owned, record = found
    values = [owned.input, _value(record.end.output)]
    values += [row.result.get("output") for row in record.rows if isinstance(row.result, dict)]
    refs = {ref for value in values if isinstance(ref := stored(value), BlobRef)}
    return History(
        {
            "definition": definition,
            "digest": str(digest),
            "execution": {
                "id": str(owned.id),
                "tenant_id": str(owned.tenant_id),
                "namespace": owned.namespace,
                "created_at": owned.created_at.isoformat(),
                "meta": owned.meta,
                "input": owned.input,
            },
            "end": {
                "status": record.end.status.name,
                "generation": record.end.generation,
                "output": _value(record.end.output),
                "error": record.end.error,
            },
            "events": [
                {"sequence": e.sequence, "kind": e.kind.name, "data": e.data} for e in record.events
            ],
            "rows": [
                {name: value for name, value in row._asdict().items() if name != "ended_ago"}
                for row in record.rows
            ],
            "blobs": {
                ref.digest: await blobs.load(owned.tenant_id, owned.id, ref)
                for ref in sorted(refs, key=str)
            },
        }
    )


def _value(value: Any) -> Any:
    return value.as_json() if isinstance(value, BlobRef) else value

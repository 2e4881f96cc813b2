"""The rows of an execution as a replay writes them: each is compared with the stored one when it is decided.

What was written so far is all that a next owner would have found, so the state is rebuilt from it wherever the record
says that the owner changed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

import orjson

from runtime.engine.command import RecordStep
from runtime.model.blob import BlobRef, Stored
from runtime.model.checkpoint import COMPLETED_ITEMS, ItemResult, StepRecord
from runtime.model.execution import StepStatus
from runtime.model.execution_replay import DivergenceKind, ReplayDivergence
from runtime.model.settled import settled
from runtime.model.values import Digest, Json

_SHOWN: Final = 1_000


class RowKey(NamedTuple):
    """One attempt."""

    generation: int
    step: int
    item: int
    attempt: int


class Diverged(Exception):
    """The record does not follow from here on."""

    def __init__(self, divergence: ReplayDivergence) -> None:
        super().__init__(divergence)
        self.divergence = divergence


def digest_of(value: Json) -> str:
    """As rows record the digests of inputs and outputs."""
    return str(Digest.of(orjson.dumps(value, option=orjson.OPT_SORT_KEYS)))


def shown(value: Json) -> str:
    """A value in one line that is no longer than people read."""
    text = orjson.dumps(value, option=orjson.OPT_SORT_KEYS, default=str).decode()
    return text if len(text) <= _SHOWN else text[: _SHOWN - 1] + "…"


def decided(command: RecordStep) -> dict[str, Json]:
    """What the core decides of a row; the rest are facts that ride along."""
    said: dict[str, Json] = {"status": command.status.name.lower()}
    if command.error is not None:
        said["error"] = settled(command.error.as_json())
    if command.retry_in_ms is not None:
        said["retry_in_ms"] = command.retry_in_ms
    if command.is_late:
        said["late"] = True
    if command.is_handled:
        said["handled"] = True
    if command.status is StepStatus.SKIPPED:
        said |= orjson.loads("{" + command.facts.tail[1:] + "}")
    return said


def recorded(row: StepRecord) -> dict[str, Json]:
    """The same of a stored row."""
    result = facts(row)
    said: dict[str, Json] = {"status": StepStatus(row.status).name.lower()}
    names = ("reason",) if row.status == StepStatus.SKIPPED else ()
    for name in ("error", "retry_in_ms", "late", "handled", *names):
        if result.get(name) is not None:
            said[name] = settled(result[name])
    return said


def facts(row: StepRecord | None) -> dict[str, Json]:
    """What a row says."""
    return row.result if row is not None and isinstance(row.result, dict) else {}


def _age(row: StepRecord) -> tuple[int, int]:
    return row.generation, row.attempt


@dataclass(slots=True)
class Ledger:
    """The stored rows, and those of them that the replay has written."""

    stored: dict[RowKey, StepRecord]
    made: dict[RowKey, StepRecord] = field(default_factory=dict)
    writes: int = 0

    @classmethod
    def of(cls, rows: Iterable[StepRecord]) -> Ledger:
        """With these stored."""
        return cls({RowKey(row.generation, row.step, row.item, row.attempt): row for row in rows})

    def write(self, key: RowKey, record: StepRecord) -> None:
        """This row is there from now on; the order of ends is that of these calls."""
        self.made.pop(key, None)
        self.writes += 1
        self.made[key] = record._replace(ended_ago=-float(self.writes))

    def order_of(self, steps: Sequence[int], generation: int) -> dict[int, int] | None:
        """The places of these steps among the ends, if their rows allow that they are told from the newest end on.

        Of ends in one commit the rows say no order: it is that of whoever owned the execution then.
        """
        ends: dict[int, StepRecord] = {}
        for key, row in self.stored.items():
            if key.item < 0 and key.generation <= generation and row.status == StepStatus.COMPLETED:
                known = ends.get(key.step)
                ends[key.step] = row if known is None else max(known, row, key=_age)
        ago = [ends[step].ended_ago for step in steps if step in ends]
        if len(ago) < len(steps) or ago != sorted(ago):
            return None
        return {step: place for place, step in enumerate(reversed(steps))}

    def announced(self, key: RowKey, *, is_withdrawn: bool = False) -> None:
        """A call was about to be made, or was not made after all."""
        status = StepStatus.CANCELLED if is_withdrawn else StepStatus.RUNNING
        place = (key.step, key.item, key.generation, key.attempt)
        self.write(key, StepRecord(*place, status, is_open=True, ended_ago=0.0, result={}))

    def check(
        self, key: RowKey, command: RecordStep, at: Callable[..., ReplayDivergence]
    ) -> StepRecord:
        """The stored row of what was decided; raises Diverged."""
        row, said = self.stored.get(key), decided(command)
        if row is None:
            raise Diverged(at(DivergenceKind.ROW, shown(said), "no row"))
        if command.is_open:
            place = (key.step, key.item, key.generation, key.attempt)
            result: Json = {"error": said.get("error")}
            row = StepRecord(*place, command.status, is_open=True, ended_ago=0.0, result=result)
        elif row.is_open or recorded(row) != said:
            found = recorded(row) | ({"is_open": True} if row.is_open else {})
            raise Diverged(at(DivergenceKind.ROW, shown(said), shown(found)))
        self.write(key, row)
        return row

    def unexplained(self) -> RowKey | None:
        """A stored row that no decision has written as it is."""
        for key, row in self.stored.items():
            made = self.made.get(key)
            if made is None or made.is_open != row.is_open:
                return key
        return None

    def is_announced(self, key: RowKey) -> bool:
        """Whether this call was announced and is not settled."""
        made = self.made.get(key)
        return made is not None and made.is_open and not made.is_withdrawn

    def for_rebuild(self) -> list[StepRecord]:
        """The rows as a next owner loads them: completed items as ranges."""
        rows: list[StepRecord] = []
        done: dict[tuple[int, int], list[int]] = {}
        for key, row in self.made.items():
            if key.item >= 0 and row.status == StepStatus.COMPLETED:
                done.setdefault((key.step, key.generation), []).append(key.item)
            else:
                rows.append(row)
        for (step, generation), items in done.items():
            rows.append(
                StepRecord(
                    step,
                    COMPLETED_ITEMS,
                    generation,
                    0,
                    StepStatus.COMPLETED,
                    is_open=False,
                    ended_ago=0.0,
                    result=[[one, one + 1] for one in sorted(items)],
                )
            )
        return rows

    def items(self, step: int, length: int) -> Sequence[ItemResult]:
        """What became of the items of a map, in order: of each its newest row that ended it."""
        found: dict[int, tuple[tuple[int, int], ItemResult]] = {}
        for key, row in self.made.items():
            if key.step != step or not 0 <= key.item < length or row.is_open:
                continue
            result, order = facts(row), (key.generation, key.attempt)
            if "retry_in_ms" in result or (key.item in found and found[key.item][0] > order):
                continue
            name = "output" if row.status == StepStatus.COMPLETED else "error"
            found[key.item] = order, ItemResult(key.item, row.status, result.get(name))
        return [found[one][1] for one in sorted(found)]


def expected_digest(row: StepRecord, output: Stored) -> tuple[str | None, str]:
    """The digest that a row records of its output, and the one that the output in it has."""
    said = facts(row).get("out")
    known = said if isinstance(said, str) else None
    return known, output.digest if isinstance(output, BlobRef) else digest_of(output)


def identity_of(value: Stored) -> str:
    """The digest of a value, wherever it lies."""
    return value.digest if isinstance(value, BlobRef) else digest_of(settled(value))


def element_of(one: ItemResult, value: Json, *, is_collecting: bool) -> bytes:
    """One element of the output of a map, as its join writes it."""
    status = StepStatus(one.status)
    if is_collecting:
        name = "output" if status is StepStatus.COMPLETED else "error"
        value = {"status": status.name.lower(), name: value}
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS)

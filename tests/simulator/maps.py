"""Maps of a program: which steps are maps, what must come of them without the engine, and a judge of their log."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from random import Random
from typing import Any, Final

from runtime.model.checkpoint import COMPLETED_ITEMS, StepRecord
from runtime.model.event import EventKind as Kind
from runtime.model.ids import StepExecutionId
from runtime.model.plan import MapPlan, StepKind
from tests.simulator.rewinds import AGAIN, taken_back

WIDE: Final = 2  # The last digit of seeds with wide maps.
_CALL: Final = (
    "sim.call"  # What other workers may call as well: an idempotent one, in a task of its own.
)

_COMPLETED: Final = 6
_UNOWNED: Final = {Kind.EXECUTION_TAKEN_OVER, Kind.EXECUTION_WAITING, *AGAIN}
_ENDED_BADLY: Final = {Kind.STEP_FAILED, Kind.STEP_TIMED_OUT}


@dataclass(frozen=True, slots=True)
class Many:
    """What a map goes over: so many numbers, or what the map put out that is its `source`.

    The script of the step befalls the `troubled` items, the others end well.
    """

    length: int
    limit: int
    is_collecting: bool
    troubled: frozenset[int]
    source: int | None = None

    @property
    def plan(self) -> MapPlan:
        """As a plan has it."""
        written: Any = [_element(item) for item in range(self.length)]
        if self.source is not None:
            written = f"{{{{ steps.s{self.source}.output or [] }}}}"
        return MapPlan(written, self.limit, self.is_collecting)

    def elements(self, values: Mapping[int, Any]) -> list[Any]:
        """The list, as it is when the map begins."""
        if self.source is not None:
            return values[self.source] or []
        return [_element(item) for item in range(self.length)]


def _element(item: int) -> int:
    return 3 * item + 1


def key_of(execution: Any, step: int, item: int, generation: int) -> str:
    """The key under which a step or an item calls."""
    return f"{StepExecutionId(execution, step, item)}.g{generation}"


def number_of(value: Any) -> int:
    """What a step computes with, whatever came before it."""
    if isinstance(value, list):
        return sum(map(number_of, value))
    if isinstance(value, dict):
        return number_of(value.get("output"))
    return value or 0


def with_maps(steps: tuple[Any, ...], seed: int) -> tuple[Any, ...]:
    """In one seed of five, some steps are maps, in half of those wide ones, whose calls others may make as well.

    The other seeds tell the stories that they always told.
    """
    if seed % 5 != 2:
        return steps
    is_wide = seed % 10 == WIDE
    random = Random(f"maps {seed} {len(steps)}")
    found: list[Any] = []
    for step in steps:
        if step.wait is not None or random.random() < 0.4:
            found.append(step)
            continue
        length = random.choice((8, 12, 20) if is_wide else (0, 1, 2, 3, 5, 8))
        sources = [n for n in step.needs if found[n].many and not found[n].many.is_collecting]
        many = Many(
            length,
            random.choice((3, 4, 6, 8) if is_wide else (1, 2, 3, 100)),
            random.random() < 0.3,
            frozenset(item for item in range(8) if random.random() < 0.4),
            random.choice(sources) if sources and random.random() < 0.5 else None,
        )
        found.append(replace(step, many=many, uses=_CALL) if is_wide else replace(step, many=many))
    return tuple(found)


def records_of(rows: Collection[tuple[tuple[int, int, int, int], Any]]) -> list[StepRecord]:
    """Rows as replay reads them: completed items as ranges, in one record for all of a generation."""
    found, completed = [], dict[tuple[int, int], list[Any]]()
    for (step, item, generation, attempt), (status, is_open, ago, result) in rows:
        if item >= 0 and status == _COMPLETED:
            completed.setdefault((step, generation), []).append(item)
        else:
            found.append(StepRecord(step, item, generation, attempt, status, is_open, ago, result))
    return found + [
        StepRecord(step, COMPLETED_ITEMS, generation, 0, _COMPLETED, False, 0.0, _ranges(items))
        for (step, generation), items in completed.items()
    ]


def _ranges(items: list[int]) -> list[Any]:
    found: list[Any] = []
    for item in sorted(items):
        if found and found[-1][1] >= item:
            found[-1][1] = item + 1
        else:
            found.append([item, item + 1])
    return found


def results_of(rows: Mapping[Any, Any], step: int, first: int, behind: int) -> list[Any]:
    """What became of items: the newest row of each."""
    newest: dict[int, Any] = {}
    for (one, item, _, _), (status, _, result) in sorted(rows.items(), key=lambda row: row[0]):
        if one == step and first <= item < behind:
            value = result.get("output" if status == _COMPLETED else "error")
            newest[item] = (item, status, value)
    return [newest[item] for item in sorted(newest)]


class MapJudge:
    """Reads the log of one execution, and nothing of the engine."""

    def __init__(self, e: Any, steps: Any, say: Callable[[str], None]) -> None:
        self._e = e
        self._steps = steps
        self._maps = {i: step.many for i, step in enumerate(steps) if step.many is not None}
        self._say = say

    def look(self) -> None:
        """No more items at once than may be, none begins behind a failure, none twice after its end."""
        if not self._maps:
            return
        under_way: set[tuple[int, int]] = set()
        faulty: set[int] = set()
        ended: set[tuple[int, int]] = set()
        renewed: set[int] = set()
        for n, (number, said) in sorted(self._e.events.items()):
            kind, data = Kind(number), said or {}
            if kind in _UNOWNED:
                under_way.clear()
            if kind in AGAIN:
                faulty.clear()
                # That those which had ended are kept is for others to see: here no item of them begins.
                renewed |= taken_back(self._steps, kind, data)
                ended = {one for one in ended if one[0] not in renewed}
                ended = ended if data.get("from_failed_step", True) else set()
                renewed = set()
                continue
            # What rests on what was undone is done again.
            renewed.update(data.get("again", ()))
            step, item = data.get("step", -1), data.get("item", -1)
            if step not in self._maps or item < 0:
                continue
            if kind is Kind.STEP_STARTED:
                under_way.add((step, item))
                if step in faulty or (step, item) in ended:
                    self._say(f"map: item {item} of step {step} of {self._e.id} began again ({n})")
                running = sum(one == step for one, _ in under_way)
                if running > self._maps[step].limit:
                    self._say(f"map: {running} items of step {step} of {self._e.id} at once ({n})")
            elif kind not in {Kind.STEP_CALL_ANNOUNCED, Kind.STEP_CALL_WITHDRAWN}:
                under_way.discard((step, item))
                if kind in _ENDED_BADLY and not self._maps[step].is_collecting:
                    faulty.add(step)
                if kind is Kind.STEP_COMPLETED:
                    ended.add((step, item))


def shown(value: Any) -> Any:
    """An output as it is compared: of items that failed it counts only that they did."""
    if isinstance(value, list):
        return [shown(one) for one in value]
    if isinstance(value, dict) and "error" in value and "status" in value:
        return {"status": "failed"}
    if isinstance(value, dict):
        return {name: shown(one) for name, one in value.items()}
    return value


def kind_of(many: Many | None) -> dict[str, Any]:
    """What makes a step of a plan a map."""
    return {} if many is None else {"kind": StepKind.MAP, "map": many.plan}

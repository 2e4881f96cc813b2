"""Concurrency keys of a seed: which programs have one, who gets a place in a lane, and a judge of how many hold a key."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from random import Random
from typing import Any, Final
from uuid import UUID

import orjson

from runtime.model.event import EventKind as Kind
from runtime.model.execution import ExecutionStatus, WaitKind
from runtime.model.plan import ConcurrencyPlan
from tests.simulator.children import BELOW
from tests.simulator.rewinds import AGAIN
from tests.simulator.tables import OPEN, RUNNING, WAITING, Row, rows_of

# What a step or an item of a map has begun with.
_BEGUN: Final = frozenset(
    (Kind.STEP_STARTED, Kind.TIMER_SET, Kind.SIGNAL_AWAITED, Kind.CHILD_STARTED)
)

# After the world has healed somebody looks within a lease and a few beats.
_PATIENCE: Final = 30.0


def has_lanes(seed: int) -> bool:
    """In some seeds, of which some have children, maps or tags as well. The others tell the stories that they always told."""
    return seed % 50 in {9, 21, 28, 37, 41, 44}


def concurrency_of(seed: int, version: UUID) -> ConcurrencyPlan | None:
    """What a program says of its concurrency. What only children run has one key for all of them."""
    if not has_lanes(seed):
        return None
    random = Random(f"lanes {seed} {version}")
    if random.random() < 0.2:
        return None
    key = "one" if version in BELOW or random.random() < 0.5 else "{{ params.k }}"
    rule = random.choice(("queue", "queue", "queue", "reject", "cancel_oldest"))
    return ConcurrencyPlan(key, random.choice((1, 1, 2)), rule)


# --- in the database -----------------------------------------------------------------------------


def enter(e: Any) -> None:
    """Into its lane, when it is accepted or retried: the triggers of `workflow_executions`."""
    e.in_lane, e.status, e.owner = False, WAITING, None
    e.wait = int(WaitKind.CONCURRENCY_LIMIT) if e.wake_at is None else e.wait


def is_refused(e: Any, executions: Iterable[Any], now: float) -> bool:
    """Whether its acceptance is refused: as many as its limit run or wait to, and that is its rule."""
    meta = e.meta or {}
    if _rule(e) != "reject" or e.wake_at is not None or "parent" in meta:
        return False
    found = [one for one in executions if _lane(one) == _lane(e)]
    opened = (_holds(one) or (is_waiting(one) and _is_due(one, now)) for one in found)
    return sum(opened) >= _limit(e)


def refused(
    columns: Sequence[Sequence[Any]], keys: Collection[Any], executions: Collection[Any], now: float
) -> list[Row]:
    """The rows of `refused_by_lanes`: of a batch those that come after as many as may be open in their lane."""
    out: list[tuple[int, str, int, list[UUID]]] = []
    before = defaultdict[tuple[UUID, str], list[UUID]](list)
    seen = {*keys}
    for number, (one, tenant, workflow, wake_at, said, key) in enumerate(
        zip(*columns, strict=True)
    ):
        meta = orjson.loads(said)
        rule = meta.get("concurrency", {})
        if rule.get("on_conflict") != "reject" or wake_at is not None or "parent" in meta:
            continue
        if key is not None and (tenant, key) in seen:
            continue
        seen.add((tenant, key))
        lane = (workflow, rule["key"])
        found = [e for e in executions if e.lane is not None and _lane(e) == lane]
        holders = sorted(e.id for e in found if _holds(e) or (is_waiting(e) and _is_due(e, now)))
        if len(holders) + len(before[lane]) >= rule["limit"]:
            told = [*holders, *before[lane]][:20]
            out.append((number, rule["key"], rule["limit"], told))
        before[lane].append(one)
    return rows_of("ordinal key limit holders", out)


def is_waiting(e: Any) -> bool:
    """Whether it is in its lane and has no place there."""
    return e.status == WAITING and e.in_lane is False


def late(executions: Iterable[Any], now: float) -> list[Any]:
    """What has run out of time while it waited: it ends without a place."""
    found = [e for e in executions if _wants(e) and _is_late(e, now)]
    return sorted(found, key=lambda e: e.deadline)


def ready(
    executions: Collection[Any], now: float, most: int, mutants: Collection[str]
) -> list[Any]:
    """Those that get a place, by priority and age, each by its own limit; each lane gives one before any gives another."""
    found: list[tuple[int, int, Any]] = []
    for members in _lanes_that_wait(executions, is_waiting):
        held = sum(_holds(e) for e in members)
        if "lane_left" in mutants:
            held = sum(_holds(e) and e.status == RUNNING for e in members)
        waiting = [e for e in members if _wants(e) and _is_due(e, now)]
        waiting.sort(key=lambda e: (-e.priority, e.id))
        if waiting and held >= _limit(waiting[0]):
            continue
        keeps = _oldest_kept(members, now)
        fit = [e for e in waiting if not _is_late(e, now) and (keeps is None or e.id >= keeps)]
        for turn, e in enumerate(fit[:most]):
            if held + turn >= _limit(e):
                break
            found.append((turn, len(found), e))
    return [e for *_, e in sorted(found, key=lambda one: one[:2])][:most]


def oldest(executions: Collection[Any], now: float) -> list[Any]:
    """Those that are cancelled because newer ones ask for it, in the order in which they are told."""
    found: list[Any] = []
    for members in _lanes_that_wait(executions, _asks_for_room):
        keeps = _oldest_kept(members, now)
        if keeps is not None:
            found += [e for e in _open_in(members, now) if e.id < keeps]
    return sorted((e for e in found if not e.cancel_requested), key=lambda e: e.id)


def _oldest_kept(members: Collection[Any], now: float) -> UUID | None:
    """The oldest that stays, where the newest asks for the cancel of the oldest; None: all do."""
    asking = [e for e in members if _asks_for_room(e) and _is_due(e, now)]
    if not asking:
        return None
    most = _limit(max(asking, key=lambda e: e.id))
    ids: list[UUID] = sorted((e.id for e in _open_in(members, now)), reverse=True)
    return ids[most - 1] if len(ids) >= most else None


def _open_in(members: Collection[Any], now: float) -> list[Any]:
    holding = [e for e in members if _holds(e) and not e.cancel_requested]
    return holding + [e for e in members if _wants(e) and _is_due(e, now)]


def _lanes_that_wait(executions: Collection[Any], waits: Callable[[Any], bool]) -> list[list[Any]]:
    """The members of each lane in which something waits, in the order of the lanes."""
    lanes = sorted({_lane(e) for e in executions if waits(e)})
    return [[e for e in executions if _lane(e) == lane] for lane in lanes]


def _lane(e: Any) -> tuple[UUID, str]:
    return e.workflow, e.lane


def _limit(e: Any) -> int:
    return int(e.meta["concurrency"]["limit"])


def _rule(e: Any) -> Any:
    return (e.meta or {}).get("concurrency", {}).get("on_conflict")


def _holds(e: Any) -> bool:
    return bool(e.in_lane) and e.status in OPEN


def _wants(e: Any) -> bool:
    """What undoes steps without a place is no waiter of its lane."""
    return is_waiting(e) and not e.compensating


def _is_due(e: Any, now: float) -> bool:
    return e.wake_at is None or e.wake_at <= now


def _is_late(e: Any, now: float) -> bool:
    return e.deadline is not None and e.deadline <= now


def _asks_for_room(e: Any) -> bool:
    return is_waiting(e) and _rule(e) == "cancel_oldest"


# --- the judge -----------------------------------------------------------------------------------


class LaneJudge:
    """Who holds a key is read from the log: what has begun a step in its newest generation, and has not ended."""

    def __init__(
        self,
        executions: Mapping[UUID, Any],
        counts: Mapping[UUID, int],
        say: Callable[[str], None],
    ) -> None:
        """`counts` are the steps of each program, without what undoes them: a cancel needs no place."""
        self._executions = executions
        self._counts = counts
        self._say = say
        # Since when there is a place for somebody who waits.
        self._free: dict[tuple[UUID, str], float] = {}

    def look(self, now: float, heal_at: float) -> None:
        """Never more than the limit hold a key; and who waits does not wait for ever where there is a place."""
        lanes = defaultdict(list)
        for e in self._executions.values():
            if e.lane is not None:
                lanes[_lane(e)].append(e)
        for lane, members in lanes.items():
            limit = max(map(_limit, members))
            holders = [e.id for e in members if e.status in OPEN and self._has_begun(e)]
            if len(holders) > limit:
                self._say(f"lane: {holders} hold the key {lane[1]!r} of {lane[0]}, of {limit}")
            self._look_for_places(lane, members, now, heal_at)

    def _look_for_places(
        self, lane: tuple[UUID, str], members: list[Any], now: float, heal_at: float
    ) -> None:
        # What has run out of time needs no place.
        waiting = [e for e in members if _wants(e) and _is_due(e, now) and not _is_late(e, now)]
        if not waiting or sum(map(_holds, members)) >= _limit(waiting[0]):
            self._free.pop(lane, None)
            return
        since = max(self._free.setdefault(lane, now), heal_at)
        if now - since > _PATIENCE:
            self._say(
                f"lane: {waiting[0].id} waits for a place that has been free for {_PATIENCE} s"
            )
            self._free[lane] = now

    def _has_begun(self, e: Any) -> bool:
        count = self._counts[e.version]
        for _, (kind, said) in sorted(e.events.items(), reverse=True):
            if kind in AGAIN:
                return False
            if kind in _BEGUN and said["step"] < count:
                return True
        return False


def is_entry(e: Any) -> bool:
    """Whether a retry has brought it into its lane again."""
    return e.lane is not None and (e.status, e.wait) == (
        ExecutionStatus.WAITING,
        WaitKind.CONCURRENCY_LIMIT,
    )

"""Worker tags of a seed: which steps ask for some, which workers have them, and who may take what waits for tags."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from random import Random
from typing import Any, Final

from runtime.model.event import EventKind
from runtime.model.execution import ExecutionStatus, WaitKind

ALL: Final = ("eu", "gpu")
_SETS: Final = ((), (), ("eu",), ("gpu",), ALL)
_WITH_MAPS: Final = frozenset({42, 47, 62})


def has_tags(seed: int) -> bool:
    """In some seeds, a few of them with maps. The other seeds tell the stories that they always told."""
    return seed % 20 in {4, 10, 16} or seed % 100 in _WITH_MAPS


def with_tags(steps: tuple[Any, ...], seed: int) -> tuple[Any, ...]:
    """Some steps that call, and some maps, ask for tags."""
    if not has_tags(seed):
        return steps
    random = Random(f"tags {seed} {len(steps)}")
    return tuple(replace(step, tags=random.choice(_SETS)) if step.calls else step for step in steps)


def tags_of(seed: int, number: int) -> frozenset[str]:
    """What the worker of a number has: some none, some all."""
    return (
        frozenset(Random(f"worker {seed} {number}").choice(_SETS))
        if has_tags(seed)
        else frozenset()
    )


def waits_for(e: Any, tags: Iterable[str]) -> bool:
    """Whether a worker with these tags may take an execution: `mc_has_tags` of what is parked for tags."""
    if not _is_parked(e):
        return False
    told = [n for n, (kind, _) in e.events.items() if kind == EventKind.EXECUTION_WAITING]
    said = e.events[max(told)][1] if told else None
    wanted = (said or {}).get("tags", ())
    return any(set(tags).issuperset(one) for one in wanted)


def waiting(executions: Iterable[Any], found: list[Any], tags: tuple[str, ...]) -> list[Any]:
    """What a worker with these tags may take beside what is due."""
    known = {e.id for e in found}
    more = (e for e in executions if tags and e.id not in known and waits_for(e, tags))
    return sorted(more, key=lambda e: (-e.priority, e.id))


def lure(executions: Iterable[Any], tags: tuple[str, ...]) -> int:
    """What a heartbeat says of them: whether a worker with some tags has anything to look at."""
    return int(bool(tags) and any(_is_parked(e) for e in executions))


def _is_parked(e: Any) -> bool:
    return bool((e.status, e.wait) == (ExecutionStatus.WAITING, WaitKind.WORKER_TAGS))

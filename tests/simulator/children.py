"""Children of a program: which steps start one, how that ended, and a judge of parents and children together."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from random import Random
from typing import Any, Final
from uuid import UUID

from runtime.model.event import EventKind as Kind
from runtime.model.ids import slot_of
from runtime.model.plan import StepKind
from runtime.model.values import Duration, SemVer
from runtime.model.workflow import VersionState
from runtime.store.plan import PublishedVersion
from tests.simulator.rewinds import AGAIN

# Programs that only children run: the second is started by the first.
BELOW: Final = (UUID(int=100), UUID(int=101))
_FINAL: Final = frozenset({2, 4, 5, 6, 7})
_COMPLETED: Final = 2
_TIMEOUT_MS: Final = 4_000


@dataclass(frozen=True, slots=True)
class ChildEnd:
    """How a child ended for the first time, which is the end that its parent heard of."""

    is_completed: bool
    output: Any


def has_children(seed: int) -> bool:
    """In one seed of ten. The other seeds tell the stories that they always told."""
    return seed % 10 == 9


def with_children(steps: tuple[Any, ...], seed: int, version: UUID) -> tuple[Any, ...]:
    """Some steps start a child: those of the programs that people start one of the first kind below."""
    below = BELOW[1:] if version == BELOW[0] else () if version == BELOW[1] else BELOW
    if not has_children(seed) or not below:
        return steps
    random = Random(f"children {seed} {version}")
    found: list[Any] = []
    for step in steps:
        if not step.calls or step.many is not None or random.random() < 0.5:
            found.append(step)
            continue
        found.append(replace(step, child=random.choice(below)))
    return tuple(found)


def child_plan(index: int, step: Any) -> dict[str, Any]:
    """What makes a step of a plan one that starts a child."""
    return {
        "kind": StepKind.WORKFLOW,
        "uses": None,
        "workflow": name_of(step.child),
        "config": {"from": index},
        "timeout": Duration(_TIMEOUT_MS) if step.delay_ms > 1_000 else None,
    }


def name_of(version: UUID) -> str:
    """The workflow of a program."""
    return f"w{version.int}"


def published(name: str) -> list[PublishedVersion]:
    """What the catalog says of it."""
    version = UUID(int=int(name.removeprefix("w")))
    return [PublishedVersion(version, version, "default", SemVer(1), VersionState.PUBLISHED)]


def started(e: Any) -> dict[int, UUID]:
    """The newest child of each step."""
    found: dict[int, UUID] = {}
    for _, (kind, said) in sorted(e.events.items()):
        if kind == Kind.CHILD_STARTED:
            found[said["step"]] = UUID(said["child"])
    return found


class FamilyJudge:
    """Looks at an execution and those that it has started."""

    def __init__(self, executions: Mapping[UUID, Any], say: Callable[[str], None]) -> None:
        self._executions = executions
        self._say = say

    def look(self, e: Any) -> None:
        """One child for each attempt, beside its parent; and none is left behind by an end."""
        attempts: set[tuple[int, int, int]] = set()
        generation = 0
        for n, (kind, said) in sorted(e.events.items()):
            generation += kind in AGAIN
            if kind != Kind.CHILD_STARTED:
                continue
            attempt = (generation, said["step"], said["attempt"])
            if attempt in attempts:
                self._say(f"child: {attempt} of {e.id} started a second one ({n})")
            attempts.add(attempt)
            self._of(e, UUID(said["child"]))

    def ends_last(self, e: Any) -> None:
        """What a worker has brought to an end had no child any more that goes on."""
        for one in started(e).values():
            if self._executions[one].status not in _FINAL:
                self._say(f"child: {e.id} has ended before its child {one}")

    def _of(self, e: Any, one: UUID) -> None:
        child = self._executions.get(one)
        if child is None or (child.meta or {}).get("parent") != str(e.id):
            self._say(f"child: {e.id} started {one}, which is not there")
            return
        if slot_of(one) != slot_of(e.id):
            self._say(f"child: {one} does not lie beside its parent {e.id}")
        is_its = child.generation == 0  # Retried, it is its own.
        if (
            e.status in _FINAL
            and is_its
            and child.status not in _FINAL
            and not child.cancel_requested
        ):
            self._say(f"child: {e.id} has ended, and its child {one} goes on untold")

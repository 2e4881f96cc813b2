"""Waits, signals and pauses of a seed: how they are drawn, and a judge that reads the log and nothing of the engine."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from random import Random
from typing import Any, Final

from runtime.model.event import EventKind as Kind
from runtime.model.plan import StepKind, WaitPlan
from runtime.model.values import Duration
from tests.simulator.loop import START
from tests.simulator.rewinds import AGAIN
from tests.simulator.tables import Execution

NAMES: Final = ("a", "b")
_WAITING, _PAUSED, _COMPLETED = 3, 5, 6
# After the world has healed somebody is there within a lease and a few beats.
_PATIENCE: Final = 30.0
_EPSILON: Final = 1e-6


def next_due(every: Iterable[Execution], now: float) -> float | None:
    """Seconds until the next parked execution is due."""
    times = (one.wake_at for one in every if one.status == _WAITING and one.wake_at is not None)
    return min((at - now for at in times if at > now), default=None)


@dataclass(frozen=True, slots=True)
class Wait:
    """What a step waits for: milliseconds (of a signal: its timeout), an instant, a signal."""

    ms: int | None = None
    until: float | None = None
    signal: str | None = None
    default: int | None = None

    @property
    def plan(self) -> dict[str, Any]:
        """As `plan_of` takes it."""
        config: dict[str, Any] = {}
        if self.until is not None:
            config["until"] = (START + timedelta(seconds=self.until)).isoformat()
        if self.default is not None:
            config["default"] = self.default
        return {
            "kind": StepKind.WAIT,
            "uses": None,
            "config": config,
            "wait": WaitPlan(
                self.signal,
                None if self.ms is None else Duration(self.ms),
                self.until is not None,
                self.default is not None,
            ),
        }


def draw_wait(random: Random) -> Wait | None:
    """A step in four waits."""
    if random.random() > 0.25:
        return None
    match random.choice(("for", "until", "signal", "signal")):
        case "for":
            return Wait(ms=random.choice((30, 400, 7_000, 12_000)))
        case "until":
            return Wait(until=random.uniform(0.0, 15.0))
    timeout = random.choice((None, None, 700, 8_000))
    default = random.choice((None, 11)) if timeout else None
    return Wait(ms=timeout, signal=random.choice(NAMES), default=default)


_CAUSES: Final = frozenset(
    (
        Kind.EXECUTION_CANCEL_REQUESTED,
        Kind.EXECUTION_DEADLINE_REACHED,
        Kind.STEP_FAILED,
        Kind.STEP_TIMED_OUT,
    )
)


class WaitJudge:
    """Reads the log of one execution after each commit."""

    def __init__(
        self, e: Execution, steps: Any, heal_at: float, say: Callable[[str], None]
    ) -> None:
        self._e = e
        self._waits: dict[int, Wait | None] = {i: step.wait for i, step in enumerate(steps)}
        self._heal_at = heal_at
        self._say = say
        self._log = [(n, Kind(kind), data or {}) for n, (kind, data) in sorted(e.events.items())]

    def look(self) -> None:
        """Everything that a log may not say."""
        self._pauses()
        self._timers()
        self._signals()
        is_over = self.is_ending() or self.is_undone()
        if self._e.status == _WAITING and self._e.wait != _PAUSED and not is_over:
            self._slept_through()

    def outputs(self) -> dict[int, int | None]:
        """What came of the waits that have ended, newest generation last: for the reference interpreter."""
        rows = sorted(self._e.steps.items(), key=lambda row: row[0][2])
        return {
            step: result.get("output")
            for (step, _, _, _), (status, _, result) in rows
            if self._waits[step] is not None and status == _COMPLETED
        }

    def awaited(self) -> set[str]:
        """The names for which steps wait now."""
        ended = {row[0] for row in self._e.steps if row[2] == self._e.generation}
        return {
            str(data["signal"])
            for _, kind, data in self._since_retry()
            if kind is Kind.SIGNAL_AWAITED and data["step"] not in ended
        }

    def is_ending(self) -> bool:
        """It ends by what has happened, and is parked until its children have: what it is told now is unread."""
        ended = {row[0] for row in self._e.steps if row[2] == self._e.generation}
        log = self._since_retry()
        return any(kind in _CAUSES for _, kind, _ in log) and any(
            kind is Kind.CHILD_STARTED and data["step"] not in ended for _, kind, data in log
        )

    def is_undone(self) -> bool:
        """Its steps are being undone: nothing is waited for but that."""
        return any(kind is Kind.EXECUTION_COMPENSATING for _, kind, _ in self._since_retry())

    def has_timed_out(self) -> bool:
        """Whether a wait may have failed: its signal had a timeout and no default, and it was over."""
        return any(
            result.get("error", {}).get("type") == "wait.timeout" and self._may_time_out(step)
            for (step, _, generation, _), (_, _, result) in self._e.steps.items()
            if generation == self._e.generation
        )

    def _may_time_out(self, step: int) -> bool:
        wait = self._waits[step]
        return wait is not None and wait.ms is not None and wait.default is None

    def _since_retry(self) -> list[tuple[int, Kind, Any]]:
        places = [i for i, (_, kind, _) in enumerate(self._log) if kind in AGAIN]
        return self._log[places[-1] + 1 :] if places else self._log

    def _since_start(self) -> list[tuple[int, Kind, Any]]:
        places = [
            i
            for i, (_, kind, data) in enumerate(self._log)
            if kind in AGAIN and data.get("from_failed_step") is False
        ]
        return self._log[places[-1] + 1 :] if places else self._log

    def _pauses(self) -> None:
        is_paused = False
        for n, kind, _ in self._log:
            # No pause holds up what undoes steps.
            is_paused &= kind is not Kind.EXECUTION_COMPENSATING
            if kind is Kind.EXECUTION_PAUSED:
                if is_paused:
                    self._say(f"pause: {self._e.id} was paused twice ({n})")
                is_paused = True
            elif kind in {Kind.EXECUTION_RESUMED, *AGAIN}:
                is_paused = False
            elif is_paused and kind in {Kind.STEP_STARTED, Kind.TIMER_FIRED}:
                self._say(f"pause: {kind.word} ({n}) in {self._e.id} while it was paused")

    def _timers(self) -> None:
        e, begun = self._e, dict[int, float]()
        has_paused = any(kind is Kind.EXECUTION_PAUSED for _, kind, _ in self._log)
        for n, kind, data in self._since_retry():
            if kind is Kind.TIMER_SET:
                if data["step"] in begun:
                    self._say(f"timer: step {data['step']} of {e.id} began to wait twice")
                begun[data["step"]] = e.written[n]
            elif kind is Kind.TIMER_FIRED:
                due = self._due(data["step"], begun[data["step"]])
                if e.written[n] < due - _EPSILON:
                    self._say(
                        f"timer: step {data['step']} of {e.id} ended {due - e.written[n]} s early"
                    )
                # An instant may lie in the past when its step begins.
                late = e.written[n] - max(due, begun[data["step"]], self._heal_at)
                if late > _PATIENCE and not has_paused:
                    self._say(f"timer: step {data['step']} of {e.id} ended {late} s late")

    def _due(self, step: int, begun: float) -> float:
        wait = self._waits[step]
        if wait is not None and wait.until is not None:
            return wait.until
        return begun + (wait.ms or 0) / 1000 if wait is not None else begun

    def _signals(self) -> None:
        came: dict[int, tuple[str, Any]] = {}
        taken: defaultdict[str, list[int]] = defaultdict(list)
        for _, kind, data in self._log:
            if kind is Kind.SIGNAL_RECEIVED:
                if data["n"] in came:
                    self._say(f"signal: {data['n']} of {self._e.id} was received twice")
                came[data["n"]] = (data["name"], data["payload"])
            elif kind is Kind.STEP_COMPLETED and "signal" in data:
                name, payload = came.get(data["signal"], ("?", None))
                wait = self._waits[data["step"]]
                row = self._row(data)
                if wait is None or wait.signal != name or row.get("output") != payload:
                    self._say(f"signal: step {data['step']} of {self._e.id} took {name} {payload}")
                taken[name].append(data["signal"])
        for name, numbers in taken.items():
            if numbers != sorted(set(numbers)):
                self._say(f"signal: {name} of {self._e.id} was taken in the order {numbers}")

    def _row(self, data: Any) -> Any:
        rows = (
            result
            for (step, _, _, attempt), (_, _, result) in self._e.steps.items()
            if step == data["step"]
            and attempt == data["attempt"]
            and result.get("signal") == data["signal"]
        )
        return next(rows, {})

    def _slept_through(self) -> None:
        left: dict[int, str] = {}
        for _, kind, data in self._since_start():
            if kind is Kind.SIGNAL_RECEIVED:
                left[data["n"]] = data["name"]
            elif kind is Kind.STEP_COMPLETED:
                left.pop(data.get("signal"), None)
        if both := self.awaited() & set(left.values()):
            self._say(f"I16: {self._e.id} is parked, waits for {both} and has it")


def people_could(e: Execution, judge: WaitJudge) -> Iterator[tuple[str, str]]:
    """What somebody must do, so that an execution comes to its end: (what, name)."""
    if e.status != _WAITING:
        return
    if e.wait == _PAUSED:
        yield "resume", ""
    for name in sorted(judge.awaited()):
        yield "signal", name

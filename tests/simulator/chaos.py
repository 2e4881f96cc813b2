"""What befalls one seed: weather, kills, pauses, restarts, cancels and retries, drawn before the run begins."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random
from typing import Final
from uuid import UUID

from runtime.model.checkpoint import InboxKind
from tests.simulator.cache import has_cache
from tests.simulator.children import BELOW, has_children
from tests.simulator.lanes import has_lanes
from tests.simulator.program import Program, draw_program
from tests.simulator.rewinds import moments
from tests.simulator.server import CALM, Weather
from tests.simulator.undoing import undoes_in

KILL, PAUSE, STOP, RESTART, FORGET = "kill", "pause", "stop", "restart", "forget"
CANCEL, RETRY, REWIND, SIGNAL = "cancel", "retry", "rewind", "signal"
HOLD, RELEASE, HEAL = "hold", "release", "heal"
SAID: Final = {
    CANCEL: InboxKind.CANCEL,
    SIGNAL: InboxKind.SIGNAL,
    HOLD: InboxKind.PAUSE,
    RELEASE: InboxKind.RESUME,
}
_ACTIONS: Final = (KILL, KILL, PAUSE, PAUSE, STOP, RESTART, FORGET, CANCEL, RETRY, RETRY)
_WORDS: Final = (SIGNAL, SIGNAL, SIGNAL, HOLD, RELEASE)


@dataclass(frozen=True, slots=True)
class Order:
    """An execution that a client asks for."""

    at: float
    version: UUID
    timeout: float | None
    gives_up: bool


@dataclass(frozen=True, slots=True)
class Blow:
    """Something that happens at a time, to one of those there are."""

    at: float
    kind: str
    choice: float
    seconds: float


@dataclass(frozen=True, slots=True)
class Fate:
    """All that chance decides beforehand; what it decides on the way comes from the loop."""

    weather: Weather
    programs: tuple[Program, ...]
    orders: tuple[Order, ...]
    blows: tuple[Blow, ...]
    workers: int
    max_steps: int
    strike: float
    heal_at: float


def draw_fate(seed: int) -> Fate:
    """The fate of a seed."""
    random = Random(f"fate {seed}")
    programs = tuple(
        draw_program(random, UUID(int=n + 1), seed) for n in range(random.randint(1, 2))
    )
    heal_at = random.uniform(2.0, 9.0)
    stormy = random.random() < 0.8
    return Fate(
        weather=_draw_weather(random) if stormy else CALM,
        programs=programs + _below(seed),
        orders=tuple(_draw_order(random, programs) for _ in range(random.randint(1, 4)))
        + _more_orders(seed, programs),
        blows=tuple(
            sorted(
                [
                    *(_draw_blow(random, heal_at, _ACTIONS) for _ in range(random.randint(0, 6))),
                    *(_draw_blow(random, heal_at, _WORDS) for _ in range(random.randint(0, 8))),
                    *_retries(seed, heal_at),
                    *(Blow(at, REWIND, *choices) for at, *choices in moments(seed, heal_at)),
                    Blow(heal_at, HEAL, 0.0, 0.0),
                ],
                key=lambda blow: blow.at,
            )
        ),
        workers=random.choice((1, 2, 2, 3)),
        max_steps=random.choice((1, 2, 100, 100)),
        strike=random.choice((0.0, 0.05, 0.2)) if stormy else 0.0,
        heal_at=heal_at,
    )


def _retries(seed: int, heal_at: float) -> list[Blow]:
    """Where steps are undone, what ended so is tried again, some more often than elsewhere."""
    random = Random(f"retries {seed}")
    count = random.randint(0, 3) if undoes_in(seed) else 0
    return [_draw_blow(random, heal_at, (RETRY,)) for _ in range(count)]


def _more_orders(seed: int, programs: tuple[Program, ...]) -> tuple[Order, ...]:
    """Where executions are in each other's way, or give each other something, there are more of them."""
    if not (has_lanes(seed) or has_cache(seed)):
        return ()
    random = Random(f"orders {seed}")
    return tuple(_draw_order(random, programs) for _ in range(random.randint(1, 4)))


def _below(seed: int) -> tuple[Program, ...]:
    """Programs that only children run; nothing else of a seed depends on them."""
    if not has_children(seed):
        return ()
    return tuple(draw_program(Random(f"below {seed} {one}"), one, seed) for one in BELOW)


def _draw_order(random: Random, programs: tuple[Program, ...]) -> Order:
    return Order(
        at=random.choice((0.0, random.uniform(0, 3))),
        version=random.choice(programs).version,
        timeout=random.uniform(0.5, 12) if random.random() < 0.15 else None,
        gives_up=random.random() < 0.1,
    )


def _draw_blow(random: Random, heal_at: float, kinds: tuple[str, ...]) -> Blow:
    return Blow(
        at=random.uniform(0.0, heal_at),
        kind=random.choice(kinds),
        choice=random.random(),
        seconds=random.choice((0.05, 1.0, 6.0, 9.0)) * random.random(),
    )


def _draw_weather(random: Random) -> Weather:
    def some(most: float) -> float:
        return random.choice((0.0, most / 5, most))

    return Weather(
        lost_request=some(0.05),
        lost_reply=some(0.08),
        late=some(0.06),
        rolled_back=some(0.1),
        slow=some(0.2),
        hold=some(0.2),
        lost_hint=some(0.7),
        double_hint=some(0.5),
        slowness=some(0.02),
    )

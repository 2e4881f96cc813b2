"""What a soak saw, in one part or several, and what is said of it: what must stay flat stays flat.

Samples are compared third by third: a leak shows as a slope, whatever its size, and the noise of one sample does not.
History grows with what is run and goes by retention, so its tables are judged by bytes per execution; what holds only
what is under way (queue, due and owner indexes, inbox, workers) by its size. All of that goes on from part to part.
Memory is that of processes, which begin anew with each part: it is judged part by part, and the worst counts.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

from benchmarks.line import Line, at_most, middle

NAME: Final = "soak"
FEWEST_SAMPLES: Final = 6
_COMPLETED: Final = 2


@dataclass(frozen=True, slots=True)
class Sample:
    """One look: `memory` is the largest process of each kind, in MiB; sizes are bytes."""

    memory: dict[str, float]
    connections: int
    under_way_bytes: int
    small_bytes: int
    history_bytes: int
    accepted: int


@dataclass(slots=True)
class Part:
    """What one run of the processes came to."""

    seconds: float = 0.0
    kills: int = 0
    samples: list[Sample] = field(default_factory=list)

    def grown(self) -> dict[str, float]:
        """MiB by which each kind of process has grown from the first third to the last."""
        early, late = _thirds(self.samples)
        return {
            kind: middle([s.memory.get(kind, 0.0) for s in late])
            - middle([s.memory.get(kind, 0.0) for s in early])
            for kind in self.samples[0].memory
        }


@dataclass(slots=True)
class Record:
    """All parts of a soak; `path` is where they are kept for a later one."""

    parts: list[Part] = field(default_factory=list)
    accepted: int = 0
    errors: int = 0
    path: Path | None = None

    @property
    def seconds(self) -> float:
        """What was soaked until now."""
        return sum(part.seconds for part in self.parts)

    def save(self) -> None:
        """Keep it for a later part, where there can be one."""
        if self.path:
            kept = {
                "parts": [asdict(part) for part in self.parts],
                "accepted": self.accepted,
                "errors": self.errors,
            }
            self.path.write_text(json.dumps(kept), "utf-8")

    @classmethod
    def load(cls, path: Path) -> Record:
        """What the parts before have kept; an empty one when there are none."""
        if not path.exists():
            return cls(path=path)
        kept = json.loads(path.read_text("utf-8"))
        parts = [
            Part(one["seconds"], one["kills"], [Sample(**sample) for sample in one["samples"]])
            for one in kept["parts"]
        ]
        return cls(parts, kept["accepted"], kept["errors"], path)

    def judged(self, ended: dict[int, int], idle: float) -> Line:
        """The line; `ended` counts executions by status, `idle` is statements a second of one idle process."""
        parts = [part for part in self.parts if len(part.samples) >= FEWEST_SAMPLES]
        worst: dict[str, float] = {}
        for part in parts:
            for kind, grown in part.grown().items():
                worst[kind] = max(worst.get(kind, grown), grown)
        hours = max(part.seconds for part in parts) * 2 / 3 / 3600
        early, late = _thirds([sample for part in self.parts for sample in part.samples])
        per_execution = [
            middle([s.history_bytes / s.accepted for s in third]) for third in (early, late)
        ]
        facts: dict[str, Any] = {
            f"{kind}_grown_mb": round(value, 1) for kind, value in sorted(worst.items())
        }
        facts |= {
            "connections": [min(s.connections for s in late), max(s.connections for s in late)],
            "connections_ratio": _ratio(early, late, "connections"),
            "under_way_ratio": _ratio(early, late, "under_way_bytes"),
            "small_ratio": _ratio(early, late, "small_bytes"),
            "bytes_per_execution": round(per_execution[1]),
            "bytes_per_execution_ratio": per_execution[1] / per_execution[0],
            "idle_statements": idle,
            "lost": abs(self.accepted - sum(ended.values())),
            "not_completed": sum(n for status, n in ended.items() if status != _COMPLETED),
            "errors": self.errors,
            "executions": self.accepted,
            "kills": sum(part.kills for part in self.parts),
            "seconds": round(self.seconds),
            "parts": [round(part.seconds) for part in self.parts],
        }
        return Line(
            bench=NAME,
            letter="Z",
            unit="MiB grown",
            measured=max(worst.values()),
            goals=[
                # A process may still be filling its pools in a short run; over hours, 8 MiB an hour is a leak.
                at_most("measured", max(16.0, 8.0 * hours)),
                at_most("connections_ratio", 1.5),
                at_most("under_way_ratio", 2.0),
                at_most("small_ratio", 2.0),
                at_most("bytes_per_execution_ratio", 1.2),
                at_most("idle_statements", 2.0),
                at_most("lost", 0),
                at_most("not_completed", 0),
                at_most("errors", 0),
            ],
            facts=facts,
        )


def _thirds(samples: Sequence[Sample]) -> tuple[Sequence[Sample], Sequence[Sample]]:
    third = len(samples) // 3
    return samples[:third], samples[-third:]


def _ratio(early: Sequence[Sample], late: Sequence[Sample], name: str) -> float:
    before, after = (middle([getattr(s, name) for s in part]) for part in (early, late))
    return after / max(1, before)

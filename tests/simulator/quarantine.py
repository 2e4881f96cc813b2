"""Where what has lost two owners runs alone."""

from __future__ import annotations

from typing import Any

from tests.simulator.loop import Process


class SimQuarantine:
    """Stands where Quarantine stands: a process for suspects, when none lives."""

    most = 2

    def __init__(self, simulation: Any) -> None:
        self._simulation = simulation
        self._children: list[Process] = []

    async def attend(self, waiting: int) -> None:
        workers = self._simulation.workers
        self._children = [one for one in self._children if not one.is_dead and one in workers]
        if len(self._children) < min(waiting, self.most):
            self._children.append(self._simulation._hire(is_alone=True))

    async def close(self, seconds: float) -> None:
        for child in self._children:
            self._simulation.loop.kill(child)

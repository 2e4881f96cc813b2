"""Through which steps every way leads: the dominator tree of the graph of steps.

A step falls with another when it can't be reached but through that one (Lengauer and Tarjan, 1979; in a graph
without circles one pass in topological order is enough: a step's dominator is where those of its needs meet).
Jump pointers (Myers, 1983) find that place, and answer, in O(log steps): the whole is O(edges * log steps).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence


class Dominators:
    """The tree of one graph; `order` is topological and holds every step."""

    def __init__(self, order: Iterable[int], needs: Sequence[Sequence[int]]) -> None:
        root = len(needs)  # Stands before all steps that wait for nothing.
        self._above = [root] * (root + 1)
        self._jump = [root] * (root + 1)
        self._depth = [0] * (root + 1)
        for step in order:
            found = needs[step][0] if needs[step] else root
            for need in needs[step][1:]:
                found = self._meet(found, need)
            self._put(step, found)

    def leads_through(self, through: int, to: int) -> bool:
        """Whether every way to a step comes through another one."""
        return through != to and self._climb(to, self._depth[through]) == through

    def _put(self, step: int, above: int) -> None:
        jump, depth = self._jump[above], self._depth
        self._above[step], depth[step] = above, depth[above] + 1
        is_even = depth[above] - depth[jump] == depth[jump] - depth[self._jump[jump]]
        self._jump[step] = self._jump[jump] if is_even else above

    def _climb(self, step: int, depth: int) -> int:
        while self._depth[step] > depth:
            jump = self._jump[step]
            step = jump if self._depth[jump] >= depth else self._above[step]
        return step

    def _meet(self, one: int, other: int) -> int:
        depth = min(self._depth[one], self._depth[other])
        one, other = self._climb(one, depth), self._climb(other, depth)
        while one != other:
            if self._jump[one] != self._jump[other]:
                one, other = self._jump[one], self._jump[other]
            else:
                one, other = self._above[one], self._above[other]
        return one

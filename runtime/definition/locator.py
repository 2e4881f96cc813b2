"""Finds where paths stand in a document: a second walk over its events, only when there are findings.

Keeping the place of everything would cost every good document time and memory for the sake of the
bad ones; reading those twice is cheaper.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from runtime.definition.composer import NO_KEY, Mark
from runtime.definition.finding import Path
from runtime.model.values import Json


@dataclass(slots=True)
class _Wanted:
    """A node of the tree of paths that are looked for; marks of where it begins and ends."""

    children: dict[str | int, _Wanted] = field(default_factory=dict)
    key: tuple[Mark, Mark] | None = None
    value: tuple[Mark, Mark] | None = None


@dataclass(slots=True)
class _Level:
    wanted: _Wanted | None
    is_mapping: bool
    start: Mark
    index: int = -1
    key: Any = NO_KEY
    child: _Wanted | None = None


class Locator:
    """A Sink that remembers the marks of some paths."""

    def __init__(self, paths: Iterable[Path]) -> None:
        self._root = _Wanted()
        self._levels: list[_Level] = []
        for path in paths:
            node = self._root
            for part in path:
                node = node.children.setdefault(part, _Wanted())

    def place(self, path: Path, *, on_key: bool) -> tuple[Mark, Mark] | None:
        """First and last mark of the value at a path (or of its key); of what is around it, if absent."""
        node, best = self._root, self._root.value
        for part in path:
            node = node.children[part]
            if node.value is None:
                return best
            best = node.key or node.value
        return node.key if on_key and node.key is not None else node.value

    def open(self, is_mapping: bool, anchor: str | None, mark: Mark) -> None:  # noqa: ARG002, FBT001
        """As Sink says."""
        self._levels.append(_Level(self._next(None, mark), is_mapping, mark))

    def close(self, mark: Mark) -> None:
        """As Sink says."""
        level = self._levels.pop()
        if level.wanted is not None:
            level.wanted.value = (level.start, mark)

    def scalar(self, value: Json, anchor: str | None, mark: Mark) -> None:  # noqa: ARG002
        """As Sink says."""
        found = self._next(value, mark)
        if found is not None:
            found.value = (mark, mark)

    def alias(self, name: str, mark: Mark) -> None:
        """As Sink says: what stands below an alias is placed where the alias stands."""
        found = self._next(name, mark)
        todo = [found] if found is not None else []
        while todo:
            node = todo.pop()
            node.value = (mark, mark)
            todo.extend(node.children.values())

    def _next(self, value: Any, mark: Mark) -> _Wanted | None:
        """The wanted node that the next thing belongs to, if any; keys are taken note of."""
        if not self._levels:
            return self._root
        level = self._levels[-1]
        if not level.is_mapping:
            level.index += 1
            return level.wanted.children.get(level.index) if level.wanted else None
        if level.key is not NO_KEY:
            level.key = NO_KEY
            return level.child
        level.key = value
        level.child = None
        if level.wanted is not None and type(value) is str:
            child = level.wanted.children.get(value)
            if (
                child is not None and child.key is None
            ):  # The first of two equal keys is the one that counts.
                child.key = (mark, mark)
                level.child = child
        return None

"""Builds plain JSON values from a stream of marks, and finds places again in a second walk.

The readers of YAML and JSON drive a Sink; nothing here recurses, so depth is a number to compare
and not a stack to overflow. Limits are counted on the stream, before anything is built: events,
depth, the length of scalars, and what aliases would come to if they were written out.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Final, Protocol, TypeAlias

from runtime.definition.finding import Path
from runtime.model.values import Json

MAX_DEPTH: Final = 64
MAX_EVENTS: Final = 500_000
MAX_SCALAR: Final = 1_000_000
MAX_ALIASES: Final = 1_000
MAX_EXPANDED_NODES: Final = 500_000
MAX_EXPANDED_CHARACTERS: Final = 20_000_000
MAX_INTEGER: Final = 2**53 - 1

Mark: TypeAlias = (
    Any  # A place in the reader's own terms; the reader turns it into line and column.
)


class Refused(Exception):
    """The document can't be read any further."""

    def __init__(
        self, rule: str, message: str, start: Mark, end: Mark, hint: str | None = None
    ) -> None:
        super().__init__(message)
        self.rule, self.message, self.start, self.end, self.hint = rule, message, start, end, hint


class Sink(Protocol):
    """What a reader drives: the composer, then (only when there are findings) the locator."""

    def open(self, is_mapping: bool, anchor: str | None, start: Mark, end: Mark) -> None:  # noqa: FBT001
        """A mapping or list begins."""

    def close(self, end: Mark) -> None:
        """It ends."""

    def scalar(self, value: Json, anchor: str | None, start: Mark, end: Mark) -> None:
        """A text, number, true, false or null."""

    def alias(self, name: str, start: Mark, end: Mark) -> None:
        """What was marked `&name` stands here again."""


@dataclass(slots=True)
class Complaint:
    """Something wrong that does not stop the reading."""

    rule: str
    message: str
    path: Path
    start: Mark
    end: Mark
    hint: str | None = None


_NO_KEY: Final = object()


@dataclass(slots=True)
class _Frame:
    value: Any
    is_mapping: bool
    anchor: str | None
    key: Any = _NO_KEY
    drops: bool = False
    nodes: int = 1
    characters: int = 0


@dataclass(slots=True)
class _Anchored:
    value: Json
    nodes: int
    characters: int


@dataclass(slots=True)
class Composer:
    """Builds the value; complains about what is odd; refuses what is too much."""

    value: Json = None
    is_empty: bool = True
    complaints: list[Complaint] = field(default_factory=list)
    _frames: list[_Frame] = field(default_factory=list)
    _anchors: dict[str, _Anchored | None] = field(default_factory=dict)
    _aliases: int = 0
    _events: int = 0

    def open(self, is_mapping: bool, anchor: str | None, start: Mark, end: Mark) -> None:  # noqa: FBT001
        """As Sink says."""
        self._count(start, end)
        if len(self._frames) >= MAX_DEPTH:
            raise Refused(
                "too-deep", f"this document is nested deeper than {MAX_DEPTH} levels", start, end
            )
        if anchor is not None:
            self._anchors[anchor] = None
        self._frames.append(_Frame({} if is_mapping else [], is_mapping, anchor))
        frames = self._frames
        if len(frames) > 1 and frames[-2].is_mapping and frames[-2].key is _NO_KEY:
            self._complain("key-not-text", "a key is text, not a list or mapping", start, end)
            frames[-1].drops = True

    def close(self, end: Mark) -> None:
        """As Sink says."""
        frame = self._frames.pop()
        if frame.anchor is not None:
            self._anchors[frame.anchor] = _Anchored(frame.value, frame.nodes, frame.characters)
        if frame.drops:
            self._frames[-1].key = None
            return
        self._put(frame.value, frame.nodes, frame.characters, end, end)

    def scalar(self, value: Json, anchor: str | None, start: Mark, end: Mark) -> None:
        """As Sink says."""
        self._count(start, end)
        size = len(value) if type(value) is str else 8
        if size > MAX_SCALAR:
            raise Refused(
                "too-large", f"this text has more than {MAX_SCALAR:,} characters", start, end
            )
        if type(value) is str:
            if "\x00" in value:
                self._complain("character", "the character U+0000 can't be stored", start, end)
        elif type(value) is int and not -MAX_INTEGER <= value <= MAX_INTEGER:
            self._complain(
                "number-range", "this number loses digits as JSON", start, end, "write it as text"
            )
        if anchor is not None:
            self._anchors[anchor] = _Anchored(value, 1, size)
        self._put(value, 1, size, start, end)

    def alias(self, name: str, start: Mark, end: Mark) -> None:
        """As Sink says."""
        self._count(start, end)
        self._aliases += 1
        if self._aliases > MAX_ALIASES:
            raise Refused(
                "too-large", f"this document has more than {MAX_ALIASES} aliases", start, end
            )
        if name not in self._anchors:
            raise Refused("syntax", f"there is no anchor &{name}", start, end)
        anchored = self._anchors[name]
        if anchored is None:
            raise Refused("syntax", f"*{name} stands inside of what it stands for", start, end)
        self._put(anchored.value, anchored.nodes, anchored.characters, start, end)

    def path(self) -> Path:
        """Where the reader is."""
        return tuple(
            (frame.key if type(frame.key) is str else "") if frame.is_mapping else len(frame.value)
            for frame in self._frames
        )

    def _count(self, start: Mark, end: Mark) -> None:
        self._events += 1
        if self._events > MAX_EVENTS:
            raise Refused(
                "too-large", f"this document has more than {MAX_EVENTS:,} parts", start, end
            )

    def _put(self, value: Any, nodes: int, characters: int, start: Mark, end: Mark) -> None:
        if not self._frames:
            self.value, self.is_empty = value, False
            return
        frame = self._frames[-1]
        frame.nodes += nodes
        frame.characters += characters
        if frame.nodes > MAX_EXPANDED_NODES or frame.characters > MAX_EXPANDED_CHARACTERS:
            raise Refused(
                "too-large",
                "this document is too large when its aliases are written out",
                start,
                end,
                f"at most {MAX_EXPANDED_NODES:,} parts and {MAX_EXPANDED_CHARACTERS:,} characters",
            )
        if not frame.is_mapping:
            frame.value.append(value)
        elif frame.key is _NO_KEY:
            frame.key = self._key(frame, value, start, end)
        else:
            if type(frame.key) is str:
                frame.value[frame.key] = value
            frame.key = _NO_KEY

    def _key(self, frame: _Frame, key: Any, start: Mark, end: Mark) -> str | None:
        """The key, or None when its value is to be dropped."""
        if type(key) is not str:
            shown = {True: "true", False: "false", None: "null"}.get(key, key) if key != [] else key
            self._complain(
                "key-not-text", f"the key {shown} is not text", start, end, f'write "{shown}":'
            )
            return None
        if key in frame.value:
            self._complain("duplicate-key", f"the key {key!r} stands here twice", start, end)
            return None
        return key

    def _complain(
        self, rule: str, message: str, start: Mark, end: Mark, hint: str | None = None
    ) -> None:
        self.complaints.append(Complaint(rule, message, self.path(), start, end, hint))


@dataclass(slots=True)
class _Wanted:
    """A node of the tree of paths that are looked for."""

    children: dict[str | int, _Wanted] = field(default_factory=dict)
    key: tuple[Mark, Mark] | None = None
    value: tuple[Mark, Mark] | None = None


@dataclass(slots=True)
class _Level:
    wanted: _Wanted | None
    is_mapping: bool
    start: Mark
    owner: _Wanted | None
    index: int = -1
    key: Any = _NO_KEY
    child: _Wanted | None = None


class Locator:
    """Finds where some paths stand; drives through the whole document once."""

    def __init__(self, paths: Iterable[Path]) -> None:
        self._root = _Wanted()
        self._levels: list[_Level] = []
        for path in paths:
            node = self._root
            for part in path:
                node = node.children.setdefault(part, _Wanted())

    def place(self, path: Path, *, on_key: bool) -> tuple[Mark, Mark] | None:
        """Start and end of the value at a path (or of its key); of the nearest thing around it, if absent."""
        node, best = self._root, self._root.value
        for part in path:
            node = node.children[part]
            if node.value is None:
                return best
            best = node.key if node.key is not None and len(path) else node.value
        if on_key and node.key is not None:
            return node.key
        return node.value

    def open(self, is_mapping: bool, anchor: str | None, start: Mark, end: Mark) -> None:  # noqa: ARG002, FBT001
        """As Sink says."""
        owner = self._next(None, start, end)
        self._levels.append(_Level(owner, is_mapping, start, owner))

    def close(self, end: Mark) -> None:
        """As Sink says."""
        level = self._levels.pop()
        if level.owner is not None:
            level.owner.value = (level.start, end)

    def scalar(self, value: Json, anchor: str | None, start: Mark, end: Mark) -> None:  # noqa: ARG002
        """As Sink says."""
        found = self._next(value, start, end)
        if found is not None:
            found.value = (start, end)

    def alias(self, name: str, start: Mark, end: Mark) -> None:
        """As Sink says."""
        found = self._next(name, start, end)
        stack = [found] if found is not None else []
        while stack:
            node = stack.pop()
            node.value = (start, end)
            stack.extend(node.children.values())

    def _next(self, value: Any, start: Mark, end: Mark) -> _Wanted | None:
        """The wanted node that the next thing belongs to, if any; keys are taken note of."""
        if not self._levels:
            return self._root
        level = self._levels[-1]
        if not level.is_mapping:
            level.index += 1
            return level.wanted.children.get(level.index) if level.wanted else None
        if level.key is _NO_KEY:
            level.key = value
            child = (
                level.wanted.children.get(value) if level.wanted and type(value) is str else None
            )
            level.child = child if child is not None and child.key is None else None
            if level.child is not None:
                level.child.key = (start, end)
            return None
        level.key = _NO_KEY
        return level.child

"""Builds plain JSON values from a stream of events.

The readers of YAML and JSON drive a Sink; nothing here recurses, so depth is a number to compare
and not a stack to overflow. Limits are counted on the stream, before anything is built: events,
depth, the length of scalars, and what aliases would come to if they were written out.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final, NoReturn, Protocol, TypeAlias

from runtime.definition.finding import MAX_FINDINGS, Path
from runtime.model.values import Json

MAX_DEPTH: Final = 64
MAX_EVENTS: Final = 300_000
MAX_SCALAR: Final = 1_000_000
MAX_ALIASES: Final = 1_000
MAX_EXPANDED_NODES: Final = 300_000
MAX_EXPANDED_CHARACTERS: Final = 20_000_000
MAX_INTEGER: Final = 2**53 - 1

# A place in the reader's own terms (libyaml's event, offsets into JSON): the reader turns it into
# lines and columns, and only when a finding needs them.
Mark: TypeAlias = Any


class Refused(Exception):
    """The document can't be read any further."""

    def __init__(self, rule: str, message: str, mark: Mark, hint: str | None = None) -> None:
        super().__init__(message)
        self.rule, self.message, self.mark, self.hint = rule, message, mark, hint


class Sink(Protocol):
    """What a reader drives: the composer, then (only when there are findings) the locator."""

    def open(self, is_mapping: bool, anchor: str | None, mark: Mark) -> None:  # noqa: FBT001
        """A mapping or list begins."""

    def close(self, mark: Mark) -> None:
        """It ends."""

    def scalar(self, value: Json, anchor: str | None, mark: Mark) -> None:
        """A text, number, true, false or null."""

    def alias(self, name: str, mark: Mark) -> None:
        """What was marked `&name` stands here again."""


@dataclass(slots=True)
class Complaint:
    """Something wrong that does not stop the reading."""

    rule: str
    message: str
    path: Path
    mark: Mark
    hint: str | None = None


NO_KEY: Final[Any] = object()
_DROPPED: Final[Any] = object()


class _Frame:
    """A mapping or list that is being built; `nodes` and `characters` are what was read before it."""

    __slots__ = ("anchor", "characters", "is_key", "is_mapping", "key", "nodes", "value")

    def __init__(
        self,
        value: Any,
        is_mapping: bool,  # noqa: FBT001 - made once for each part of a document
        anchor: str | None,
        nodes: int,
        characters: int,
    ) -> None:
        self.value = value
        self.is_mapping = is_mapping
        self.anchor = anchor
        self.key: Any = NO_KEY
        self.is_key = False
        self.nodes = nodes
        self.characters = characters


@dataclass(slots=True)
class _Anchored:
    value: Json
    nodes: int
    characters: int


@dataclass(slots=True)
class Composer:
    """Builds the value; complains about what is odd; refuses what is too much.

    What was read is counted once, for the whole document: `_nodes` and `_characters` as they come,
    `_more_nodes` for what aliases stand for beyond that. A part's size is the difference between
    the counts at its end and at its beginning, which only parts with an anchor ask for.
    """

    value: Json = None
    is_empty: bool = True
    complaints: list[Complaint] = field(default_factory=list)
    _frames: list[_Frame] = field(default_factory=list)
    _anchors: dict[str, _Anchored | None] = field(default_factory=dict)
    _aliases: int = 0
    _events: int = 0
    _more_nodes: int = 0
    _characters: int = 0

    def open(self, is_mapping: bool, anchor: str | None, mark: Mark) -> None:  # noqa: FBT001
        """As Sink says."""
        self._events = events = self._events + 1
        if events > MAX_EVENTS:
            self._refuse_count(mark)
        frames = self._frames
        if len(frames) >= MAX_DEPTH:
            raise Refused(
                "too-deep", f"this document is nested deeper than {MAX_DEPTH} levels", mark
            )
        if anchor is not None:
            self._anchors[anchor] = None
        before = events + self._more_nodes - 1
        value: Any = {} if is_mapping else []
        frame = _Frame(value, is_mapping, anchor, before, self._characters)
        if frames and (parent := frames[-1]).is_mapping and parent.key is NO_KEY:
            self._complain("key-not-text", "a key is text, not a list or mapping", mark)
            frame.is_key = True
        frames.append(frame)

    def close(self, mark: Mark) -> None:
        """As Sink says."""
        frame = self._frames.pop()
        if frame.anchor is not None:
            nodes = self._events + self._more_nodes - frame.nodes
            characters = self._characters - frame.characters
            self._anchors[frame.anchor] = _Anchored(frame.value, nodes, characters)
        if self._aliases:
            self._check_expanded(mark)
        if frame.is_key:
            self._frames[-1].key = _DROPPED
            return
        self._put(frame.value, mark)

    def scalar(self, value: Json, anchor: str | None, mark: Mark) -> None:
        """As Sink says."""
        self._events += 1
        if self._events > MAX_EVENTS:
            self._refuse_count(mark)
        if type(value) is str:
            size = len(value)
            if size > MAX_SCALAR:
                raise Refused(
                    "too-large", f"this text has more than {MAX_SCALAR:,} characters", mark
                )
            if "\x00" in value:
                self._complain("character", "the character U+0000 can't be stored", mark)
        else:
            size = 8
            if type(value) is int and not -MAX_INTEGER <= value <= MAX_INTEGER:
                message = "this number loses digits as JSON"
                self._complain("number-range", message, mark, "write it as text")
        self._characters += size
        if anchor is not None:
            self._anchors[anchor] = _Anchored(value, 1, size)
        frames = self._frames
        if frames:
            # The usual cases of _put, which a large document runs a hundred thousand times.
            frame = frames[-1]
            if not frame.is_mapping:
                frame.value.append(value)
                return
            key = frame.key
            if key is NO_KEY:
                if type(value) is str and value not in frame.value:
                    frame.key = value
                    return
            elif key is not _DROPPED:
                frame.value[key] = value
                frame.key = NO_KEY
                return
        self._put(value, mark)

    def alias(self, name: str, mark: Mark) -> None:
        """As Sink says."""
        self._count(mark)
        self._aliases += 1
        if self._aliases > MAX_ALIASES:
            message = f"this document has more than {MAX_ALIASES:,} aliases"
            raise Refused("too-large", message, mark)
        if name not in self._anchors:
            raise Refused("syntax", f"there is no anchor &{name}", mark)
        anchored = self._anchors[name]
        if anchored is None:
            raise Refused("syntax", f"*{name} stands inside of what it stands for", mark)
        self._more_nodes += anchored.nodes - 1  # The alias itself was counted as an event.
        self._characters += anchored.characters
        self._check_expanded(mark)
        self._put(anchored.value, mark)

    def path(self) -> Path:
        """Where the reader is."""
        parts: list[str | int] = []
        for frame in self._frames:
            if not frame.is_mapping:
                parts.append(len(frame.value))
            elif type(frame.key) is str:
                parts.append(frame.key)
        return tuple(parts)

    def _count(self, mark: Mark) -> None:
        self._events += 1
        if self._events > MAX_EVENTS:
            self._refuse_count(mark)

    @staticmethod
    def _refuse_count(mark: Mark) -> NoReturn:
        raise Refused("too-large", f"this document has more than {MAX_EVENTS:,} parts", mark)

    def _check_expanded(self, mark: Mark) -> None:
        """Without aliases a document is no larger than what was read, which has limits of its own."""
        nodes = self._events + self._more_nodes
        if nodes > MAX_EXPANDED_NODES or self._characters > MAX_EXPANDED_CHARACTERS:
            raise Refused(
                "too-large",
                "this document is too large when its aliases are written out",
                mark,
                f"at most {MAX_EXPANDED_NODES:,} parts and {MAX_EXPANDED_CHARACTERS:,} characters",
            )

    def _put(self, value: Any, mark: Mark) -> None:
        if not self._frames:
            self.value, self.is_empty = value, False
            return
        frame = self._frames[-1]
        if not frame.is_mapping:
            frame.value.append(value)
        elif frame.key is NO_KEY:
            if type(value) is str and value not in frame.value:
                frame.key = value
            else:
                frame.key = _DROPPED
                self._refuse_key(value, mark)
        else:
            if frame.key is not _DROPPED:
                frame.value[frame.key] = value
            frame.key = NO_KEY

    def _refuse_key(self, key: Any, mark: Mark) -> None:
        """A key that is no text, or stands here already: its value is left out."""
        if type(key) is str:
            self._complain("duplicate-key", f"the key {key!r} stands here twice", mark)
            return
        if isinstance(key, dict | list):
            self._complain("key-not-text", "a key is text, not a list or mapping", mark)
            return
        shown = {"True": "true", "False": "false", "None": "null"}.get(str(key), str(key))
        self._complain("key-not-text", f"the key {shown} is not text", mark, f'write "{shown}":')

    def _complain(self, rule: str, message: str, mark: Mark, hint: str | None = None) -> None:
        if len(self.complaints) < MAX_FINDINGS:
            self.complaints.append(Complaint(rule, message, self.path(), mark, hint))

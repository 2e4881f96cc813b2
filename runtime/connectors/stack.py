"""The stack of a step's failure: where in its author's own code it was raised, and from what.

Frames of the engine are left out, because how a step was called tells its author nothing. A file is named by its module
(`warehouse/picking.py`), so no folder of this machine is told. Bounded in frames, in chained exceptions and in bytes.
"""

from __future__ import annotations

import linecache
import traceback
from collections.abc import Callable, Iterator
from pathlib import PurePath
from traceback import FrameSummary, StackSummary
from types import FrameType, TracebackType
from typing import Any, Final

MAX_BYTES: Final = 4_096
_HEAD_BYTES: Final = 1_024
_MAX_FRAMES: Final = 30
_MAX_CHAIN: Final = 6
_OURS: Final = ("runtime.", "maestro.")
_CUT: Final = "\n  [...]\n"
_CAUSED: Final = "\nThe above exception was the direct cause of the following exception:\n\n"
_MEANWHILE: Final = "\nDuring handling of the above exception, another exception occurred:\n\n"
_TOGETHER: Final = "\nOne of the exceptions of the group below:\n\n"


def is_own(connector: object) -> bool:
    """Whether a connector is somebody's own code, and none that comes with the engine."""
    # A decorated function says where it was written; an object of a class is where its class is.
    module = getattr(connector, "__module__", None) or type(connector).__module__
    return not _is_ours(module)


def stack_of(error: BaseException, mask: Callable[[Any], Any]) -> str:
    """The stack of an exception and of those that led to it, without secrets, at most `MAX_BYTES` long in UTF-8.

    Of a text that is too long the beginning and the end are kept. What no row can hold (U+0000, half surrogates)
    is replaced.
    """
    # Before it is cut: half a secret would not be found.
    text = str(mask("".join(_told(error))))
    return _cut(text.replace("\x00", "\N{REPLACEMENT CHARACTER}").encode("utf-8", "replace"))


def _own_frames(trace: TracebackType | None) -> Iterator[tuple[FrameType, int]]:
    """Frames and lines of what is not the engine's, the outermost first."""
    while trace is not None:
        if not _is_ours(trace.tb_frame.f_globals.get("__name__")):
            yield trace.tb_frame, trace.tb_lineno
        trace = trace.tb_next


def _told(error: BaseException) -> Iterator[str]:
    """What led to an exception first, as Python itself tells it."""
    for one, link in reversed(list(_chain(error))):
        yield from _block(one)
        yield link


def _chain(error: BaseException) -> Iterator[tuple[BaseException, str]]:
    """The exception and those that led to it, each with the words between it and the one that it led to."""
    todo, seen = [(error, "")], set[int]()
    while todo and len(seen) < _MAX_CHAIN:
        one, link = todo.pop(0)
        if id(one) in seen:
            continue
        seen.add(id(one))
        yield one, link
        if isinstance(one, BaseExceptionGroup):
            todo += [(each, _TOGETHER) for each in one.exceptions[:_MAX_CHAIN]]
        if one.__cause__ is not None:
            todo.append((one.__cause__, _CAUSED))
        elif one.__context__ is not None and not one.__suppress_context__:
            todo.append((one.__context__, _MEANWHILE))


def _block(error: BaseException) -> Iterator[str]:
    frames = list(_own_frames(error.__traceback__))
    if frames:
        yield "Traceback (most recent call last):\n"
        if len(frames) > _MAX_FRAMES:
            yield f"  [{len(frames) - _MAX_FRAMES} frames before these]\n"
        yield from StackSummary.from_list(
            [_summary(frame, line) for frame, line in frames[-_MAX_FRAMES:]]
        ).format()
    yield from traceback.format_exception_only(type(error), error)


def _summary(frame: FrameType, line: int) -> FrameSummary:
    text = linecache.getline(frame.f_code.co_filename, line, frame.f_globals)
    return FrameSummary(_shown(frame), line, frame.f_code.co_name, lookup_line=False, line=text)


def _shown(frame: FrameType) -> str:
    """The file of a frame by its module, without the folders that lead to it."""
    file = frame.f_code.co_filename
    name = frame.f_globals.get("__name__")
    base = PurePath(file).name
    if file.startswith("<") or not isinstance(name, str):
        return base
    folders = name.split(".") if base == "__init__.py" else name.split(".")[:-1]
    return "/".join((*folders, base))


def _is_ours(module: object) -> bool:
    return str(module).startswith(_OURS)


def _cut(raw: bytes) -> str:
    if len(raw) > MAX_BYTES:
        cut = _CUT.encode()
        raw = raw[:_HEAD_BYTES] + cut + raw[len(raw) - (MAX_BYTES - _HEAD_BYTES - len(cut)) :]
    # A character that was cut in two is left out; it is shorter then, never longer.
    return raw.decode("utf-8", "ignore").rstrip("\n")

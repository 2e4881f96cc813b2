"""Times and durations for people: `3m ago`, `1.2s`. Programs get what the server said, unchanged."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Final

_STEPS: Final = ((86_400, "d"), (3_600, "h"), (60, "m"), (1, "s"))
_ISO: Final = re.compile(r"P(?:(\d+)D)?(?:T(?:(\d+)H)?(?:(\d+)M)?(?:(\d+(?:\.\d+)?)S)?)?")

_HOURS_SHOWN: Final = 48


def parse_moment(text: str) -> datetime:
    """An instant of the graph."""
    return datetime.fromisoformat(text)


def ago(text: str, now: datetime | None = None) -> str:
    """How long ago an instant was."""
    seconds = ((now or datetime.now(UTC)) - parse_moment(text)).total_seconds()
    if seconds < 1:
        return "now"
    for size, unit in _STEPS:
        if seconds >= size:
            return f"{int(seconds // size)}{unit} ago"
    return "now"


def seconds_of(duration: str) -> float:
    """The seconds of an ISO 8601 duration."""
    match = _ISO.fullmatch(duration)
    if match is None:
        return 0.0
    days, hours, minutes, seconds = (float(part or 0) for part in match.groups())
    return days * 86_400 + hours * 3_600 + minutes * 60 + seconds


def span(duration: str) -> str:
    """An ISO 8601 duration as people say it: `1m 30s`, `1.2s`, `40ms`."""
    return span_seconds(seconds_of(duration))


def span_seconds(seconds: float) -> str:
    """A number of seconds as people say it."""
    if seconds < 1:
        return f"{round(seconds * 1000)}ms"
    if seconds < 60:  # noqa: PLR2004 - a minute
        return f"{seconds:.1f}s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours >= _HOURS_SHOWN:
        return f"{hours // 24}d {hours % 24}h"
    return f"{hours}h {minutes}m" if hours else f"{minutes}m {rest}s"

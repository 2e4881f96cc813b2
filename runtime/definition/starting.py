"""What starts executions by itself: triggers have the keys that their type needs, and times that exist."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from runtime.definition.document import Document
from runtime.definition.finding import Findings, Path
from runtime.definition.shape import parse_duration
from runtime.model.values import Duration, Json

_MONTHS: Final = [
    "jan",
    "feb",
    "mar",
    "apr",
    "may",
    "jun",
    "jul",
    "aug",
    "sep",
    "oct",
    "nov",
    "dec",
]
_DAYS: Final = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"]
_FIELDS: Final[tuple[tuple[str, int, int, Sequence[str]], ...]] = (
    ("minute", 0, 59, ()),
    ("hour", 0, 23, ()),
    ("day of the month", 1, 31, ()),
    ("month", 1, 12, _MONTHS),
    ("day of the week", 0, 7, _DAYS),
)
_PART: Final = re.compile(r"(\*|[0-9a-z]+)(?:-([0-9a-z]+))?(?:/([0-9]{1,3}))?")
_OWN: Final = {
    "schedule": ("cron", "every", "timezone"),
    "webhook": ("path", "secret"),
    "event": ("event",),
}
_SHORTEST: Final = Duration(1_000)


def check_triggers(document: Document, findings: Findings) -> None:
    """Every trigger of a document."""
    triggers = document.value.get("triggers")
    names: set[Json] = set()
    for index, one in enumerate(triggers if isinstance(triggers, list) else []):
        if not isinstance(one, dict):
            continue
        place = document.place("triggers", index)
        _check_keys(one, place, findings)
        _check_times(one, document, index, findings)
        name = one.get("id")
        if isinstance(name, str) and name in names:
            message = f"the id {name!r} is taken by an earlier trigger"
            findings.error("trigger", message, document.place("triggers", index, "id"))
        names.add(name if isinstance(name, str) else None)


def _check_keys(trigger: dict[str, Json], place: Path, findings: Findings) -> None:
    kind = trigger.get("type")
    needed = {"webhook": "path", "event": "event"}.get(str(kind))
    if kind == "schedule" and ("cron" in trigger) == ("every" in trigger):
        findings.error("trigger", "a schedule has cron or every, one of them", place)
    elif needed is not None and needed not in trigger:
        findings.error("trigger", f"a trigger of type {kind} needs {needed!r}", place)
    for other, keys in _OWN.items():
        for key in keys if other != kind and kind in _OWN else ():
            if key in trigger:
                message = f"{key} belongs to a trigger of type {other}, not {kind}"
                findings.error("trigger", message, (*place, key), on_key=True)


def _check_times(
    trigger: dict[str, Json], document: Document, index: int, findings: Findings
) -> None:
    cron, every = trigger.get("cron"), trigger.get("every")
    if isinstance(cron, str) and (fault := cron_fault(cron)) is not None:
        findings.error(
            "bad-cron", f"{cron[:60]!r} is not a time by cron: {fault}",
            document.place("triggers", index, "cron"),
            hint="write five fields: minute, hour, day of the month, month, day of the week",
        )  # fmt: skip
    length = parse_duration(every) if isinstance(every, str) else None
    if length is not None and length < _SHORTEST:
        place = document.place("triggers", index, "every")
        findings.error("trigger", "a schedule begins at most once a second", place)


def cron_fault(text: str) -> str | None:
    """What is wrong with five fields of cron; None if nothing is."""
    fields = text.lower().split()
    if len(fields) != len(_FIELDS):
        return f"it has {len(fields)} fields"
    for field, (name, low, high, words) in zip(fields, _FIELDS, strict=True):
        for part in field.split(","):
            if not _fits(part, low, high, words):
                return f"{part[:20]!r} is no {name}"
    return None


def _fits(part: str, low: int, high: int, words: Sequence[str]) -> bool:
    match = _PART.fullmatch(part)
    if match is None or (match[1] == "*" and match[2]):
        return False
    if match[3] is not None and not 1 <= int(match[3]) <= high:
        return False
    ends = [_number(one, low, words) for one in match.group(1, 2) if one not in {None, "*"}]
    if any(one is None or not low <= one <= high for one in ends):
        return False
    return len(ends) < 2 or ends[0] <= ends[1]  # type: ignore[operator]  # none of them is None  # noqa: PLR2004 - both ends


def _number(text: str, low: int, words: Sequence[str]) -> int | None:
    if text.isdigit():
        return int(text) if len(text) <= 2 else None  # noqa: PLR2004 - no field has three digits
    return words.index(text) + low if text in words else None

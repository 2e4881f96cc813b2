"""The difference between two canonical definitions, step by step and field by field.

Asked by the graph, by publishing and by `mc diff`. Steps are the same when their ids are; a step whose
config hash is the same has not changed. Linear in the size of the documents but for the order of steps.
"""

from __future__ import annotations

import json
import re
from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any, Final

from runtime.abi.catalog import Catalog
from runtime.definition.canonical import canonical_bytes, canonical_digest, is_plain
from runtime.definition.compatibility import Facts, effects_of, is_addition
from runtime.model.values import Digest, Json
from runtime.model.workflow_diff import (
    ChangeKind,
    Compatibility,
    DefinitionDiff,
    FieldChange,
    StepChange,
    StepHash,
    StepMove,
    VersionBump,
)

# The number is what a diff is asked for, so it is no difference itself; steps are compared by their ids.
_APART: Final = frozenset(("version", "steps"))
_NESTED: Final = frozenset((dict, list))
_WORD: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


class _Absent:
    """Stands for a field that is not there; null is a value like others."""


_ABSENT: Final = _Absent()


def diff_definitions(
    before: Mapping[str, Json], after: Mapping[str, Json], catalog: Catalog
) -> DefinitionDiff:
    """What differs from `before` to `after`; the catalog tells the types of what connectors give."""
    old, new = _steps(before), _steps(after)
    common = [key for key in new if key in old]
    old_hashes, new_hashes = _hashes(old), _hashes(new)
    changed = tuple(
        StepChange(key, tuple(field_changes(old[key], new[key])))
        for key in common
        if old_hashes[key] != new_hashes[key]
    )
    added = tuple(key for key in new if key not in old)
    removed = tuple(key for key in old if key not in new)
    metadata = tuple(field_changes(_outside(before), _outside(after)))
    facts = Facts(before, after, old, new, [one.key for one in changed])
    effects = tuple(effects_of(facts, catalog))
    compatibility = _worst([one.compatibility for one in effects])
    return DefinitionDiff(
        added=added,
        removed=removed,
        changed=changed,
        moved=_moves(old, new, common),
        metadata=metadata,
        hashes=tuple(
            StepHash(key, old_hashes.get(key), new_hashes.get(key)) for key in [*new, *removed]
        ),
        effects=effects,
        compatibility=compatibility,
        suggested_bump=_bump(compatibility, adds=bool(added) or any(map(is_addition, metadata))),
    )


def field_changes(before: Json, after: Json) -> Iterator[FieldChange]:
    """The fields in which two values differ, by paths like `with.headers['x-id'][0]`."""
    yield from _compare("", before, after)


def _steps(definition: Mapping[str, Json]) -> dict[str, dict[str, Any]]:
    steps: Any = definition.get("steps", [])
    return {step["id"]: step for step in steps}


def _hashes(steps: Mapping[str, dict[str, Any]]) -> dict[str, Digest]:
    plain = is_plain(list(steps.values())) or None
    return {key: canonical_digest(step, plain=plain) for key, step in steps.items()}


def _outside(definition: Mapping[str, Json]) -> dict[str, Json]:
    return {key: value for key, value in definition.items() if key not in _APART}


def _compare(path: str, before: Any, after: Any) -> Iterator[FieldChange]:
    if isinstance(before, dict) and isinstance(after, dict):
        for key in [*before, *(one for one in after if one not in before)]:
            one, other = before.get(key, _ABSENT), after.get(key, _ABSENT)
            if one is not other and (type(one) in _NESTED or not _is_same(one, other)):
                yield from _compare(_below(path, key), one, other)
    elif _is_parallel(before, after):
        for index, (one, other) in enumerate(zip(before, after, strict=True)):
            yield from _compare(f"{path}[{index}]", one, other)
    elif before is _ABSENT:
        yield FieldChange(path, ChangeKind.ADDED, None, after)
    elif after is _ABSENT:
        yield FieldChange(path, ChangeKind.REMOVED, before, None)
    elif not _is_same(before, after):
        yield FieldChange(path, ChangeKind.CHANGED, before, after)


def _is_same(before: Any, after: Any) -> bool:
    """Whether two values are one in JSON: for Python, true and 1 are equal, also within lists."""
    if isinstance(before, list) and isinstance(after, list):
        return canonical_bytes(before) == canonical_bytes(after)
    return (type(before) is bool) == (type(after) is bool) and bool(before == after)


def _is_parallel(before: Any, after: Any) -> bool:
    """Whether two lists are compared item by item: mappings in as many places. Others are read as a whole."""
    return (
        isinstance(before, list)
        and isinstance(after, list)
        and len(before) == len(after)
        and all(isinstance(one, dict) for one in (*before, *after))
    )


def _below(path: str, key: str) -> str:
    if not _WORD.fullmatch(key):
        quoted = json.dumps(key, ensure_ascii=False)[1:-1].replace('\\"', '"').replace("'", "\\'")
        return f"{path}['{quoted}']"
    return f"{path}.{key}" if path else key


def _moves(
    old: Mapping[str, Any], new: Mapping[str, Any], common: Sequence[str]
) -> tuple[StepMove, ...]:
    """The fewest steps whose moving explains the new order: all but a longest run that kept it."""
    places = {key: index for index, key in enumerate(old)}
    now = {key: index for index, key in enumerate(new)}
    kept = _longest_rise([places[key] for key in common])
    return tuple(StepMove(key, places[key], now[key]) for key in common if places[key] not in kept)


def _longest_rise(places: Sequence[int]) -> frozenset[int]:
    """The members of a longest rising subsequence of different numbers, in O(n log n)."""
    if all(one < other for one, other in pairwise(places)):
        return frozenset(places)
    ends: list[int] = []
    previous: dict[int, int | None] = {}
    for place in places:
        at = bisect_left(ends, place)
        previous[place] = ends[at - 1] if at else None
        ends[at : at + 1] = [place]
    found = set()
    here: int | None = ends[-1]
    while here is not None:
        found.add(here)
        here = previous[here]
    return frozenset(found)


def _worst(found: Sequence[Compatibility]) -> Compatibility:
    for one in (Compatibility.BREAKING, Compatibility.UNKNOWN):
        if one in found:
            return one
    return Compatibility.COMPATIBLE


def _bump(compatibility: Compatibility, *, adds: bool) -> VersionBump:
    """What breaks is major; what adds, or can't be judged, is minor; the rest is a patch."""
    if compatibility is Compatibility.BREAKING:
        return VersionBump.MAJOR
    is_minor = adds or compatibility is Compatibility.UNKNOWN
    return VersionBump.MINOR if is_minor else VersionBump.PATCH

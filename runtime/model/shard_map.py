"""The shard map: how many shards there are, and which database holds which.

Read once from a file by the settings, checked here, handed down as it is. The first database holds shard 0 and the
catalog (tenants, workflows, versions). With one database there is one shard, number 0.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from runtime.model.errors import SetupError
from runtime.model.ids import SLOTS

_RANGE: Final = re.compile(r"(\d{1,4})(?:\s*-\s*(\d{1,4}))?")


@dataclass(frozen=True, slots=True)
class Place:
    """A database of the map, and the shards that lie there."""

    name: str
    url: str
    shards: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class ShardMap:
    """All databases in their order; `checked` makes one that can be relied on."""

    places: tuple[Place, ...]

    @classmethod
    def single(cls, url: str) -> ShardMap:
        """One database with one shard."""
        return cls((Place("1", url, (0,)),))

    @classmethod
    def checked(cls, places: Sequence[Place]) -> ShardMap:
        """A map in which each shard lies in exactly one place; raises SetupError that says what does not fit."""
        if not places:
            raise bad_map("it names no database")
        _refuse_doubles(places)
        holder: dict[int, str] = {}
        for place in places:
            if not place.shards:
                raise bad_map(f"database {place.name!r} holds no shard")
            for shard in place.shards:
                if shard in holder:
                    raise bad_map(
                        f"shard {shard} lies on both {holder[shard]!r} and {place.name!r}"
                    )
                holder[shard] = place.name
        _refuse_gaps(holder)
        if 0 not in places[0].shards:
            raise bad_map(
                f"the first database must hold shard 0, which lies on {holder[0]!r}: the first one also "
                "holds the catalog"
            )
        return cls(tuple(places))

    @property
    def total(self) -> int:
        """How many shards there are: a power of two."""
        return sum(len(place.shards) for place in self.places)

    @property
    def catalog(self) -> Place:
        """Where tenants, workflows and versions are."""
        return self.places[0]

    def place(self, name: str) -> Place:
        """The place of a name; raises SetupError when there is none."""
        for place in self.places:
            if place.name == name:
                return place
        names = ", ".join(place.name for place in self.places)
        raise SetupError(
            f"There is no database {name!r} in the shard map; there are: {names}.",
            reason="UNKNOWN_DATABASE",
        )


def shard_numbers(value: object) -> tuple[int, ...]:
    """`3`, `0-3`, `0-1, 5` or a list of these, as numbers in order; raises ValueError for anything else."""
    parts: Iterable[object] = value if isinstance(value, list) else str(value).split(",")
    found: list[int] = []
    for part in parts:
        match = _RANGE.fullmatch(str(part).strip())
        if isinstance(part, bool) or match is None:
            raise ValueError(part)
        low = int(match[1])
        high = int(match[2]) if match[2] else low
        if high < low or high >= SLOTS:
            raise ValueError(part)
        found += range(low, high + 1)
    return tuple(sorted(found))


def bad_map(what: str) -> SetupError:
    """What is wrong with a map, as an error."""
    return SetupError(
        f"The shard map of MC_DATABASES can't be used: {what}.", reason="BAD_SHARD_MAP"
    )


def _refuse_doubles(places: Sequence[Place]) -> None:
    """A name or an address that stands there twice: two entries for one database would share its tables."""
    names: set[str] = set()
    servers: dict[tuple[object, ...], str] = {}
    for place in places:
        if place.name in names:
            raise bad_map(f"two databases have the name {place.name!r}")
        names.add(place.name)
        parts = urlsplit(place.url)
        server = (parts.hostname, parts.port or 5432, parts.path, parts.query)
        if server in servers:
            raise bad_map(
                f"{servers[server]!r} and {place.name!r} are the same database: write its shards in one entry"
            )
        servers[server] = place.name


def _refuse_gaps(holder: dict[int, str]) -> None:
    total = max(holder) + 1
    missing = [str(shard) for shard in range(total) if shard not in holder]
    if missing:
        raise bad_map(f"no database holds shard {', '.join(missing[:10])}")
    if total & (total - 1):
        raise bad_map(f"the number of shards must be a power of two, and there are {total}")

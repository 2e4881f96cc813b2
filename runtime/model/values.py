"""Value objects that several rooms share: JSON, Duration, SemVer, Digest, Money.

Immutable and validated at birth.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from functools import total_ordering
from typing import Final, TypeAlias

Json: TypeAlias = "bool | int | float | str | list[Json] | dict[str, Json] | None"

_UNITS: Final = {"ms": 1, "s": 1000, "m": 60_000, "h": 3_600_000, "d": 86_400_000, "w": 604_800_000}
_COMPACT = re.compile(r"([0-9]+(?:\.[0-9]+)?)(ms|s|m|h|d|w)")
_ISO = re.compile(
    r"P(?:(?P<w>[0-9]+)W)?(?:(?P<d>[0-9]+)D)?(?:T(?:(?P<h>[0-9]+)H)?(?:(?P<m>[0-9]+)M)?(?:(?P<s>[0-9]+(?:\.[0-9]+)?)S)?)?"
)
_MAX_MS: Final = 10 * 365 * _UNITS["d"]
_MAX_CHARS: Final = 128


@dataclass(frozen=True, slots=True, order=True)
class Duration:
    """A length of time in whole milliseconds, 0 to ten years.

    Written `30s`, `2h30m`, `500ms` or ISO 8601 (`PT1M30S`). Whatever is more than nothing is a millisecond at least.
    """

    milliseconds: int

    def __post_init__(self) -> None:
        if not 0 <= self.milliseconds <= _MAX_MS:
            raise ValueError("a duration lies between 0 and ten years")

    @property
    def seconds(self) -> float:
        """The length in seconds."""
        return self.milliseconds / 1000

    @classmethod
    def parse(cls, text: str) -> Duration:
        """Read `30s`, `2h30m`, `1.5h`, `500ms`, `2d` or ISO 8601; raises ValueError otherwise."""
        text = text.strip()
        if len(text) > _MAX_CHARS:
            raise ValueError("too long for a duration")
        if text.startswith("P"):
            return cls._parse_iso(text)
        total, end = 0.0, 0
        for match in _COMPACT.finditer(text):
            if match.start() != end:
                break
            total += float(match[1]) * _UNITS[match[2]]
            end = match.end()
        if not end or end != len(text):
            raise ValueError(f"{text!r} is not a duration; write 30s, 5m, 2h30m or PT5M")
        return cls._rounded(total)

    @classmethod
    def is_spelt(cls, text: str) -> bool:
        """Whether a text is spelt as a duration is, however long that may be."""
        text = text.strip()
        if len(text) > _MAX_CHARS or text.endswith("T"):
            return False
        if text.startswith("P"):
            found = _ISO.fullmatch(text)
            return found is not None and any(found.groupdict().values())
        return re.fullmatch(rf"(?:{_COMPACT.pattern})+", text) is not None

    @classmethod
    def _parse_iso(cls, text: str) -> Duration:
        match = _ISO.fullmatch(text)
        found = {unit: value for unit, value in match.groupdict().items() if value} if match else {}
        if not found or text.endswith("T"):
            raise ValueError(
                f"{text!r} is not an ISO 8601 duration of weeks, days, hours, minutes, seconds"
            )
        return cls._rounded(sum(float(value) * _UNITS[unit] for unit, value in found.items()))

    @classmethod
    def _rounded(cls, milliseconds: float) -> Duration:
        return cls(round(milliseconds) or int(milliseconds > 0))

    def __str__(self) -> str:
        """ISO 8601, e.g. `PT1M30S`."""
        seconds, ms = divmod(self.milliseconds, 1000)
        minutes, seconds = divmod(seconds, 60)
        hours, minutes = divmod(minutes, 60)
        fraction = f".{ms:03d}".rstrip("0") if ms else ""
        out = (f"{hours}H" if hours else "") + (f"{minutes}M" if minutes else "")
        if seconds or ms or not out:
            out += f"{seconds}{fraction}S"
        return "PT" + out


def parse_instant(value: Json) -> datetime:
    """A point in time from ISO 8601 text, or from seconds since 1970; without a zone it is UTC."""
    found: datetime | None = None
    try:
        if isinstance(value, str):
            found = datetime.fromisoformat(value.strip()[:_MAX_CHARS])
        elif isinstance(value, int | float) and not isinstance(value, bool):
            found = datetime.fromtimestamp(value, UTC)
        if found is not None:
            return (found if found.tzinfo else found.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError, OSError):
        pass
    raise ValueError(f"{str(value)[:60]!r} is not an instant; write 2026-01-31T12:00:00Z")


_MAX_PART: Final = 10**9
_PART: Final = "0|[1-9][0-9]{0,8}"
_WHOLE = re.compile(r"[0-9]{1,9}")
_SEMVER = re.compile(
    rf"({_PART})\.({_PART})\.({_PART})(?:-([0-9A-Za-z-]+(?:\.[0-9A-Za-z-]+)*))?(?:\+[0-9A-Za-z.-]+)?"
)


@total_ordering
@dataclass(frozen=True, slots=True, eq=True)
class SemVer:
    """A version by Semantic Versioning 2.0.0.

    An integer N reads as N.0.0; build metadata is dropped.
    """

    major: int
    minor: int = 0
    patch: int = 0
    prerelease: str = ""

    @classmethod
    def parse(cls, text: str | int) -> SemVer:
        """Read `1.4.0`, `2.0.0-rc.1` or an integer; raises ValueError for anything else."""
        if isinstance(text, int):
            text = str(text) if abs(text) < _MAX_PART else "this number"
        if len(text) > _MAX_CHARS:
            raise ValueError("too long for a version")
        if _WHOLE.fullmatch(text):
            return cls(int(text))
        match = _SEMVER.fullmatch(text)
        if not match:
            raise ValueError(f"{text!r} is not a version; write major.minor.patch, e.g. 1.4.0")
        return cls(int(match[1]), int(match[2]), int(match[3]), match[4] or "")

    def __str__(self) -> str:
        core = f"{self.major}.{self.minor}.{self.patch}"
        return f"{core}-{self.prerelease}" if self.prerelease else core

    def __lt__(self, other: SemVer) -> bool:
        return self._order() < other._order()

    def _order(self) -> tuple[int, int, int, int, tuple[tuple[int, int, str], ...]]:
        """SemVer 2.0.0, rule 11: a prerelease precedes its release; numbers precede words."""
        parts = tuple(
            (0, int(part), "") if part.isdigit() else (1, 0, part)
            for part in self.prerelease.split(".")
            if part
        )
        return self.major, self.minor, self.patch, 0 if parts else 1, parts


_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Digest:
    """A SHA-256 as text: `sha256:` and 64 lower-case hex digits."""

    text: str

    def __post_init__(self) -> None:
        if not _DIGEST.fullmatch(self.text):
            raise ValueError("a digest is 'sha256:' and 64 lower-case hex digits")

    @classmethod
    def of(cls, data: bytes) -> Digest:
        """The digest of some bytes."""
        digest = object.__new__(cls)  # It has the form that __post_init__ asks for.
        object.__setattr__(digest, "text", "sha256:" + hashlib.sha256(data).hexdigest())
        return digest

    def __str__(self) -> str:
        return self.text


def total(amounts: Iterable[Money]) -> tuple[Money, ...]:
    """The sum of each currency, by its name."""
    sums: dict[str, Money] = {}
    for one in amounts:
        known = sums.get(one.currency)
        sums[one.currency] = one if known is None else known + one
    return tuple(sums[currency] for currency in sorted(sums))


_MONEY = re.compile(r"([0-9]{1,15}(?:\.[0-9]{1,6})?) ?([A-Z]{3})")
_CURRENCY = re.compile(r"[A-Z]{3}")
_CENTS: Final = Decimal("0.01")
_MICRO: Final = Decimal("0.000001")
_MAX_AMOUNT: Final = Decimal(10) ** 15


@dataclass(frozen=True, slots=True)
class Money:
    """An amount of one currency, exact to a millionth, never negative.

    Written `12.50 EUR`; amounts of different currencies can't be added or compared.
    """

    amount: Decimal
    currency: str

    def __post_init__(self) -> None:
        if not _CURRENCY.fullmatch(self.currency):
            raise ValueError("a currency is three capital letters, like EUR")
        if not self.amount.is_finite() or not 0 <= self.amount < _MAX_AMOUNT:
            raise ValueError("an amount of money lies between 0 and 10^15")
        if self.amount != self.amount.quantize(_MICRO):
            raise ValueError("an amount of money has at most six decimals")
        object.__setattr__(self, "amount", _plain_amount(self.amount))

    @classmethod
    def parse(cls, text: str) -> Money:
        """Read `12.50 EUR`; raises ValueError for anything else."""
        match = _MONEY.fullmatch(text.strip()) if len(text) <= _MAX_CHARS else None
        if match is None:
            raise ValueError("money is written like 12.50 EUR")
        return cls(Decimal(match[1]), match[2])

    def __str__(self) -> str:
        return f"{self.amount} {self.currency}"

    def __add__(self, other: Money) -> Money:
        return Money(self.amount + self._same(other).amount, self.currency)

    def __lt__(self, other: Money) -> bool:
        return self.amount < self._same(other).amount

    def __le__(self, other: Money) -> bool:
        return self.amount <= self._same(other).amount

    def __gt__(self, other: Money) -> bool:
        return self.amount > self._same(other).amount

    def __ge__(self, other: Money) -> bool:
        return self.amount >= self._same(other).amount

    def _same(self, other: Money) -> Money:
        if other.currency != self.currency:
            raise ValueError(f"{self.currency} and {other.currency} are different currencies")
        return other


def _plain_amount(amount: Decimal) -> Decimal:
    """One way to write each amount: two decimals, or as many more as it needs."""
    short = amount.quantize(_CENTS)
    if short == amount:
        return short
    return Decimal(f"{amount.quantize(_MICRO):f}".rstrip("0"))

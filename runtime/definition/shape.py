"""Shapes: what a part of a document may look like. One description reads it and gives its JSON Schema.

`read` takes what was written and gives the canonical value, or MISSING after it has said what is
wrong. A shape never stops at the first fault: its neighbours are read all the same.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Final, Protocol, TypeAlias

from runtime.definition.finding import Findings, Path, known_here
from runtime.definition.template import Use, read_template
from runtime.model.values import Duration, Json, Money

MISSING: Final[Any] = object()
MONEY: Final = r"^[0-9]{1,15}(\.[0-9]{1,6})? ?[A-Z]{3}$"
# What other languages of workflows call it.
_ALSO_CALLED: Final = {"kind": "type", "needs": "depends_on", "if": "when"}
_HUMP = re.compile(r"(?<=[a-z0-9])([A-Z])")

Schema: TypeAlias = dict[str, Any]


@dataclass(slots=True)
class Reading:
    """What the shapes share while one document is read; `keys`, if wanted, are those of the language."""

    findings: Findings
    camel: bool = False
    step: int | None = None
    uses: list[Use] = field(default_factory=list)
    keys: list[tuple[Path, str]] | None = None


class Shape(Protocol):
    """A part of the language."""

    def read(self, value: Json, path: Path, reading: Reading) -> Any:
        """The canonical value, or MISSING."""

    def schema(self) -> Schema:
        """The same in JSON Schema 2020-12."""


def snake(key: str) -> str:
    """`dependsOn` as `depends_on`."""
    return _HUMP.sub(r"_\1", key).lower()


def camel(key: str) -> str:
    """`depends_on` as `dependsOn`."""
    head, *rest = key.split("_")
    return head + "".join(part.capitalize() for part in rest)


@lru_cache(maxsize=1_024)
def parse_duration(text: str) -> Duration | None:
    """The duration that a text means, if it is one; documents repeat the same few."""
    try:
        return Duration.parse(text)
    except ValueError:
        return None


def kind_of(value: Json) -> str:
    """What was written, in words."""
    if value is None:
        return "nothing"
    names: dict[type, str] = {
        bool: "true or false", int: "a number", float: "a number", str: "text",
        list: "a list", dict: "a mapping",
    }  # fmt: skip
    return names[type(value)]


def wrong(expected: str, value: Json, path: Path, reading: Reading, hint: str | None = None) -> Any:
    """Say that something else was expected."""
    reading.findings.error(
        "type", f"{expected} is expected here, not {kind_of(value)}", path, hint=hint
    )
    return MISSING


@dataclass(frozen=True, slots=True)
class Text:
    """Text without expressions, of a certain form."""

    expected: str = "text"
    pattern: str | None = None
    rule: str = "text"
    longest: int = 10_000
    hint: str | None = None
    least: int = 0
    _form: re.Pattern[str] | None = field(default=None, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.pattern is not None:
            object.__setattr__(self, "_form", re.compile(self.pattern))

    def read(self, value: Json, path: Path, reading: Reading) -> Any:
        """As Shape says."""
        if not isinstance(value, str):
            is_plain = isinstance(value, int | float)
            quoted = f'write "{json.dumps(value)}"' if is_plain else self.hint
            return wrong(self.expected, value, path, reading, quoted)
        if len(value) > self.longest:
            reading.findings.error(
                self.rule, f"at most {self.longest} characters are allowed", path
            )
            return MISSING
        if len(value) < self.least:
            reading.findings.error("empty", f"{self.expected} is needed here", path)
            return MISSING
        if self._form is not None and not self._form.fullmatch(value):
            shown = value if len(value) <= 60 else value[:57] + "..."  # noqa: PLR2004 - one line
            reading.findings.error(
                self.rule, f"{shown!r} is not {self.expected}", path, hint=self.hint
            )
            return MISSING
        return value

    def schema(self) -> Schema:
        """As Shape says."""
        out: Schema = {"type": "string", "maxLength": self.longest}
        if self.pattern is not None:
            out["pattern"] = f"^(?:{self.pattern})$"
        return out | ({"minLength": self.least} if self.least else {})


@dataclass(frozen=True, slots=True)
class DurationText:
    """A length of time, as written; `positive` where none at all would never be enough."""

    positive: bool = False

    def read(self, value: Json, path: Path, reading: Reading) -> Any:
        """As Shape says."""
        hint = "write 30s, 5m, 2h30m or PT5M"
        if not isinstance(value, str):
            if isinstance(value, int | float) and not isinstance(value, bool):
                hint = f"write {value}s if you mean seconds"
            reading.findings.error(
                "bad-duration",
                f"a duration is expected here, not {kind_of(value)}",
                path,
                hint=hint,
            )
            return MISSING
        found = parse_duration(value) if value == value.strip() else None
        if found is None:
            is_long = Duration.is_spelt(value) and value == value.strip()
            words = "is longer than ten years (3650d)" if is_long else "is not a duration"
            reading.findings.error(
                "bad-duration", f"{value[:60]!r} {words}", path, hint=None if is_long else hint
            )
            return MISSING
        if self.positive and not found.milliseconds:
            reading.findings.error("bad-duration", "this leaves no time at all", path, hint=hint)
            return MISSING
        return value

    def schema(self) -> Schema:
        """As Shape says."""
        return {"$ref": f"#/$defs/{'positiveDuration' if self.positive else 'duration'}"}


@dataclass(frozen=True, slots=True)
class Whole:
    """An integer between two bounds."""

    low: int = 0
    high: int = 1_000_000

    def read(self, value: Json, path: Path, reading: Reading) -> Any:
        """As Shape says."""
        if type(value) is not int:
            return wrong("an integer", value, path, reading)
        if not self.low <= value <= self.high:
            reading.findings.error(
                "range", f"{value} does not lie between {self.low} and {self.high}", path
            )
            return MISSING
        return value

    def schema(self) -> Schema:
        """As Shape says."""
        return {"type": "integer", "minimum": self.low, "maximum": self.high}


@dataclass(frozen=True, slots=True)
class Number:
    """A number between two bounds."""

    low: float
    high: float

    def read(self, value: Json, path: Path, reading: Reading) -> Any:
        """As Shape says."""
        if type(value) is not int and type(value) is not float:
            return wrong("a number", value, path, reading)
        if not self.low <= value <= self.high:
            reading.findings.error(
                "range", f"{value} does not lie between {self.low:g} and {self.high:g}", path
            )
            return MISSING
        return value

    def schema(self) -> Schema:
        """As Shape says."""
        return {"type": "number", "minimum": self.low, "maximum": self.high}


@dataclass(frozen=True, slots=True)
class Flag:
    """true or false."""

    def read(self, value: Json, path: Path, reading: Reading) -> Any:
        """As Shape says."""
        if not isinstance(value, bool):
            return wrong("true or false", value, path, reading)
        return value

    def schema(self) -> Schema:
        """As Shape says."""
        return {"type": "boolean"}


@dataclass(frozen=True, slots=True)
class Choice:
    """One of a few words."""

    names: tuple[str, ...]
    rule: str = "choice"

    def read(self, value: Json, path: Path, reading: Reading) -> Any:
        """As Shape says."""
        if not isinstance(value, str):
            return wrong(f"one of {', '.join(self.names)}", value, path, reading)
        if value not in self.names:
            reading.findings.error(
                self.rule,
                f"{value[:60]!r} is none of {', '.join(self.names)}",
                path,
                hint=reading.findings.near(value, self.names),
            )
            return MISSING
        return value

    def schema(self) -> Schema:
        """As Shape says."""
        return {"enum": list(self.names)}


@dataclass(frozen=True, slots=True)
class ListOf:
    """A list; where `lone` is set, one element may stand without its list. Texts of one that is `unique` differ.

    `too_few` are the words for a list with less than `least`, `hint` says what to do about it.
    """

    element: Shape
    lone: bool = False
    least: int = 0
    most: int | None = None
    unique: str | None = None
    too_few: str | None = None
    hint: str | None = None

    def read(self, value: Json, path: Path, reading: Reading) -> Any:
        """As Shape says."""
        if self.lone and not isinstance(value, list | dict) and value is not None:
            one = self.element.read(value, path, reading)
            return [] if one is MISSING else [one]
        if not isinstance(value, list):
            return wrong("a list", value, path, reading)
        if len(value) < self.least:
            words = self.too_few or f"at least {self.least} is needed here"
            reading.findings.error("empty", words, path, hint=self.hint)
            return MISSING
        if self.most is not None and len(value) > self.most:
            reading.findings.error("range", f"at most {self.most} are allowed here", path)
            return MISSING
        read = self.element.read
        out = [read(one, (*path, i), reading) for i, one in enumerate(value)]
        if self.unique is not None:
            self._refuse_twice(out, path, reading)
        return out if MISSING not in out else [one for one in out if one is not MISSING]

    def _refuse_twice(self, read: list[Any], path: Path, reading: Reading) -> None:
        seen: set[str] = set()
        for index, one in enumerate(read):
            if isinstance(one, str) and one in seen:
                words = f"{one[:60]!r} stands here before"
                reading.findings.error(str(self.unique), words, (*path, index))
            elif isinstance(one, str):
                seen.add(one)

    def schema(self) -> Schema:
        """As Shape says."""
        many: Schema = {"type": "array", "items": self.element.schema(), "minItems": self.least}
        many |= {"maxItems": self.most} if self.most is not None else {}
        many |= {"uniqueItems": True} if self.unique is not None else {}
        return {"anyOf": [self.element.schema(), many]} if self.lone else many


@dataclass(frozen=True, slots=True)
class MapOf:
    """A mapping whose keys the author chooses."""

    element: Shape
    key: Text = field(default_factory=Text)

    def read(self, value: Json, path: Path, reading: Reading) -> Any:
        """As Shape says."""
        if not isinstance(value, dict):
            return wrong("a mapping", value, path, reading)
        out: dict[str, Json] = {}
        for key, one in value.items():
            place = (*path, key)
            if self.key.read(key, place, reading) is not MISSING:
                found = self.element.read(one, place, reading)
                if found is not MISSING:
                    out[key] = found
        return out

    def schema(self) -> Schema:
        """As Shape says."""
        return {
            "type": "object",
            "propertyNames": self.key.schema(),
            "additionalProperties": self.element.schema(),
        }


@dataclass(frozen=True, slots=True)
class Template:
    """Any value, with expressions in its strings. `area` is which names they may use, `needs_value` that null fails."""

    area: str
    expected: str | None = None
    needs_value: bool = False

    def read(self, value: Json, path: Path, reading: Reading) -> Any:
        """As Shape says."""
        if self.expected == "text" and not isinstance(value, str):
            return wrong("text", value, path, reading)
        if self.expected == "mapping" and not isinstance(value, dict):
            return wrong("a mapping", value, path, reading)
        return read_template(
            value,
            path,
            area=self.area,
            step=reading.step,
            findings=reading.findings,
            uses=reading.uses,
            needs_value=self.needs_value,
        )

    def schema(self) -> Schema:
        """As Shape says."""
        return {"text": {"type": "string"}, "mapping": {"type": "object"}}.get(
            self.expected or "", {}
        )


@dataclass(frozen=True, slots=True)
class Field:
    """One key of a record."""

    shape: Shape
    about: str
    required: bool = False


@dataclass(frozen=True, slots=True)
class Record:
    """A mapping with known keys. A misspelt key is named together with the nearest valid one.

    `never` are keys that others of its kind have and this one can't, each with the reason; `rule` is what they break.
    """

    name: str
    fields: Mapping[str, Field]
    rule: str = "unknown-key"
    never: Mapping[str, str] = field(default_factory=dict)
    _required: tuple[str, ...] = field(default=(), init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        needed = tuple(name for name, one in self.fields.items() if one.required)
        object.__setattr__(self, "_required", needed)

    def read(self, value: Json, path: Path, reading: Reading) -> Any:
        """As Shape says."""
        if not isinstance(value, dict):
            return wrong(f"a mapping ({self.name})", value, path, reading)
        out: dict[str, Json] = {}
        fields = self.fields
        for key, one in value.items():
            name = key if key in fields else self.canonical(key, reading)
            if name is None:
                self.refuse_key(key, path, reading)
                continue
            if name in out:
                reading.findings.error(
                    "duplicate-key",
                    f"{name} stands here in both spellings",
                    (*path, key),
                    on_key=True,
                )
                continue
            if reading.keys is not None:
                reading.keys.append(((*path, key), name))
            found = fields[name].shape.read(one, (*path, key), reading)
            if found is not MISSING:
                out[name] = found
        self._require(value, path, reading)
        return out

    def canonical(self, key: str, reading: Reading) -> str | None:
        """The key as this language calls it; None if it has no such key."""
        if key in self.fields:
            return key
        if reading.camel:
            name = snake(key)
            if name in self.fields and camel(name) == key:
                return name
        return None

    def refuse_key(self, key: str, path: Path, reading: Reading) -> None:
        """Say that a key is not known here."""
        name = snake(key) if reading.camel else key
        if name in self.never:
            reading.findings.error(self.rule, self.never[name], (*path, key), on_key=True)
            return
        names = list(self.fields)
        other = _ALSO_CALLED.get(snake(key))
        hint = f"did you mean {other!r}?" if other in self.fields else None
        hint = hint or reading.findings.near(snake(key), names)
        if hint is None and len(names) <= 12:  # noqa: PLR2004 - what fits into one line
            hint = known_here(names)
        reading.findings.error(
            "unknown-key",
            f"{key[:60]!r} is not a key of {self.name}",
            (*path, key),
            hint=hint,
            on_key=True,
        )

    def _require(self, value: dict[str, Json], path: Path, reading: Reading) -> None:
        for name in self._required:
            if name not in value and camel(name) not in value:
                reading.findings.error("missing-key", f"{self.name} needs {name!r}", path)

    def schema(self) -> Schema:
        """As Shape says."""
        properties = {
            name: {**one.shape.schema(), "description": one.about}
            for name, one in self.fields.items()
        }
        required = [name for name, one in self.fields.items() if one.required]
        out: Schema = {"type": "object", "properties": properties, "additionalProperties": False}
        return out | ({"required": required} if required else {})


@dataclass(frozen=True, slots=True)
class Either:
    """A plain form, or another for those who need more. With a key, the plain form is short for a mapping."""

    plain: Shape
    other: Shape
    key: str | None = None

    def read(self, value: Json, path: Path, reading: Reading) -> Any:
        """As Shape says."""
        if self._is_other(value):
            return self.other.read(value, path, reading)
        found = self.plain.read(value, path, reading)
        return found if found is MISSING or self.key is None else {self.key: found}

    def _is_other(self, value: Json) -> bool:
        if isinstance(self.other, Record):
            return isinstance(value, dict)
        return not isinstance(value, str)

    def schema(self) -> Schema:
        """As Shape says."""
        return {"anyOf": [self.plain.schema(), self.other.schema()]}


@dataclass(frozen=True, slots=True)
class MoneyText:
    """An amount with its currency: `12.50 EUR`."""

    def read(self, value: Json, path: Path, reading: Reading) -> Any:
        """As Shape says."""
        hint = "write 12.50 EUR"
        if not isinstance(value, str):
            return wrong("an amount of money", value, path, reading, hint)
        try:
            return str(Money.parse(value))
        except ValueError:
            reading.findings.error(
                "bad-money", f"{value[:60]!r} is not an amount of money", path, hint=hint
            )
            return MISSING

    def schema(self) -> Schema:
        """As Shape says."""
        return {"type": "string", "pattern": MONEY, "maxLength": 40}

"""Replaces secrets in whatever leaves a step: outputs, errors, log lines.

A secret is also found in the forms that it takes on the way: percent-encoded in an address, fully or
in part, escaped in JSON, in JSON within JSON, or in HTML; and in Base64, even in the middle of a
longer text (`Authorization: Basic`). Letters and digits stay as they are in all but Base64, so the
longest run of them is looked for first, and only where it stands the slower pattern of all spellings.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable, Iterator
from html.entities import codepoint2name
from typing import Final, TypeVar

import orjson

T = TypeVar("T")

MASK: Final = "***"
MIN_LENGTH: Final = 4
_MIN_BASE64: Final = 5
_MIN_LINE: Final = 12
# A shorter one may be a word of everyday; in another case it is left alone.
_MIN_ANY_CASE: Final = 8
# What precedes the secret shifts it by 0, 1 or 2 bytes within a group of three; so many characters
# at the start then depend on what precedes it, and are not looked for.
_SHIFTS: Final = ((0, 0), (1, 2), (2, 3))
_RUN: Final = re.compile("[A-Za-z0-9]+")
_SHORT_ESCAPES: Final = {"\b": "b", "\t": "t", "\n": "n", "\f": "f", "\r": "r"}
_NAMES: Final = {**codepoint2name, ord("'"): "apos"}


class Masker:
    """Knows some secrets. Values shorter than four characters can't be told from other text."""

    def __init__(self, values: Iterable[str] = ()) -> None:
        kept = set(values)
        texts = {text for value in kept for text in _texts(value)}
        self._spellings = tuple(
            (_core(text), _pattern(text)) for text in sorted(texts, key=len, reverse=True)
        )
        encoded = {form for value in kept for form in _base64_of(value)}
        self._encoded = tuple(sorted(encoded, key=len, reverse=True))

    def mask(self, value: T) -> T:
        """The same text or JSON value with `***` in place of each secret."""
        if not self._spellings or value is None or isinstance(value, bool | int | float):
            return value
        if isinstance(value, str):
            return self._text(value)  # type: ignore[return-value]  # a str for a str
        if self._is_clean(value):
            return value
        return self._walk(value)  # type: ignore[return-value]  # the same shape

    def _is_clean(self, value: object) -> bool:
        """One look through the whole value, so that the usual case costs no walk."""
        try:
            text = orjson.dumps(value).decode()
        except TypeError:
            return False
        lowered = text.lower()
        return not any(core in lowered for core, _ in self._spellings) and not any(
            form in text for form in self._encoded
        )

    def _walk(self, value: object) -> object:
        match value:
            case str():
                return self._text(value)
            case dict():
                return {
                    self._text(key) if isinstance(key, str) else key: self._walk(one)
                    for key, one in value.items()
                }
            case list() | tuple():
                return [self._walk(one) for one in value]
            case _:
                return value

    def _text(self, text: str) -> str:
        lowered = text.lower()
        for core, pattern in self._spellings:
            if core in lowered:
                text = pattern.sub(MASK, text)
        for form in self._encoded:
            if form in text:
                text = text.replace(form, MASK)
        return text


def _texts(value: str) -> Iterator[str]:
    """The secret as a whole, and each of its lines that is long enough to be one by itself."""
    plain = value.strip()
    if len(plain) < MIN_LENGTH:
        return
    yield plain
    if "\n" in plain:
        yield from (
            line
            for line in map(str.strip, plain.splitlines())
            if len(line) >= _MIN_LINE and not line.startswith("-----")
        )


def _core(text: str) -> str:
    """Its longest run of letters and digits, which every spelling keeps; in lower case."""
    return max(_RUN.findall(text), key=len, default="").lower()


def _pattern(text: str) -> re.Pattern[str]:
    """The text in all its spellings, each character in one of its own.

    How many backslashes stand in a row says only how often the text was escaped. A row is taken
    whole or not at all, from its start only, so that no text makes the search slow.
    """
    parts: list[str] = []
    escape, maybe = r"(?<!\\)\\++", ""
    for row in re.findall(r"\\+|.", text, re.DOTALL):
        if row[0] == "\\":
            parts.append(f"(?i:{escape}|{'|'.join(_references(row[0]))})+")
            escape, maybe = r"\\*+", r"\\*+"
        else:
            parts.append(_spellings(row, escape, maybe))
            escape, maybe = r"\\++", r"\\*+"
    return re.compile("".join(parts), re.IGNORECASE if len(text) >= _MIN_ANY_CASE else 0)


def _spellings(char: str, escape: str, maybe: str) -> str:
    """One character as it is, escaped at any depth, percent-encoded, as an entity."""
    if char.isascii() and char.isalnum():
        return char
    units = char.encode("utf-16-be", "surrogatepass").hex()
    spellings = [
        maybe + re.escape(char),
        escape + r"\\++".join(f"u{units[at : at + 4]}" for at in range(0, len(units), 4)),
        f"{escape}x{ord(char):02x}",
        *_references(char),
    ]
    if char in _SHORT_ESCAPES:
        spellings.append(escape + _SHORT_ESCAPES[char])
    if char == " ":
        spellings.append(r"\+")
    return f"(?i:{'|'.join(spellings)})"


def _references(char: str) -> Iterator[str]:
    """How addresses and HTML spell a character, perhaps more than once over."""
    yield "".join(f"%(?:25)*{byte:02x}" for byte in char.encode("utf-8", "surrogatepass"))
    yield f"&(?:amp;)*#(?:0*{ord(char)}|x0*{ord(char):x});"
    if ord(char) in _NAMES:
        yield f"&(?:amp;)*{_NAMES[ord(char)]};"


def _base64_of(value: str) -> Iterator[str]:
    """What of its Base64 depends on the secret alone, for each place in a group of three bytes."""
    plain = value.strip()
    if len(plain) < MIN_LENGTH:
        return
    for text in {value, plain}:
        raw = text.encode("utf-8", "surrogatepass")
        for shift, skip in _SHIFTS:
            padded = b"\0" * shift + raw
            whole = len(padded) * 8 // 6
            for encode in (base64.b64encode, base64.urlsafe_b64encode):
                core = encode(padded).decode()[skip:whole]
                if len(core) >= _MIN_BASE64:
                    yield core

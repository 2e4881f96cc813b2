"""Replaces secrets in whatever leaves a step: outputs, errors, log lines.

A secret is also found in the forms that it takes on the way: percent-encoded in an address, escaped
in JSON or HTML, and in Base64, even in the middle of a longer text (`Authorization: Basic`).
"""

from __future__ import annotations

import base64
import html
import json
from collections.abc import Iterable, Iterator
from typing import Final, TypeVar
from urllib.parse import quote, quote_plus

import orjson

T = TypeVar("T")

MASK: Final = "***"
MIN_LENGTH: Final = 4
_MIN_BASE64: Final = 5
_MIN_LINE: Final = 12
# What precedes the secret shifts it by 0, 1 or 2 bytes within a group of three; so many characters
# at the start then depend on what precedes it, and are not looked for.
_SHIFTS: Final = ((0, 0), (1, 2), (2, 3))


class Masker:
    """Knows some secrets. Values shorter than four characters can't be told from other text."""

    def __init__(self, values: Iterable[str] = ()) -> None:
        forms = {form for value in values for form in _forms(value)}
        self._forms = tuple(sorted(forms, key=len, reverse=True))
        self._bytes = tuple(form.encode("utf-8", "surrogatepass") for form in self._forms)

    def mask(self, value: T) -> T:
        """The same text or JSON value with `***` in place of each secret."""
        if not self._forms or value is None or isinstance(value, bool | int | float):
            return value
        if isinstance(value, str):
            return self._text(value)  # type: ignore[return-value]  # a str for a str
        if self._is_clean(value):
            return value
        return self._walk(value)  # type: ignore[return-value]  # the same shape

    def _is_clean(self, value: object) -> bool:
        """One look through the whole value, so that the usual case costs no walk."""
        try:
            data = orjson.dumps(value)
        except TypeError:
            return False
        return not any(form in data for form in self._bytes)

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
        for form in self._forms:
            if form in text:
                text = text.replace(form, MASK)
        return text


def _forms(value: str) -> Iterator[str]:
    """The texts in which a secret may appear."""
    plain = value.strip()
    if len(plain) < MIN_LENGTH:
        return
    for text in {value, plain}:
        yield text
        yield from (quote(text), quote(text, safe=""), quote_plus(text))
        yield from (one.lower() for one in (quote(text, safe=""),) if one != text)
        yield from (json.dumps(text)[1:-1], json.dumps(text, ensure_ascii=False)[1:-1])
        yield from (repr(text)[1:-1], html.escape(text))
        yield from _base64_forms(text.encode("utf-8", "surrogatepass"))
    if "\n" in plain:
        yield from (
            line
            for line in map(str.strip, plain.splitlines())
            if len(line) >= _MIN_LINE and not line.startswith("-----")
        )


def _base64_forms(raw: bytes) -> Iterator[str]:
    """What of its Base64 depends on the secret alone, for each place in a group of three bytes."""
    for shift, skip in _SHIFTS:
        padded = b"\0" * shift + raw
        whole = len(padded) * 8 // 6
        for encode in (base64.b64encode, base64.urlsafe_b64encode):
            core = encode(padded).decode()[skip:whole]
            if len(core) >= _MIN_BASE64:
                yield core

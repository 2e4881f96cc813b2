"""Source: a document as text, read once into plain JSON, with the way back to lines and columns.

The first thing every document meets, from wherever it comes. Hostile ones (bombs of aliases, depth,
size, odd encodings) end here, in milliseconds and without being built in memory.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from runtime.definition.composer import Composer, Mark, Refused, Sink
from runtime.definition.finding import Finding, Findings, Span
from runtime.definition.json_text import Lines, drive_json
from runtime.definition.locator import Locator
from runtime.definition.yaml_text import drive_yaml, yaml_span
from runtime.model.values import Json
from runtime.model.workflow import DefinitionFormat

MAX_BYTES: Final = 10_000_000
_SURROGATE: Final = re.compile(r"[\ud800-\udfff]")
_START: Final = Span(1, 1, 1, 1)


@dataclass(slots=True)
class Source:
    """A document. `value` is None when it could not be read; `findings` say why."""

    text: str
    format: DefinitionFormat
    value: Json = None
    is_read: bool = False
    findings: Findings = field(default_factory=Findings)

    def locate(self, findings: Sequence[Finding]) -> None:
        """Give each finding that has only a path its place in the text."""
        missing = [one for one in findings if one.span is None]
        if not missing or not self.is_read:
            return
        locator = Locator(one.path for one in missing)
        self._drive(locator)
        lines = Lines(self.text) if self.format is DefinitionFormat.JSON else None
        for one in missing:
            place = locator.place(one.path, on_key=one.on_key)
            if place is not None:
                one.span = _span(lines, *place)

    def read(self) -> None:
        """Read the text into `value`; all that is wrong with it becomes findings."""
        composer = Composer()
        lines = Lines(self.text) if self.format is DefinitionFormat.JSON else None
        try:
            self._drive(composer)
        except Refused as refused:
            self._complain(composer, lines)
            path = composer.path()
            span = _span(lines, refused.mark, refused.mark)
            self._add(refused.rule, refused.message, span, refused.hint, path)
            return
        self._complain(composer, lines)
        if composer.is_empty or composer.value is None:
            self._add("syntax", "this document is empty", _START, "begin with `name:` and `steps:`")
            return
        self.value, self.is_read = composer.value, True

    def _drive(self, sink: Sink) -> None:
        if self.format is DefinitionFormat.JSON:
            drive_json(self.text, sink)
        else:
            drive_yaml(self.text, sink)

    def _complain(self, composer: Composer, lines: Lines | None) -> None:
        for one in composer.complaints:
            self._add(one.rule, one.message, _span(lines, one.mark, one.mark), one.hint, one.path)

    def _add(
        self,
        rule: str,
        message: str,
        span: Span,
        hint: str | None = None,
        path: tuple[str | int, ...] = (),
    ) -> None:
        self.findings.found.append(Finding(rule, message, path, hint=hint, span=span))


def read_source(source: str | bytes, format: DefinitionFormat | None = None) -> Source:
    """Read a document; without a format, what begins with `{` and reads as JSON is JSON."""
    text, refusal = _decode(source)
    if refusal is not None:
        found = Source(text, format or DefinitionFormat.YAML)
        found.findings.found.append(refusal)
        return found
    if format is None and text.lstrip()[:1] == "{":
        found = Source(text, DefinitionFormat.JSON)
        found.read()
        if found.is_read:
            return found
        relaxed = Source(text, DefinitionFormat.YAML)
        relaxed.read()
        return relaxed if relaxed.is_read else found
    found = Source(text, format or DefinitionFormat.YAML)
    found.read()
    return found


def _decode(source: str | bytes) -> tuple[str, Finding | None]:
    """The text of a document, or why it is none."""
    if len(source) > MAX_BYTES:
        return "", _refusal("too-large", f"a document has at most {MAX_BYTES:,} bytes")
    if isinstance(source, bytes):
        if source[:2] in {b"\xff\xfe", b"\xfe\xff"}:
            return "", _refusal("encoding", "this document is UTF-16", "save it as UTF-8")
        try:
            source = source.decode("utf-8")
        except UnicodeDecodeError as error:
            return "", _refusal(
                "encoding", f"this document is not UTF-8 (byte {error.start})", "save it as UTF-8"
            )
    elif len(source) * 4 > MAX_BYTES and len(source.encode("utf-8", "surrogatepass")) > MAX_BYTES:
        return "", _refusal("too-large", f"a document has at most {MAX_BYTES:,} bytes")
    if source.startswith("\ufeff"):
        return "", _refusal(
            "encoding",
            "this document begins with a byte order mark",
            "save it as UTF-8 without BOM",
        )
    if not source.isascii() and _SURROGATE.search(source):
        return "", _refusal("encoding", "this document has half of a surrogate pair in it")
    return source, None


def _refusal(rule: str, message: str, hint: str | None = None) -> Finding:
    return Finding(rule, message, hint=hint, span=_START)


def _span(lines: Lines | None, first: Mark, last: Mark) -> Span:
    return lines.span(first, last) if lines is not None else yaml_span(first, last)

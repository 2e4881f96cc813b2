"""Lays out YAML evenly: two spaces a level, one space where one belongs, and nothing else changed.

Only white space between tokens is touched, so comments, quotes, anchors and the order of keys stay as
they were written. The text was read by our own reader before (`source`), so its size and depth are
bounded; the result is read again, and given back only if it says the same.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any, Final

import yaml

from runtime.definition.source import Source, read_source
from runtime.model.errors import MaestroError
from runtime.model.values import Json
from runtime.model.workflow import DefinitionFormat

_STEP: Final = 2
_BLOCK_STYLES: Final = ("|", ">")
_OPENERS: Final = (yaml.FlowMappingStartToken, yaml.FlowSequenceStartToken)
_CLOSERS: Final = (yaml.FlowMappingEndToken, yaml.FlowSequenceEndToken)
_MARKS: Final = (yaml.AnchorToken, yaml.TagToken, yaml.DocumentStartToken)


@dataclass(slots=True)
class _Block:
    """A block mapping or list: the column it had, and the one it gets."""

    old: int
    new: int
    is_mapping: bool
    dashes: int | None = None  # The old column of a list that is not indented below its key.

    @property
    def content(self) -> int:
        """The column of what stands below."""
        return self.new + _STEP * (2 if self.dashes is not None else 1)


@dataclass(slots=True)
class _Layout:
    text: str
    out: list[str] = field(default_factory=list)
    blocks: list[_Block] = field(default_factory=list)
    end: int = 0
    last: Any = None
    levels: dict[int, int] = field(default_factory=dict)
    flow: int = 0
    line_shift: int = 0  # How far the line that the present token stands in was moved.
    flow_shift: int = 0
    column: int = 0
    key_at: int = -1

    def run(self) -> str:
        """All tokens, then the rest of the text."""
        for token in yaml.scan(self.text, Loader=yaml.CSafeLoader):
            self._structure(token)
            if token.end_mark.index > token.start_mark.index:
                self._gap(token)
                self._token(token)
        self._between(self.text[self.end :], None, 0)
        text = "".join(self.out)
        return text if self._keeps_breaks() else text.strip("\n") + "\n"

    def _keeps_breaks(self) -> bool:
        """Whether the last token is a text that keeps its trailing line breaks (`|+`)."""
        start = self.last.start_mark.index if self.last is not None else 0
        head = self.text[start : start + 3].split("\n")[0]
        return _style(self.last) in _BLOCK_STYLES and "+" in head

    def _structure(self, token: Any) -> None:
        kind = type(token)
        if kind in {yaml.BlockMappingStartToken, yaml.BlockSequenceStartToken}:
            new = self.blocks[-1].content if self.blocks else 0
            is_mapping = kind is yaml.BlockMappingStartToken
            self.blocks.append(_Block(token.start_mark.column, new, is_mapping))
        elif kind is yaml.BlockEndToken:
            self.blocks.pop()
        elif self.flow == 0 and self.blocks and self.blocks[-1].is_mapping:
            if kind is yaml.KeyToken:
                self.blocks[-1].dashes = None
            elif kind is yaml.BlockEntryToken:
                self.blocks[-1].dashes = token.start_mark.column
        self._place(token, kind)

    def _place(self, token: Any, kind: type) -> None:
        """The column that a token gets when it is the first of its line."""
        block = self.blocks[-1] if self.blocks else _Block(0, -_STEP, is_mapping=True)
        if kind is yaml.KeyToken:
            self.key_at = token.start_mark.index
            self.column = block.new
        elif token.start_mark.index == token.end_mark.index:
            return
        elif kind is yaml.BlockEntryToken:
            self.column = block.new + (_STEP if block.is_mapping else 0)
        elif kind is yaml.ValueToken:
            self.column = block.new
        elif kind in {yaml.DocumentStartToken, yaml.DocumentEndToken, yaml.DirectiveToken}:
            self.column = 0
        elif token.start_mark.index != self.key_at:
            self.column = block.content

    def _gap(self, token: Any) -> None:
        gap = self.text[self.end : token.start_mark.index]
        if "\n" in gap or self.last is None or self._ended_line():
            self._between(gap, token, token.start_mark.column)
        else:
            self.out.append(_space(self.last, token, gap, in_flow=self.flow > 0))

    def _ended_line(self) -> bool:
        return self.end > 0 and self.text[self.end - 1] == "\n"

    def _between(self, gap: str, token: Any, old: int) -> None:
        """The end of a line, lines without tokens, and the indentation of the next token."""
        lines = gap.split("\n")
        if self.last is not None and not self._ended_line():
            self.out.append(lines.pop(0).rstrip())
            if not lines:
                return
            self.out.append("\n")
        new = self._indentation(old)
        *whole, rest = lines
        whole += [rest] if token is None and rest.strip() else []
        blank, kept = not self.out, self._keeps_breaks()
        for line in whole:
            bare = line.strip()
            kept = kept and not bare
            if bare or kept or not blank:
                column = len(line) - len(line.lstrip())
                self.out.append(" " * self._comment(column, token, old, new) + bare if bare else "")
                self.out.append("\n")
            blank = not bare
        if token is not None:
            self.out.append(" " * new)
            self.line_shift = new - old

    def _indentation(self, old: int) -> int:
        if self.flow == 0:
            return self.column
        return max(old + self.flow_shift, self.blocks[-1].new if self.blocks else 0)

    def _comment(self, column: int, token: Any, old: int, new: int) -> int:
        """Where a comment goes: with the token below it, or with the block that it ends."""
        if self.flow > 0:
            return max(0, column + self.flow_shift)
        if token is not None and column == old:
            return new
        if column in self.levels:
            return self.levels[column]
        if token is not None:
            return new
        return max((to for level, to in self.levels.items() if level <= column), default=0)

    def _token(self, token: Any) -> None:
        start, end = token.start_mark.index, token.end_mark.index
        if isinstance(token, _OPENERS):
            if self.flow == 0:
                self.flow_shift = self.line_shift
            self.flow += 1
        elif isinstance(token, _CLOSERS):
            self.flow -= 1
        body = self.text[start:end]
        if "\n" in body:
            body = self._lines(token, body)
        self.out.append(body)
        self.end, self.last = end, token
        self.levels = {}
        for block in self.blocks:
            self.levels[block.old] = block.new
            if block.dashes is not None:
                self.levels.setdefault(block.dashes, block.new + _STEP)

    def _lines(self, token: Any, body: str) -> str:
        """A text over several lines, moved as a whole (`|`, `>`), or line by line (quoted, plain)."""
        target = self.blocks[-1].content if self.blocks else 0
        first, *rest = body.split("\n")
        if _style(token) not in _BLOCK_STYLES:
            column = target if self.flow == 0 else max(target, 1)
            moved = [" " * column + line.lstrip(" \t") if line.strip() else line for line in rest]
            return "\n".join([first, *moved])
        before = next((len(one) - len(one.lstrip(" ")) for one in rest if one.strip(" ")), 0)
        if any(sign.isdigit() for sign in first.split("#")[0]):
            block = self.blocks[-1] if self.blocks else _Block(0, 0, is_mapping=True)
            old, new = block.old, block.new
            if block.dashes is not None:
                old, new = block.dashes, block.new + _STEP
            target = before + new - old
        moved = [" " * target + one[before:] if one[before:] else "" for one in rest]
        return "\n".join([first.rstrip(), *moved])


def _style(token: Any) -> str | None:
    return token.style if isinstance(token, yaml.ScalarToken) else None


def _space(before: Any, after: Any, gap: str, *, in_flow: bool) -> str:
    """The white space between two tokens of one line."""
    if isinstance(after, yaml.ValueToken):
        return " " if isinstance(before, yaml.AliasToken) else ""
    if isinstance(before, (yaml.ValueToken, yaml.BlockEntryToken, yaml.KeyToken, *_MARKS)):
        return " "
    if in_flow and isinstance(before, yaml.FlowEntryToken):
        return "" if isinstance(after, _CLOSERS) else " "
    if isinstance(before, _OPENERS) or isinstance(after, (*_CLOSERS, yaml.FlowEntryToken)):
        return ""
    return gap


def lay_out(text: str) -> str:
    """The text in even layout; it must have been read before."""
    return _Layout(text.replace("\r\n", "\n")).run()


def format_document(source: Source) -> str:
    """A document that was read, laid out; JSON is written with two spaces a level."""
    if source.format is DefinitionFormat.JSON:
        return json.dumps(source.value, ensure_ascii=False, indent=_STEP) + "\n"
    text = lay_out(source.text)
    again = read_source(text, DefinitionFormat.YAML)
    if not again.is_read or not same(again.value, source.value):
        raise LayoutRefused
    return text


def same(one: Json, other: Json) -> bool:
    """Whether two values are equal and in one order of keys, with 1 and 1.0 and true told apart."""
    return json.dumps(one) == json.dumps(other)


class LayoutRefused(MaestroError):
    """This document can't be laid out without changing what it says, so it was left alone."""

    reason = "LAYOUT_REFUSED"

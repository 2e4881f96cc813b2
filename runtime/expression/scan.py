"""Finds the expressions in a text: `{{ ... }}` and `${ ... }`, with strings and brackets respected.

Both spellings mean the same. Everything else is literal text. A literal `{{` or `${` is written as
an expression: `{{ '{{' }}`. Statements (`{% ... %}`) do not exist in this language and are refused.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from runtime.expression.error import ExpressionError

MAX_EXPRESSION = 8_000
_MAX_NESTING = 40
_OPENING = re.compile(r"\{\{|\$\{|\{%")
_INSIDE = re.compile(
    r"""(?P<plain>[^'"{}\[\]()]+)|(?P<string>'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*")"""
    r"""|(?P<open>[{\[(])|(?P<close>[\])])|(?P<brace>\})|(?P<quote>['"])""",
    re.DOTALL,
)


@dataclass(frozen=True, slots=True)
class Piece:
    """One expression in a text: its inner text, and where that begins."""

    text: str
    offset: int


def has_expression(text: str) -> bool:
    """Whether a text holds anything but literal text."""
    return "{{" in text or "${" in text or "{%" in text


def split(text: str) -> list[str | Piece]:
    """The literal parts and the expressions of a text, in order; empty literals are left out."""
    parts: list[str | Piece] = []
    position = 0
    trim = False
    while opening := _OPENING.search(text, position):
        literal = text[position : opening.start()]
        if opening[0] == "{%":
            raise ExpressionError(
                "`{% ... %}` is a statement; only expressions `{{ ... }}` are allowed here",
                opening.start(),
                hint="use `when`, filters or `a if b else c`",
            )
        closing = "}}" if opening[0] == "{{" else "}"
        end = _end_of(text, opening.end(), closing, opening.start())
        piece, trims_left, trims_right = _piece(text, opening.end(), end, closing)
        literal = literal.lstrip() if trim else literal
        literal = literal.rstrip() if trims_left else literal
        if literal:
            parts.append(literal)
        parts.append(piece)
        trim = trims_right
        position = end + len(closing)
    rest = text[position:].lstrip() if trim else text[position:]
    if rest:
        parts.append(rest)
    return parts


def single(parts: list[str | Piece]) -> Piece | None:
    """The only expression of a text that has nothing else but white space around it."""
    pieces = [part for part in parts if isinstance(part, Piece)]
    if len(pieces) != 1 or any(isinstance(part, str) and part.strip() for part in parts):
        return None
    return pieces[0]


def is_single(text: str) -> bool:
    """Whether a text is one expression and so keeps the type of its value; broken texts are not."""
    if text.startswith("{{") and text.endswith("}}") and text.count("{{") == text.count("}}") == 1:
        return "${" not in text
    try:
        return single(split(text)) is not None
    except ExpressionError:
        return False


def check_nesting(text: str, offset: int = 0) -> None:
    """Refuse expressions so long or so nested that reading them would be an attack."""
    if len(text) > MAX_EXPRESSION:
        raise ExpressionError(f"an expression has at most {MAX_EXPRESSION:,} characters", offset)
    depth = 0
    for token in _INSIDE.finditer(text):
        if token["quote"]:
            raise ExpressionError("a string in this expression is never closed", offset)
        if token["open"]:
            depth += 1
            if depth > _MAX_NESTING:
                raise ExpressionError(
                    f"an expression is nested at most {_MAX_NESTING} brackets deep",
                    offset + token.start(),
                )
        elif token["close"] or token["brace"]:
            depth -= 1


def _end_of(text: str, start: int, closing: str, opened_at: int) -> int:
    """Where the closing mark of an expression stands."""
    depth = 0
    position = start
    while token := _INSIDE.match(text, position):
        if position - start > MAX_EXPRESSION:
            break
        if token["brace"]:
            if depth == 0 and text.startswith(closing, position):
                return position
            depth -= 1
        elif token["open"] == "{":
            depth += 1
        elif token["quote"]:
            raise ExpressionError("a string in this expression is never closed", position)
        position = token.end()
    mark = "{{" if closing == "}}" else "${"
    if position - start > MAX_EXPRESSION:
        raise ExpressionError(f"an expression has at most {MAX_EXPRESSION:,} characters", opened_at)
    raise ExpressionError(f"`{mark}` is never closed", opened_at, hint=f"add `{closing}`")


def _piece(text: str, start: int, end: int, closing: str) -> tuple[Piece, bool, bool]:
    """The inner text without its white space and Jinja's `{{-` and `-}}`, which trim around."""
    trims_left = trims_right = False
    if closing == "}}" and end > start:
        if text[start] in "-+":
            trims_left = text[start] == "-"
            start += 1
        if end > start and text[end - 1] in "-+":
            trims_right = text[end - 1] == "-"
            end -= 1
    inner = text[start:end]
    if not inner.strip():
        raise ExpressionError("this expression is empty", start, hint="write a name in it")
    begin = start + len(inner) - len(inner.lstrip())
    return Piece(inner.strip(), begin), trims_left, trims_right

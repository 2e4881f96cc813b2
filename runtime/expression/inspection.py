"""Inspection: what a value with expressions reads, and its canonical spelling, without compiling it.

`${x}` and `{{x}}` become `{{ x }}`, `tasks.` becomes `steps.`: definitions that mean the same have
the same text, and so the same digest. Used by validation, where thousands of expressions are looked
at and none is run; what compile would refuse is refused here too.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from jinja2 import Environment

from runtime.expression.compile import (
    WORDS,
    Reference,
    compile_expression,
    parse_expression,
    plain_path,
    read_condition,
)
from runtime.expression.error import ExpressionError
from runtime.expression.proof import Facts, Prover
from runtime.expression.read import Key
from runtime.expression.scan import Piece, has_expression, single, split
from runtime.expression.template import condition_piece
from runtime.expression.usual import usual_references
from runtime.model.values import Json

_LEXER = Environment(autoescape=True).lexer  # Only tokens are read; nothing is rendered.
MAX_CHARACTERS = 3_000_000
_EACH = 40  # What an expression costs beside its characters.
_WHOLE = re.compile(r"\{\{ ([A-Za-z_][A-Za-z0-9_]*(?:\.[A-Za-z_][A-Za-z0-9_]*)+) \}\}")
_SIMPLE = re.compile(r"\{\{ ([^\s{}+-](?:[^{}]*[^\s{}+-])?) \}\}")
_HALF = re.compile(r"[\ud800-\udfff]")
_ALIAS = re.compile(r"\btasks\b")
_ASKED = re.compile(r"steps\.([A-Za-z_][A-Za-z0-9_]*)\.status == 'completed'")
_PROVING = re.compile(
    r"\b(?:steps|tasks|defined|undefined|in)\b"
)  # Without one nothing new is proved.
_OTHERWISE = frozenset(("tasks", *WORDS))  # What begins so is not a path, or is spelt differently.


class Inspection(NamedTuple):
    """A value in canonical spelling, and the names it reads.

    `is_constant`: it holds no expression. `size`: the characters of expressions that had to be
    parsed, which is what looking at them costs. `proves`, of a condition: what is there
    when it holds.
    """

    canonical: Json
    references: tuple[Reference, ...] = ()
    is_constant: bool = True
    size: int = 0
    proves: Facts = frozenset()


def inspect_template(value: Json, *, needs_value: bool = False) -> Inspection:
    """Look at any JSON value; raises ExpressionError with a path, as parse_template does.

    `needs_value` says that where the value goes null is an error.
    """
    found: list[Reference] = []
    count = _Count()
    piece = single(split(value)) if needs_value and isinstance(value, str) else None
    if piece is not None:
        return _inspect_needed(piece, count)
    canonical = _inspect(value, (), found, count)
    return Inspection(canonical, tuple(found), count.expressions == 0, count.characters)


def _inspect_needed(piece: Piece, count: _Count) -> Inspection:
    count.parse(piece)
    found = compile_expression(piece.text, piece.offset, needs_value=True).references
    return Inspection(_written(_renamed(piece)), found, is_constant=False, size=count.characters)


def inspect_condition(value: Json) -> Inspection:
    """Look at a condition; its canonical form has braces."""
    if not isinstance(value, str):
        return Inspection(value)
    piece = condition_piece(value)
    known = usual_references(piece.text)
    # First of all: what is no expression can't be written anew either.
    references, proves = (
        read_condition(piece.text, piece.offset)
        if known is None
        else (
            tuple(Reference(path, guarded, (), needed) for path, guarded, needed in known),
            _proved(piece),
        )
    )
    _refuse_half_pairs(piece)
    return Inspection(
        _written(_renamed(piece)),
        references,
        is_constant=False,
        size=_EACH + len(piece.text),
        proves=proves,
    )


def _proved(piece: Piece) -> Facts:
    asked = _ASKED.fullmatch(piece.text)
    if asked:
        return frozenset((("steps", asked[1]),))
    if not _PROVING.search(piece.text):
        return frozenset()
    return Prover().proofs(parse_expression(piece.text, piece.offset))[0]


def _refuse_half_pairs(piece: Piece) -> None:
    """Raise ExpressionError for a literal that no text can hold; one that is published already fails when it runs."""
    if "\\" not in piece.text:
        return
    for token in _LEXER.tokenize(piece.text, state="variable"):
        if token.type == "string" and _HALF.search(token.value):
            raise ExpressionError(
                "half of a surrogate pair is no character", piece.offset, hint=r"\U0001f600 is one"
            )


class _Count:
    __slots__ = ("characters", "expressions")

    def __init__(self) -> None:
        self.expressions = 0
        self.characters = 0

    def parse(self, piece: Piece) -> None:
        """Count what has to be parsed; too much of it would keep a server busy for minutes."""
        self.characters += _EACH + len(piece.text)
        if self.characters > MAX_CHARACTERS:
            raise ExpressionError("there are too many expressions here")


def _inspect(value: Json, at: tuple[Key, ...], found: list[Reference], count: _Count) -> Json:
    """The canonical form of a value; parts without expressions are shared, not copied."""
    if type(value) is str:
        if "{" not in value or not has_expression(value):
            return value
        try:
            return _text(value, at, found, count)
        except ExpressionError as error:
            raise error.at(at) from None
    if type(value) is dict:
        out: dict[str, Json] | None = None
        for key, one in value.items():
            if "{" in key and has_expression(key):
                raise ExpressionError(f"the key {key!r} can't be an expression").at(at)
            kind = type(one)
            if kind is str or kind is dict or kind is list:
                changed = _inspect(one, (*at, key), found, count)
                if changed is not one:
                    out = dict(value) if out is None else out
                    out[key] = changed
        return value if out is None else out
    if type(value) is list:
        parts = [_inspect(one, (*at, index), found, count) for index, one in enumerate(value)]
        same = all(new is old for new, old in zip(parts, value, strict=True))
        return value if same else parts
    return value


def _text(text: str, at: tuple[Key, ...], found: list[Reference], count: _Count) -> str:
    whole = _WHOLE.fullmatch(text)
    if whole and (keys := whole[1].split("."))[0] not in _OTHERWISE:
        count.expressions += 1
        found.append(Reference(tuple(keys), at=at))
        return text
    simple = _SIMPLE.fullmatch(text)
    out: list[str] = []
    for part in [Piece(simple[1], 3)] if simple else split(text):
        if isinstance(part, str):
            out.append(part)
            continue
        count.expressions += 1
        path = plain_path(part.text)
        if path is not None:
            found.append(Reference(path, at=at))
        else:
            count.parse(part)
            known = usual_references(part.text)
            if known is None:
                compiled = compile_expression(part.text, part.offset)
                _refuse_half_pairs(part)
                found += [one._replace(at=at) for one in compiled.references]
            else:
                found += [Reference(path, guarded, at, needed) for path, guarded, needed in known]
        out.append(_written(_renamed(part), after=out[-1] if out else ""))
    canonical = "".join(out)
    return text if canonical == text else canonical


def _written(inner: str, *, after: str = "") -> str:
    """Braces with spaces: `{{ -x }}` must not become `{{-x}}`, which trims.

    After a literal `{` or `$` (`costs $${price}`) two braces would open somewhere else; the other spelling does not.
    """
    if after.endswith(("{", "$")):
        return "${ " + inner + " }"
    return "{{ " + inner + " }}"


def _renamed(piece: Piece) -> str:
    if "tasks" not in piece.text or not _ALIAS.search(piece.text):
        return piece.text
    out: list[str] = []
    before = ""
    tokens = list(_LEXER.tokeniter(piece.text, None, None, "variable"))
    for position, (_, kind, value) in enumerate(tokens):
        if kind == "name" and value == "tasks" and before not in {".", "|", "is"}:
            following = next((v for _, k, v in tokens[position + 1 :] if k != "whitespace"), "")
            out.append(value if following == "=" else "steps")
        else:
            out.append(value)
        if kind != "whitespace":
            before = value
    return "".join(out)

"""One spelling for every expression: `${x}` and `{{x}}` become `{{ x }}`, `tasks.` becomes `steps.`.

Definitions that mean the same have the same text after this, and so the same digest. What an
expression means is not changed; literal text stays as it is.
"""

from __future__ import annotations

import re

from jinja2 import Environment

from runtime.expression.scan import Piece, has_expression, split
from runtime.expression.template import condition_piece

_LEXER = Environment(autoescape=True).lexer  # Only tokens are read; nothing is rendered.
_ALIAS = re.compile(r"\btasks\b")


def canonical_text(text: str) -> str:
    """A text with its expressions in canonical spelling; raises ExpressionError when it is broken."""
    if not has_expression(text):
        return text
    return "".join(
        part if isinstance(part, str) else _written(_renamed(part)) for part in split(text)
    )


def canonical_condition(text: str) -> str:
    """A condition in canonical spelling, with its braces."""
    return _written(_renamed(condition_piece(text)))


def _written(inner: str) -> str:
    """Braces with spaces: `{{ -x }}` must not become `{{-x}}`, which trims."""
    return "{{ " + inner + " }}"


def _renamed(piece: Piece) -> str:
    if not _ALIAS.search(piece.text):
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

"""What one document may ask for, and how more is refused. The text is counted here, the tree in `measure`.

Called by `documents` for each new document, before it is parsed and validated: whatever goes through costs
parser and validator no more than these numbers allow. Each limit has a name, which is the `reason` of its refusal.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from math import isinf
from typing import Final

from graphql import GraphQLError, Source

from subgraph.compiled.size import Bound

# One match per token; strings and comments are swallowed whole, so that brackets inside them don't count.
_TOKENS: Final = re.compile(
    r"(?P<open>[{\[(])|(?P<close>[}\])])|(?P<comment>\#[^\n\r]*)"
    r"|(?P<word>[_A-Za-z][_A-Za-z0-9]*|-?[0-9][_A-Za-z0-9.+-]*)"
    r'|\.\.\.|"""(?:\\"""|[^"]|"(?!""))*+"""|"(?:\\.|[^"\\\n\r])*+"|[^\s,\ufeff]'
)
_NUMERALS: Final = frozenset("-0123456789")
SAYS: Final[dict[str, str]] = {
    "bytes": "The document is longer than {} bytes.",
    "tokens": "The document has more than {} tokens.",
    "comments": "The document has more than {} comments.",
    "nesting": "Brackets are nested deeper than {} levels.",
    "word": "A name or number is longer than {} characters.",
    "operations": "The document has more than {} operations.",
    "fragments": "The document has more than {} fragments.",
    "root_fields": "An operation has more than {} root fields.",
    "levels": "Fields and fragments are nested deeper than {} levels.",
    "depth": "Fields are nested deeper than {} levels.",
    "fields": "The document selects more than {} fields, with every fragment written out.",
    "aliases": "The document has more than {} aliases.",
    "directives": "The document has more than {} directives.",
    "directives_together": "One place has more than {} directives.",
    "variables": "The document has more than {} variables.",
    "introspection": "Introspection goes through more than {} elements.",
    "overlaps": "Fields of the same name take more than {} comparisons.",
    "values": "Lists in the variables hold more than {} items.",
    "answer_bytes": "The answer is larger than {} bytes: ask for smaller pages, for less inside them, or get large "
    "values by their `inputRef` and `outputRef`.",
    "cost": "The operation may cost more than {}: ask for smaller pages, or for less inside them.",
}


@dataclass(frozen=True, slots=True)
class Limits:
    """The most that one document may ask for. Names are those of `SAYS`."""

    bytes: int = 65_536
    tokens: int = 1_500
    comments: int = 1_000
    nesting: int = 64
    word: int = 256
    operations: int = 20
    fragments: int = 100
    root_fields: int = 50
    levels: int = 64
    depth: int = 20
    fields: int = 500
    aliases: int = 100
    directives: int = 100
    directives_together: int = 4
    variables: int = 100
    introspection: int = 75_000
    overlaps: int = 10_000
    values: int = 20_000
    cost: int = 50_000
    answer_bytes: int = 16_777_216

    def check(self, name: str, asked: int) -> None:
        """Refuse what asks for more of this than there may be."""
        if asked > getattr(self, name):
            raise self.refusal(name, asked)

    def refusal(self, name: str, asked: int) -> GraphQLError:
        """The refusal of what asks for too much, with the numbers."""
        most: int = getattr(self, name)
        return GraphQLError(
            SAYS[name].format(most),
            extensions={
                "code": "QUERY_TOO_COMPLEX",
                "reason": name.upper(),
                "most": most,
                "asked": asked,
            },
        )


def answer_bound(limits: Limits) -> Bound:
    """How large an answer may be, and the refusal of a larger one."""

    def refuse(most: int, is_done: bool) -> GraphQLError:  # noqa: FBT001 - their signature
        found = limits.refusal("answer_bytes", most + 1)
        if is_done:
            found.message += " Each field of this mutation has been carried out."
        return found

    return Bound(limits.answer_bytes, refuse)


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return 0.0  # The parser says what is wrong with it.


def _endless(text: str, at: int) -> GraphQLError:
    """The refusal of a number that no float holds: JSON, in which it would go on, has none for it."""
    return GraphQLError(
        "A number is larger than any that can be held: write it as a string.",
        source=Source(text),
        positions=[at],
        extensions={"code": "GRAPHQL_PARSE_FAILED", "reason": "NUMBER"},
    )


def check_text(text: str, limits: Limits) -> int:
    """Refuse what is too long or nested too deep to be parsed at all; how many tokens the rest has."""
    limits.check("bytes", len(text))
    if not text.isascii():
        limits.check("bytes", len(text.encode("utf-8", "surrogatepass")))
    tokens = comments = nesting = deepest = longest = 0
    for match in _TOKENS.finditer(text):
        tokens += 1
        kind = match.lastgroup
        if kind == "word":
            longest = max(longest, match.end() - match.start())
            if match[0][0] in _NUMERALS and isinf(_number(match[0])):
                raise _endless(text, match.start())
        elif kind == "open":
            nesting += 1
            deepest = max(deepest, nesting)
        elif kind == "close":
            nesting -= 1
        elif kind == "comment":
            comments += 1
    limits.check("comments", comments)
    limits.check("tokens", tokens - comments)
    limits.check("nesting", deepest)
    limits.check("word", longest)
    return tokens

"""What is said about a variable that does not fit: where and why, never the value itself.

The library quotes the value in its messages, and a value in the wrong place may be a token or a password; what it says
is taken over only as far as it speaks of the schema.
"""

from __future__ import annotations

import re
from typing import Final

from graphql import GraphQLError

_PLACE: Final = re.compile(r"Variable '\$\w+' has invalid value(?: at [\w.\[\]]+)?(?=: )")
# In the library's words, and in those of our scalars, which quote nothing.
_REASONS: Final = tuple(
    re.compile(pattern)
    for pattern in (
        r"Expected a value of non-null type '[\w!\[\]]+' to be provided",
        r"Expected value of non-null type '[\w!\[\]]+' not to be None",
        r"Expected value of type '\w+' to be an object",
        r"Expected value of type '\w+' to include required field '\w+'",
        r"Expected value of type '\w+' not to include unknown field '\w{1,64}'",
        r"(?:Int|Float|String|Boolean|ID) cannot represent (?:a )?[a-z0-9 -]+",
        r"Not a \w+: write .*(?=\.$)",
        r"\w+ is written as a string",
    )
)
_ENUM: Final = re.compile(r".*(?: does not exist in|Enum) '(\w+)'", re.DOTALL)


def without_value(error: GraphQLError) -> str:
    """The message of an error about variables; any other error's message as it is."""
    place = _PLACE.match(error.message)
    if place is None:
        return error.message
    inner = error.message[place.end() + 2 :]
    for reason in _REASONS:
        if found := reason.match(inner):
            return f"{place[0]}: {found[0].strip()}."
    if inner.startswith(("Value ", "Enum ")) and (found := _ENUM.match(inner)):
        return f"{place[0]}: Expected a value of the enum '{found[1]}'."
    return f"{place[0]}: It is not of this type."

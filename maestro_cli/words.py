"""What the server says is wrong, in the words of the command line: nobody typed a variable or an argument there."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from maestro_cli.errors import Finding

# What the graph's arguments are called on the command line.
_WORDS: Final = {
    "bump": "--bump",
    "changelog": "--changelog",
    "decision": "--made, --not-made or --fail",
    "executionId": "ID",
    "expectedDigest": "the draft",
    "id": "ID",
    "idempotencyKey": "--idempotency-key",
    "labels": "--label",
    "namespace": "--namespace",
    "output": "--data",
    "payload": "--data",
    "priority": "--priority",
    "reason": "--reason",
    "stepKey": "STEP",
    "version": "--version",
    "workflowId": "the workflow",
    "workflowName": "NAME",
}
# These hold what was typed; their own names were not.
_HOLDERS: Final = frozenset({"input"})

_VARIABLE: Final = re.compile(
    r"Variable '\$(\w+)' has invalid value(?: at ([\w.\[\]]+))?: (.*)", re.DOTALL
)
_PART: Final = re.compile(r"\w+")
_OTHER_VERSION: Final = "This server does not know it: it is of another version than this `mc`."
_WANTED: Final = {
    "Int": "An integer of 32 bits is wanted here.",
    "Float": "A number is wanted here.",
    "String": "A text is wanted here.",
    "Boolean": "true or false is wanted here.",
    "ID": "An id is wanted here.",
}

_Said = tuple[str | None, str]
_REASONS: Final[tuple[tuple[re.Pattern[str], Callable[[re.Match[str]], _Said]], ...]] = (
    (re.compile(r"Not an? \w+: (write .*)"), lambda m: (None, f"This is not taken: {m[1]}")),
    (re.compile(r"(Int|Float|String|Boolean|ID) cannot"), lambda m: (None, _WANTED[m[1]])),
    (re.compile(r".*to include required field '(\w+)'"), lambda m: (m[1], "This is missing.")),
    (re.compile(r".*not to include unknown field '(\w+)'"), lambda m: (m[1], _OTHER_VERSION)),
    (re.compile(r"Expected (?:a )?value of non-null type"), lambda _: (None, "This is missing.")),
    (re.compile(r"Expected a value of the enum"), lambda _: (None, "No such word may stand here.")),
)


def typed(path: Sequence[str]) -> tuple[str, ...]:
    """A path into the graph's arguments in the words of the command line, where it has some."""
    path = tuple(path[1:] if path and path[0] in _HOLDERS else path)
    return (_WORDS.get(path[0], path[0]), *path[1:]) if path else path


def told(error: Mapping[str, Any]) -> Finding:
    """A top-level error of an operation of ours, as whoever typed the command can understand it."""
    message, extensions = str(error.get("message")), error.get("extensions") or {}
    code = extensions.get("code")
    if code == "GRAPHQL_VALIDATION_FAILED":
        said = "This server does not know all that this `mc` asks for: they are of two versions."
        return Finding(said, code=code)
    found = _VARIABLE.fullmatch(message)
    if found is None:
        return Finding(message, code=code)
    name, said = _reason(found[3])
    path = (found[1], *_PART.findall(found[2] or ""), *([name] if name else ()))
    return Finding(said, code=code, path=typed(path))


def _reason(text: str) -> _Said:
    for pattern, say in _REASONS:
        if found := pattern.match(text):
            return say(found)
    return None, "This is not of the right type."

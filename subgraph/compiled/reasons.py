"""Why a plan does not answer: a short word each, for the metric and for whoever wonders."""

from __future__ import annotations

from enum import StrEnum


class Reason(StrEnum):
    """The first group is found when a document is compiled, the second while its plan runs."""

    INTROSPECTION = "introspection"
    DIRECTIVE = "directive"
    EXTENSION = "extension"
    RESOLVER = "resolver"
    SIZE = "size"
    VARIABLES = "variables"

    ERROR = "error"
    AWAITABLE = "awaitable"
    ITERATOR = "iterator"
    PATH = "path"


class Unplanned(Exception):
    """What a plan can't do exactly as the library does it."""

    def __init__(self, reason: Reason, what: str = "") -> None:
        super().__init__(f"{reason}: {what}" if what else str(reason))
        self.reason = reason

"""What callers call things and say about them, beside a definition: within the bounds that documents have.

A document's words are judged by its schema; these come as arguments, and would otherwise be as long as a request.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from runtime.definition import NAME
from runtime.model.errors import BadInput

_MOST_LABELS: Final = 64
_LONGEST_LABEL: Final = 255
_LONGEST_REGION: Final = 200
_LONGEST_DISPLAY_NAME: Final = 200
_LONGEST_TEXT: Final = 10_000
_NAMESPACE: Final = re.compile(NAME)


def check_labels(labels: Mapping[str, str]) -> None:
    """Raise BadInput for labels that are too many, too long or unprintable."""
    if len(labels) > _MOST_LABELS:
        raise _labels(f"There may be at most {_MOST_LABELS} labels.")
    for key, value in labels.items():
        sound = key.isprintable() and value.isprintable()
        if not sound or not 0 < len(key) <= _LONGEST_LABEL or len(value) > _LONGEST_LABEL:
            raise _labels(
                f"Labels are printable and at most {_LONGEST_LABEL} characters long, their keys not "
                "empty."
            )


def check_namespace(namespace: str | None) -> None:
    """Raise BadInput for what no document could name as its namespace."""
    if namespace is not None and not _NAMESPACE.fullmatch(namespace):
        raise BadInput(
            "A namespace is a name of at most 100 small letters, digits, . _ -",
            reason="NAMESPACE",
            path=("namespace",),
        )


def check_region(region: str | None) -> None:
    """Raise BadInput for a region that is too long to be one."""
    _check_length("region", region, _LONGEST_REGION)


def check_description(
    display_name: str | None, description: str | None, labels: Mapping[str, str] | None
) -> None:
    """Raise BadInput for what is said about a workflow when it is too long or can't be shown."""
    _check_length("displayName", display_name, _LONGEST_DISPLAY_NAME)
    _check_length("description", description, _LONGEST_TEXT)
    check_labels(labels or {})


def check_changelog(changelog: str | None) -> None:
    """Raise BadInput for a changelog that is longer than a page or two."""
    _check_length("changelog", changelog, _LONGEST_TEXT)


def _check_length(field: str, text: str | None, most: int) -> None:
    if text is not None and len(text) > most:
        raise BadInput(
            f"`{field}` is at most {most} characters long.", reason="TOO_LONG", path=(field,)
        )


def _labels(message: str) -> BadInput:
    return BadInput(message, reason="LABELS", path=("labels",))

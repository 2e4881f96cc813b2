"""Texts of others on a terminal: messages, log lines and names come from workflows and the services that they call.

A control character in them would move the cursor, paint, or set the window's title, and so make a terminal say what
is not so. They are spelled instead.
"""

from __future__ import annotations

from typing import Final

_CONTROLS: Final = {code: f"\\x{code:02x}" for code in (*range(32), *range(127, 160))}
_IN_LINES: Final = {code: text for code, text in _CONTROLS.items() if chr(code) not in "\n\t"}
_ON_ONE: Final = _CONTROLS | {ord("\n"): "\\n", ord("\r"): "\\r", ord("\t"): " "}


def visible(text: str) -> str:
    """The text, its control characters spelled; it may have lines."""
    return text if text.isprintable() else text.translate(_IN_LINES)


def on_one_line(text: str) -> str:
    """The same on a single line."""
    return text if text.isprintable() else text.translate(_ON_ONE)

"""Texts of others on a terminal: messages, log lines and names come from workflows and the services that they call.

A control character in them would move the cursor, paint, or set the window's title, and so make a terminal say what
is not so; a mark of writing direction would turn a line's words around. They are spelled instead.
"""

from __future__ import annotations

from typing import Any, Final

_TURNING: Final = (*range(0x2028, 0x202F), *range(0x2066, 0x206A))
_CONTROLS: Final = {
    **{code: f"\\x{code:02x}" for code in (*range(32), *range(127, 160))},
    **{code: f"\\u{code:04x}" for code in _TURNING},
}
_IN_LINES: Final = {code: text for code, text in _CONTROLS.items() if chr(code) not in "\n\t"}
_ON_ONE: Final = _CONTROLS | {ord("\n"): "\\n", ord("\r"): "\\r", ord("\t"): " "}
# JSON itself asks for the escape of the first 32 alone.
_IN_JSON: Final = {code: f"\\u{code:04x}" for code in (*range(127, 160), *_TURNING)}


def visible(text: str) -> str:
    """The text, its control characters spelled; it may have lines."""
    return text if text.isprintable() else text.translate(_IN_LINES)


def on_one_line(text: str) -> str:
    """The same on a single line."""
    return text if text.isprintable() else text.translate(_ON_ONE)


def is_harmless(document: str) -> bool:
    """Whether it holds nothing that JSON's own escapes would have left to a terminal."""
    return document.translate(_IN_JSON) == document


def json_text(value: Any, *, indent: int | None = None) -> str:
    """A JSON document in UTF-8 that a terminal may show: the same value, its control characters escaped."""
    import json

    return json.dumps(value, ensure_ascii=False, indent=indent).translate(_IN_JSON)

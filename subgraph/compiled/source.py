"""The text of a plan: generated functions, and the objects that they name.

Nothing of a document gets into the text but response names, as literals; everything else is a name bound here.
"""

from __future__ import annotations

import builtins
from collections.abc import Callable, Iterable
from typing import Any


class Source:
    """Collects functions and what they refer to, and makes them real."""

    def __init__(self) -> None:
        self._parts: list[str] = []
        self._names: dict[str, Any] = {"__builtins__": builtins}
        self._known: dict[tuple[str, int], str] = {}
        self._count = 0

    def name(self, hint: str) -> str:
        """A name that nothing has yet."""
        self._count += 1
        return f"{hint}{self._count}"

    def bind(self, value: Any, hint: str) -> str:
        """The name of an object; the same object has one name."""
        key = (hint, id(value))
        if key not in self._known:
            self._known[key] = self.name(hint)
            self._names[self._known[key]] = value
        return self._known[key]

    def function(self, name: str, parameters: str, body: Iterable[str]) -> None:
        """Add a function."""
        self._parts.append(
            "\n".join((f"def {name}({parameters}):", *(f"    {line}" for line in body)))
        )

    def compiled(self) -> Callable[[str], Any]:
        """All functions, by name."""
        code = compile("\n\n".join(self._parts), "<plan>", "exec", dont_inherit=True)
        # The text comes from the templates of this room alone; see the module's head.
        exec(code, self._names)  # noqa: S102 - nothing of a document is in it but literals
        return self._names.__getitem__

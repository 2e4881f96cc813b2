"""The lines of progress of `mc dev`. Light: the first one is printed before the engine is imported."""

from __future__ import annotations

from maestro_cli.options import Options


class Stages:
    """One line per stage: its name in a column, then what there is to say."""

    def __init__(self, options: Options) -> None:
        self._options = options

    def __call__(self, text: str) -> None:
        """The first word is the stage's name."""
        name, _, rest = text.partition(" ")
        self._options.say(f"  {name:<12} {rest}")

"""The global flags: may stand before or after the verb, the later one wins. Imports click only.

Order of precedence for server and token: flag, then MC_URL / MC_TOKEN, then the profile, then the local `mc dev`.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from time import monotonic
from typing import IO, Any, Final, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])

FORMATS: Final = ("table", "wide", "json", "jsonl", "yaml", "name")
_DOCUMENTS: Final = frozenset({"json", "jsonl", "yaml"})
_PREFIX: Final = "global_"
_LONGEST_SECONDS: Final = 100 * 366 * 86_400.0


class Options:
    """What the global flags said; None and 0 mean: not said.

    Written out, as every start makes one: importing dataclasses takes longer than all else here.
    """

    __slots__ = (
        "begun",
        "color",
        "endpoint",
        "namespace",
        "no_input",
        "output",
        "profile",
        "purpose",
        "quiet",
        "timeout",
        "token",
        "verbose",
    )

    def __init__(
        self,
        *,
        output: str | None = None,
        endpoint: str | None = None,
        token: str | None = None,
        namespace: str | None = None,
        purpose: str | None = None,
        profile: str | None = None,
        timeout: float | None = None,
        color: str | None = None,
        quiet: bool = False,
        verbose: int = 0,
        no_input: bool = False,
    ) -> None:
        self.output = output
        self.endpoint = endpoint
        self.token = token
        self.namespace = namespace
        self.purpose = purpose
        self.profile = profile
        self.timeout = timeout
        self.color = color
        self.quiet = quiet
        self.verbose = verbose
        self.no_input = no_input
        self.begun = monotonic()

    def changed(self, **said: Any) -> Options:
        """The same with some flags said otherwise."""
        other = Options()
        for name in self.__slots__:
            setattr(other, name, said.pop(name) if name in said else getattr(self, name))
        if said:
            raise TypeError(f"no such flags: {', '.join(said)}")
        return other

    @property
    def format(self) -> str:
        """The output format; tables unless told otherwise."""
        return self.output or "table"

    @property
    def is_document(self) -> bool:
        """Whether standard output is for a program."""
        return self.format in _DOCUMENTS

    def is_live(self, stream: IO[Any]) -> bool:
        """Whether a screen may be redrawn on this stream."""
        return stream.isatty() and os.environ.get("TERM") != "dumb"

    def is_colored(self, stream: IO[Any]) -> bool:
        """Whether to colour: never when piped or NO_COLOR is set, unless `--color always`."""
        if self.color in {"always", "never"}:
            return self.color == "always"
        return self.is_live(stream) and not os.environ.get("NO_COLOR")

    def say(self, text: str) -> None:
        """One line of progress on standard error, for people only: with a document there is none."""
        if not self.quiet and not self.is_document:
            print(text, file=sys.stderr, flush=True)


def terminal_width(longest: int) -> int:
    """Columns for help texts: of COLUMNS or the terminal, 80 if neither says; at least 50, at most `longest`.

    What click would find by importing shutil, which takes 4 ms.
    """
    said = os.environ.get("COLUMNS", "")
    columns = int(said) if said.isascii() and said.isdigit() else 0
    if columns <= 0:
        try:
            columns = os.get_terminal_size(sys.__stdout__.fileno()).columns if sys.__stdout__ else 0
        except (OSError, ValueError):
            columns = 0
    return max(min(columns or 80, longest) - 2, 50)


def global_options() -> list[click.Parameter]:
    """Fresh option objects for one command."""
    return [
        _option(
            "-o",
            "--output",
            type=click.Choice(FORMATS),
            metavar="FORMAT",
            help=f"{', '.join(FORMATS)}.",
        ),
        _option("--endpoint", metavar="URL", help="Address of the server."),
        _option(
            "--token",
            metavar="JWT",
            help="Bearer token; better in MC_TOKEN, where other users can't see it.",
        ),
        _option("--profile", metavar="NAME", help="Section of the user's config.toml."),
        _option("--namespace", metavar="NAME", help="Part of the tenant; `default` unless named."),
        _option("--purpose", metavar="TEXT", help="Purpose of access, stored on what you start."),
        _option(
            "--timeout", type=DurationType(), metavar="TIME", help="Longest wait, e.g. 30s or 5m."
        ),
        _option(
            "--color",
            type=click.Choice(["auto", "always", "never"]),
            metavar="WHEN",
            help="auto, always, never.",
        ),
        _option("-q", "--quiet", is_flag=True, help="No progress on standard error."),
        _option(
            "-v",
            "--verbose",
            count=True,
            help="Say what is sent; -vv with variables and tracebacks.",
        ),
        _option("--no-input", is_flag=True, help="Never ask; fail where a question would stand."),
    ]


def imports_option(what: str = "Package with connectors. Repeatable.") -> Callable[[F], F]:
    """`--import PACKAGE`, for verbs that load the connectors of users' packages."""
    return click.option("--import", "imports", multiple=True, metavar="PACKAGE", help=what)


def see_current_folder(imports: Sequence[str]) -> None:
    """A package named by `--import` may lie in the current folder, as for `python -m`."""
    if imports and os.getcwd() not in sys.path:  # noqa: PTH109 - sys.path holds strings
        sys.path.insert(0, os.getcwd())  # noqa: PTH109


class DurationType(click.ParamType[float]):
    """`30s`, `5m`, `1h30m`, `PT5M` or a bare number of seconds; becomes seconds. Nought only if told so."""

    name = "duration"

    def __init__(self, *, zero: bool = False) -> None:
        self._zero = zero

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """Read one duration."""
        seconds = self._read(value, param, ctx)
        if seconds == 0 and self._zero:
            return seconds
        # Not-a-number fails the comparison too.
        if not 0 < seconds <= _LONGEST_SECONDS:
            self.fail(f"{value!r} is no length of time between 0 and 100 years.", param, ctx)
        return seconds

    def _read(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        try:
            return float(value)
        except ValueError:
            pass
        from runtime.model.values import Duration

        try:
            return Duration.parse(str(value)).seconds
        except ValueError as error:
            self.fail(str(error), param, ctx)


def _option(*names: str, **attributes: Any) -> click.Option:
    word = next(name for name in names if name.startswith("--")).removeprefix("--")
    target = _PREFIX + word.replace("-", "_")
    return click.Option([*names, target], expose_value=False, callback=_remember, **attributes)


def _remember(ctx: click.Context, param: click.Parameter, value: Any) -> Any:
    if value and param.name:
        setattr(ctx.ensure_object(Options), param.name.removeprefix(_PREFIX), value)
    return value

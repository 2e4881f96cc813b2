"""Commands as this CLI shapes them: verbs imported only when used, global flags on each, a guess on typos.

The root's table holds each verb's summary, so that `mc --help` and completion of verbs import no verb at all.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import Any, NamedTuple, TypeVar

import click
from click.shell_completion import CompletionItem

from maestro_cli.options import global_options

F = TypeVar("F")


class VerbEntry(NamedTuple):
    """A verb of the table: where its command stands, and one line about it."""

    name: str
    target: str
    summary: str
    aliases: tuple[str, ...] = ()


class Verb(click.Command):
    """A command that also takes the global flags, listed apart in its help."""

    def __init__(self, *args: Any, **attributes: Any) -> None:
        super().__init__(*args, **attributes)
        self.own_params = tuple(self.params)
        self.params = [*self.params, *global_options()]

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The command's own options, then the global ones."""
        _write_options(self, ctx, formatter, self.own_params)


class VerbGroup(click.Group):
    """A noun with verbs below it; all of one file, so nothing lazy here."""

    command_class = Verb

    def __init__(self, *args: Any, **attributes: Any) -> None:
        super().__init__(*args, **attributes)
        self.own_params = tuple(self.params)
        self.params = [*self.params, *global_options()]

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Verbs first, then options."""
        self.format_commands(ctx, formatter)
        _write_options(self, ctx, formatter, self.own_params)


class Root(click.Group):
    """`mc` itself: the table of verbs by heading."""

    def __init__(self, sections: Mapping[str, Sequence[VerbEntry]], **attributes: Any) -> None:
        super().__init__(**attributes)
        self.params = [*self.params, *global_options()]
        self._sections = sections
        self._entries = {entry.name: entry for entries in sections.values() for entry in entries}
        self._names = {
            alias: entry.name
            for entry in self._entries.values()
            for alias in (entry.name, *entry.aliases)
        }

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        """All verbs, without importing them."""
        return list(self._entries)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 - click's signature
        """Import one verb."""
        if cmd_name not in self._names:
            return None
        module, _, attribute = self._entries[self._names[cmd_name]].target.partition(":")
        command: click.Command = getattr(import_module(module), attribute)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the verb; on a typo name the nearest ones."""
        if args[0] not in self._names and not ctx.resilient_parsing and not args[0].startswith("-"):
            raise click.NoSuchCommand(args[0], possibilities=self._names, ctx=ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        """The table, by heading."""
        width = max(len(name) for name in self._entries)
        for title, entries in self._sections.items():
            with formatter.section(title):
                formatter.write_dl([(entry.name.ljust(width), entry.summary) for entry in entries])

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Verbs first, then the flags."""
        self.format_commands(ctx, formatter)
        with formatter.section("Flags, before or after the verb"):
            formatter.write_dl(_records(self.params, ctx))

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Verbs from the table, so that pressing Tab imports none of them."""
        if incomplete.startswith("-"):
            return click.Command.shell_complete(self, ctx, incomplete)
        entries = [self._entries[name] for name in self._entries if name.startswith(incomplete)]
        return [CompletionItem(entry.name, help=entry.summary) for entry in entries]


def _write_options(
    command: click.Command,
    ctx: click.Context,
    formatter: click.HelpFormatter,
    own: Sequence[click.Parameter],
) -> None:
    help_option = command.get_help_option(ctx)
    mine = _records([*own, *([help_option] if help_option else [])], ctx)
    if mine:
        with formatter.section("Options"):
            formatter.write_dl(mine)
    names = [_shortest(option) for option in command.params if option not in own]
    with formatter.section("Global flags (see `mc --help`)"):
        formatter.write_text(" ".join(names))


def _shortest(option: click.Parameter) -> str:
    return min(option.opts, key=len)


def _records(params: Sequence[click.Parameter], ctx: click.Context) -> list[tuple[str, str]]:
    return [
        record
        for param in params
        if isinstance(param, click.Option) and (record := param.get_help_record(ctx)) is not None
    ]

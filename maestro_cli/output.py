"""What goes to standard output: one table for people, one document for programs, and nothing else.

On a terminal tables are drawn by rich and times are relative; in a pipe columns are plain, times ISO, nothing is cut.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from maestro_cli.moments import ago, span
from maestro_cli.options import Options
from maestro_cli.visible import is_harmless, json_text, on_one_line, visible

Row = Mapping[str, Any]

GLYPHS: Final = {
    "queued": "·",
    "pending": "·",
    "ready": "·",
    "running": "▸",
    "cancelling": "▸",
    "compensating": "↩",
    "compensated": "↩",
    "waiting": "…",
    "retrying": "↻",
    "paused": "‖",
    "completed": "✓",
    "failed": "✗",
    "timed_out": "✗",
    "dead_lettered": "✗",
    "in_doubt": "?",
    "cancelled": "-",
    "skipped": "-",
}
COLORS: Final = {
    "completed": "green",
    "running": "cyan",
    "retrying": "yellow",
    "waiting": "yellow",
    "in_doubt": "yellow",
    "compensating": "yellow",
    "compensated": "yellow",
    "failed": "red",
    "timed_out": "red",
    "dead_lettered": "red",
}

_GAP: Final = 2

_WORDS: Final = frozenset(
    {
        "status",
        "state",
        "kind",
        "cause",
        "action",
        "effect",
        "outcome",
        "differences",
        "compatibility",
        "suggestedBump",
    }
)
_CONTENT: Final = frozenset({"input", "output", "fields", "data", "error", "details"})


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a table: its heading, the field it shows, and how. `wide` columns stand only in `-o wide`."""

    title: str
    field: str
    kind: str = "text"
    wide: bool = False

    def value(self, row: Row) -> Any:
        """The field's value; dots lead into objects."""
        found: Any = row
        for part in self.field.split("."):
            found = found.get(part) if isinstance(found, Mapping) else None
        return found


def show_rows(
    options: Options,
    rows: Sequence[Row],
    columns: Sequence[Column],
    *,
    name: str = "id",
    empty: str = "Nothing found.",
) -> None:
    """Show a list in the format asked for."""
    if options.format == "name":
        for row in rows:
            print(row[name])
    elif options.is_document:
        print_documents(options, [lowered(row) for row in rows])
    elif not rows:
        options.say(empty)
    else:
        _table(options, rows, columns)


def show_one(options: Options, value: Row, draw: Callable[[], None], *, name: str = "id") -> None:
    """Show one object: as a document, as its name, or drawn by the verb."""
    if options.format == "name":
        print(value[name])
    elif options.is_document:
        print_document(options, lowered(value))
    else:
        draw()


def lowered(value: Any) -> Any:
    """A value of the graph with its words in this program's spelling; what users' workflows hold stays as it is."""
    if isinstance(value, list):
        return [lowered(item) for item in value]
    if not isinstance(value, Mapping):
        return value
    return {name: _lowered_field(name, item) for name, item in value.items()}


def _lowered_field(name: str, value: Any) -> Any:
    if name in _WORDS and isinstance(value, str):
        return word(value)
    if name in _WORDS and isinstance(value, list):
        return [word(one) if isinstance(one, str) else lowered(one) for one in value]
    return value if name in _CONTENT else lowered(value)


def print_documents(options: Options, values: Sequence[Any]) -> None:
    """A list as one document; with jsonl one line for each."""
    if options.format == "jsonl":
        for value in values:
            print(json_text(value))
    else:
        print_document(options, list(values))


def print_document(options: Options, value: Any) -> None:
    """One JSON or YAML document; with jsonl on one line."""
    if options.format == "yaml":
        print(_yaml_text(value), end="")
    elif options.format == "jsonl":
        print(json_text(value))
    else:
        print(json_text(value, indent=2))


def _yaml_text(value: Any) -> str:
    import yaml

    text = yaml.safe_dump(value, sort_keys=False, allow_unicode=True)
    # YAML escapes most of what a terminal obeys, but not the marks of writing direction.
    return text if is_harmless(text) else yaml.safe_dump(value, sort_keys=False)


def show_fields(fields: Mapping[str, Any]) -> None:
    """Names and values below each other; what is None is left out."""
    known = {title: value for title, value in fields.items() if value is not None}
    width = max((len(title) for title in known), default=0)
    for title, value in known.items():
        text = value if isinstance(value, str) else compact(value)
        print(f"{title.ljust(width)}  {visible(text)}")


def compact(value: Any) -> str:
    """JSON on one line."""
    return json_text(value)


def word(value: str) -> str:
    """A status of the graph as people write it: `TIMED_OUT` -> `timed_out`."""
    return value.lower()


def money(amounts: Sequence[Row]) -> str | None:
    """Amounts as people write them: `0.02 EUR + 1.50 USD`; None when there is none."""
    return " + ".join(f"{one['amount']} {one['currency']}" for one in amounts) or None


def mark(status: str) -> str:
    """A status with its glyph, where the terminal can show it."""
    encoding = (sys.stdout.encoding or "ascii").lower().replace("-", "")
    return f"{GLYPHS.get(status, ' ')} {status}" if encoding == "utf8" else status


def _cell(column: Column, row: Row, *, live: bool) -> str:
    value = column.value(row)
    if value is None:
        return "-"
    if column.kind == "status":
        return mark(word(value)) if live else word(value)
    if column.kind == "time":
        return ago(value) if live else str(value)
    if column.kind == "money":
        return money(value) or "-"
    if column.kind == "duration":
        return span(value) if live else str(value)
    return on_one_line(str(value) if isinstance(value, str | int | float) else compact(value))


def _table(options: Options, rows: Sequence[Row], columns: Sequence[Column]) -> None:
    shown = [column for column in columns if options.format == "wide" or not column.wide]
    live = options.is_live(sys.stdout)
    cells = [[_cell(column, row, live=live) for column in shown] for row in rows]
    if live:
        _rich_table(options, shown, cells, rows)
        return
    titles = [column.title for column in shown]
    widths = [max(len(line[i]) for line in (titles, *cells)) for i in range(len(titles))]
    for line in (titles, *cells):
        print(
            "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        )


def _rich_table(
    options: Options, shown: Sequence[Column], cells: Sequence[Sequence[str]], rows: Sequence[Row]
) -> None:
    from rich.cells import cell_len
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(no_color=not options.is_colored(sys.stdout), highlight=False)
    widths = [
        max(map(cell_len, column))
        for column in zip(*([c.title for c in shown], *cells), strict=True)
    ]
    whole = [not index or column.kind == "status" for index, column in enumerate(shown)]
    room = console.width - _GAP * (len(shown) - 1)
    _shrink(widths, whole, room)
    # Where even that is too much, the terminal breaks the lines; to cut an id would be to lose it.
    console.width += max(0, sum(widths) - room)
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column, width in zip(shown, widths, strict=True):
        table.add_column(column.title, overflow="ellipsis", no_wrap=True, width=width)
    for line, row in zip(cells, rows, strict=True):
        styles = [
            COLORS.get(word(str(c.value(row))), "") if c.kind == "status" else "" for c in shown
        ]
        table.add_row(*(Text(cell, style=style) for cell, style in zip(line, styles, strict=True)))
    console.print(table)


def _shrink(widths: list[int], whole: Sequence[bool], room: int) -> None:
    """Ids and statuses are there to be copied and read: the widest of the others give way, down to one character."""
    while sum(widths) > room:
        widest = max(range(len(widths)), key=lambda index: 0 if whole[index] else widths[index])
        if whole[widest] or widths[widest] == 1:
            return
        widths[widest] -= 1

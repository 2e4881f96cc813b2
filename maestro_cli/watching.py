"""Following one execution until it ends: a bounded screen on a terminal, one line per change in a pipe.

Ctrl-C detaches: the execution goes on, and how to attach again is printed.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from maestro_cli.client import Client, operation
from maestro_cli.errors import CANCELLED, FAILED, CliError
from maestro_cli.moments import parse_moment, span_seconds
from maestro_cli.options import Options
from maestro_cli.output import COLORS, mark
from maestro_cli.visible import on_one_line

TERMINAL: Final = frozenset({"completed", "failed", "cancelled", "timed_out", "dead_lettered"})
_LAST: Final = frozenset(
    {
        "execution_completed",
        "execution_failed",
        "execution_cancelled",
        "execution_timed_out",
        "dead_lettered",
    }
)
_STEP_WORDS: Final = {
    "step_started": "running",
    "step_completed": "completed",
    "step_failed": "failed",
    "step_retrying": "retrying",
    "step_skipped": "skipped",
    "step_cancelled": "cancelled",
    "step_timed_out": "timed_out",
    "step_in_doubt": "in_doubt",
    "timer_set": "waiting",
    "signal_awaited": "waiting",
    "step_doubt_settled": "in_doubt",
    "map_opened": "running",
    "step_compensated": "compensated",
}
_ITEM_ENDS: Final = frozenset({"step_completed", "step_failed", "step_timed_out", "step_cancelled"})
_URGENCY: Final = (
    "failed",
    "timed_out",
    "in_doubt",
    "retrying",
    "waiting",
    "running",
    "completed",
    "compensated",
    "cancelled",
    "skipped",
)
_FRAME_LINES: Final = 6
_STATUS_WIDTH: Final = 11


@dataclass(slots=True)
class StepRow:
    """What is known of one step from its events."""

    key: str
    status: str = "running"
    attempt: int = 1
    started: str | None = None
    finished: str | None = None
    note: str = ""
    items: int | None = None
    ended_items: int = 0


@dataclass(slots=True)
class Progress:
    """The execution as its events tell it so far."""

    id: str
    workflow: str = ""
    status: str = "queued"
    retries: int = 0
    started: str | None = None
    last: str | None = None
    steps: dict[str, StepRow] = field(default_factory=dict)

    def apply(self, event: Mapping[str, Any]) -> None:
        """Take one event into account."""
        word = event["type"].lower()
        self.status = (event.get("executionStatus") or self.status).lower()
        self.last = event["at"]
        if word in {"execution_queued", "execution_retried", "execution_rewound"}:
            self.started = None
            self.workflow = (event.get("data") or {}).get("workflow") or self.workflow
        elif word == "execution_started":
            self.started = self.started or event["at"]
        if event.get("stepKey") and word in _STEP_WORDS:
            self._apply_step(word, event)

    def _apply_step(self, word: str, event: Mapping[str, Any]) -> None:
        row = self.steps.setdefault(event["stepKey"], StepRow(event["stepKey"]))
        if event.get("mapIndex") is not None:
            self._apply_item(word, row)
            return
        if word == "map_opened":
            data = event.get("data") or {}
            row.items, row.ended_items = data.get("items"), data.get("kept") or 0
            row.note = _of_items(row)
            return
        row.status = _STEP_WORDS[word]
        row.attempt = event.get("attempt") or row.attempt
        row.note = on_one_line(note_of(event))
        if word == "step_started":
            row.started, row.finished = event["at"], None
        elif row.status == "waiting":
            row.finished = None
        elif word == "step_retrying":
            self.retries += 1
        else:
            row.finished = event["at"]

    def _apply_item(self, word: str, row: StepRow) -> None:
        """Of an item of a map only that it has ended is counted, or that it is tried again."""
        if word in _ITEM_ENDS:
            row.ended_items += 1
            row.note = _of_items(row)
        elif word == "step_retrying":
            self.retries += 1

    @property
    def elapsed_seconds(self) -> float:
        """From the start to the newest event."""
        if self.started is None or self.last is None:
            return 0.0
        return (parse_moment(self.last) - parse_moment(self.started)).total_seconds()

    def most_urgent(self, limit: int) -> list[StepRow]:
        """Failing steps first, then running ones, then the newest finished; never more than the screen holds."""
        newest_first = sorted(self.steps.values(), key=lambda row: row.finished or "", reverse=True)
        return sorted(newest_first, key=lambda row: _URGENCY.index(row.status))[:limit]

    def counts(self) -> str:
        """`4 completed, 1 running`."""
        statuses = [row.status for row in self.steps.values()]
        return ", ".join(f"{statuses.count(word)} {word}" for word in _URGENCY if word in statuses)


def _of_items(row: StepRow) -> str:
    return f"{row.ended_items} of {row.items} items"


def note_of(event: Mapping[str, Any]) -> str:
    """What an event says besides its type: the error, and when the next attempt comes."""
    data = event.get("data") or {}
    if not isinstance(data, Mapping):
        return ""
    error = data.get("error") or {}
    text = str(error.get("message") or "") if isinstance(error, Mapping) else str(error)
    if "delay_ms" in data:
        text = f"again in {span_seconds(float(data['delay_ms']) / 1000)}" + (
            f": {text}" if text else ""
        )
    if "for_ms" in data:
        text = f"for {span_seconds(float(data['for_ms']) / 1000)}"
    elif "until" in data:
        text = f"until {data['until']}"
    return text


def step_place(line: Mapping[str, Any]) -> str:
    """The step that something is about; of an item of a map with its number: `each[3]`."""
    item = line.get("mapIndex")
    return f"{line.get('stepKey') or ''}{'' if item is None else f'[{item}]'}"


def event_line(event: Mapping[str, Any]) -> str:
    """One event on one line."""
    attempt = event.get("attempt") or 1
    parts = [
        event["at"],
        event["type"].lower(),
        step_place(event),
        f"attempt {attempt}" if attempt > 1 else "",
    ]
    note = note_of(event)
    return on_one_line("  ".join(part for part in (*parts, note) if part))


def watch(
    client: Client, options: Options, execution_id: str, *, after: str | None = None
) -> Progress:
    """Follow until the end; raises CliError when the user detaches, or `--timeout` is over."""
    from maestro_cli.live import follow_field

    progress = Progress(execution_id)
    screen = _Screen(options, progress) if _is_screen(options) else None
    show: Callable[[Mapping[str, Any]], None] = screen.show if screen else _line_printer(options)

    def on_event(event: dict[str, Any]) -> bool:
        progress.apply(event)
        show(event)
        return True

    variables = {"id": execution_id, **({"after": after} if after else {})}
    try:
        follow_field(
            client,
            operation("watch_execution"),
            variables,
            "executionEvents",
            on_event,
            seconds=options.timeout,
        )
    except KeyboardInterrupt:
        raise detached(execution_id) from None
    except TimeoutError:
        raise still_going(execution_id, progress.status, options.timeout) from None
    finally:
        if screen:
            screen.close()
    return progress


def detached(execution_id: str) -> CliError:
    """What Ctrl-C says: nothing was stopped."""
    return CliError(
        "Detached; the execution goes on.",
        code="INTERRUPTED",
        hint=f"attach again with `mc executions watch {execution_id}`, or stop it with `mc cancel {execution_id}`",
    )


def still_going(execution_id: str, status: str, seconds: float | None) -> CliError:
    """What the end of `--timeout` says: nothing was stopped."""
    return CliError(
        f"The execution is still {status} after {seconds or 0:g} s.",
        code="TIMED_OUT",
        hint=f"it goes on; `mc executions watch {execution_id}` shows it",
    )


def exit_code_of(status: str) -> int:
    """The outcome of an execution as an exit code."""
    if status == "completed":
        return 0
    return CANCELLED if status == "cancelled" else FAILED


def _is_screen(options: Options) -> bool:
    return options.is_live(sys.stdout) and not options.is_document and not options.quiet


def _line_printer(options: Options) -> Callable[[Mapping[str, Any]], None]:
    if options.is_document:
        return lambda _: None
    return lambda event: print(event_line(event), flush=True)


class _Screen:
    """A few lines that are drawn again: the summary, then what needs attention."""

    def __init__(self, options: Options, progress: Progress) -> None:
        from rich.console import Console
        from rich.live import Live

        console = Console(no_color=not options.is_colored(sys.stdout), highlight=False)
        self._progress = progress
        self._live = Live(console=console, auto_refresh=False, redirect_stdout=False)
        self._live.start()

    def show(self, event: Mapping[str, Any]) -> None:  # noqa: ARG002 - the progress has taken it in
        self._live.update(self._draw(), refresh=True)

    def close(self) -> None:
        self._live.stop()

    def _draw(self) -> Any:
        from rich.table import Table
        from rich.text import Text

        progress = self._progress
        rows = progress.most_urgent(max(3, shutil.get_terminal_size().lines - _FRAME_LINES))
        head = f"{progress.workflow}  {mark(progress.status)}  {span_seconds(progress.elapsed_seconds)}"
        table = Table(
            box=None,
            pad_edge=False,
            title=head,
            title_justify="left",
            caption=progress.counts(),
            caption_justify="left",
        )
        # On a narrow terminal the note gives way, never the step's name or status.
        widths = (max((len(row.key) for row in rows), default=4), _STATUS_WIDTH, 7, 7, None)
        for name, width in zip(("STEP", "STATUS", "ATTEMPT", "TIME", ""), widths, strict=True):
            table.add_column(name, no_wrap=True, overflow="ellipsis", min_width=width)
        for row in rows:
            table.add_row(
                row.key,
                Text(mark(row.status), style=COLORS.get(row.status, "")),
                str(row.attempt),
                _length(row),
                Text(row.note),
            )
        return table


def _length(row: StepRow) -> str:
    if row.started is None or row.finished is None:
        return ""
    return span_seconds((parse_moment(row.finished) - parse_moment(row.started)).total_seconds())

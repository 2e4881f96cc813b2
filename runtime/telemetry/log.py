"""The process's own log: JSON lines, or readable ones on a terminal; with trace ids."""

from __future__ import annotations

import contextlib
import logging
import sys
from collections.abc import MutableMapping
from typing import Any, TextIO

import orjson
import structlog
from opentelemetry import trace
from structlog.typing import FilteringBoundLogger


def get_logger(name: str) -> FilteringBoundLogger:
    """A logger; bind execution and step ids to it once, not per line."""
    logger: FilteringBoundLogger = structlog.get_logger(component=name)
    return logger


def log_descriptor() -> int | None:
    """Where this process logs, for children that have no log of their own; None: where they would anyway."""
    lines = structlog.get_config()["logger_factory"]
    try:
        return lines.stream.fileno() if isinstance(lines, _Lines) else None
    except (OSError, ValueError):
        return None


def configure_logging(
    *, form: str = "auto", level: str = "info", stream: TextIO | None = None
) -> None:
    """Set the shape of all log lines of this process.

    `auto` is readable on a terminal and JSON elsewhere.
    """
    target = stream or sys.stderr
    console = form == "console" or (form == "auto" and target.isatty())
    # The plain traceback, because the pretty one prints local variables: tokens, inputs, addresses.
    renderer: Any = (
        structlog.dev.ConsoleRenderer(
            colors=target.isatty(), exception_formatter=structlog.dev.plain_traceback
        )
        if console
        else _JsonLine()
    )
    threshold = logging.getLevelNamesMapping()[level.upper()]
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            _add_trace,
            *([] if console else [structlog.processors.format_exc_info]),
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(threshold),
        logger_factory=_Lines(target),
        cache_logger_on_first_use=False,
    )
    root = logging.getLogger()
    for handler in [one for one in root.handlers if isinstance(one, _Bridge)]:
        root.removeHandler(handler)
    root.addHandler(_Bridge(logging.WARNING))


class _Bridge(logging.Handler):
    """What libraries and asyncio say goes where our own lines go, never raw to the terminal."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write one line; a traceback is part of it."""
        more = {"exc_info": record.exc_info} if record.exc_info else {}
        get_logger(record.name).log(record.levelno, record.getMessage(), **more)


def _add_trace(
    _logger: object, _method: str, event: MutableMapping[str, Any]
) -> MutableMapping[str, Any]:
    """Give a line the ids of the span that it was written in, unless it names its own."""
    context = trace.get_current_span().get_span_context()
    if context.is_valid:
        event.setdefault("trace_id", f"{context.trace_id:032x}")
        event.setdefault("span_id", f"{context.span_id:016x}")
    return event


class _Lines:
    """Writes lines to a stream that may be gone: a log must not stop what it speaks of."""

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream

    def __call__(self, *_names: object) -> _Lines:
        return self

    def msg(self, message: str) -> None:
        """Write one line; a closed stream or a full disk swallows it."""
        with contextlib.suppress(OSError, ValueError):
            self.stream.write(message + "\n")
            self.stream.flush()

    log = debug = info = warn = warning = error = critical = exception = fatal = msg


class _JsonLine:
    """Renders with orjson; what JSON has no word for is written as text."""

    def __call__(self, _logger: object, _method: str, event: MutableMapping[str, Any]) -> str:
        return orjson.dumps(event, default=str, option=orjson.OPT_NON_STR_KEYS).decode()

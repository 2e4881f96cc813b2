"""Where this process logs: `mc dev` into its folder, so that the terminal stays readable; others to standard error."""

from __future__ import annotations

import contextlib
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from maestro_cli.options import Options
from runtime.settings import LogSettings
from runtime.telemetry.log import configure_logging, get_logger

LOG_FILE: Final = "dev.log"
_MAX_BYTES: Final = 8 << 20


@contextlib.contextmanager
def logging_to_file(home: Path, log: LogSettings, options: Options) -> Iterator[Path | None]:
    """Log to `$MC_HOME/dev.log`; with `-v` to standard error instead."""
    if options.verbose:
        logging_to_stderr(log, options)
        yield None
        return
    path = home / LOG_FILE
    with contextlib.suppress(FileNotFoundError):
        if path.stat().st_size > _MAX_BYTES:
            path.replace(path.with_suffix(".log.1"))
    with path.open("a", encoding="utf-8") as stream:
        path.chmod(0o600)
        configure_logging(
            form="json" if log.format == "auto" else log.format, level=log.level, stream=stream
        )
        try:
            with _told_of_what_nobody_caught():
                yield path
        finally:
            configure_logging(form=log.format, level="error", stream=sys.stderr)


@contextlib.contextmanager
def _told_of_what_nobody_caught() -> Iterator[None]:
    """Exceptions of threads and destructors are lines of the log; Python would print them on the terminal."""
    log = get_logger("python")
    thread, unraisable = threading.excepthook, sys.unraisablehook

    def in_thread(found: threading.ExceptHookArgs) -> None:
        if found.exc_value is not None:
            info = (found.exc_type, found.exc_value, found.exc_traceback)
            log.error("thread_died", exc_info=info)

    def in_between(found: sys.UnraisableHookArgs) -> None:
        if found.exc_value is not None:
            info = (found.exc_type, found.exc_value, found.exc_traceback)
            log.error("exception_ignored", what=found.err_msg, exc_info=info)

    threading.excepthook, sys.unraisablehook = in_thread, in_between
    try:
        yield
    finally:
        threading.excepthook, sys.unraisablehook = thread, unraisable


def logging_to_stderr(log: LogSettings, options: Options) -> None:
    """Log to standard error; `-v` shows more, `-q` less."""
    level = "debug" if options.verbose else "warning" if options.quiet else log.level
    configure_logging(form=log.format, level=level, stream=sys.stderr)

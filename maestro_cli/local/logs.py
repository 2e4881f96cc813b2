"""Where this process logs: `mc dev` into its folder, so that the terminal stays readable; others to standard error."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from maestro_cli.options import Options
from runtime.settings import LogSettings
from runtime.telemetry.log import configure_logging

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
            yield path
        finally:
            configure_logging(form=log.format, level="error", stream=sys.stderr)


def logging_to_stderr(log: LogSettings, options: Options) -> None:
    """Log to standard error; `-v` shows more, `-q` less."""
    level = "debug" if options.verbose else "warning" if options.quiet else log.level
    configure_logging(form=log.format, level=level, stream=sys.stderr)

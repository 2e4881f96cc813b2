"""The temporary folder of a run in this process: gone afterwards, and what a killed run left is gone at the next one.

A folder counts as left behind only when it is ours alone, carries the marker, and nobody holds the marker's lock. The
lock is the kernel's: it ends with its process, however that died.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

_PREFIX: Final = "mc-"
_MARKER: Final = "local-run"


@contextlib.contextmanager
def scratch_folder() -> Iterator[Path]:
    """A private folder for as long as the block lasts."""
    sweep(Path(tempfile.gettempdir()))
    folder = Path(tempfile.mkdtemp(prefix=_PREFIX))
    with (folder / _MARKER).open("w", encoding="ascii") as marker:
        fcntl.flock(marker, fcntl.LOCK_EX)
        # Written once the lock is held: an empty marker is one whose run is just beginning.
        marker.write(f"{os.getpid()}\n")
        marker.flush()
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def sweep(base: Path) -> None:
    """Remove what killed runs of this user left; whatever is doubtful stays."""
    for folder in base.glob(f"{_PREFIX}*"):
        with contextlib.suppress(OSError):
            if _is_ours(folder) and _is_left(folder / _MARKER):
                _remove(folder)


def _remove(folder: Path) -> None:
    """The marker goes last: what can't be removed yet is found again by the next sweep."""
    for child in folder.iterdir():
        if child.is_dir() and not child.is_symlink():
            shutil.rmtree(child, ignore_errors=True)
        elif child.name != _MARKER:
            child.unlink()
    if [child.name for child in folder.iterdir()] == [_MARKER]:
        shutil.rmtree(folder, ignore_errors=True)


def _is_ours(folder: Path) -> bool:
    facts = folder.lstat()
    is_private = stat.S_ISDIR(facts.st_mode) and not facts.st_mode & 0o077
    return is_private and facts.st_uid == os.geteuid()


def _is_left(marker: Path) -> bool:
    with marker.open("r+", encoding="ascii") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return bool(stream.read().strip())

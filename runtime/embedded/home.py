"""The data folder: made private, checked, and locked for one owner.

The lock is the kernel's, so it is gone the moment its holder is, however that died; the number inside the file only
serves the message. Sockets have their own rule: their path must be short, so under a long `$MC_HOME` they stand in a
private folder below the system's temporary one, which goes away at stop.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import os
import pwd
import secrets
import shlex
import shutil
import socket
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

from runtime.model.errors import SetupError

# The kernel's limit is 104 (macOS) or 108 bytes, and `.s.PGSQL.5432.lock` is the longest name inside.
MAX_SOCKET_FOLDER_BYTES = 84
FRESH_DISK_BYTES = 256 << 20
WARM_DISK_BYTES = 64 << 20


def private_folder(folder: Path) -> Path:
    """Make a folder that only its owner can enter, or say why it cannot be."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise unusable(folder, error) from error
    return folder


def prepare_home(home: Path, *, fresh_bytes: int = FRESH_DISK_BYTES) -> Path:
    """The data folder, existing, writable and with space; its absolute path."""
    if any(ord(sign) < ord(" ") for sign in os.fspath(home.absolute())):
        # They would be read as the ends of lines in the servers' own configuration.
        raise SetupError(
            f"The path of the data folder {os.fspath(home)!r} holds a control character: set MC_HOME to one "
            "without.",
            reason="HOME_PATH_INVALID",
        )
    if os.path.realpath(home) == os.sep:  # Path's own raises for links in a circle.
        raise SetupError(
            f"The data folder {home} is the root of the file system, among the system's own folders: set MC_HOME to a "
            "folder of its own.",
            reason="HOME_PATH_INVALID",
        )
    home = private_folder(home.absolute())
    probe = home / f".probe-{os.getpid()}"
    try:
        probe.write_bytes(b"x" * 4096)
        probe.unlink()
        free = shutil.disk_usage(home).free
    except OSError as error:
        raise unusable(home, error) from error
    needed = WARM_DISK_BYTES if (home / "postgres" / "data").exists() else fresh_bytes
    if free < needed:
        raise SetupError(
            f"Only {free >> 20} MiB are free for the data folder {home}, {needed >> 20} are needed: "
            "make room, or set MC_HOME to a folder on another disk.",
            reason="NO_DISK_SPACE",
        )
    return home


def unusable(folder: Path, error: OSError) -> SetupError:
    """What to say when the operating system refuses a folder."""
    if error.errno in {errno.ENOSPC, errno.EDQUOT}:
        return SetupError(
            f"There is no space left for {folder}: make room, or set MC_HOME to a folder on "
            "another disk.",
            reason="NO_DISK_SPACE",
        )
    return SetupError(
        f"The data folder {folder} cannot be used: {_fault(folder, error)}.",
        reason="HOME_NOT_WRITABLE",
    )


def _fault(folder: Path, error: OSError) -> str:
    """What is wrong with the folder, or with the nearest one above it that exists, and what to do."""
    there = folder
    while not os.path.exists(there) and there != there.parent:  # noqa: PTH110 - Path's raises below a closed folder
        there = there.parent
    name = "it" if there == folder else str(there)
    if there != folder and os.path.islink(folder):  # noqa: PTH114 - as above
        return (
            f"it is a symbolic link to {folder.readlink()}, which does not exist; make that "
            "folder, or remove the link"
        )
    if error.errno == errno.EROFS:
        return "its file system is mounted read-only; set MC_HOME to a folder elsewhere"
    with contextlib.suppress(OSError):
        found = there.stat()
        if not stat.S_ISDIR(found.st_mode):
            return f"{name} is a file; set MC_HOME to a folder"
        if error.errno in {errno.EACCES, errno.EPERM} and found.st_uid != os.geteuid():
            return (
                f"{name} belongs to {_user(found.st_uid)}; work as that user, or set MC_HOME to a "
                "folder of your own"
            )
        if error.errno in {errno.EACCES, errno.EPERM}:
            return (
                f"{name} may not be written to; `chmod u+rwx {shlex.quote(str(there))}`, or set "
                "MC_HOME to another folder"
            )
    return f"{error.strerror}; set MC_HOME to a folder that you can write to"


def _user(number: int) -> str:
    try:
        return f"the user {pwd.getpwuid(number).pw_name}"
    except KeyError:
        return f"the user with the number {number}"


@contextlib.contextmanager
def locked(home: Path, name: str = "lock") -> Iterator[None]:
    """Hold the data folder; a second holder is refused by name."""
    try:
        descriptor = os.open(home / name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise unusable(home, error) from error
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            holder = os.pread(descriptor, 32, 0).decode("ascii", "replace").strip() or "unknown"
            raise SetupError(
                f"The data folder {home} is in use by process {holder}: stop that one, or set "
                "MC_HOME to another folder.",
                reason="HOME_IN_USE",
            ) from error
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode("ascii"), 0)
        yield
    finally:
        os.close(descriptor)


def socket_folder(home: Path) -> Path:
    """A private folder in which unix sockets can stand: below the home if that path allows it."""
    inside = private_folder(home / "run")
    if holds_sockets(inside):
        return inside
    digest = hashlib.sha256(os.fsencode(home)).hexdigest()[:16]
    for base in (Path(tempfile.gettempdir()), Path("/tmp")):  # noqa: S108 - made private and checked below
        folder = base / f"mc-{os.geteuid()}-{digest}"
        if len(os.fsencode(folder)) <= MAX_SOCKET_FOLDER_BYTES:
            return _own_folder(folder)
    raise SetupError(
        f"The path of the data folder {home} is too long for unix sockets: set MC_HOME to a "
        "shorter one.",
        reason="HOME_PATH_TOO_LONG",
    )


def holds_sockets(folder: Path) -> bool:
    """Whether the path is short enough and the file system takes sockets (some network and shared ones do not).

    PostgreSQL and its clients take several folders with commas between them, so that a comma ends one.
    """
    name = os.fsencode(folder)
    if len(name) > MAX_SOCKET_FOLDER_BYTES or b"," in name or b'"' in name:
        return False
    probe = folder / f".probe-{os.getpid()}"
    with socket.socket(socket.AF_UNIX) as listener, contextlib.suppress(OSError):
        listener.bind(os.fspath(probe))
        probe.unlink()
        return True
    return False


def _own_folder(folder: Path) -> Path:
    """A folder at a path that others can guess: refuse it when somebody else was there first."""
    private_folder(folder)
    facts = folder.lstat()
    mine = stat.S_ISDIR(facts.st_mode) and facts.st_uid == os.geteuid()
    if not mine or stat.S_IMODE(facts.st_mode) & 0o077:
        raise SetupError(
            f"The folder {folder} belongs to somebody else or is open to others: remove it, or set "
            "MC_HOME to a shorter path.",
            reason="SOCKET_FOLDER_TAKEN",
        )
    return folder


def password(file: Path) -> str:
    """The password kept in this file; made at random, for its owner only, when there is none."""
    with contextlib.suppress(FileNotFoundError):
        kept = file.read_text("ascii").strip()
        if kept:
            return kept
    made = secrets.token_urlsafe(24)
    draft = file.with_suffix(".new")
    draft.unlink(missing_ok=True)
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="ascii") as stream:
        stream.write(made + "\n")
    draft.replace(file)
    return made

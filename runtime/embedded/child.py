"""Becomes one embedded server: takes its identity, ties its life to the parent's, then execs the program.

`runtime.embedded.process` starts this file by path (`python -I -S child.py … -- PROGRAM ARGS`), so it imports the
standard library only. A program of its own, because code between fork and exec is not safe in a process with threads.
It keeps the promise that no server outlives the process that started it, not even after `kill -9`.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import os
import signal
import sys
import time
from pathlib import Path
from types import FrameType

PR_SET_PDEATHSIG = 1
PR_SET_KEEPCAPS = 8
PR_CAP_AMBIENT = 47
PR_CAP_AMBIENT_RAISE = 2
CAP_DAC_OVERRIDE = 1
LINUX_CAPABILITY_VERSION_3 = 0x20080522
CLONE_NEWUSER = 0x10000000
EXIT_NO_IDENTITY = 125
EXIT_ORPHAN = 124
WATCH_INTERVAL_SECONDS = 0.2


def main(arguments: list[str]) -> int:
    """Take the identity, bind the life, become the program."""
    options = _options(arguments)
    try:
        _take_identity(options.identity)
    except OSError as error:
        print(f"cannot take the identity {options.identity}: {error}", file=sys.stderr)  # noqa: T201 - the log
        return EXIT_NO_IDENTITY
    if options.probe:
        return 0
    if options.watch:
        return _watch(options.program, options.parent, options.death_signal)
    _libc().prctl(PR_SET_PDEATHSIG, options.death_signal, 0, 0, 0)
    if os.getppid() != options.parent:  # It died before the line above could notice.
        return EXIT_ORPHAN
    os.execv(options.program[0], options.program)


def _options(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("--identity", default="same")
    parser.add_argument("--probe", action="store_true")
    parser.add_argument("--watch", action="store_true")
    parser.add_argument("--parent", type=int, default=0)
    parser.add_argument("--death-signal", type=int, default=int(signal.SIGTERM))
    parser.add_argument("program", nargs="*")
    return parser.parse_args(arguments)


def _take_identity(identity: str) -> None:
    kind, _, number = identity.partition(":")
    if kind == "namespace":
        _enter_namespace(int(number))
    elif kind == "uid":
        _drop_to(int(number))


def _enter_namespace(inner_uid: int) -> None:
    """Be an ordinary user inside a namespace of one's own, and the same user as before outside of it."""
    uid, gid = os.geteuid(), os.getegid()
    if _libc().unshare(CLONE_NEWUSER) != 0:
        raise OSError(ctypes.get_errno(), "user namespaces are switched off")
    Path("/proc/self/setgroups").write_text("deny", encoding="ascii")
    Path("/proc/self/uid_map").write_text(f"{inner_uid} {uid} 1", encoding="ascii")
    Path("/proc/self/gid_map").write_text(f"{inner_uid} {gid} 1", encoding="ascii")


def _drop_to(uid: int) -> None:
    """Be another user."""
    os.setgroups([])
    if sys.platform == "linux":
        _libc().prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0)
        os.setresgid(uid, uid, uid)
        os.setresuid(uid, uid, uid)
        _keep_passage()
    else:
        os.setgid(uid)
        os.setuid(uid)


def _keep_passage() -> None:
    """Still pass through folders that are closed to the new user: then no folder has to be opened for it."""
    libc = _libc()
    bit = 1 << CAP_DAC_OVERRIDE
    header = (ctypes.c_uint32 * 2)(LINUX_CAPABILITY_VERSION_3, 0)
    capabilities = (ctypes.c_uint32 * 6)(bit, bit, bit, 0, 0, 0)
    # Where even this is withheld, the server starts if its folders can be reached, and else its log says so.
    if libc.capset(header, capabilities) == 0:
        libc.prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, CAP_DAC_OVERRIDE, 0, 0)


def _watch(program: list[str], parent: int, death_signal: int) -> int:
    """Where the kernel has no parent-death signal: stay, pass signals on, and end the program with the parent."""
    pid = os.fork()
    if pid == 0:
        os.execv(program[0], program)

    def pass_on(number: int, _frame: FrameType | None) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGQUIT):
        signal.signal(number, pass_on)
    told = False
    while True:
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status) & 0xFF
        if not told and os.getppid() != parent:
            pass_on(death_signal, None)
            told = True
        time.sleep(WATCH_INTERVAL_SECONDS)


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

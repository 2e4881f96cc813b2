"""Makes `build/compiled`: a copy of the packages in which the modules of every step are extension modules (ADR-008).

    .venv/bin/python scripts/compiled.py

Which modules, says `[tool.maestro-composer.compiled]` of pyproject.toml. mypyc makes C of them, a C compiler the rest;
the sources here stay as they are, and their copies lie beside what was made of them. The tree appears as a whole, when
it is done. A second call compiles only when something has changed that decides what comes out: our packages, Python,
mypyc. Whoever has `build/compiled` first on `PYTHONPATH` runs it, and `build/compiled/bin/mc` does.
"""

from __future__ import annotations

import hashlib
import os
import platform
import shutil
import subprocess
import sys
import sysconfig
import tomllib
from importlib.machinery import EXTENSION_SUFFIXES
from importlib.metadata import version
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[1]
TREE: Final = ROOT / "build" / "compiled"
PACKAGES: Final = ("maestro", "maestro_cli", "resolvers", "runtime", "subgraph")
STAMP: Final = "compiled.sha256"

# In a process of its own, since both change what they are imported into. The code of all modules lies in one library in
# the package `runtime`: the digest of code is one of the files of a package, and would not cover it elsewhere.
PROGRAM: Final = """
import sys
from mypyc.build import mypycify
from setuptools import setup
made = mypycify(sys.argv[1:], opt_level="3", debug_level="0", group_name="runtime.maestro")
setup(name="compiled", ext_modules=made, script_args=["-q", "build_ext", "--inplace"])
"""
# `mc` of the tree. What it starts inherits where to import from, and that the present folder comes nowhere before it.
LAUNCHER: Final = """#!/bin/sh
tree=$(CDPATH= cd -- "$(dirname -- "$0")/.." && pwd) || exit 1
export PYTHONSAFEPATH=1 PYTHONPATH="$tree${{PYTHONPATH:+:$PYTHONPATH}}"
exec "{python}" -m maestro_cli "$@"
"""


def main() -> int:
    """Make the tree; the exit code."""
    if not modules():
        print("pyproject.toml names no module to compile.", file=sys.stderr)
        return 1
    made = TREE.with_name("compiled.new")
    shutil.rmtree(made, ignore_errors=True)
    copy(made)
    now = digest()
    if stamp(TREE) == now:
        for extension in extensions(TREE):
            shutil.copy2(extension, made / extension.relative_to(TREE))
        print("compiled: nothing to do")
    elif not compile_in(made):
        print(
            "compiled: it did not come about (what was said is above). mypyc needs a C compiler and the headers of "
            "Python: Debian, Ubuntu: apt-get install gcc python3-dev; macOS: xcode-select --install.",
            file=sys.stderr,
        )
        return 1
    (made / STAMP).write_text(now + "\n", encoding="ascii")
    shutil.rmtree(TREE, ignore_errors=True)
    made.rename(TREE)
    print(f"compiled: {len(modules())} modules in {TREE.relative_to(ROOT)}; its bin/mc starts them")
    return 0


def modules() -> list[str]:
    """The modules that are compiled, by their dotted names."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    found: list[str] = project["tool"]["maestro-composer"]["compiled"]["modules"]
    return found


def source(module: str) -> str:
    """Where the text of a module lies, from the root."""
    return module.replace(".", "/") + ".py"


def extensions(tree: Path) -> list[Path]:
    """The extension modules of a tree."""
    folders = [tree, *(tree / package for package in PACKAGES)]
    found = {
        path
        for folder in folders
        for path in (folder.iterdir() if folder == tree else folder.rglob("*"))
        if path.name.endswith(tuple(EXTENSION_SUFFIXES))
    }
    return sorted(found)


def stamp(tree: Path) -> str:
    """Of what a tree was made; nothing when there is none."""
    try:
        return (tree / STAMP).read_text("ascii").strip()
    except OSError:
        return ""


def digest() -> str:
    """Of everything that decides what comes out. Types come from modules that are not compiled, too."""
    said = hashlib.sha256()
    for name in ("mypy", "setuptools"):
        said.update(f"{name} {version(name)}\n".encode())
    said.update(f"{sys.version} {platform.machine()} {sysconfig.get_config_var('CC')}\n".encode())
    files = [path for package in PACKAGES for path in (ROOT / package).rglob("*.py")]
    said.update(PROGRAM.encode())
    for path in [ROOT / "pyproject.toml", *sorted(files)]:
        said.update(f"{path.relative_to(ROOT).as_posix()}\n".encode())
        said.update(hashlib.sha256(path.read_bytes()).digest())
    return said.hexdigest()


def copy(tree: Path) -> None:
    """The packages without what tools have made, and a command that starts them."""
    left_out = shutil.ignore_patterns("__pycache__", *(f"*{end}" for end in EXTENSION_SUFFIXES))
    for name in PACKAGES:
        shutil.copytree(ROOT / name, tree / name, ignore=left_out)
    launcher = tree / "bin" / "mc"
    launcher.parent.mkdir()
    launcher.write_text(LAUNCHER.format(python=sys.executable), encoding="utf-8")
    launcher.chmod(0o755)


def compile_in(tree: Path) -> bool:
    """C of the modules, and extension modules of that, in their places; whether it worked."""
    rules = ["--config-file", str(ROOT / "pyproject.toml"), "--cache-dir", os.devnull]
    command = [sys.executable, "-c", PROGRAM, *rules, *map(source, modules())]
    environ = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    if subprocess.run(command, cwd=tree, env=environ, check=False).returncode:
        return False
    shutil.rmtree(tree / "build")
    return True


if __name__ == "__main__":
    sys.exit(main())

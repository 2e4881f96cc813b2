"""The digest of the code that a step runs: of the files that Python imported its connector's package from.

Files and not version numbers: a version is what somebody says, files are what ran. It covers all of the outermost
package (helpers beside the connector count), in whatever folder it lies, and nothing that this package imports from
others. `sha256sum` can work it out again: ADR-041.
"""

from __future__ import annotations

import hashlib
import marshal
import os
import sys
from collections.abc import Iterator
from functools import cache
from importlib.machinery import all_suffixes
from pathlib import Path
from types import ModuleType
from typing import Any, Final

from runtime.model.values import Digest

_SUFFIXES: Final = tuple(all_suffixes())


def code_digest(connector: Any) -> Digest | None:
    """Of the code of a connector; None when it came from no file (a prompt, a program that makes code)."""
    cls = type(connector)
    # A decorated function says where it was written; an object of a class is where its class is.
    return module_digest(getattr(connector, "__module__", None) or cls.__module__)


@cache
def module_digest(name: str) -> Digest | None:
    """Of the outermost package that a module belongs to. Read once in a process, before its first step."""
    root = _outermost(name)
    module = sys.modules.get(root)
    if module is None:
        return None
    place = getattr(module, "__file__", None)
    if place is None or not Path(place).is_file():
        return _of_bytecode(module)
    path = Path(place)
    is_package = hasattr(module, "__path__")
    base = path.parent
    files = {file.relative_to(base).as_posix(): file for file in _files(base)} if is_package else {}
    files = files or {path.name: path}
    lines = [f"{_sha256(files[name])}  {name}\n" for name in sorted(files)]
    return Digest.of("".join(lines).encode())


def _outermost(name: str) -> str:
    """The highest package above a module that is a real one: a namespace belongs to many."""
    root = name
    while "." in root:
        above = root.rpartition(".")[0]
        if getattr(sys.modules.get(above), "__file__", None) is None:
            break
        root = above
    return root


def _files(folder: Path) -> Iterator[Path]:
    """What can be imported from a folder, and from those below it."""
    for here, folders, names in os.walk(folder):
        folders[:] = [one for one in folders if one != "__pycache__"]
        yield from (Path(here, name) for name in names if name.endswith(_SUFFIXES))


def _sha256(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


def _of_bytecode(module: ModuleType) -> Digest | None:
    """What lies in an archive has no file of its own: its loader has the code."""
    get_code = getattr(getattr(module, "__loader__", None), "get_code", None)
    try:
        code = None if get_code is None else get_code(module.__name__)
    except ImportError:
        return None
    return None if code is None else Digest.of(marshal.dumps(code))

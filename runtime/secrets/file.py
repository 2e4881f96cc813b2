"""Secrets from a YAML file that only its owner can read: `NAME: value`, one per line.

The worker looks them up when it renders a step's input, just before the call. The file is read
again when it changes, so that a rotated secret needs no restart; whoever else could read it makes
it refused by name.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final, TypeVar

import yaml

from runtime.model.errors import SetupError, StepErrorKind, StepFailed
from runtime.secrets.masker import Masker

T = TypeVar("T")

_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")
_OTHERS: Final = stat.S_IRWXG | stat.S_IRWXO


class SecretNotFound(StepFailed):
    """There is no secret of this name."""

    def __init__(self, name: str, path: Path) -> None:
        super().__init__(
            f"There is no secret {name}: add `{name}: ...` to {path}.",
            kind=StepErrorKind.PERMANENT,
            type="secret.not_found",
            details={"secret": name},
        )


class FileSecrets(Mapping[str, str]):
    """The secrets of one file, as a mapping for expressions. A missing file holds none."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._seen: tuple[int, ...] | None = None
        self._values: dict[str, str] = {}
        self._ever: set[str] = set()
        self._masker = Masker()

    def lookup(self, name: str) -> str:
        """A secret; raises SecretNotFound, or StepFailed when the file may not be used."""
        try:
            self._refresh()
        except SetupError as error:
            raise StepFailed(error.message, type="secret.refused") from error
        try:
            return self._values[name]
        except KeyError:
            raise SecretNotFound(name, self.path) from None

    def names(self) -> tuple[str, ...]:
        """The names, never the values; raises SetupError when the file may not be used."""
        self._refresh()
        return tuple(sorted(self._values))

    def names_if_readable(self) -> frozenset[str] | None:
        """The names, or None when this process may not read them and so can't tell what is missing."""
        try:
            return frozenset(self.names())
        except SetupError:
            return None

    def mask(self, value: T) -> T:
        """A text or JSON value without any secret that this process has ever read."""
        return self._masker.mask(value)

    def __getitem__(self, name: str) -> str:
        return self.lookup(name)

    def __contains__(self, name: object) -> bool:
        return name in self.names()

    def __iter__(self) -> Iterator[str]:
        return iter(self.names())

    def __len__(self) -> int:
        return len(self.names())

    def _refresh(self) -> None:
        """Read the file if it is not the one that was read last."""
        try:
            found = self.path.stat()
        except FileNotFoundError:
            self._seen, self._values = None, {}
            return
        except OSError as error:
            raise _refused(self.path, f"can't be read: {error.strerror}") from error
        mark = (found.st_mtime_ns, found.st_size, found.st_ino, found.st_mode, found.st_ctime_ns)
        if mark != self._seen:
            self._values = _read(self.path)
            self._seen = mark
            if not self._ever.issuperset(self._values.values()):
                # Values of before a rotation stay masked: steps that run may still hold them.
                self._ever.update(self._values.values())
                self._masker = Masker(self._ever)


def _read(path: Path) -> dict[str, str]:
    try:
        with path.open("rb") as file:
            mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
            data = file.read()
    except OSError as error:
        raise _refused(path, f"can't be read: {error.strerror}") from error
    if not data.strip():
        return {}
    if mode & _OTHERS:
        raise _refused(path, f"can be read by others (mode {mode:04o}): run `chmod 600 {path}`")
    try:
        document = yaml.safe_load(data)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        # Without `from`: the parser's own message quotes the line.
        raise _refused(path, f"is no YAML (line {line})") from None
    except (yaml.YAMLError, UnicodeDecodeError):
        raise _refused(path, "is no YAML in UTF-8") from None
    return _checked(path, document)


def _checked(path: Path, document: object) -> dict[str, str]:
    if document is None:
        return {}
    if not isinstance(document, dict):
        raise _refused(path, "must hold lines of the form `NAME: value`")
    for name, value in document.items():
        if not isinstance(name, str) or not _NAME.match(name):
            raise _refused(path, f"holds {name!r}, which is no name: use letters, digits and _")
        if not isinstance(value, str):
            raise _refused(path, f"holds {name} with a value that is no text: put it in quotes")
    return document


def _refused(path: Path, why: str) -> SetupError:
    return SetupError(f"The secrets file {path} {why}.", reason="SECRETS_FILE")

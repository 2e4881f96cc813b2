"""Open sets are found, not listed: a scan of a package gives the things that others put there.

Called by the connectors' registry for our own folder and for users' packages. It promises that two
things of the same name are refused with both places, and that a package that can't be imported is
named together with the line that broke it.
"""

from __future__ import annotations

import importlib
import pkgutil
import traceback
from collections.abc import Callable, Hashable, Iterable, Iterator
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from types import ModuleType
from typing import Generic, TypeVar

from runtime.model.errors import SetupError

T = TypeVar("T")
K = TypeVar("K", bound=Hashable)

_NEVER_SCANNED = ("__main__", "conftest", "tests")


@dataclass(frozen=True, slots=True)
class Found(Generic[T]):
    """Something that a scan found, and where: `package.module:name`."""

    value: T
    place: str


def scan(package: str, pick: Callable[[ModuleType], Iterable[tuple[str, T]]]) -> list[Found[T]]:
    """Import a package with all its modules and collect what `pick` takes from each.

    Tests inside the package are left alone. The same object met twice (a re-export) counts once.
    """
    seen: set[int] = set()
    found: list[Found[T]] = []
    for module in import_all(package):
        for name, value in pick(module):
            if id(value) not in seen:
                seen.add(id(value))
                found.append(Found(value, f"{module.__name__}:{name}"))
    return found


def offered(
    group: str, pick: Callable[[ModuleType], Iterable[tuple[str, T]]], what: str
) -> list[Found[T]]:
    """What installed packages offer by the entry points of a group: a module to scan, or one thing."""
    found: list[Found[T]] = []
    for point in sorted(entry_points(group=group), key=lambda point: point.name):
        found += _of_entry_point(point, pick, what)
    return found


def index(found: Iterable[Found[T]], key: Callable[[T], K]) -> dict[K, Found[T]]:
    """By key; raises SetupError with both places when two share one."""
    by_key: dict[K, Found[T]] = {}
    for item in found:
        first = by_key.setdefault(key(item.value), item)
        if first.value is not item.value:
            raise SetupError(
                f"{key(item.value)} is defined twice: in {first.place} and in {item.place}. "
                "Rename one of them or give it another version.",
                reason="DUPLICATE_NAME",
            )
    return by_key


def import_all(package: str) -> Iterator[ModuleType]:
    """The package, then its modules, depth first, in the order of their names."""
    module = import_one(package)
    yield module
    for info in pkgutil.iter_modules(getattr(module, "__path__", ())):
        if info.name not in _NEVER_SCANNED and not info.name.startswith("test_"):
            yield from import_all(f"{package}.{info.name}")


def import_one(name: str) -> ModuleType:
    """A module by name; raises SetupError that names it and the place of the failure."""
    try:
        return importlib.import_module(name)
    except Exception as error:
        if isinstance(error, ModuleNotFoundError) and error.name == name.partition(".")[0]:
            raise SetupError(
                f"There is no package {name!r}. Install it into this environment, or start in the "
                "folder that holds it.",
                reason="PACKAGE_NOT_FOUND",
            ) from error
        raise SetupError(
            f"The package {name!r} can't be imported: {type(error).__name__}: {error} "
            f"({_where(error)}). Mend it, or leave it out.",
            reason="PACKAGE_BROKEN",
        ) from error


def _of_entry_point(
    point: EntryPoint, pick: Callable[[ModuleType], Iterable[tuple[str, T]]], what: str
) -> list[Found[T]]:
    try:
        if not point.attr:
            return scan(point.module, pick)
        value = getattr(import_one(point.module), point.attr, None)
    except SetupError as error:
        dist = point.dist.name if point.dist else "an unknown package"
        raise SetupError(
            f"The installed package {dist} offers {what} by the entry point {point.name!r}, but: "
            f"{error.message}",
            reason=error.reason,
        ) from error
    if value is None:
        raise SetupError(
            f"The entry point {point.name!r} of {point.group} names {point.value!r}, and "
            f"{point.module!r} has no {point.attr!r}.",
            reason="PACKAGE_BROKEN",
        )
    return [Found(value, f"{point.module}:{point.attr}")]


def _where(error: BaseException) -> str:
    """The innermost place that is no machinery of the import itself."""
    if isinstance(error, SyntaxError) and error.filename:
        return f"{error.filename}, line {error.lineno}"
    frames = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if not frame.filename.startswith("<frozen") and frame.filename != importlib.__file__
    ]
    last = frames[-1]
    return f"{last.filename}, line {last.lineno}"

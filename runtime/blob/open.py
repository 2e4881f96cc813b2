"""Finds the implementation for an address by its scheme: `file:///folder`, `s3://bucket/prefix`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from types import ModuleType
from typing import Any, Final

from runtime.abi.blob import BlobStore
from runtime.model.errors import SetupError
from runtime.registry import index, scan

_PACKAGE: Final = "runtime.blob"


def open_blob_store(url: str, environment: Mapping[str, str]) -> BlobStore:
    """The store at this address; raises SetupError when nobody knows its scheme."""
    known = implementations()
    scheme = url.partition(":")[0]
    if scheme not in known:
        raise SetupError(
            f"MC_BLOB_URL must begin with {' or '.join(f'{name}://' for name in known)}.",
            reason="BAD_VARIABLE",
        )
    return known[scheme].open(url, environment)


def implementations() -> dict[str, type[BlobStore]]:
    """Every class of this package that fills the socket, by its scheme."""
    found = index(scan(_PACKAGE, _pick), lambda one: one.scheme)
    return {scheme: found[scheme].value for scheme in sorted(found)}


def _pick(module: ModuleType) -> Iterable[tuple[str, type[BlobStore]]]:
    return list(_classes(module))


def _classes(module: ModuleType) -> Iterator[tuple[str, Any]]:
    for name, value in vars(module).items():
        is_ours = isinstance(value, type) and value.__module__ == module.__name__
        if is_ours and isinstance(getattr(value, "scheme", None), str):
            yield name, value

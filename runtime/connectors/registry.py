"""Which connectors this process has: ours, those of installed packages, those named explicitly.

Made once by the bootstrap for worker and API alike; the worker asks it for implementations,
validation and editors for the catalogue. Whatever is wrong with a connector is said here, at the
start, by name and place, never in the middle of an execution.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Iterator, Mapping, Sequence
from types import ModuleType
from typing import Any, cast

from pydantic import BaseModel
from pydantic.errors import PydanticUserError

from runtime.abi.catalog import Catalog, ConnectorInfo
from runtime.abi.connector import Connector, InlineConnector, OpenConnector
from runtime.connectors.code import code_digest
from runtime.model.errors import SetupError
from runtime.model.plan import ConnectorRef, Effect
from runtime.model.values import Json, SemVer
from runtime.registry import Found, index, offered, scan

GROUP = "maestro.connectors"
BUILT_IN = "runtime.connectors"
_PARTS = ("name", "version", "summary", "Input", "Output", "execute", "effect", "effect_class")


class Registry:
    """Connectors by name and version, each one object for the life of the process."""

    def __init__(
        self, found: Iterable[Found[Connector]], *, services: Mapping[str, Any] | None = None
    ) -> None:
        self.services: Mapping[str, Any] = dict(services or {})
        by_version = index(found, lambda one: f"{one.name}@{SemVer.parse(one.version)}")
        self._found = tuple(by_version.values())
        self._infos = tuple((_describe(item), item.value) for item in self._found)
        self._resolved: dict[ConnectorRef, Connector | None] = {}
        self._opened: list[OpenConnector] = []

    @classmethod
    def load(
        cls, extra: Sequence[str] = (), *, services: Mapping[str, Any] | None = None
    ) -> Registry:
        """Our own connectors, those of the entry points, those of the packages in `extra`.

        `services` is what steps share (`http`, `threads`); a process that only validates needs none.
        """
        found = scan(BUILT_IN, _pick)
        found += offered(GROUP, _pick, "connectors")
        for package in extra:
            found += scan(package, _pick)
        return cls(_instances(found), services=services)

    def resolve(self, ref: ConnectorRef) -> Connector | None:
        """The newest version that a reference asks for; releases before prereleases."""
        if ref not in self._resolved:
            fitting = [(info, one) for info, one in self._infos if info.answers(ref)]
            best = max(
                fitting,
                key=lambda pair: (not pair[0].version.prerelease, pair[0].version),
                default=None,
            )
            self._resolved[ref] = best[1] if best else None
        return self._resolved[ref]

    def catalog(self) -> Catalog:
        """Names, versions and schemas, for validation and editors; newest version first."""
        by_name: dict[str, list[ConnectorInfo]] = {}
        for info, _ in sorted(self._infos, key=lambda pair: pair[0].version, reverse=True):
            by_name.setdefault(info.name, []).append(info)
        return {name: tuple(by_name[name]) for name in sorted(by_name)}

    def places(self) -> dict[str, str]:
        """Where each connector comes from: `name@version` to `package.module:name`."""
        return {f"{item.value.name}@{item.value.version}": item.place for item in self._found}

    async def open(self) -> None:
        """Let connectors that hold something take hold of it; all or none.

        The files of their code are read now, because from now on it runs.
        """
        for item in self._found:
            code_digest(item.value)
            if isinstance(item.value, OpenConnector):
                try:
                    await item.value.open()
                except Exception as error:
                    await self.close()
                    raise SetupError(
                        f"The connector {item.value.name} ({item.place}) can't be opened: {error}",
                        reason="CONNECTOR_BROKEN",
                    ) from error
                self._opened.append(item.value)

    async def close(self) -> None:
        """Close what was opened, in reverse order."""
        while self._opened:
            await self._opened.pop().close()


def _pick(module: ModuleType) -> Iterator[tuple[str, Any]]:
    """Connectors of a module: classes defined in it, and objects (decorated functions) made in it."""
    for name, value in vars(module).items():
        if name.startswith("_") or getattr(value, "__module__", None) != module.__name__:
            continue
        if inspect.isclass(value):
            if not inspect.isabstract(value) and _is_meant(value):
                yield name, value
        elif isinstance(value, Connector):
            yield name, value


def _is_meant(cls: type) -> bool:
    """Whether a class wants to be a connector: it has a name of its own and can execute."""
    return isinstance(getattr(cls, "name", None), str) and callable(getattr(cls, "execute", None))


def _instances(found: Iterable[Found[Any]]) -> Iterator[Found[Connector]]:
    """One object per class; what a package and an entry point both bring counts once."""
    seen: set[int] = set()
    for item in found:
        if id(item.value) in seen:
            continue
        seen.add(id(item.value))
        yield Found(_instance(item), item.place)


def _instance(item: Found[Any]) -> Connector:
    one = item.value
    if inspect.isclass(one):
        try:
            one = one()
        except Exception as error:
            raise _broken(item, f"can't be made without arguments: {error}") from error
    missing = [part for part in _PARTS if not hasattr(one, part)]
    if missing:
        raise _broken(item, f"lacks {', '.join(missing)}")
    if not isinstance(one, Connector):
        raise _broken(item, "lacks inline or default_timeout; inherit from Connector")
    if one.inline and not isinstance(one, InlineConnector):
        raise _broken(item, "says inline = True and has no answer()")
    effect: Any = one.effect_class
    if effect is not None and not isinstance(effect, Effect):
        words = ", ".join(f"Effect.{each.name}" for each in Effect)
        raise _broken(item, f"says effect_class = {effect!r}; write {words} or None")
    try:
        SemVer.parse(one.version)
    except (TypeError, ValueError) as error:
        raise _broken(item, f"has a bad version: {error}") from error
    return one


def _describe(item: Found[Connector]) -> ConnectorInfo:
    one = item.value
    return ConnectorInfo(
        name=one.name,
        version=SemVer.parse(one.version),
        summary=one.summary,
        input_schema=_schema(item, one.Input, "validation"),
        output_schema=_schema(item, one.Output, "serialization"),
        effect=one.effect_class,
    )


def _schema(item: Found[Connector], model: type[BaseModel], mode: Any) -> dict[str, Json]:
    try:
        return cast("dict[str, Json]", model.model_json_schema(by_alias=True, mode=mode))
    except (AttributeError, PydanticUserError) as error:
        raise _broken(item, f"has a model without a JSON Schema: {error}") from error


def _broken(item: Found[Any], what: str) -> SetupError:
    name = getattr(item.value, "name", item.place)
    return SetupError(f"The connector {name} ({item.place}) {what}.", reason="CONNECTOR_BROKEN")

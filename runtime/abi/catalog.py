"""What validation, editors and docs know of connectors: names, versions and schemas."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias

from runtime.model.plan import ConnectorRef, Effect
from runtime.model.values import Json, SemVer


@dataclass(frozen=True, slots=True)
class ConnectorInfo:
    """One version of one connector. `effect` is None when it depends on the input."""

    name: str
    version: SemVer
    summary: str
    input_schema: dict[str, Json]
    output_schema: dict[str, Json]
    effect: Effect | None = None
    installed: bool = True

    def answers(self, ref: ConnectorRef) -> bool:
        """Whether this version is one that the reference asks for."""
        return (
            self.name == ref.name
            and self.version.major == ref.major
            and (ref.minor is None or self.version.minor == ref.minor)
            and (ref.patch is None or self.version.patch == ref.patch)
        )


Catalog: TypeAlias = Mapping[str, tuple[ConnectorInfo, ...]]

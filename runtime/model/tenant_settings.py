"""What an operator sets for a tenant or one of its workflows: limits, weight, how long executions are kept."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final
from uuid import UUID

from runtime.model.errors import BadInput


class SettingName(StrEnum):
    """What can be set; as stored in the settings of a tenant."""

    MAX_RUNNING = "max_running"
    MAX_QUEUED = "max_queued"
    DISPATCH_WEIGHT = "dispatch_weight"
    RETENTION_DAYS = "retention_days"


@dataclass(frozen=True, slots=True)
class TenantSettings:
    """What is set for a tenant, or for a workflow of it; None is what holds where nothing is set."""

    workflow_id: UUID | None
    max_running: int | None = None
    max_queued: int | None = None
    dispatch_weight: int | None = None
    retention_days: int | None = None


LARGEST: Final[Mapping[SettingName, int]] = {
    SettingName.MAX_RUNNING: 1_000_000,
    SettingName.MAX_QUEUED: 1_000_000_000,
    SettingName.DISPATCH_WEIGHT: 100,
    SettingName.RETENTION_DAYS: 36_500,
}
"""The largest value of each; the smallest is 1."""
OF_WORKFLOWS: Final = frozenset({SettingName.MAX_RUNNING, SettingName.RETENTION_DAYS})


def check_change(
    values: Mapping[SettingName, int], gone: frozenset[SettingName], *, of_workflow: bool
) -> None:
    """Raise BadInput for a change that says nothing, or two things of one setting, or what it can't be."""
    if not values and not gone:
        raise BadInput(
            "Say what is to be set, or name it in `unset`.", reason="NOTHING_SET", path=("unset",)
        )
    for name in sorted({*values, *gone}):
        path = (_camel(name),)
        if name in values and name in gone:
            raise BadInput(
                f"`{_camel(name)}` is set and unset at once.", reason="SET_AND_UNSET", path=path
            )
        if of_workflow and name not in OF_WORKFLOWS:
            raise BadInput(
                f"`{_camel(name)}` is of a tenant, not of one of its workflows.",
                reason="SETTING_OF_TENANT",
                path=path,
            )
        if name in values and not 1 <= values[name] <= LARGEST[name]:
            raise BadInput(
                f"`{_camel(name)}` is from 1 to {LARGEST[name]:,}.",
                reason="SETTING_OUT_OF_RANGE",
                path=path,
            )


def _camel(name: SettingName) -> str:
    first, *rest = name.value.split("_")
    return first + "".join(map(str.capitalize, rest))

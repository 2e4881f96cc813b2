"""The steps of executions that are over, in columns: no event is read for them, and no object made for a step.

An execution that completed in its first generation, and of which each step has one attempt that ended well, is shown by
its rows alone: the replay of `step_view.py` would restore each status as it stands in its row. Of all others that
replay tells what is pending, stopped, or between two attempts.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from typing import Final
from uuid import UUID

from runtime.model.plan import Plan
from runtime.model.step_table import StepColumn, StepNames, StepTable
from runtime.model.values import Digest
from runtime.services.step_view import type_of
from runtime.store.plan import PlanStore
from runtime.store.shards import Shards
from runtime.store.step_table import read_settled

_REMEMBERED: Final = 512


class SettledSteps:
    """Reads them; what plans say is put into columns once."""

    def __init__(self, shards: Shards, plans: PlanStore) -> None:
        self._shards = shards
        self._plans = plans
        self._names: OrderedDict[Digest, StepNames] = OrderedDict()

    async def tables(
        self, tenant: UUID, ids: Iterable[UUID], columns: frozenset[StepColumn]
    ) -> dict[UUID, StepTable]:
        """Those executions of these that can be shown so, by id."""
        found: dict[UUID, StepTable] = {}
        by_version: dict[UUID, StepNames] = {}
        for row in await read_settled(self._shards, tenant, ids, columns):
            names = by_version.get(row.version_id)
            if names is None:
                names = self._names_of(await self._plans.get(row.version_id))
                by_version[row.version_id] = names
            if row.steps == len(names.keys):
                found[row.execution_id] = StepTable(row.execution_id, names, row.columns)
        return found

    def _names_of(self, plan: Plan) -> StepNames:
        found = self._names.get(plan.digest)
        if found is None:
            found = self._names[plan.digest] = StepNames(
                tuple(map(str, range(len(plan.steps)))),
                tuple(step.key for step in plan.steps),
                tuple(map(type_of, plan.steps)),
                tuple(step.retry.max_attempts for step in plan.steps),
            )
            if len(self._names) > _REMEMBERED:
                self._names.popitem(last=False)
        return found

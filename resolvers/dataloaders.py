"""Batches: the keys that one request asks for at the same time become one service call. No list costs a call per row.

A loader lives as long as its request, so nothing is cached across callers and a later request sees later truth;
a subscription forgets before every event.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from functools import cached_property
from typing import Final, TypeVar
from uuid import UUID

from resolvers.batch import Batch
from runtime.definition import Validation, compile_plan
from runtime.model.blocker import Standing
from runtime.model.bulk import BulkOperation
from runtime.model.dead_letter import DeadLetter, DeadLetterId
from runtime.model.errors import MaestroError
from runtime.model.execution import Execution, MapProgress, StepExecution
from runtime.model.execution_stats import ExecutionStats
from runtime.model.identity import Principal
from runtime.model.plan import Plan
from runtime.model.step_table import StepColumn, StepTable
from runtime.model.values import Duration, Json, Money, SemVer
from runtime.model.workflow import DefinitionFormat, Workflow, WorkflowDiff, WorkflowVersion
from runtime.services.artifact import ArtifactService
from runtime.services.bulk import BulkService
from runtime.services.dead_letter import DeadLetterService
from runtime.services.derived_input import Allowance, InputKey
from runtime.services.execution import ExecutionService
from runtime.services.execution_stats import ExecutionStatsService
from runtime.services.past import PastExecution
from runtime.services.simulation import Turn
from runtime.services.step_view import StepView
from runtime.services.workflow import WorkflowService

K = TypeVar("K")
V = TypeVar("V")

# Characters of a document: what is longer would make everybody wait for ten milliseconds and more.
_LARGE: Final = 8_192


class Loaders:
    """One loader per look-up that lists make for each of their rows; made when it is first used."""

    def __init__(
        self,
        who: Principal,
        workflows: WorkflowService,
        executions: ExecutionService,
        artifacts: ArtifactService,
        dead_letters: DeadLetterService,
        bulk: BulkService,
        stats: ExecutionStatsService,
    ) -> None:
        self._who = who
        self._workflows = workflows
        self._executions = executions
        self._artifacts = artifacts
        self._dead_letters = dead_letters
        self._bulk = bulk
        self._numbers = stats
        self._allowance = Allowance()

    @cached_property
    def workflow(self) -> Batch[UUID, Workflow | None]:
        """Workflows by id."""
        return _by(lambda keys: self._workflows.get_many(self._who, keys))

    @cached_property
    def workflow_by_name(self) -> Batch[str, Workflow | None]:
        """Workflows by name."""
        return _by(lambda keys: self._workflows.get_many_by_name(self._who, keys))

    @cached_property
    def version(self) -> Batch[UUID, WorkflowVersion | None]:
        """Versions by id."""
        return _by(lambda keys: self._workflows.versions_by_id(self._who, keys))

    @cached_property
    def current_version(self) -> Batch[UUID, WorkflowVersion | None]:
        """The current version of each workflow."""
        return _by(lambda keys: self._workflows.current_versions(self._who, keys))

    @cached_property
    def plan(self) -> Batch[WorkflowVersion, Plan | None]:
        """The plan of each version."""
        return Batch(_plans, known_by=lambda version: version.digest)

    @cached_property
    def validation(self) -> Batch[tuple[str, DefinitionFormat | None], Validation]:
        """What validating each document finds: once per request, however many of its fields ask for the same."""
        return Batch(self._validations)

    async def _validations(
        self, keys: list[tuple[str, DefinitionFormat | None]]
    ) -> list[Validation | Exception]:
        # One after another: large ones take a thread for seconds, and a request takes no more than one.
        found: list[Validation | Exception] = []
        for source, spelling in keys:
            try:
                found.append(await self._workflows.validate(self._who, source, spelling))
            except MaestroError as error:  # of this document alone
                found.append(error)
        return found

    @cached_property
    def diff(self) -> Batch[tuple[UUID, SemVer, SemVer | None], WorkflowDiff]:
        """What differs between two versions of a workflow: once per request, however often it is shown."""
        return Batch(self._diffs)

    async def _diffs(
        self, keys: list[tuple[UUID, SemVer, SemVer | None]]
    ) -> list[WorkflowDiff | Exception]:
        # One after another: a request takes no more than one thread.
        found: list[WorkflowDiff | Exception] = []
        for workflow, before, after in keys:
            try:
                found.append(await self._workflows.diff(self._who, workflow, before, after))
            except MaestroError as error:  # of these two alone
                found.append(error)
        return found

    @cached_property
    def simulating(self) -> Turn:
        """What the simulations of this request took so far."""
        return Turn()

    @cached_property
    def draft(self) -> Batch[UUID, WorkflowVersion | None]:
        """The draft of each workflow."""
        return _by(lambda keys: self._workflows.drafts(self._who, keys))

    @cached_property
    def execution(self) -> Batch[UUID, Execution | None]:
        """Executions by id."""
        return _by(lambda keys: self._executions.get_many(self._who, keys))

    @cached_property
    def steps(self) -> Batch[UUID, tuple[StepExecution, ...] | None]:
        """The steps of each execution."""
        return _by(lambda keys: self._executions.steps(self._who, keys))

    @cached_property
    def step_tables(
        self,
    ) -> Batch[
        tuple[tuple[UUID, ...], frozenset[StepColumn]],
        list[StepTable | tuple[StepExecution, ...] | None],
    ]:
        """The steps of each of some executions, with these columns at least where they are in columns."""
        return Batch(self._step_tables)

    async def _step_tables(
        self, keys: list[tuple[tuple[UUID, ...], frozenset[StepColumn]]]
    ) -> list[list[StepTable | tuple[StepExecution, ...] | None]]:
        ids = list(dict.fromkeys(one for some, _ in keys for one in some))
        columns = frozenset[StepColumn]().union(*(columns for _, columns in keys))
        found = await self._executions.step_tables(self._who, ids, columns)
        return [[found.get(one) for one in some] for some, _ in keys]

    @cached_property
    def step_input(self) -> Batch[InputKey, Json]:
        """What steps were called with, derived from large values."""
        return Batch(self._step_inputs)

    async def _step_inputs(self, keys: list[InputKey]) -> list[Json | Exception]:
        found = await self._artifacts.step_inputs(self._who, keys, self._allowance)
        return [found[key] for key in keys]

    @cached_property
    def past(self) -> Batch[tuple[UUID, int], PastExecution]:
        """Executions as they were at an event; loading one that there is not raises its refusal."""
        return Batch(self._past_of)

    async def _past_of(self, keys: list[tuple[UUID, int]]) -> list[PastExecution | Exception]:
        found = await self._executions.past(self._who, keys)
        return [found[key] for key in keys]

    async def execution_at(self, id: UUID, at: int | None) -> Execution | None:
        """An execution as it is, or as it was at an event."""
        if at is None:
            return await self.execution.load(id)
        return (await self.past.load((id, at))).execution

    async def steps_at(self, id: UUID, at: int | None) -> tuple[StepExecution, ...]:
        """Its steps as they are, or as they were at an event."""
        if at is None:
            return await self.steps.load(id) or ()
        return (await self.past.load((id, at))).steps

    @cached_property
    def view(self) -> Batch[UUID, StepView | None]:
        """What is stored of the steps of each execution, for what is asked about the items of its maps."""
        return _by(lambda keys: self._executions.items.views(self._who, keys))

    @cached_property
    def progress(self) -> Batch[tuple[UUID, int], MapProgress | None]:
        """How far each map is, by execution and step."""
        return Batch(self._progress_of)

    async def _progress_of(self, keys: list[tuple[UUID, int]]) -> list[MapProgress | None]:
        views = await self.view.load_many([execution for execution, _ in keys])
        return [
            None if view is None else await self._executions.items.progress(self._who, view, step)
            for view, (_, step) in zip(views, keys, strict=True)
        ]

    @cached_property
    def item(self) -> Batch[tuple[UUID, int, int], StepExecution | None]:
        """Items of maps, by execution, step and number; those of one map are read together."""
        return Batch(self._items_of)

    async def _items_of(self, keys: list[tuple[UUID, int, int]]) -> list[StepExecution | None]:
        views = await self.view.load_many([execution for execution, _, _ in keys])
        asked: dict[tuple[UUID, int], tuple[StepView, list[int]]] = {}
        for (execution, step, item), view in zip(keys, views, strict=True):
            if view is not None:
                asked.setdefault((execution, step), (view, []))[1].append(item)
        find = self._executions.items.find
        found = {
            (execution, step): await find(self._who, view, step, items)
            for (execution, step), (view, items) in asked.items()
        }
        return [found.get((one, step), {}).get(item) for one, step, item in keys]

    @cached_property
    def item_costs(self) -> Batch[tuple[UUID, int | None], dict[int, tuple[Money, ...]]]:
        """What the items of the maps of each execution cost, by then."""
        return Batch(self._item_costs_of)

    async def _item_costs_of(
        self, keys: list[tuple[UUID, int | None]]
    ) -> list[dict[int, tuple[Money, ...]]]:
        return [await self._executions.items.costs(self._who, one, at) for one, at in keys]

    @cached_property
    def standing(self) -> Batch[UUID, Standing | None]:
        """Where each execution stands among others."""
        return _by(lambda keys: self._executions.standings(self._who, keys))

    @cached_property
    def stats(self) -> Batch[tuple[UUID, Duration | None], ExecutionStats]:
        """The numbers of each workflow, over a window."""
        return Batch(self._stats_of)

    async def _stats_of(
        self, keys: list[tuple[UUID, Duration | None]]
    ) -> list[ExecutionStats | Exception]:
        found: dict[tuple[UUID, Duration | None], ExecutionStats | Exception] = {}
        for window in dict.fromkeys(window for _, window in keys):
            asked = [key for key in keys if key[1] == window]
            try:
                numbers = await self._numbers.of_workflows(
                    self._who, [workflow for workflow, _ in asked], window
                )
            except MaestroError as error:  # of this window alone
                found |= dict.fromkeys(asked, error)
            else:
                found |= {(workflow, window): one for workflow, one in numbers.items()}
        return [found[key] for key in keys]

    @cached_property
    def bulk_operation(self) -> Batch[UUID, BulkOperation | None]:
        """Bulk operations by id."""
        return _by(lambda keys: self._bulk.get_many(self._who, keys))

    @cached_property
    def dead_letter(self) -> Batch[DeadLetterId, DeadLetter | None]:
        """Dead letters by id."""
        return _by(lambda keys: self._dead_letters.get_many(self._who, keys))

    def forget(self) -> None:
        """Drop what was read: a subscription calls this before each event. A plan is its digest's for ever."""
        self._allowance = Allowance()
        for name, loader in vars(self).items():
            if isinstance(loader, Batch) and name != "plan":
                loader.clear_all()


def _by(fetch: Callable[[list[K]], Awaitable[Mapping[K, V]]]) -> Batch[K, V | None]:
    async def load(keys: list[K]) -> list[V | None]:
        found = await fetch(keys)
        return [found.get(key) for key in keys]

    return Batch(load)


async def _plans(versions: list[WorkflowVersion]) -> list[Plan | None]:
    """The compiled form of versions; None for a draft that does not validate."""
    return [await _plan(version) for version in versions]


async def _plan(version: WorkflowVersion) -> Plan | None:
    definition = version.definition
    if not isinstance(definition, dict):
        return None
    if len(version.source) <= _LARGE:
        return compile_plan(definition, version.digest)
    # A tenth of a second in which everybody else would wait.
    return await asyncio.to_thread(compile_plan, definition, version.digest)

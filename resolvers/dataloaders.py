"""Batches: the keys that one request asks for at the same time become one service call. No list costs a call per row.

A loader lives as long as its request, so nothing is cached across callers and a later request sees later truth;
a subscription forgets before every event.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from functools import cached_property, partial
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
from runtime.model.human_task import HumanTask
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
from runtime.services.human_task import HumanTaskService
from runtime.services.past import PastExecution
from runtime.services.simulation import Turn
from runtime.services.step_view import StepView
from runtime.services.workflow import WorkflowService

K = TypeVar("K")
V = TypeVar("V")

# Characters of a document: what is longer would make everybody wait for ten milliseconds and more.
_LARGE: Final = 8_192


class Loaders:
    """One loader per look-up that lists make for each of their rows; made when it is first used.

    None of them holds the loaders: what a request has read would form a circle, and stay in memory until somebody looks
    for circles, while every request after it takes fresh memory.
    """

    def __init__(
        self,
        who: Principal,
        workflows: WorkflowService,
        executions: ExecutionService,
        artifacts: ArtifactService,
        dead_letters: DeadLetterService,
        bulk: BulkService,
        stats: ExecutionStatsService,
        human_tasks: HumanTaskService,
    ) -> None:
        self._who = who
        self._workflows = workflows
        self._executions = executions
        self._artifacts = artifacts
        self._dead_letters = dead_letters
        self._bulk = bulk
        self._numbers = stats
        self._human_tasks = human_tasks
        self._allowance = Allowance()

    @cached_property
    def workflow(self) -> Batch[UUID, Workflow | None]:
        """Workflows by id."""
        return _by(partial(self._workflows.get_many, self._who))

    @cached_property
    def workflow_by_name(self) -> Batch[str, Workflow | None]:
        """Workflows by name."""
        return _by(partial(self._workflows.get_many_by_name, self._who))

    @cached_property
    def version(self) -> Batch[UUID, WorkflowVersion | None]:
        """Versions by id."""
        return _by(partial(self._workflows.versions_by_id, self._who))

    @cached_property
    def current_version(self) -> Batch[UUID, WorkflowVersion | None]:
        """The current version of each workflow."""
        return _by(partial(self._workflows.current_versions, self._who))

    @cached_property
    def plan(self) -> Batch[WorkflowVersion, Plan | None]:
        """The plan of each version."""
        return Batch(_plans, known_by=lambda version: version.digest)

    @cached_property
    def validation(self) -> Batch[tuple[str, DefinitionFormat | None], Validation]:
        """What validating each document finds: once per request, however many of its fields ask for the same."""
        return Batch(partial(_validations, self._workflows, self._who))

    @cached_property
    def diff(self) -> Batch[tuple[UUID, SemVer, SemVer | None], WorkflowDiff]:
        """What differs between two versions of a workflow: once per request, however often it is shown."""
        return Batch(partial(_diffs, self._workflows, self._who))

    @cached_property
    def simulating(self) -> Turn:
        """What the simulations of this request took so far."""
        return Turn()

    @cached_property
    def draft(self) -> Batch[UUID, WorkflowVersion | None]:
        """The draft of each workflow."""
        return _by(partial(self._workflows.drafts, self._who))

    @cached_property
    def execution(self) -> Batch[UUID, Execution | None]:
        """Executions by id."""
        return _by(partial(self._executions.get_many, self._who))

    @cached_property
    def steps(self) -> Batch[UUID, tuple[StepExecution, ...] | None]:
        """The steps of each execution."""
        return _by(partial(self._executions.steps, self._who))

    @cached_property
    def step_tables(
        self,
    ) -> Batch[
        tuple[tuple[UUID, ...], frozenset[StepColumn]],
        list[StepTable | tuple[StepExecution, ...] | None],
    ]:
        """The steps of each of some executions, with these columns at least where they are in columns."""
        return Batch(partial(_step_tables, self._executions, self._who))

    @cached_property
    def step_input(self) -> Batch[InputKey, Json]:
        """What steps were called with, derived from large values."""
        return Batch(partial(_step_inputs, self._artifacts, self._allowance, self._who))

    @cached_property
    def past(self) -> Batch[tuple[UUID, int], PastExecution]:
        """Executions as they were at an event; loading one that there is not raises its refusal."""
        return Batch(partial(_past_of, self._executions, self._who))

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
        return _by(partial(self._executions.items.views, self._who))

    @cached_property
    def progress(self) -> Batch[tuple[UUID, int], MapProgress | None]:
        """How far each map is, by execution and step."""
        return Batch(partial(_progress_of, self._executions, self.view, self._who))

    @cached_property
    def item(self) -> Batch[tuple[UUID, int, int], StepExecution | None]:
        """Items of maps, by execution, step and number; those of one map are read together."""
        return Batch(partial(_items_of, self._executions, self.view, self._who))

    @cached_property
    def item_costs(self) -> Batch[tuple[UUID, int | None], dict[int, tuple[Money, ...]]]:
        """What the items of the maps of each execution cost, by then."""
        return Batch(partial(_item_costs_of, self._executions, self._who))

    @cached_property
    def standing(self) -> Batch[UUID, Standing | None]:
        """Where each execution stands among others."""
        return _by(partial(self._executions.standings, self._who))

    @cached_property
    def stats(self) -> Batch[tuple[UUID, Duration | None], ExecutionStats]:
        """The numbers of each workflow, over a window."""
        return Batch(partial(_stats_of, self._numbers, self._who))

    @cached_property
    def bulk_operation(self) -> Batch[UUID, BulkOperation | None]:
        """Bulk operations by id."""
        return _by(partial(self._bulk.get_many, self._who))

    @cached_property
    def human_task(self) -> Batch[UUID, HumanTask | None]:
        """Human tasks by id."""
        return _by(partial(self._human_tasks.get_many, self._who))

    @cached_property
    def dead_letter(self) -> Batch[DeadLetterId, DeadLetter | None]:
        """Dead letters by id."""
        return _by(partial(self._dead_letters.get_many, self._who))

    def forget(self) -> None:
        """Drop what was read: a subscription calls this before each event. A plan is its digest's for ever."""
        self._allowance = Allowance()
        vars(self).pop("step_input", None)  # It holds the allowance before.
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


async def _validations(
    workflows: WorkflowService, who: Principal, keys: list[tuple[str, DefinitionFormat | None]]
) -> list[Validation | Exception]:
    # One after another: large ones take a thread for seconds, and a request takes no more than one.
    found: list[Validation | Exception] = []
    for source, spelling in keys:
        try:
            found.append(await workflows.validate(who, source, spelling))
        except MaestroError as error:  # of this document alone
            found.append(error)
    return found


async def _diffs(
    workflows: WorkflowService, who: Principal, keys: list[tuple[UUID, SemVer, SemVer | None]]
) -> list[WorkflowDiff | Exception]:
    # One after another: a request takes no more than one thread.
    found: list[WorkflowDiff | Exception] = []
    for workflow, before, after in keys:
        try:
            found.append(await workflows.diff(who, workflow, before, after))
        except MaestroError as error:  # of these two alone
            found.append(error)
    return found


async def _step_tables(
    executions: ExecutionService,
    who: Principal,
    keys: list[tuple[tuple[UUID, ...], frozenset[StepColumn]]],
) -> list[list[StepTable | tuple[StepExecution, ...] | None]]:
    ids = list(dict.fromkeys(one for some, _ in keys for one in some))
    columns = frozenset[StepColumn]().union(*(columns for _, columns in keys))
    found = await executions.step_tables(who, ids, columns)
    return [[found.get(one) for one in some] for some, _ in keys]


async def _past_of(
    executions: ExecutionService, who: Principal, keys: list[tuple[UUID, int]]
) -> list[PastExecution | Exception]:
    found = await executions.past(who, keys)
    return [found[key] for key in keys]


async def _progress_of(
    executions: ExecutionService,
    views: Batch[UUID, StepView | None],
    who: Principal,
    keys: list[tuple[UUID, int]],
) -> list[MapProgress | None]:
    found_views = await views.load_many([execution for execution, _ in keys])
    return [
        None if view is None else await executions.items.progress(who, view, step)
        for view, (_, step) in zip(found_views, keys, strict=True)
    ]


async def _items_of(
    executions: ExecutionService,
    views: Batch[UUID, StepView | None],
    who: Principal,
    keys: list[tuple[UUID, int, int]],
) -> list[StepExecution | None]:
    found_views = await views.load_many([execution for execution, _, _ in keys])
    asked: dict[tuple[UUID, int], tuple[StepView, list[int]]] = {}
    for (execution, step, item), view in zip(keys, found_views, strict=True):
        if view is not None:
            asked.setdefault((execution, step), (view, []))[1].append(item)
    find = executions.items.find
    found = {
        (execution, step): await find(who, view, step, items)
        for (execution, step), (view, items) in asked.items()
    }
    return [found.get((one, step), {}).get(item) for one, step, item in keys]


async def _item_costs_of(
    executions: ExecutionService, who: Principal, keys: list[tuple[UUID, int | None]]
) -> list[dict[int, tuple[Money, ...]]]:
    return [await executions.items.costs(who, one, at) for one, at in keys]


async def _stats_of(
    stats: ExecutionStatsService, who: Principal, keys: list[tuple[UUID, Duration | None]]
) -> list[ExecutionStats | Exception]:
    found: dict[tuple[UUID, Duration | None], ExecutionStats | Exception] = {}
    for window in dict.fromkeys(window for _, window in keys):
        asked = [key for key in keys if key[1] == window]
        try:
            numbers = await stats.of_workflows(who, [workflow for workflow, _ in asked], window)
        except MaestroError as error:  # of this window alone
            found |= dict.fromkeys(asked, error)
        else:
            found |= {(workflow, window): one for workflow, one in numbers.items()}
    return [found[key] for key in keys]


async def _step_inputs(
    artifacts: ArtifactService, allowance: Allowance, who: Principal, keys: list[InputKey]
) -> list[Json | Exception]:
    found = await artifacts.step_inputs(who, keys, allowance)
    return [found[key] for key in keys]

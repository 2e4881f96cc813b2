"""Batches: the keys that one request asks for at the same time become one service call. No list costs a call per row.

A loader lives as long as its request, so nothing is cached across callers and a later request sees later truth;
a subscription forgets before every event.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Final, TypeVar
from uuid import UUID

from strawberry.dataloader import DataLoader

from runtime.definition import compile_plan
from runtime.model.dead_letter import DeadLetter, DeadLetterId
from runtime.model.execution import Execution, StepExecution
from runtime.model.identity import Principal
from runtime.model.plan import Plan
from runtime.model.workflow import Workflow, WorkflowVersion
from runtime.services.dead_letter import DeadLetterService
from runtime.services.execution import ExecutionService
from runtime.services.workflow import WorkflowService

K = TypeVar("K")
V = TypeVar("V")

# Characters of a document: what is longer would make everybody wait for ten milliseconds and more.
_LARGE: Final = 8_192


class Loaders:
    """One loader per look-up that lists make for each of their rows."""

    def __init__(
        self,
        who: Principal,
        workflows: WorkflowService,
        executions: ExecutionService,
        dead_letters: DeadLetterService,
    ) -> None:
        self.workflow: DataLoader[UUID, Workflow | None] = _by(
            lambda keys: workflows.get_many(who, keys)
        )
        self.workflow_by_name: DataLoader[str, Workflow | None] = _by(
            lambda keys: workflows.get_many_by_name(who, keys)
        )
        self.version: DataLoader[UUID, WorkflowVersion | None] = _by(
            lambda keys: workflows.versions_by_id(who, keys)
        )
        self.current_version: DataLoader[UUID, WorkflowVersion | None] = _by(
            lambda keys: workflows.current_versions(who, keys)
        )
        self.plan: DataLoader[WorkflowVersion, Plan | None] = DataLoader(
            _plans, cache_key_fn=lambda version: version.digest
        )
        self.draft: DataLoader[UUID, WorkflowVersion | None] = _by(
            lambda keys: workflows.drafts(who, keys)
        )
        self.execution: DataLoader[UUID, Execution | None] = _by(
            lambda keys: executions.get_many(who, keys)
        )
        self.steps: DataLoader[UUID, tuple[StepExecution, ...] | None] = _by(
            lambda keys: executions.steps(who, keys)
        )
        self.dead_letter: DataLoader[DeadLetterId, DeadLetter | None] = _by(
            lambda keys: dead_letters.get_many(who, keys)
        )

    def forget(self) -> None:
        """Drop what was read: a subscription calls this before each event. A plan is its digest's for ever."""
        for loader in (self.workflow, self.version, self.current_version, self.draft):
            loader.clear_all()
        self.workflow_by_name.clear_all()
        self.execution.clear_all()
        self.steps.clear_all()
        self.dead_letter.clear_all()


def _by(fetch: Callable[[list[K]], Awaitable[Mapping[K, V]]]) -> DataLoader[K, V | None]:
    async def load(keys: list[K]) -> list[V | None]:
        found = await fetch(keys)
        return [found.get(key) for key in keys]

    return DataLoader(load)


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

"""WorkflowSimulation: how an execution would go, step by step."""

from collections.abc import Awaitable
from datetime import datetime
from typing import Final, Self

import strawberry
from strawberry.scalars import JSON

from runtime.engine import simulation as model
from runtime.model.execution import ExecutionState
from runtime.model.values import Duration, Json
from runtime.services.simulation import Simulated
from subgraph.directives import access
from subgraph.types.execution_error import ExecutionError
from subgraph.types.status import ExecutionEventType, ExecutionStatus, StepStatus
from subgraph.types.user_error import DefinitionError, UserError, attempt, findings, refused
from subgraph.types.workflow_payload import found_in

MOST_EVENTS: Final = 1_000

strawberry.enum(
    model.Source,
    name="SimulatedSource",
    description="Where the output of a step comes from in a simulation.",
)


@strawberry.type(description="A name that a condition read in a simulation, and its value.")
class SimulatedRead:
    """A name that a condition read."""

    path: str = strawberry.field(description="The name, e.g. params.amount.")
    value: JSON | None = strawberry.field(description="Its value; null when it is too long.")
    is_cut: bool = strawberry.field(description="Whether the value is too long to be shown.")


@strawberry.type(description="What became of one step in a simulation.")
class SimulatedStep:
    """What became of one step."""

    key: str = strawberry.field(description="The step's id within the document.")
    type: str = strawberry.field(description="Its connector, or the kind of step.")
    order: int = strawberry.field(
        description="Its place in the order in which the steps were begun or skipped, from 1."
    )
    taken: bool = strawberry.field(description="Whether it was begun.")
    status: StepStatus = strawberry.field(description="Where it stands at the end.")
    reason: str | None = strawberry.field(
        description="Why it was taken, skipped or not reached; null when it simply came."
    )
    condition: str | None = strawberry.field(description="Its condition.")
    reads: list[SimulatedRead] = strawberry.field(
        description="What the condition looked at.", directives=access("SimulatedStep.reads")
    )
    attempts: int = strawberry.field(description="How many attempts were made.")
    started_after: Duration | None = strawberry.field(
        description="Time from the beginning of the execution to its own."
    )
    ended_after: Duration | None = strawberry.field(
        description="Time from the beginning of the execution to its end."
    )
    rendered_input: JSON | None = strawberry.field(
        description="Its input of the last attempt, secrets masked."
    )
    mocked_output: JSON | None = strawberry.field(description="The output that it was given.")
    output_source: model.Source | None = strawberry.field(
        description="Where that output comes from."
    )
    error: ExecutionError | None = strawberry.field(description="Why its last attempt failed.")
    is_cut: bool = strawberry.field(
        description="Whether its input or output is too large to be shown."
    )
    items: int | None = strawberry.field(
        description="Of a map: how many items it went over; input and attempts are those of its first, and the most of "
        "one."
    )
    failed_items: int = strawberry.field(description="How many of them failed for good.")

    @classmethod
    def of(cls, step: model.SimulatedStep) -> Self:
        """From its record."""
        return cls(
            key=step.key,
            type=step.type,
            order=step.order,
            taken=step.is_taken,
            status=step.status,
            reason=step.reason,
            condition=step.condition,
            reads=[
                SimulatedRead(path=one.path, value=_json(one.value), is_cut=one.is_cut)
                for one in step.reads
            ],
            attempts=step.attempts,
            started_after=_after(step.started_ms),
            ended_after=_after(step.ended_ms),
            rendered_input=_json(step.rendered_input),
            mocked_output=_json(step.output),
            output_source=step.source,
            error=ExecutionError.of(step.error.of_execution(step.key)) if step.error else None,
            is_cut=step.is_cut,
            items=step.items,
            failed_items=step.failed_items,
        )


@strawberry.type(description="A wait as it would stand there.")
class SimulatedTimer:
    """A wait as it would stand there."""

    step_key: str = strawberry.field(description="The step that waits.")
    set_after: Duration = strawberry.field(
        description="Time from the beginning of the execution to the beginning of the wait."
    )
    signal: str | None = strawberry.field(description="The signal that it listens for.")
    due: datetime | None = strawberry.field(
        description="When it ends by itself, had the execution begun now; null: never."
    )

    @classmethod
    def of(cls, timer: model.SimulatedTimer) -> Self:
        """From its record."""
        return cls(
            step_key=timer.step,
            set_after=Duration(timer.set_ms),
            signal=timer.signal,
            due=timer.due,
        )


@strawberry.type(description="A human task as it would stand in lists.")
class SimulatedTask:
    """A human task as it would stand in lists."""

    step_key: str = strawberry.field(description="The step that asks.")
    created_after: Duration = strawberry.field(
        description="Time from the beginning of the execution to the task's."
    )
    fields: JSON | None = strawberry.field(
        description="Title, description, assignees, groups, outcomes and form, as rendered."
    )
    due: datetime | None = strawberry.field(
        description="When an answer is due, had the execution begun now."
    )

    @classmethod
    def of(cls, task: model.SimulatedTask) -> Self:
        """From its record."""
        return cls(
            step_key=task.step,
            created_after=Duration(task.created_ms),
            fields=_json(task.fields),
            due=task.due,
        )


@strawberry.type(description="An event that the execution would record.")
class SimulatedEvent:
    """An event that the execution would record."""

    after: Duration = strawberry.field(description="Time from the beginning of the execution.")
    type: ExecutionEventType = strawberry.field(description="What happens.")
    step_key: str | None = strawberry.field(description="The step concerned, when it is one.")
    data: JSON | None = strawberry.field(description="What the event says.")

    @classmethod
    def of(cls, event: model.Happening) -> Self:
        """From its record."""
        return cls(
            after=Duration(event.at_ms),
            type=event.kind,
            step_key=event.step,
            data=_json(event.data),
        )


@strawberry.type(description="How an execution would go; nothing of it has happened.")
class WorkflowSimulation:
    """How an execution would go."""

    status: ExecutionStatus | None = strawberry.field(
        description="How it ends. WAITING: nothing more happens until somebody acts; RUNNING: the simulation was "
        "broken off; null when it was refused."
    )
    plan: list[SimulatedStep] = strawberry.field(
        description="Every step, in the order of `order`.",
        directives=access("WorkflowSimulation.plan"),
    )
    output: JSON | None = strawberry.field(description="The output of the workflow.")
    error: ExecutionError | None = strawberry.field(description="Why it would fail.")
    duration: Duration | None = strawberry.field(
        description="How long it would take; steps in `unknownDurations` count as nothing."
    )
    unknown_durations: list[str] = strawberry.field(
        description="Steps whose duration nobody knows.",
        directives=access("WorkflowSimulation.unknownDurations"),
    )
    cost: list[str] = strawberry.field(
        description="What it would cost as far as that is known, one amount per currency, e.g. 0.30 EUR.",
        directives=access("WorkflowSimulation.cost"),
    )
    timers: list[SimulatedTimer] = strawberry.field(
        description="Waits as they would stand there.",
        directives=access("WorkflowSimulation.timers"),
    )
    human_tasks: list[SimulatedTask] = strawberry.field(
        description="Human tasks as they would stand in lists.",
        directives=access("WorkflowSimulation.humanTasks"),
    )
    events: list[SimulatedEvent] = strawberry.field(
        description="What the execution would record; the first 1,000.",
        directives=access("WorkflowSimulation.events"),
    )
    stopped: str | None = strawberry.field(
        description="Why the simulation was broken off; null when it was not."
    )
    findings: list[DefinitionError] = strawberry.field(
        description="What validation found in the document.",
        directives=access("WorkflowSimulation.findings"),
    )
    errors: list[UserError] = strawberry.field(
        description="Why it was refused; empty when it was done.",
        directives=access("WorkflowSimulation.errors"),
    )

    @classmethod
    async def answer(cls, work: Awaitable[Simulated], *, is_source: bool) -> Self:
        """Do the work and say what became of it."""
        done, error = await attempt(work)
        if done is None or error is not None:
            lies_in_source = is_source and any(one.rule != "params" for one in found_in(error))
            return cls(
                status=None, plan=[], output=None, error=None, duration=None, unknown_durations=[],
                cost=[], timers=[], human_tasks=[], events=[], stopped=None,
                findings=found_in(error) if lies_in_source else [],
                errors=[] if error is None else refused(error, definition=lies_in_source),
            )  # fmt: skip
        found = done.simulation
        return cls(
            status=ExecutionState(found.status.name.lower()),
            plan=[SimulatedStep.of(one) for one in sorted(found.steps, key=lambda one: one.order)],
            output=_json(found.output),
            error=ExecutionError.of(found.error),
            duration=Duration(found.duration_ms),
            unknown_durations=list(found.unknown_durations),
            cost=[str(one) for one in found.costs],
            timers=[SimulatedTimer.of(one) for one in found.timers],
            human_tasks=[SimulatedTask.of(one) for one in found.tasks],
            events=[SimulatedEvent.of(one) for one in found.events[:MOST_EVENTS]],
            stopped=found.stopped,
            findings=findings(done.findings),
            errors=[],
        )


def _json(value: Json) -> JSON | None:
    return None if value is None else JSON(value)


def _after(milliseconds: int | None) -> Duration | None:
    return None if milliseconds is None else Duration(milliseconds)

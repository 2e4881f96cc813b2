"""Input of simulateWorkflow."""

from collections.abc import Callable
from enum import StrEnum
from typing import TypeVar, cast

import strawberry
from strawberry.scalars import JSON

from resolvers.ids import execution_uuid, workflow_uuid
from runtime.engine.simulation import Failing, Script
from runtime.model.errors import BadInput, NotFound, StepErrorKind
from runtime.model.values import Duration, Json, Money, SemVer
from runtime.services.simulation import SimulationRequest
from subgraph.types.status import DefinitionFormat

T = TypeVar("T")


@strawberry.enum(description="What a simulated failure says about trying again.")
class SimulatedFailureKind(StrEnum):
    """What a simulated failure says about trying again."""

    TRANSIENT = "transient"
    PERMANENT = "permanent"
    THROTTLED = "throttled"
    TIMEOUT = "timeout"


@strawberry.input(description="A step that fails in a simulation.")
class SimulatedFailureInput:
    """A step that fails."""

    step: str = strawberry.field(description="The step's id.")
    attempts: int | None = strawberry.field(
        default=None, description="So many first attempts fail; all of them unless given."
    )
    kind: SimulatedFailureKind = strawberry.field(
        default=SimulatedFailureKind.TRANSIENT, description="What it says about trying again."
    )


@strawberry.input(
    description="What to simulate: a document in `source`, or a workflow by id (its current version, else its draft)."
)
class SimulateWorkflowInput:
    """What to simulate."""

    workflow_id: strawberry.ID | None = strawberry.field(
        default=None, description="A workflow of the tenant."
    )
    version: SemVer | None = strawberry.field(
        default=None, description="A published version of it; the current one unless named."
    )
    source: str | None = strawberry.field(
        default=None, description="Or a definition document, that need not be saved."
    )
    format: DefinitionFormat | None = strawberry.field(
        default=None, description="The spelling of the document; seen from it unless given."
    )
    input: JSON | None = strawberry.field(
        default=None, description="The parameters; checked against the schema."
    )
    mocks: JSON | None = strawberry.field(
        default=None,
        description="Outputs by the id of the step; of a wait for a signal, the payload that comes.",
    )
    fail: list[SimulatedFailureInput] | None = strawberry.field(
        default=None, description="Steps that fail."
    )
    from_execution: strawberry.ID | None = strawberry.field(
        default=None,
        description="An execution whose outputs and durations are taken where there is no mock; needs "
        "executions:read.",
    )
    durations: JSON | None = strawberry.field(
        default=None, description="How long steps take, by id: 30s, 2h30m, PT5M."
    )
    costs: JSON | None = strawberry.field(
        default=None, description="What an attempt costs, by id of the step: 0.10 EUR."
    )

    def request(self) -> SimulationRequest:
        """As services take it."""
        workflow = workflow_uuid(self.workflow_id) if self.workflow_id is not None else None
        if self.workflow_id is not None and workflow is None:
            raise NotFound(
                "There is no such workflow.", reason="WORKFLOW_NOT_FOUND", path=("workflowId",)
            )
        past = execution_uuid(self.from_execution) if self.from_execution is not None else None
        if self.from_execution is not None and past is None:
            raise NotFound(
                "There is no such execution.",
                reason="EXECUTION_NOT_FOUND",
                path=("fromExecution",),
            )
        return SimulationRequest(
            workflow_id=workflow,
            version=self.version,
            source=self.source,
            format=self.format,
            input=cast("Json", self.input),
            script=Script(
                mocks=_mapping("mocks", self.mocks),
                fails={
                    one.step: Failing(one.attempts, StepErrorKind(one.kind.value))
                    for one in self.fail or ()
                },
                durations={
                    key: _read("durations", key, one, Duration.parse)
                    for key, one in _mapping("durations", self.durations).items()
                },
                costs={
                    key: _read("costs", key, one, Money.parse)
                    for key, one in _mapping("costs", self.costs).items()
                },
            ),
            from_execution=past,
        )


def _mapping(name: str, given: object) -> dict[str, Json]:
    if given is None:
        return {}
    if not isinstance(given, dict):
        raise BadInput(f"`{name}` maps ids of steps to values.", reason="SCRIPT", path=(name,))
    return cast("dict[str, Json]", given)


def _read(name: str, key: str, given: Json, parse: Callable[[str], T]) -> T:
    """A value in words, or BadInput that says where it stands."""
    if not isinstance(given, str):
        raise BadInput(f"`{name}` are written as text.", reason="SCRIPT", path=(name, key))
    try:
        return parse(given)
    except ValueError as error:
        raise BadInput(f"{error}.", reason="SCRIPT", path=(name, key)) from error

"""`_entities`: the references of a gateway, each resolved by its key, all of one kind in one batch.

Written here because a reference comes from outside: one that is none of ours must be a caller's mistake at its own
place in the answer, neither a fault nor the end of the others.
"""

from functools import cache
from typing import Any, Final

from strawberry.federation.schema_directives import Key

from resolvers.context import Info
from resolvers.ids import execution_uuid
from runtime.model.errors import BadInput, MaestroError, NotFound
from subgraph.compiled.declare import later
from subgraph.types.bulk_operation import BulkOperation
from subgraph.types.dead_letter import DeadLetter
from subgraph.types.execution import Execution
from subgraph.types.human_task import HumanTask
from subgraph.types.step_execution import StepExecution
from subgraph.types.workflow import Workflow
from subgraph.types.workflow_version import WorkflowVersion

MOST: Final = 1000
ENTITIES: Final[dict[str, Any]] = {
    cls.__name__: cls
    for cls in (
        Workflow,
        WorkflowVersion,
        Execution,
        StepExecution,
        DeadLetter,
        BulkOperation,
        HumanTask,
    )
}


@cache
def keys_of(entity: Any) -> tuple[str, ...]:
    """The fields by which an entity can be referred to."""
    directives = entity.__strawberry_definition__.directives or ()
    return tuple(str(each.fields) for each in directives if isinstance(each, Key))


def resolve_entities(info: Info, references: list[Any]) -> Any:
    """The entities behind references; a gateway mostly asks for one kind at a time, and most for executions."""
    if all(type(each) is dict and each.get("__typename") == "Execution" for each in references):
        return _executions(info, [each.get("id") for each in references])
    return [resolve_entity(info, each) for each in references]


async def _executions(info: Info, ids: list[object]) -> list[Any]:
    """Executions by their ids, without a loader's work for each; what is wrong stands in its place."""
    keys = [execution_uuid(each) if isinstance(each, str) else None for each in ids]
    context = info.context
    wanted = list(dict.fromkeys(key for key in keys if key is not None))
    try:
        found = await context.executions.get_many(context.who, wanted)
    except MaestroError as error:
        return [error] * len(ids)
    return [
        Execution.of(found[key])
        if key in found
        else _missing(Execution, "id")
        if isinstance(each, str)
        else _refusal("Execution is referred to by id, a string.")
        for key, each in zip(keys, ids, strict=True)
    ]


def resolve_entity(info: Info, reference: object) -> Any:
    """The entity behind one reference, as something to await, or the error that stands in its place."""
    if not isinstance(reference, dict):
        return _refusal("A representation is an object with `__typename` and a key.")
    entity = ENTITIES.get(str(reference.get("__typename")))
    if entity is None:
        return _refusal(f"{str(reference.get('__typename'))[:64]!r} is no entity of this subgraph.")
    for key in keys_of(entity):
        if isinstance(value := reference.get(key), str):
            return _found(entity, info, key, value)
    return _refusal(
        f"{entity.__name__} is referred to by {' or '.join(keys_of(entity))}, a string."
    )


def _found(entity: Any, info: Info, key: str, value: str) -> Any:
    found = entity.resolve_reference(info, **{key: value})
    if found is None:
        return _missing(entity, key)
    return later(found, lambda there: there or _missing(entity, key))


def _missing(entity: Any, key: str) -> NotFound:
    return NotFound(
        f"There is no {entity.__name__} with this {key}, or it is not yours to see.",
        reason="ENTITY_NOT_FOUND",
    )


def _refusal(message: str) -> BadInput:
    return BadInput(message, reason="REPRESENTATION")
